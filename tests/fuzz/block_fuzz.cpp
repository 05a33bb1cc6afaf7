// SPDX-License-Identifier: GPL-2.0-only
// A driver that obeys no rule, against the block device.  The input is a program: requests
// with any header, cut anywhere; raw descriptors; writes to the rings; completions in any
// order; resets.  What reaches the back end must be inside the disk and inside memory, and
// nothing may be touched after a reset.
#include "fuzz_driver.h"
#include "fuzz_input.h"

#include "block.h"

#include <cstdint>

namespace {

using namespace lguest;
using namespace lguest::test;

constexpr std::uint64_t disk_size = 1 << 20;

struct Backend final : BlockBackend {
	explicit Backend(const GuestMemory &memory, std::uint32_t block_size) : memory{memory}, block_size{block_size} {}

	void start(BlockRequest &request) override
	{
		bool flush = request.kind == BlockRequest::Kind::flush;
		bool transfer = request.kind == BlockRequest::Kind::read || request.kind == BlockRequest::Kind::write;
		require(flush == (request.length == 0));
		require(request.offset % block_size == 0 && request.length % block_size == 0);
		require(request.offset <= disk_size && request.length <= disk_size - request.offset);
		auto all = memory.range(Gpa{0}, memory.size()).value();
		std::uint64_t bytes = 0;
		for (const iovec &buffer : request.buffers) {
			auto *first = static_cast<std::byte *>(buffer.iov_base);
			if (transfer)
				require(first >= all.data() && buffer.iov_len <= static_cast<std::size_t>(&all.back() + 1 - first));
			bytes += buffer.iov_len;
		}
		require(!transfer || bytes == request.length);
		started.push_back(&request);
	}
	void submit(Transport &transport) override
	{
		for (; at_once && !started.empty(); at_once--)
			complete(transport, 0, true);
	}
	void cancel() override { started.clear(); }
	void complete(Transport &transport, std::size_t index, bool ok)
	{
		if (started.empty())
			return;
		auto at = started.begin() + static_cast<std::ptrdiff_t>(index % started.size());
		BlockRequest &request = **at;
		started.erase(at);
		// As a read does.
		if (request.kind == BlockRequest::Kind::read)
			for (const iovec &buffer : request.buffers)
				std::memset(buffer.iov_base, 'r', buffer.iov_len);
		block->complete(transport, request, ok);
	}

	const GuestMemory &memory;
	std::uint32_t block_size;
	Block *block = nullptr;
	std::vector<BlockRequest *> started;
	unsigned at_once = 0;
};

enum Operation : std::uint8_t { write_register, store_memory, send_raw, send_request, complete, at_once, config, restart, operations };

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size)
{
	Input input{data, size};
	auto flags = input.take<std::uint8_t>();
	std::uint32_t block_size = flags & 1 ? 4096 : 512;
	FakeGuest guest{1 << 18};
	Backend backend{guest.memory, block_size};
	Block block{backend, {disk_size, block_size, (flags & 2) != 0, 1 + (flags >> 2 & 1u), "fuzz"}};
	backend.block = &block;
	RegisterFile registers{guest.memory, block, guest};
	FakeDriver driver{guest, registers};
	driver.start(8);

	for (unsigned steps = 0; !input.empty() && steps < 500; steps++) {
		FakeQueue &queue = driver.queue(input.take<std::uint8_t>() % registers.queue_count());
		switch (input.take<std::uint8_t>() % operations) {
		case write_register: {
			auto offset = input.take<std::uint16_t>();
			registers.write(offset, 1u << (offset >> 14), input.take<std::uint32_t>());
			break;
		}
		case store_memory:
			guest.store(input.take<std::uint16_t>() & 0xfff8, input.take<std::uint64_t>());
			break;
		case send_raw:
			queue.set_descriptor(input.take<std::uint8_t>() % 8, input.take<ring::Descriptor>());
			queue.submit(input.take<std::uint8_t>() % 9);
			break;
		case send_request: {
			// header, out and in in one piece of memory, cut where the input says
			constexpr std::uint64_t at = 0x10000;
			guest.store(at, virtio_blk_outhdr{input.take<std::uint8_t>() & 15u, 0, input.take<std::uint16_t>()});
			guest.store(at + 16, virtio_blk_discard_write_zeroes{input.take<std::uint16_t>(), input.take<std::uint16_t>(),
									      input.take<std::uint8_t>() & 3u});
			std::uint32_t out = input.take<std::uint16_t>(), in = input.take<std::uint16_t>() % 0x2000 + 1;
			std::uint32_t cut = std::min<std::uint32_t>(out, input.take<std::uint8_t>());
			auto chain = queue.chain();
			chain.raw(at, cut, 0).raw(at + cut, out - cut, 0).raw(at + 0x20000, in - 1, ring::descriptor_write);
			chain.raw(at + 0x20000 + in, 1, ring::descriptor_write).submit();
			break;
		}
		case complete:
			registers.with_device([&](Transport &transport) {
				backend.complete(transport, input.take<std::uint8_t>(), input.take<std::uint8_t>() & 1);
				block.publish(transport);
			});
			break;
		case at_once:
			backend.at_once = input.take<std::uint8_t>() % 16;
			break;
		case config:
			registers.read(VIRTIO_MMIO_CONFIG + input.take<std::uint8_t>(), 1u << (input.take<std::uint8_t>() & 3));
			registers.write(VIRTIO_MMIO_CONFIG + input.take<std::uint8_t>(), 1, input.take<std::uint8_t>());
			break;
		case restart:
			driver.set(VIRTIO_MMIO_STATUS, 0);
			require(backend.started.empty() && block.in_flight() == 0);
			restart_device(driver, registers, input.take<std::uint32_t>());
			break;
		}
		serve_doorbells(guest, registers);
		registers.process(0);
		require(backend.started.size() == block.in_flight());
		require(block.in_flight() <= 2u * Block::queue_size);
	}
	return 0;
}
