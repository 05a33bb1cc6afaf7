// SPDX-License-Identifier: GPL-2.0-only
// Virtqueues against well-behaved and hostile drivers.
#include "virtio_fake_driver.h"

#include <gtest/gtest.h>

namespace lguest::test {
namespace {

class Queue : public testing::Test {
protected:
	void start(std::uint16_t size = 16, bool event_idx = false)
	{
		driver.emplace(guest, size);
		queue.set_size(size);
		queue.rings = {driver->descriptors, driver->available, driver->used};
		queue.start(event_idx);
	}
	// What pop() complains about; empty if it does not.
	std::string complaint()
	{
		try {
			queue.pop();
			return {};
		} catch (const DriverError &error) {
			return error.what();
		}
	}

	FakeGuest guest;
	Virtqueue queue{guest.memory, 256};
	std::optional<FakeQueue> driver;
};

std::string text(std::span<const std::byte> bytes)
{
	return {reinterpret_cast<const char *>(bytes.data()), bytes.size()};
}

TEST_F(Queue, IsEmptyUntilStartedAndFed)
{
	EXPECT_FALSE(queue.pop());
	start();
	EXPECT_FALSE(queue.pop());
}

TEST_F(Queue, PassesBuffersInOrder)
{
	start();
	driver->chain().readable("one").readable("two").writable(7).submit();
	auto chain = queue.pop();
	ASSERT_TRUE(chain);
	ASSERT_EQ(chain->readable().size(), 2u);
	EXPECT_EQ(text(chain->readable()[0]), "one");
	EXPECT_EQ(text(chain->readable()[1]), "two");
	ASSERT_EQ(chain->writable().size(), 1u);
	EXPECT_EQ(chain->writable()[0].size(), 7u);
	EXPECT_FALSE(queue.pop());
	queue.push(std::move(*chain), 5);
	EXPECT_EQ(driver->used_index(), 1);
	EXPECT_EQ(driver->used_element(0).id, 0u);
	EXPECT_EQ(driver->used_element(0).length, 5u);
	EXPECT_EQ(queue.counters().chains, 1u);
	EXPECT_EQ(queue.counters().bytes_out, 6u);
	EXPECT_EQ(queue.counters().bytes_in, 5u);
}

TEST_F(Queue, FollowsIndirectTables)
{
	start();
	driver->chain().readable("in").writable(3).indirect().submit();
	auto chain = queue.pop();
	ASSERT_TRUE(chain);
	EXPECT_EQ(text(chain->readable()[0]), "in");
	EXPECT_EQ(chain->writable()[0].size(), 3u);
}

TEST_F(Queue, IndicesWrap)
{
	start(4);
	guest.store(driver->available + 4, std::uint16_t{0});
	for (unsigned round = 0; round < 70000; round++) {
		driver->next_descriptor = 0;
		driver->set_descriptor(0, {0x1000, 1, 0, 0});
		driver->submit(0);
		auto chain = queue.pop();
		ASSERT_TRUE(chain) << round;
		queue.push(std::move(*chain), 0);
	}
	EXPECT_EQ(driver->used_index(), 70000 % 65536);
}

TEST_F(Queue, RejectsRingsThatDoNotFit)
{
	FakeQueue good{guest, 16};
	for (auto rings : {Virtqueue::Rings{good.descriptors + 8, good.available, good.used},
			   Virtqueue::Rings{good.descriptors, good.available + 1, good.used},
			   Virtqueue::Rings{good.descriptors, good.available, good.used + 2},
			   Virtqueue::Rings{guest.memory.size() - 16, good.available, good.used},
			   Virtqueue::Rings{good.descriptors, guest.memory.size() - 2, good.used},
			   Virtqueue::Rings{good.descriptors, good.available, ~3ull}}) {
		queue.set_size(16);
		queue.rings = rings;
		EXPECT_THROW(queue.start(false), DriverError);
		EXPECT_FALSE(queue.ready());
	}
}

TEST_F(Queue, RejectsSizes)
{
	for (unsigned size : {0u, 3u, 512u, 65536u, 0x10010u})
		EXPECT_THROW(queue.set_size(size), DriverError) << size;
}

TEST_F(Queue, RejectsHostileChains)
{
	start();
	auto reject = [&](const char *what) {
		EXPECT_EQ(complaint(), what);
		queue.reset();
		start();
	};
	driver->set_descriptor(3, {0x1000, 4, ring::descriptor_next, 3});
	driver->submit(3);
	reject("descriptor chain loops");

	driver->set_descriptor(0, {0x1000, 4, ring::descriptor_next, 1});
	driver->set_descriptor(1, {0x1000, 4, ring::descriptor_next, 0});
	driver->submit(0);
	reject("descriptor chain loops");

	driver->submit(16);
	reject("descriptor index outside its table");

	driver->chain().raw(guest.memory.size() - 1, 2, 0).submit();
	reject("buffer outside memory");
	driver->chain().raw(~0ull, 2, 0).submit();
	reject("buffer outside memory");
	driver->chain().raw(~0ull - 0xffffffff, 0xffffffff, 0).submit();
	reject("buffer outside memory");

	driver->chain().writable(1).readable("x").submit();
	reject("readable buffer behind a writable one");

	driver->chain().raw(0x1000, 0, ring::descriptor_indirect).submit();
	reject("indirect table of 0 bytes");
	driver->chain().raw(0x1000, 17, ring::descriptor_indirect).submit();
	reject("indirect table of 17 bytes");
	driver->chain().raw(0x1000, 16 * 1025, ring::descriptor_indirect).submit();
	reject("indirect table of 16400 bytes");
	driver->chain().raw(guest.memory.size() - 16, 32, ring::descriptor_indirect).submit();
	reject("indirect table outside memory");
	driver->chain().readable("x").indirect().indirect().submit();
	reject("indirect table inside an indirect table");
	driver->chain().raw(0x1000, 16, ring::descriptor_indirect).readable("x").submit();
	reject("indirect descriptor with a next one");

	guest.store(driver->available + 2, std::uint16_t{17});
	reject("available index jumped");
	guest.store(driver->available + 2, std::uint16_t{0xffff});
	reject("available index jumped");
}

TEST_F(Queue, ChainAsLongAsTheLimit)
{
	start();
	std::uint64_t table = guest.allocate(16 * Virtqueue::max_chain);
	for (unsigned index = 0; index < Virtqueue::max_chain; index++)
		guest.store(table + 16 * index, ring::Descriptor{0x1000, 1, index + 1 < Virtqueue::max_chain,
								  static_cast<std::uint16_t>(index + 1)});
	driver->chain().raw(table, 16 * Virtqueue::max_chain, ring::descriptor_indirect).submit();
	auto chain = queue.pop();
	ASSERT_TRUE(chain);
	EXPECT_EQ(chain->readable().size(), Virtqueue::max_chain);

	driver->chain().readable("one too many").raw(table, 16 * Virtqueue::max_chain, ring::descriptor_indirect).submit();
	EXPECT_EQ(complaint(), "descriptor chain too long");
}

TEST_F(Queue, ForgetsChainsOverReset)
{
	start();
	driver->chain().readable("x").submit();
	auto chain = queue.pop();
	queue.reset();
	start();
	queue.push(std::move(*chain), 0);
	EXPECT_EQ(driver->used_index(), 0);
}

TEST_F(Queue, InterruptsByFlag)
{
	start();
	EXPECT_FALSE(queue.interrupt_wanted());
	driver->chain().readable("x").submit();
	queue.push(*queue.pop(), 0);
	EXPECT_TRUE(queue.interrupt_wanted());
	EXPECT_FALSE(queue.interrupt_wanted());
	driver->set_no_interrupt();
	driver->chain().readable("x").submit();
	queue.push(*queue.pop(), 0);
	EXPECT_FALSE(queue.interrupt_wanted());
}

TEST_F(Queue, InterruptsByEventIndex)
{
	start(16, true);
	driver->set_used_event(1);
	driver->chain().readable("x").submit();
	queue.push(*queue.pop(), 0);
	EXPECT_FALSE(queue.interrupt_wanted());
	driver->chain().readable("x").submit();
	queue.push(*queue.pop(), 0);
	EXPECT_TRUE(queue.interrupt_wanted());
}

TEST_F(Queue, DoorbellsByFlagAndEventIndex)
{
	start();
	queue.disable_doorbell();
	EXPECT_EQ(guest.load<std::uint16_t>(driver->used), ring::used_no_notify);
	EXPECT_FALSE(queue.enable_doorbell());
	EXPECT_EQ(guest.load<std::uint16_t>(driver->used), 0);
	driver->chain().readable("x").submit();
	EXPECT_TRUE(queue.enable_doorbell());

	queue.reset();
	start(16, true);
	driver->chain().readable("x").submit();
	queue.push(*queue.pop(), 0);
	EXPECT_FALSE(queue.enable_doorbell());
	EXPECT_EQ(driver->avail_event(), 1);
}

static_assert(ring::passed(0, 1, 0));
static_assert(!ring::passed(1, 1, 0));
static_assert(ring::passed(0xffff, 0, 0xffff));
static_assert(!ring::passed(5, 5, 5));

} // namespace
} // namespace lguest::test
