// SPDX-License-Identifier: GPL-2.0-only
// The requests of a virtio block device (virtio 1.2, section 5.2.6): what the driver
// asks for, taken out of a descriptor chain and checked.  Nothing is executed here.
//
//     readable                            writable
//     +--------------------+---------+    +---------+--------+
//     | type, 0, sector    |  data   |    |  data   | status |     cut into buffers anywhere
//     +--------------------+---------+    +---------+--------+
//           16 bytes         if OUT         if IN     1 byte
//
// block.h hands the result to a BlockBackend.
#pragma once

#include "virtqueue.h"

#include <sys/uio.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace lguest {

// What the disk is, to driver and requests.
struct BlockSettings {
	std::uint64_t size = 0;		// bytes, a multiple of block_size
	std::uint32_t block_size = 512;	// bytes, at least 512, a power of two
	bool read_only = false;
	unsigned queues = 1;
	std::string serial;		// of which the driver sees 20 characters
};

// Work for the back end: bytes [offset, offset + length) of the disk, inside it and
// aligned to its blocks.
struct BlockRequest {
	enum class Kind : std::uint8_t { read, write, flush, discard, write_zeroes };
	Kind kind{};
	bool unmap = false;		// write_zeroes may leave a hole
	bool durable = false;		// what it changes is to be on stable storage when it completes
	std::uint64_t offset = 0, length = 0;
	// Guest memory, `length` bytes, for read and write.  As the system calls want it.
	std::vector<iovec> buffers;

	// The back end's own.
	std::uint64_t position = 0;	// how many of the bytes are done
	std::vector<iovec> rest;	// the buffers of the others, if not all of them
};

// Limits the driver is told.  A chain can hold more: checked.
constexpr unsigned block_max_segments = 254;			// data buffers of a request
constexpr std::uint32_t block_max_segment = 64 << 10;		// bytes of each
constexpr std::uint64_t block_max_transfer = std::uint64_t{block_max_segments} * block_max_segment;
constexpr std::uint64_t block_max_discard = 1ull << 30;		// bytes of a discard
constexpr std::uint64_t block_max_zeroes = 64ull << 20;		// bytes of a write zeroes, if need be written
constexpr std::size_t block_serial_size = 20;

// The answer to a chain.
struct BlockAnswer {
	std::byte *status;			// where it goes, guest memory
	std::optional<std::uint8_t> known{};	// VIRTIO_BLK_S_* already; nothing: the request decides
	std::uint32_t written = 1;		// bytes put into the chain if it is VIRTIO_BLK_S_OK
};

// Take a chain apart.  `request` is filled in only if its execution decides.  Throws
// DriverError if the chain has no room for header or status.
BlockAnswer parse_block_request(const DescriptorChain &chain, const BlockSettings &settings, BlockRequest &request);

} // namespace lguest
