// SPDX-License-Identifier: GPL-2.0-only
// The entropy device, driven as a guest would.
#include "virtio_fake_driver.h"

#include "entropy.h"

#include <linux/virtio_ids.h>

#include <gtest/gtest.h>

namespace lguest::test {
namespace {

struct FakeEntropyHost final : EntropyHost {
	void fill(std::span<std::byte> buffer) override
	{
		std::ranges::fill(buffer, std::byte{'r'});
		given += buffer.size();
	}
	void allowance_used() override { used_up++; }

	std::uint64_t given = 0;
	unsigned used_up = 0;
};

struct Machine {
	explicit Machine(std::uint64_t allowance = Entropy::no_limit) : entropy{host, allowance} {}

	void notify()
	{
		driver.set(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
		run_doorbells();
	}
	void run_doorbells()
	{
		for (; !guest.doorbells.empty(); guest.doorbells.pop_front())
			registers.process(guest.doorbells.front());
	}
	void resume(std::uint64_t allowance)
	{
		registers.with_device([&](Transport &transport) { entropy.resume(transport, allowance); });
	}
	FakeQueue &queue() { return driver.queue(0); }
	void ask(std::uint32_t size)
	{
		queue().chain().writable(size).submit();
		notify();
	}

	FakeGuest guest;
	FakeEntropyHost host;
	Entropy entropy;
	RegisterFile registers{guest.memory, entropy, guest};
	FakeDriver driver{guest, registers};
};

TEST(Entropy, FillsWhatItIsGiven)
{
	Machine machine;
	EXPECT_EQ(machine.driver.get(VIRTIO_MMIO_DEVICE_ID), std::uint32_t{VIRTIO_ID_RNG});
	EXPECT_EQ(machine.registers.queue_count(), 1u);
	machine.driver.start();
	auto chain = machine.queue().chain().writable(10).writable(0).writable(7);
	chain.submit();
	machine.notify();
	EXPECT_EQ(machine.queue().used_element(0).length, 17u);
	EXPECT_EQ(machine.guest.text(chain.address(0), 10), std::string(10, 'r'));
	EXPECT_EQ(machine.guest.text(chain.address(2), 7), std::string(7, 'r'));
	EXPECT_EQ(machine.guest.interrupts, 1u);
	EXPECT_EQ(machine.host.used_up, 0u);
}

TEST(Entropy, RequestWithoutRoomIsAnError)
{
	for (bool empty : {false, true}) {
		Machine machine;
		machine.driver.start();
		auto chain = machine.queue().chain();
		(empty ? chain.writable(0) : chain.readable("give")).submit();
		machine.notify();
		EXPECT_TRUE(machine.driver.needs_reset());
		machine.driver.start();
		machine.ask(4);
		EXPECT_EQ(machine.queue().used_index(), 1);
	}
}

TEST(Entropy, HugeRequestsAndFullQueuesAreBounded)
{
	Machine machine;
	machine.driver.start(64);
	auto chain = machine.queue().chain();
	for (unsigned part = 0; part < 500; part++)
		chain.raw(0x8000, 0x10000, ring::descriptor_write);
	chain.indirect().submit();
	machine.notify();
	EXPECT_EQ(machine.queue().used_element(0).length, 64u << 10);
	EXPECT_EQ(machine.host.given, 64u << 10);
}

TEST(Entropy, StopsWhenTheAllowanceIsUsed)
{
	Machine machine{10};
	machine.driver.start();
	machine.ask(4);
	EXPECT_EQ(machine.host.used_up, 0u);
	machine.ask(100);	// gets what is left
	EXPECT_EQ(machine.queue().used_element(1).length, 6u);
	EXPECT_EQ(machine.host.used_up, 1u);
	machine.ask(3);
	machine.ask(8);
	EXPECT_EQ(machine.queue().used_index(), 2);
	EXPECT_EQ(machine.host.used_up, 1u);	// said once

	machine.resume(10);
	EXPECT_EQ(machine.queue().used_element(2).length, 3u);
	EXPECT_EQ(machine.queue().used_element(3).length, 7u);
	EXPECT_EQ(machine.host.given, 20u);
	EXPECT_EQ(machine.host.used_up, 2u);
	machine.resume(10);	// nobody asks: it is not used up, nor added to what comes
	machine.resume(10);
	EXPECT_EQ(machine.host.used_up, 2u);
	machine.ask(100);
	EXPECT_EQ(machine.queue().used_element(4).length, 10u);
}

TEST(Entropy, WaitsWithoutLimitForRequests)
{
	Machine machine;
	machine.driver.start();
	for (unsigned count = 1; count <= 100; count++) {
		machine.ask(1);
		EXPECT_EQ(machine.queue().used_index(), count);
	}
}

TEST(Entropy, ADriverThatComesBackWhileItStarvesIsServed)
{
	Machine machine{1};
	machine.driver.start();
	machine.ask(1);
	machine.ask(1);
	EXPECT_EQ(machine.host.used_up, 1u);
	machine.driver.set(VIRTIO_MMIO_STATUS, 0);
	machine.resume(1);		// comes to nothing: there is no driver
	EXPECT_EQ(machine.host.given, 1u);
	machine.driver.start();
	EXPECT_EQ(machine.host.used_up, 2u);	// so it asks again
	machine.ask(1);
	EXPECT_EQ(machine.queue().used_index(), 0);
	machine.resume(1);
	EXPECT_EQ(machine.queue().used_index(), 1);
	EXPECT_EQ(machine.host.given, 2u);
}

TEST(Entropy, ADriverThatBreaksWhileItStarvesIsServedAfterItsReset)
{
	Machine machine{1};
	machine.driver.start();
	machine.ask(1);
	machine.queue().submit(99);
	machine.resume(1);		// finds what is wrong
	EXPECT_TRUE(machine.driver.needs_reset());
	machine.resume(1);
	machine.driver.start();
	machine.resume(1);
	machine.ask(1);
	EXPECT_EQ(machine.queue().used_index(), 1);
}

} // namespace
} // namespace lguest::test
