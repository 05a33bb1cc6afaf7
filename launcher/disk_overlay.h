// SPDX-License-Identifier: GPL-2.0-only
// What a guest wrote to a disk with `snapshot`: a sparse file without a name, each block
// at the place it has on the disk, and a bit for each block that is there.
//
//     blocks   0   1   2   3   4
//     bits     0   1   1   0   0
//     file     .  new new  .   .      the others are read from the image
//
// The bits are a file in memory, and so both outlive a reboot of the guest (over_reboot.h).
//
// disk_image.h puts both together.  A bit stands for one block of the disk, and requests
// are made of whole blocks: nothing is ever copied from the image.
//
// Threads: any; a block's bit is set only once its bytes are written.
#pragma once

#include "file.h"

#include <cstdint>
#include <span>
#include <string>

namespace lguest {

class DiskOverlay {
public:
	// The one kept under that name, else a new one.  Throws Error.
	DiskOverlay(std::uint64_t size, std::uint32_t block_size, const std::string &name = {});
	~DiskOverlay();
	DiskOverlay(const DiskOverlay &) = delete;
	DiskOverlay &operator=(const DiskOverlay &) = delete;

	int fd() const { return file_.get(); }
	void keep_for_reboot(const std::string &name);

	// Offsets and lengths are in bytes.
	bool holds(std::uint64_t offset) const;
	// How many of the `length` bytes, from the first on, are where the first is.
	std::uint64_t run(std::uint64_t offset, std::uint64_t length) const;
	// Both multiples of the block size.
	void add(std::uint64_t offset, std::uint64_t length);

private:
	Descriptor file_, bits_file_;
	std::uint32_t block_size_;
	std::span<std::uint64_t> bits_;		// 64 blocks each; mapped, so that untouched ones take no memory
};

} // namespace lguest
