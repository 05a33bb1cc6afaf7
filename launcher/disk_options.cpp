// SPDX-License-Identifier: GPL-2.0-only
// `--disk`, see disk_options.h.
#include "disk_options.h"

#include "block.h"

#include <algorithm>

namespace lguest {

DiskOptions read_disk_options(KeyedOptions &options, const std::vector<DiskOptions> &others)
{
	DiskOptions disk;
	disk.path = options.take_required("path");
	disk.read_only = options.take_flag("ro");
	disk.snapshot = options.take_flag("snapshot");
	if (disk.read_only && disk.snapshot)
		options.reject("snapshot", "not with ro: a disk that is only read needs none");
	disk.serial = options.take_text("serial");
	if (disk.serial.size() > block_serial_size)
		options.reject("serial", "'{}' is longer than {} characters", disk.serial, block_serial_size);
	if (!std::ranges::all_of(disk.serial, [](char character) { return character > ' ' && character <= '~'; }))
		options.reject("serial", "only letters, digits and punctuation can be in it");
	disk.block_size = options.take_word("block-size", "512", {"512", "4096"}) == "512" ? 512 : 4096;
	disk.direct = options.take_flag("direct");
	disk.queues = static_cast<unsigned>(options.take_number("queues", 1, 1, Block::max_queues));
	std::string aio = options.take_word("aio", "auto", {"auto", "io_uring", "threads"});
	disk.aio = aio == "io_uring"  ? DiskOptions::Aio::io_uring
		   : aio == "threads" ? DiskOptions::Aio::threads
				      : DiskOptions::Aio::automatic;
	disk.id = options.take_text("id");
	std::string name = disk_name(disk, others.size());
	for (std::size_t number = 0; number < others.size(); number++)
		if (disk_name(others[number], number) == name)
			options.reject("id", "'{}' is another disk's", name);
	return disk;
}

std::string disk_name(const DiskOptions &options, std::size_t number)
{
	return options.id.empty() ? fmt::format("disk{}", number) : options.id;
}

} // namespace lguest
