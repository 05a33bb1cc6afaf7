// SPDX-License-Identifier: GPL-2.0-only
// The file or block device behind a disk: opening and locking it, and which bytes of
// which file a request is about.
//
// The engines (disk_engine.h) move the bytes; where one of them has no better way, or a
// request is rare, it has execute() do all of it.
//
// One writer or many readers: the file is locked (flock) as long as the image is open, so
// no two guests write one disk.
//
// Threads: any, for everything but construction.
#pragma once

#include "block_request.h"
#include "disk_options.h"
#include "disk_overlay.h"
#include "file.h"

#include <array>
#include <optional>
#include <span>

namespace lguest {

class DiskImage {
public:
	// `name`: the disk's, for what it keeps over a reboot.  Throws Error.
	explicit DiskImage(const DiskOptions &options, const std::string &name = "disk");
	~DiskImage();
	DiskImage(const DiskImage &) = delete;
	DiskImage &operator=(const DiskImage &) = delete;

	std::uint64_t size() const { return size_; }	// bytes, a multiple of the block size
	bool changeable() const { return !read_only_; }
	// All of it is in the host's memory (tmpfs): nothing takes longer than copying.
	bool in_memory() const;

	// With nothing under way any more.
	void keep_for_reboot();

	// The descriptors: of the image, and if there is a snapshot, of the overlay.
	std::span<const int> files() const { return std::span{files_}.first(overlay_ ? 2 : 1); }

	// Where a read or write goes on that has done its first `position` bytes.
	struct Extent {
		unsigned file;		// which of files()
		std::uint64_t offset;
		std::uint64_t length;
	};
	Extent next(const BlockRequest &request) const;
	// All of a write is in its file.
	void written(const BlockRequest &request);
	// Whether FLUSH and durable requests have anything to do: for files()[0].
	bool has_flush() const { return !overlay_ && !read_only_; }

	// All of the request, by system calls of this thread; 0 or an errno.
	int execute(BlockRequest &request);

private:
	void open_file(const DiskOptions &options);
	void lock(const DiskOptions &options) const;
	std::uint64_t find_size(const DiskOptions &options) const;
	void check_direct(const DiskOptions &options) const;
	int transfer(BlockRequest &request);
	int discard(const BlockRequest &request);
	int write_zeroes(const BlockRequest &request);
	int changed_file() const { return files().back(); }

	std::string snapshot_name_;
	bool read_only_;
	bool device_ = false;		// not a regular file
	Descriptor file_;
	std::uint64_t size_ = 0;
	std::optional<DiskOverlay> overlay_;
	std::array<int, 2> files_{-1, -1};
};

// The buffers of the `length` bytes from `position` on.
std::span<const iovec> buffers_at_position(BlockRequest &request, std::uint64_t length);
// A step of a read or write came back with no bytes and no error: which error it is.
int error_of_nothing(const BlockRequest &request);

} // namespace lguest
