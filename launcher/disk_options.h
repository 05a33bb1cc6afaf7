// SPDX-License-Identifier: GPL-2.0-only
// `--disk`: a file or block device as a disk of the guest.
#pragma once

#include "keyed_options.h"

#include <cstdint>
#include <string>
#include <vector>

namespace lguest {

struct DiskOptions {
	enum class Aio { automatic, io_uring, threads };

	std::string path;
	std::string id;			// its name, see disk_name()
	std::string serial;
	bool read_only = false;
	bool snapshot = false;		// what the guest writes is kept aside and forgotten at the end
	bool direct = false;		// O_DIRECT
	std::uint32_t block_size = 512;
	unsigned queues = 1;
	Aio aio = Aio::automatic;
};

// `others` are the disks before it.  Throws Error.
DiskOptions read_disk_options(KeyedOptions &options, const std::vector<DiskOptions> &others = {});

// In messages, counters, and for what a snapshot keeps over a reboot: its id, or disk0, disk1 ...
std::string disk_name(const DiskOptions &options, std::size_t number);

} // namespace lguest
