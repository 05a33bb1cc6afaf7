// SPDX-License-Identifier: GPL-2.0-only
// Taking a block request apart, see block_request.h.
#include "block_request.h"

#include <linux/virtio_blk.h>

#include <algorithm>
#include <utility>

namespace lguest {
namespace {

using Spans = std::span<const std::span<std::byte>>;

constexpr std::uint64_t sector_size = 512;	// the protocol's, whatever the disk's blocks are

// No sum of at most max_chain lengths of guest memory overflows.
std::uint64_t total(Spans spans)
{
	std::uint64_t bytes = 0;
	for (auto span : spans)
		bytes += span.size();
	return bytes;
}

// Copy out what is at `skip`; false if there is less than the object.
template <typename T>
bool copy_out(Spans spans, std::size_t skip, T &object)
{
	auto to = std::as_writable_bytes(std::span{&object, 1});
	for (auto span : spans) {
		if (skip >= span.size()) {
			skip -= span.size();
			continue;
		}
		span = span.subspan(std::exchange(skip, 0));
		std::size_t part = std::min(span.size(), to.size());
		std::copy_n(span.data(), part, to.data());
		to = to.subspan(part);
		if (to.empty())
			return true;
	}
	return false;
}

// Copy in what fits; returns how much.
std::size_t copy_in(Spans spans, std::span<const std::byte> from)
{
	std::size_t done = 0;
	for (auto span : spans) {
		std::size_t part = std::min(span.size(), from.size() - done);
		std::copy_n(from.data() + done, part, span.data());
		done += part;
	}
	return done;
}

// `length` bytes behind the first `skip`.
void collect(Spans spans, std::size_t skip, std::size_t length, std::vector<iovec> &buffers)
{
	buffers.clear();
	for (auto span : spans) {
		std::size_t before = std::min(skip, span.size());
		skip -= before;
		span = span.subspan(before).first(std::min(length, span.size() - before));
		length -= span.size();
		if (!span.empty())
			buffers.push_back({span.data(), span.size()});
	}
}

std::byte *last_byte(Spans spans)
{
	for (auto span = spans.rbegin(); span != spans.rend(); ++span)
		if (!span->empty())
			return &span->back();
	throw DriverError{"request without room for its status"};
}

// Sectors are guest-controlled: written so that nothing overflows.
bool inside(std::uint64_t sector, std::uint64_t length, const BlockSettings &settings)
{
	if (sector > settings.size / sector_size)
		return false;
	std::uint64_t offset = sector * sector_size;
	return length <= settings.size - offset && offset % settings.block_size == 0 && length % settings.block_size == 0;
}

// The answer to a transfer: VIRTIO_BLK_S_*, or nothing, then the request is ready.
std::optional<std::uint8_t> parse_transfer(Spans data, std::size_t skip, std::uint64_t sector, std::uint64_t length,
					   const BlockSettings &settings, BlockRequest &request)
{
	if (!inside(sector, length, settings) || length > block_max_transfer)
		return VIRTIO_BLK_S_IOERR;
	if (length == 0)
		return VIRTIO_BLK_S_OK;
	request.offset = sector * sector_size;
	request.length = length;
	collect(data, skip, length, request.buffers);
	return std::nullopt;
}

// The same of a discard or write zeroes, which have one range each.
std::optional<std::uint8_t> parse_range(Spans data, std::uint64_t data_size, std::uint64_t most, const BlockSettings &settings,
					BlockRequest &request)
{
	virtio_blk_discard_write_zeroes range;	// guest-controlled
	if (data_size != sizeof(range) || !copy_out(data, sizeof(virtio_blk_outhdr), range))
		return VIRTIO_BLK_S_IOERR;
	bool zeroes = request.kind == BlockRequest::Kind::write_zeroes;
	if (range.flags & ~(zeroes ? std::uint32_t{VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP} : 0u))
		return VIRTIO_BLK_S_UNSUPP;
	std::uint64_t length = range.num_sectors * sector_size;
	if (!inside(range.sector, length, settings) || length > most)
		return VIRTIO_BLK_S_IOERR;
	if (length == 0)
		return VIRTIO_BLK_S_OK;
	request.unmap = range.flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
	request.offset = range.sector * sector_size;
	request.length = length;
	return std::nullopt;
}

} // namespace

BlockAnswer parse_block_request(const DescriptorChain &chain, const BlockSettings &settings, BlockRequest &request)
{
	virtio_blk_outhdr header;	// guest-controlled
	if (!copy_out(chain.readable(), 0, header))
		throw DriverError{"request shorter than its header"};
	BlockAnswer answer{last_byte(chain.writable())};
	std::uint64_t out = total(chain.readable()) - sizeof(header), in = total(chain.writable()) - 1;

	request.unmap = request.durable = false;
	request.offset = request.length = request.position = 0;
	switch (header.type) {
	case VIRTIO_BLK_T_IN:
		request.kind = BlockRequest::Kind::read;
		answer.known = parse_transfer(chain.writable(), 0, header.sector, in, settings, request);
		answer.written += static_cast<std::uint32_t>(request.length);
		return answer;
	case VIRTIO_BLK_T_GET_ID: {
		std::byte serial[block_serial_size]{};
		std::memcpy(serial, settings.serial.data(), std::min(settings.serial.size(), sizeof(serial)));
		std::size_t room = std::min<std::uint64_t>(in, sizeof(serial));
		answer.written += static_cast<std::uint32_t>(copy_in(chain.writable(), std::span{serial}.first(room)));
		answer.known = VIRTIO_BLK_S_OK;
		return answer;
	}
	case VIRTIO_BLK_T_FLUSH:
		request.kind = BlockRequest::Kind::flush;
		return answer;
	case VIRTIO_BLK_T_OUT:
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		break;
	default:
		answer.known = VIRTIO_BLK_S_UNSUPP;
		return answer;
	}

	// What is left changes the disk.
	if (settings.read_only) {
		answer.known = VIRTIO_BLK_S_IOERR;
	} else if (header.type == VIRTIO_BLK_T_OUT) {
		request.kind = BlockRequest::Kind::write;
		answer.known = parse_transfer(chain.readable(), sizeof(header), header.sector, out, settings, request);
	} else if (header.type == VIRTIO_BLK_T_DISCARD) {
		request.kind = BlockRequest::Kind::discard;
		answer.known = parse_range(chain.readable(), out, block_max_discard, settings, request);
	} else {
		request.kind = BlockRequest::Kind::write_zeroes;
		answer.known = parse_range(chain.readable(), out, block_max_zeroes, settings, request);
	}
	return answer;
}

} // namespace lguest
