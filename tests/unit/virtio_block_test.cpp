// SPDX-License-Identifier: GPL-2.0-only
// The block device, driven as a guest would, with a back end that does what it is told.
#include "virtio_fake_driver.h"

#include "block.h"

#include <linux/virtio_ids.h>

#include <gtest/gtest.h>

namespace lguest::test {
namespace {

using Kind = BlockRequest::Kind;

constexpr std::uint64_t disk_size = 1 << 20;
constexpr std::uint64_t last_sector = disk_size / 512 - 1;

template <typename T>
std::string_view bytes_of(const T &object)
{
	return {reinterpret_cast<const char *>(&object), sizeof(object)};
}

// Keeps what is started until the test completes it.
struct FakeBackend final : BlockBackend {
	void start(BlockRequest &request) override { started.push_back(&request); }
	void submit(Transport &transport) override
	{
		batches++;
		if (at_once)
			while (!started.empty())
				complete_one(transport, 0, true);
	}
	void cancel() override
	{
		cancelled++;
		started.clear();
	}
	void complete_one(Transport &transport, std::size_t index, bool ok)
	{
		BlockRequest &request = *started.at(index);
		started.erase(started.begin() + static_cast<std::ptrdiff_t>(index));
		if (ok && request.kind == Kind::read)
			for (const iovec &buffer : request.buffers)
				std::memset(buffer.iov_base, 'd', buffer.iov_len);
		device->complete(transport, request, ok);
	}

	Block *device = nullptr;
	std::vector<BlockRequest *> started;
	bool at_once = false;
	unsigned batches = 0, cancelled = 0;
};

class BlockDevice : public testing::Test {
protected:
	static constexpr char unset = 0x55;

	explicit BlockDevice(BlockSettings settings = {disk_size, 512, false, 1, "serial-7"}) : block{backend, settings}
	{
		backend.device = &block;
	}
	static virtio_blk_outhdr header(std::uint32_t type, std::uint64_t sector) { return {type, 0, sector}; }
	static virtio_blk_discard_write_zeroes range(std::uint64_t sector, std::uint32_t sectors, std::uint32_t flags = 0)
	{
		return {sector, sectors, flags};
	}

	struct Sent {
		std::uint64_t status;		// where
		std::uint64_t data = 0;
		std::uint16_t head = 0;
	};
	FakeQueue &queue(unsigned index = 0) { return driver.queue(index); }
	// header | out | in | status
	Sent send(std::uint32_t type, std::uint64_t sector, std::string_view out = {}, std::uint32_t in = 0, unsigned index = 0)
	{
		auto chain = queue(index).chain().readable(bytes_of(header(type, sector)));
		unsigned parts = 1;
		Sent sent{};
		if (!out.empty()) {
			chain.readable(out);
			sent.data = chain.address(parts++);
		}
		if (in) {
			chain.writable(in);
			sent.data = chain.address(parts++);
		}
		sent.status = chain.writable(1).address(parts);
		guest.store(sent.status, unset);
		sent.head = chain.submit();
		registers.process(index);
		return sent;
	}
	int status(const Sent &sent) const { return guest.load<char>(sent.status); }
	// The answer to a request that needs no back end.
	int answer(std::uint32_t type, std::uint64_t sector, std::string_view out = {}, std::uint32_t in = 0)
	{
		Sent sent = send(type, sector, out, in);
		EXPECT_TRUE(backend.started.empty());
		return status(sent);
	}
	void complete(std::size_t index, bool ok = true)
	{
		registers.with_device([&](Transport &transport) {
			backend.complete_one(transport, index, ok);
			block.publish(transport);
		});
	}

