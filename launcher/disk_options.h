// SPDX-License-Identifier: GPL-2.0-only
// `--disk`: a file or block device as a disk of the guest.
#pragma once

#include "keyed_options.h"

#include <cstdint>
#include <string>

namespace lguest {

struct DiskOptions {
	enum class Aio { automatic, io_uring, threads };

	std::string path;
	std::string id;			// its name in messages; empty: disk0, disk1 ...
	std::string serial;
	bool read_only = false;
	bool snapshot = false;		// what the guest writes is kept aside and forgotten at the end
	bool direct = false;		// O_DIRECT
	std::uint32_t block_size = 512;
	unsigned queues = 1;
	Aio aio = Aio::automatic;
};

DiskOptions read_disk_options(KeyedOptions &options);	// throws Error

} // namespace lguest