	FakeGuest guest{4 << 20};
	FakeBackend backend;
	Block block;
	RegisterFile registers{guest.memory, block, guest};
	FakeDriver driver{guest, registers};
};

TEST_F(BlockDevice, DescribesItself)
{
	EXPECT_EQ(driver.get(VIRTIO_MMIO_DEVICE_ID), std::uint32_t{VIRTIO_ID_BLOCK});
	EXPECT_EQ(registers.read(VIRTIO_MMIO_CONFIG + offsetof(virtio_blk_config, capacity), 8), disk_size / 512);
	EXPECT_EQ(registers.read(VIRTIO_MMIO_CONFIG + offsetof(virtio_blk_config, blk_size), 4), 512u);
	EXPECT_EQ(registers.read(VIRTIO_MMIO_CONFIG + offsetof(virtio_blk_config, seg_max), 4), block_max_segments);
	EXPECT_EQ(registers.read(VIRTIO_MMIO_CONFIG + offsetof(virtio_blk_config, physical_block_exp), 1), 3u);
	std::uint64_t features = driver.offered_features();
	for (unsigned feature : {VIRTIO_BLK_F_SEG_MAX, VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_TOPOLOGY,
				 VIRTIO_BLK_F_CONFIG_WCE, VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_WRITE_ZEROES})
		EXPECT_TRUE(features >> feature & 1) << feature;
	EXPECT_FALSE(features >> VIRTIO_BLK_F_RO & 1);
	EXPECT_FALSE(features >> VIRTIO_BLK_F_MQ & 1);
}

TEST_F(BlockDevice, Reads)
{
	driver.start();
	Sent sent = send(VIRTIO_BLK_T_IN, 3, {}, 1024);
	ASSERT_EQ(backend.started.size(), 1u);
	const BlockRequest &request = *backend.started[0];
	EXPECT_EQ(request.kind, Kind::read);
	EXPECT_EQ(request.offset, 3u * 512);
	EXPECT_EQ(request.length, 1024u);
	ASSERT_EQ(request.buffers.size(), 1u);
	EXPECT_EQ(request.buffers[0].iov_base, guest.memory.range(Gpa{sent.data}, 1)->data());
	EXPECT_EQ(status(sent), unset);
	EXPECT_EQ(guest.interrupts, 0u);
	complete(0);
	EXPECT_EQ(status(sent), VIRTIO_BLK_S_OK);
	EXPECT_EQ(guest.text(sent.data, 1024), std::string(1024, 'd'));
	EXPECT_EQ(queue().used_index(), 1);
	EXPECT_EQ(queue().used_element(0).length, 1025u);
	EXPECT_EQ(guest.interrupts, 1u);
}

TEST_F(BlockDevice, Writes)
{
	driver.start();
	std::string data(512, 'w');
	Sent sent = send(VIRTIO_BLK_T_OUT, last_sector, data);
	ASSERT_EQ(backend.started.size(), 1u);
	const BlockRequest &request = *backend.started[0];
	EXPECT_EQ(request.kind, Kind::write);
	EXPECT_EQ(request.offset, last_sector * 512);
	EXPECT_FALSE(request.durable);
	ASSERT_EQ(request.buffers.size(), 1u);
	EXPECT_EQ(std::memcmp(request.buffers[0].iov_base, data.data(), 512), 0);
	complete(0);
	EXPECT_EQ(status(sent), VIRTIO_BLK_S_OK);
	EXPECT_EQ(queue().used_element(0).length, 1u);
}

TEST_F(BlockDevice, FramingDoesNotMatter)
{
	driver.start();
	auto head = header(VIRTIO_BLK_T_OUT, 1);
	std::string all{bytes_of(head)};
	all += std::string(512, 'x');
	auto chain = queue().chain();
	for (auto [from, size] : {std::pair{0u, 7u}, {7u, 0u}, {7u, 13u}, {20u, 508u}})
		chain.readable(std::string_view{all}.substr(from, size));
	chain.writable(1);
	chain.raw(0, 0, ring::descriptor_write);
	chain.submit();
	registers.process(0);
	ASSERT_EQ(backend.started.size(), 1u);
	auto &buffers = backend.started[0]->buffers;
	ASSERT_EQ(buffers.size(), 2u);
	EXPECT_EQ(buffers[0].iov_len, 4u);
	EXPECT_EQ(buffers[1].iov_len, 508u);

	// And a read whose status shares a buffer with its data.
	auto read = queue().chain().readable(bytes_of(header(VIRTIO_BLK_T_IN, 1))).writable(100).writable(413);
	read.submit();
	registers.process(0);
	ASSERT_EQ(backend.started.size(), 2u);
	EXPECT_EQ(backend.started[1]->length, 512u);
	ASSERT_EQ(backend.started[1]->buffers.size(), 2u);
	EXPECT_EQ(backend.started[1]->buffers[1].iov_len, 412u);
	complete(1);
	EXPECT_EQ(guest.load<char>(read.address(2) + 412), VIRTIO_BLK_S_OK);
	EXPECT_EQ(guest.load<char>(read.address(2) + 411), 'd');
}

TEST_F(BlockDevice, CompletesOutOfOrder)
{
	driver.start();
	Sent first = send(VIRTIO_BLK_T_IN, 0, {}, 512), second = send(VIRTIO_BLK_T_IN, 1, {}, 512), third = send(VIRTIO_BLK_T_FLUSH, 0);
	EXPECT_EQ(block.in_flight(), 3u);
	complete(1);
	EXPECT_EQ(status(first), unset);
	EXPECT_EQ(status(second), VIRTIO_BLK_S_OK);
	EXPECT_EQ(queue().used_element(0).id, second.head);
	complete(1);
	EXPECT_EQ(status(third), VIRTIO_BLK_S_OK);
	complete(0);
	EXPECT_EQ(queue().used_element(2).id, first.head);
	EXPECT_EQ(block.in_flight(), 0u);
}

TEST_F(BlockDevice, ABatchIsSubmittedOnceAndInterruptsOnce)
{
	driver.start();
	backend.at_once = true;
	for (unsigned count = 0; count < 5; count++) {
		auto chain = queue().chain().readable(bytes_of(header(VIRTIO_BLK_T_FLUSH, 0))).writable(1);
		chain.submit();
	}
	registers.process(0);
	EXPECT_EQ(backend.batches, 1u);
	EXPECT_EQ(queue().used_index(), 5);
	EXPECT_EQ(guest.interrupts, 1u);
}

TEST_F(BlockDevice, AnErrorReachesTheDriver)
{
	driver.start();
	for (auto [type, out, in] : {std::tuple{VIRTIO_BLK_T_IN, 0u, 512u}, {VIRTIO_BLK_T_OUT, 512u, 0u}, {VIRTIO_BLK_T_FLUSH, 0u, 0u}}) {
		Sent sent = send(static_cast<std::uint32_t>(type), 0, std::string(out, 'x'), in);
		complete(0, false);
		EXPECT_EQ(status(sent), VIRTIO_BLK_S_IOERR);
	}
	EXPECT_EQ(queue().used_element(0).length, 1u);
	EXPECT_FALSE(driver.needs_reset());
}

TEST_F(BlockDevice, TellsItsSerial)
{
	driver.start();
	Sent sent = send(VIRTIO_BLK_T_GET_ID, 0, {}, 20);
	EXPECT_EQ(status(sent), VIRTIO_BLK_S_OK);
	EXPECT_EQ(guest.text(sent.data, 20), std::string("serial-7") + std::string(12, '\0'));
	EXPECT_EQ(queue().used_element(0).length, 21u);
	Sent small = send(VIRTIO_BLK_T_GET_ID, 0, {}, 6);
	EXPECT_EQ(guest.text(small.data, 6), "serial");
	EXPECT_EQ(answer(VIRTIO_BLK_T_GET_ID, 0), VIRTIO_BLK_S_OK);
	Sent large = send(VIRTIO_BLK_T_GET_ID, 0, {}, 100);
	EXPECT_EQ(status(large), VIRTIO_BLK_S_OK);
}

TEST_F(BlockDevice, DiscardsAndZeroes)
{
	driver.start();
	send(VIRTIO_BLK_T_DISCARD, 0, bytes_of(range(8, 16)));
	send(VIRTIO_BLK_T_WRITE_ZEROES, 0, bytes_of(range(0, 2048)));
	send(VIRTIO_BLK_T_WRITE_ZEROES, 0, bytes_of(range(1, 1, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP)));
	ASSERT_EQ(backend.started.size(), 3u);
	EXPECT_EQ(backend.started[0]->kind, Kind::discard);
	EXPECT_EQ(backend.started[0]->offset, 8u * 512);
	EXPECT_EQ(backend.started[0]->length, 16u * 512);
	EXPECT_EQ(backend.started[1]->kind, Kind::write_zeroes);
	EXPECT_EQ(backend.started[1]->length, disk_size);
	EXPECT_FALSE(backend.started[1]->unmap);
	EXPECT_TRUE(backend.started[2]->unmap);
}

TEST_F(BlockDevice, WhatIsOutsideTheDiskFails)
{
	driver.start();
	std::string two(1024, 'x');
	EXPECT_EQ(answer(VIRTIO_BLK_T_IN, last_sector, {}, 1024), VIRTIO_BLK_S_IOERR);
	EXPECT_EQ(answer(VIRTIO_BLK_T_OUT, last_sector, two), VIRTIO_BLK_S_IOERR);
	constexpr std::uint64_t sectors[] = {last_sector + 1, last_sector + 2, 1ull << 55, (1ull << 55) - 1, ~0ull, ~0ull / 512 + 1};
	for (std::uint64_t sector : sectors) {
		EXPECT_EQ(answer(VIRTIO_BLK_T_IN, sector, {}, 512), VIRTIO_BLK_S_IOERR) << sector;
		EXPECT_EQ(answer(VIRTIO_BLK_T_OUT, sector, two), VIRTIO_BLK_S_IOERR) << sector;
		EXPECT_EQ(answer(VIRTIO_BLK_T_DISCARD, 0, bytes_of(range(sector, 1))), VIRTIO_BLK_S_IOERR) << sector;
		EXPECT_EQ(answer(VIRTIO_BLK_T_WRITE_ZEROES, 0, bytes_of(range(sector, ~0u))), VIRTIO_BLK_S_IOERR) << sector;
	}
	EXPECT_EQ(answer(VIRTIO_BLK_T_DISCARD, 0, bytes_of(range(0, ~0u))), VIRTIO_BLK_S_IOERR);
	EXPECT_FALSE(driver.needs_reset());
}

TEST_F(BlockDevice, OddRequestsFail)
{
	driver.start();
	EXPECT_EQ(answer(VIRTIO_BLK_T_IN, 0, {}, 511), VIRTIO_BLK_S_IOERR);
	EXPECT_EQ(answer(VIRTIO_BLK_T_OUT, 0, std::string(513, 'x')), VIRTIO_BLK_S_IOERR);
	EXPECT_EQ(answer(VIRTIO_BLK_T_IN, 0), VIRTIO_BLK_S_OK);		// nothing to do
	EXPECT_EQ(answer(VIRTIO_BLK_T_OUT, 0), VIRTIO_BLK_S_OK);
	EXPECT_EQ(answer(VIRTIO_BLK_T_DISCARD, 0, bytes_of(range(0, 0))), VIRTIO_BLK_S_OK);
	EXPECT_EQ(answer(VIRTIO_BLK_T_DISCARD, 0), VIRTIO_BLK_S_IOERR);
	EXPECT_EQ(answer(VIRTIO_BLK_T_DISCARD, 0, "short"), VIRTIO_BLK_S_IOERR);
	EXPECT_EQ(answer(VIRTIO_BLK_T_DISCARD, 0, std::string(32, '\0')), VIRTIO_BLK_S_IOERR);	// two ranges
	EXPECT_EQ(answer(VIRTIO_BLK_T_DISCARD, 0, bytes_of(range(0, 1, 1))), VIRTIO_BLK_S_UNSUPP);
	EXPECT_EQ(answer(VIRTIO_BLK_T_WRITE_ZEROES, 0, bytes_of(range(0, 1, 2))), VIRTIO_BLK_S_UNSUPP);
	for (std::uint32_t type : {2u, 9u, 10u, 14u, 16u, 26u, 0x80000000u, ~0u})
		EXPECT_EQ(answer(type, 0, {}, 512), VIRTIO_BLK_S_UNSUPP) << type;
	EXPECT_FALSE(driver.needs_reset());
}

TEST_F(BlockDevice, HugeRequestsFail)
{
	driver.start();
	auto chain = queue().chain().readable(bytes_of(header(VIRTIO_BLK_T_OUT, 0)));
	for (unsigned part = 0; part < 1000; part++)
		chain.raw(0, static_cast<std::uint32_t>(guest.memory.size()), 0);
	std::uint64_t status = chain.writable(1).address(1001);
	guest.store(status, unset);
	chain.indirect().submit();
	registers.process(0);
	EXPECT_EQ(guest.load<char>(status), VIRTIO_BLK_S_IOERR);
	EXPECT_TRUE(backend.started.empty());
}

TEST_F(BlockDevice, ChainsWithoutHeaderOrStatusBreakIt)
{
	auto breaks = [&](FakeQueue::Chain chain) {
		chain.submit();
		registers.process(0);
		EXPECT_TRUE(driver.needs_reset());
		EXPECT_TRUE(backend.started.empty());
		guest.doorbells.clear();
		driver.start();
		EXPECT_FALSE(driver.needs_reset());
	};
	driver.start();
	std::string_view request{"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16};
	breaks(queue().chain().readable(request));
	breaks(queue().chain().readable(request.substr(1)).writable(513));
	breaks(queue().chain().writable(513));
	breaks(queue().chain().readable(request).raw(0, 0, ring::descriptor_write));
	breaks(queue().chain().raw(0, 0, 0));
}

TEST_F(BlockDevice, MoreRequestsThanDescriptorsBreakIt)
{
	driver.start(4);
	auto chain = queue().chain().readable(bytes_of(header(VIRTIO_BLK_T_IN, 0))).writable(512).writable(1);
	std::uint16_t head = chain.submit();
	for (unsigned count = 1; count < 4; count++) {
		registers.process(0);
		queue().submit(head);
	}
	registers.process(0);
	EXPECT_EQ(block.in_flight(), 4u);
	EXPECT_FALSE(driver.needs_reset());
	queue().submit(head);
	registers.process(0);
	EXPECT_TRUE(driver.needs_reset());
	EXPECT_EQ(block.in_flight(), 4u);
}

TEST_F(BlockDevice, ResetCancelsAndForgets)
{
	driver.start();
	Sent sent = send(VIRTIO_BLK_T_IN, 0, {}, 512);
	unsigned before = backend.cancelled;
	driver.set(VIRTIO_MMIO_STATUS, 0);
	EXPECT_EQ(backend.cancelled, before + 1);
	EXPECT_EQ(block.in_flight(), 0u);
	EXPECT_EQ(status(sent), unset);
	driver.start();
	sent = send(VIRTIO_BLK_T_IN, 0, {}, 512);
	complete(0);
	EXPECT_EQ(status(sent), VIRTIO_BLK_S_OK);
	EXPECT_EQ(queue().used_index(), 1);
}

TEST_F(BlockDevice, WritesThroughIfTheDriverWantsIt)
{
	std::string data(512, 'w');
	auto durable = [&] {
		send(VIRTIO_BLK_T_OUT, 0, data);
		send(VIRTIO_BLK_T_DISCARD, 0, bytes_of(range(0, 1)));
		send(VIRTIO_BLK_T_IN, 0, {}, 512);
		EXPECT_EQ(backend.started.size(), 3u);
		EXPECT_EQ(backend.started[0]->durable, backend.started[1]->durable);
		EXPECT_FALSE(backend.started[2]->durable);
		bool result = backend.started[0]->durable;
		while (!backend.started.empty())
			complete(0);
		return result;
	};
	driver.start();
	EXPECT_FALSE(durable());
	EXPECT_EQ(registers.read(VIRTIO_MMIO_CONFIG + offsetof(virtio_blk_config, wce), 1), 1u);
	registers.write(VIRTIO_MMIO_CONFIG + offsetof(virtio_blk_config, wce), 1, 0);
	EXPECT_EQ(registers.read(VIRTIO_MMIO_CONFIG + offsetof(virtio_blk_config, wce), 1), 0u);
	EXPECT_TRUE(durable());
	driver.start(16, 1ull << VIRTIO_BLK_F_FLUSH);		// it cannot flush
	EXPECT_TRUE(durable());
	driver.start(16, 1ull << VIRTIO_BLK_F_CONFIG_WCE);
	EXPECT_FALSE(durable());
}

TEST_F(BlockDevice, SlotsAreReused)
{
	driver.start(4);
	backend.at_once = true;
	auto chain = queue().chain().readable(bytes_of(header(VIRTIO_BLK_T_FLUSH, 0))).writable(1);
	std::uint16_t head = chain.submit();
	guest.doorbells.clear();
	for (unsigned count = 0; count < 40; count++) {
		queue().submit(head);
		registers.process(0);
	}
	EXPECT_FALSE(driver.needs_reset());
	EXPECT_EQ(queue().used_index(), 41);
}

struct ReadOnlyDevice : BlockDevice {
	ReadOnlyDevice() : BlockDevice{{disk_size, 512, true, 1, ""}} {}
};

TEST_F(ReadOnlyDevice, IsOnlyRead)
{
	std::uint64_t features = driver.offered_features();
	EXPECT_TRUE(features >> VIRTIO_BLK_F_RO & 1);
	EXPECT_FALSE(features >> VIRTIO_BLK_F_DISCARD & 1);
	driver.start();
	EXPECT_EQ(answer(VIRTIO_BLK_T_OUT, 0, std::string(512, 'x')), VIRTIO_BLK_S_IOERR);
	EXPECT_EQ(answer(VIRTIO_BLK_T_DISCARD, 0, bytes_of(range(0, 1))), VIRTIO_BLK_S_IOERR);
	EXPECT_EQ(answer(VIRTIO_BLK_T_WRITE_ZEROES, 0, bytes_of(range(0, 1))), VIRTIO_BLK_S_IOERR);
	send(VIRTIO_BLK_T_IN, 0, {}, 512);
	EXPECT_EQ(backend.started.size(), 1u);
}

struct LargeBlocks : BlockDevice {
	LargeBlocks() : BlockDevice{{disk_size, 4096, false, 3, ""}} {}
};

TEST_F(LargeBlocks, AreNotDivided)
{
	EXPECT_EQ(registers.read(VIRTIO_MMIO_CONFIG + offsetof(virtio_blk_config, blk_size), 4), 4096u);
	EXPECT_EQ(registers.read(VIRTIO_MMIO_CONFIG + offsetof(virtio_blk_config, physical_block_exp), 1), 0u);
	driver.start();
	EXPECT_EQ(answer(VIRTIO_BLK_T_IN, 0, {}, 512), VIRTIO_BLK_S_IOERR);
	EXPECT_EQ(answer(VIRTIO_BLK_T_IN, 1, {}, 4096), VIRTIO_BLK_S_IOERR);
	EXPECT_EQ(answer(VIRTIO_BLK_T_DISCARD, 0, bytes_of(range(8, 4))), VIRTIO_BLK_S_IOERR);
	send(VIRTIO_BLK_T_IN, 8, {}, 4096);
	EXPECT_EQ(backend.started.size(), 1u);
}

TEST_F(LargeBlocks, HaveSeveralQueues)
{
	EXPECT_TRUE(driver.offered_features() >> VIRTIO_BLK_F_MQ & 1);
	EXPECT_EQ(registers.read(VIRTIO_MMIO_CONFIG + offsetof(virtio_blk_config, num_queues), 2), 3u);
	ASSERT_EQ(registers.queue_count(), 3u);
	driver.start();
	for (unsigned index = 0; index < 3; index++)
		send(VIRTIO_BLK_T_IN, 0, {}, 4096, index);
	ASSERT_EQ(backend.started.size(), 3u);
	complete(2);
	EXPECT_EQ(queue(2).used_index(), 1);
	EXPECT_EQ(queue(0).used_index(), 0);
}

} // namespace
} // namespace lguest::test
