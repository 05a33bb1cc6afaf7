// SPDX-License-Identifier: GPL-2.0-only
// The register file, the bus and the console, driven as a guest would.
#include "virtio_fake_driver.h"

#include "bus.h"
#include "console.h"

#include <linux/virtio_ids.h>

#include <gtest/gtest.h>

namespace lguest::test {
namespace {

struct FakeHost final : ConsoleHost {
	std::size_t write(std::span<const std::byte> bytes) override
	{
		std::size_t taken = std::min(bytes.size(), room);
		output.append(reinterpret_cast<const char *>(bytes.data()), taken);
		room -= taken;
		return taken;
	}
	void write_last(std::span<const std::byte> bytes) override
	{
		output.append(reinterpret_cast<const char *>(bytes.data()), bytes.size());
	}
	void input_wanted() override { wanted++; }

	std::string output;
	std::size_t room = SIZE_MAX;
	unsigned wanted = 0;
};

class ConsoleDevice : public testing::Test {
protected:
	// Features a driver leaves out that knows of one port only.
	static constexpr std::uint64_t one_port = 1ull << VIRTIO_CONSOLE_F_MULTIPORT;

	// As the event loop does.
	void run_doorbells()
	{
		while (!guest.doorbells.empty()) {
			unsigned queue = guest.doorbells.front();
			guest.doorbells.pop_front();
			registers.process(queue);
		}
	}
	void send(FakeQueue::Chain chain)
	{
		chain.submit();
		driver.set(VIRTIO_MMIO_QUEUE_NOTIFY, Console::transmit_queue(0));
		run_doorbells();
	}
	std::size_t input(std::string_view text)
	{
		std::size_t taken = 0;
		registers.with_device([&](Transport &transport) {
			taken = console.input(transport, 0, std::as_bytes(std::span{text}));
		});
		return taken;
	}

	FakeGuest guest;
	FakeHost host;
	Console console{host};
	RegisterFile registers{guest.memory, console, guest};
	FakeDriver driver{guest, registers};
};

TEST_F(ConsoleDevice, IdentifiesItself)
{
	EXPECT_EQ(driver.get(VIRTIO_MMIO_MAGIC_VALUE), 0x74726976u);
	EXPECT_EQ(driver.get(VIRTIO_MMIO_VERSION), 2u);
	EXPECT_EQ(driver.get(VIRTIO_MMIO_DEVICE_ID), std::uint32_t{VIRTIO_ID_CONSOLE});
	EXPECT_NE(driver.get(VIRTIO_MMIO_VENDOR_ID), 0u);
	EXPECT_TRUE(driver.offered_features() & (1ull << VIRTIO_F_VERSION_1));
	driver.set(VIRTIO_MMIO_QUEUE_SEL, 1);
	EXPECT_EQ(driver.get(VIRTIO_MMIO_QUEUE_NUM_MAX), 256u);
	driver.set(VIRTIO_MMIO_QUEUE_SEL, 4);
	EXPECT_EQ(driver.get(VIRTIO_MMIO_QUEUE_NUM_MAX), 0u);
	EXPECT_EQ(driver.get(VIRTIO_MMIO_SHM_LEN_LOW), ~0u);
}

TEST_F(ConsoleDevice, AcceptsOnlyRegisterSizedAccesses)
{
	EXPECT_EQ(registers.read(VIRTIO_MMIO_MAGIC_VALUE, 2), 0u);
	EXPECT_EQ(registers.read(VIRTIO_MMIO_MAGIC_VALUE + 1, 4), 0u);
	registers.write(VIRTIO_MMIO_STATUS, 1, 1);
	EXPECT_EQ(driver.status(), 0u);
}

TEST_F(ConsoleDevice, RefusesFeatures)
{
	driver.negotiate(1ull << VIRTIO_F_VERSION_1);
	EXPECT_FALSE(driver.status() & VIRTIO_CONFIG_S_FEATURES_OK);
	driver.set(VIRTIO_MMIO_STATUS, 0);
	driver.accept(driver.offered_features() | 1ull << 40);
	driver.set(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK);
	EXPECT_FALSE(driver.status() & VIRTIO_CONFIG_S_FEATURES_OK);
	driver.driver_ok();
	EXPECT_FALSE(driver.status() & VIRTIO_CONFIG_S_DRIVER_OK);
}

TEST_F(ConsoleDevice, FeaturesAreFixedOnceAccepted)
{
	driver.negotiate();
	driver.accept(~0ull);
	driver.set_up_queue(0, 16);
	driver.driver_ok();
	EXPECT_TRUE(driver.status() & VIRTIO_CONFIG_S_DRIVER_OK);
}

TEST_F(ConsoleDevice, PassesOutput)
{
	driver.start();
	send(driver.queue(1).chain().readable("hello ").readable("world"));
	EXPECT_EQ(host.output, "hello world");
	EXPECT_EQ(driver.queue(1).used_index(), 1);
	EXPECT_EQ(guest.interrupts, 1u);
	EXPECT_EQ(driver.get(VIRTIO_MMIO_INTERRUPT_STATUS), std::uint32_t{VIRTIO_MMIO_INT_VRING});
	driver.set(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
	EXPECT_EQ(driver.get(VIRTIO_MMIO_INTERRUPT_STATUS), 0u);
}

TEST_F(ConsoleDevice, OutputBeforeDriverOkIsNotLost)
{
	driver.negotiate();
	driver.set_up_queue(0, 16);
	driver.set_up_queue(1, 16).chain().readable("early").submit();
	driver.set(VIRTIO_MMIO_QUEUE_NOTIFY, 1);
	EXPECT_TRUE(guest.doorbells.empty());
	driver.driver_ok();
	run_doorbells();
	EXPECT_EQ(host.output, "early");
}

TEST_F(ConsoleDevice, OutputWaitsForTheHost)
{
	driver.start();
	host.room = 4;
	driver.queue(1).chain().readable("abc").submit();
	send(driver.queue(1).chain().readable("def").readable("ghi"));
	EXPECT_EQ(host.output, "abcd");
	EXPECT_EQ(driver.queue(1).used_index(), 1);
	host.room = 100;
	registers.with_device([&](Transport &transport) { console.resume_output(transport, 0); });
	EXPECT_EQ(host.output, "abcdefghi");
	EXPECT_EQ(driver.queue(1).used_index(), 2);
}

TEST_F(ConsoleDevice, HugeChainsDoNotGrowTheHost)
{
	driver.start();
	host.room = 1000;
	auto chain = driver.queue(1).chain();
	for (unsigned part = 0; part < 100; part++)
		chain.raw(0, static_cast<std::uint32_t>(guest.memory.size()), 0);
	send(chain.indirect());
	EXPECT_EQ(host.output.size(), 1000u);
}

TEST_F(ConsoleDevice, EmptyChainsDoNotKeepTheThread)
{
	driver.start(256);
	for (unsigned count = 0; count < 256; count++)
		driver.queue(1).chain().raw(0, 0, 0).submit();
	registers.process(1);
	EXPECT_EQ(driver.queue(1).used_index(), 256);
}

TEST_F(ConsoleDevice, PassesInput)
{
	EXPECT_EQ(input("too early"), 0u);
	driver.start(16, one_port);
	auto first = driver.queue(0).chain().writable(4);
	auto second = driver.queue(0).chain().writable(2).writable(10);
	first.submit();
	second.submit();
	EXPECT_EQ(input("0123456789"), 10u);
	EXPECT_EQ(driver.queue(0).used_element(0).length, 4u);
	EXPECT_EQ(driver.queue(0).used_element(1).length, 6u);
	EXPECT_EQ(guest.text(first.address(0), 4), "0123");
	EXPECT_EQ(guest.text(second.address(0), 2) + guest.text(second.address(1), 4), "456789");
	EXPECT_EQ(input("more"), 0u);
	run_doorbells();
	host.wanted = 0;
	driver.queue(0).chain().writable(4).submit();
	driver.set(VIRTIO_MMIO_QUEUE_NOTIFY, Console::receive_queue(0));
	run_doorbells();
	EXPECT_EQ(host.wanted, 1u);
}

TEST_F(ConsoleDevice, BrokenDriverNeedsReset)
{
	driver.start();
	driver.queue(1).submit(99);
	registers.process(1);
	EXPECT_TRUE(driver.needs_reset());
	EXPECT_FALSE(guest.reason.empty());
	EXPECT_EQ(driver.get(VIRTIO_MMIO_INTERRUPT_STATUS), std::uint32_t{VIRTIO_MMIO_INT_CONFIG});
	guest.interrupts = 0;
	registers.process(1);
	EXPECT_EQ(guest.interrupts, 0u);

	guest.doorbells.clear();
	driver.start();
	EXPECT_FALSE(driver.needs_reset());
	send(driver.queue(1).chain().readable("again"));
	EXPECT_EQ(host.output, "again");
}

TEST_F(ConsoleDevice, ReceiveBufferWithoutRoomIsAnError)
{
	driver.start(16, one_port);
	driver.queue(0).chain().readable("not writable").submit();
	EXPECT_EQ(input("x"), 0u);
	EXPECT_TRUE(driver.needs_reset());
}

TEST_F(ConsoleDevice, ResetFinishesWhatIsUnderWay)
{
	driver.start();
	host.room = 1;
	send(driver.queue(1).chain().readable("abc"));
	driver.set(VIRTIO_MMIO_STATUS, 0);
	EXPECT_EQ(driver.status(), 0u);
	host.room = 100;
	driver.start();
	send(driver.queue(1).chain().readable("new"));
	EXPECT_EQ(host.output, "abcnew");
	EXPECT_EQ(driver.queue(1).used_index(), 1);
}

TEST_F(ConsoleDevice, ConfigHasTheSize)
{
	console.set_initial_size(80, 25);
	EXPECT_EQ(registers.read(VIRTIO_MMIO_CONFIG, 2), 80u);
	EXPECT_EQ(registers.read(VIRTIO_MMIO_CONFIG + 2, 2), 25u);
	EXPECT_EQ(registers.read(VIRTIO_MMIO_CONFIG, 4), 80u | 25u << 16);
	EXPECT_EQ(registers.read(VIRTIO_MMIO_CONFIG + 0x800, 8), 0u);
	driver.start();
	std::uint32_t before = driver.get(VIRTIO_MMIO_CONFIG_GENERATION);
	registers.with_device([&](Transport &transport) { console.resize(transport, 132, 43); });
	EXPECT_NE(driver.get(VIRTIO_MMIO_CONFIG_GENERATION), before);
	EXPECT_EQ(driver.get(VIRTIO_MMIO_INTERRUPT_STATUS), std::uint32_t{VIRTIO_MMIO_INT_CONFIG});
	EXPECT_EQ(registers.read(VIRTIO_MMIO_CONFIG, 2), 132u);
}

TEST_F(ConsoleDevice, EmergencyWriteNeedsNoDriver)
{
	registers.write(VIRTIO_MMIO_CONFIG + offsetof(virtio_console_config, emerg_wr), 4, '!');
	EXPECT_EQ(host.output, "!");
}

// What the host has told the driver since `from`: (port, event) and what follows.
struct Told {
	unsigned port, event;
	std::string rest;
	bool operator==(const Told &) const = default;
};

TEST(ConsolePorts, ComeUpAsAgreed)
{
	FakeGuest guest;
	FakeHost terminal, other;
	Console console{terminal};
	EXPECT_EQ(console.add_port(other, "data"), 1u);
	console.set_initial_size(80, 25);
	RegisterFile registers{guest.memory, console, guest};
	ASSERT_EQ(registers.queue_count(), 6u);
	EXPECT_EQ(registers.read(VIRTIO_MMIO_CONFIG + 4, 4), 2u);
	FakeDriver driver{guest, registers};
	driver.start();
	auto run = [&] {
		for (; !guest.doorbells.empty(); guest.doorbells.pop_front())
			registers.process(guest.doorbells.front());
	};
	FakeQueue &from_host = driver.queue(Console::control_to_guest);
	std::vector<FakeQueue::Chain> buffers;
	auto give_buffers = [&](unsigned count) {
		while (count--) {
			buffers.push_back(from_host.chain().writable(64));
			buffers.back().submit();
		}
		driver.set(VIRTIO_MMIO_QUEUE_NOTIFY, Console::control_to_guest);
		run();
	};
	unsigned seen = 0;
	auto told = [&] {
		std::vector<Told> result;
		for (; seen < from_host.used_index(); seen++) {
			auto at = buffers.at(seen).address(0);
			auto message = guest.load<virtio_console_control>(at);
			result.push_back({message.id, message.event,
					  guest.text(at + sizeof(message), from_host.used_element(seen).length - sizeof(message))});
		}
		return result;
	};
	auto say = [&](std::uint32_t port, std::uint16_t event, std::uint16_t value) {
		virtio_console_control message{port, event, value};
		driver.queue(Console::control_from_guest).chain()
			.readable({reinterpret_cast<const char *>(&message), sizeof(message)}).submit();
		driver.set(VIRTIO_MMIO_QUEUE_NOTIFY, Console::control_from_guest);
		run();
	};
	auto input = [&](unsigned port) {
		std::size_t taken = 0;
		registers.with_device([&](Transport &transport) {
			taken = console.input(transport, port, std::as_bytes(std::span{"x", 1}));
		});
		return taken;
	};

	give_buffers(1);
	say(~0u, VIRTIO_CONSOLE_DEVICE_READY, 1);
	EXPECT_EQ(told(), (std::vector<Told>{{0, VIRTIO_CONSOLE_PORT_ADD, ""}}));
	give_buffers(8);	// the rest waited for them
	EXPECT_EQ(told(), (std::vector<Told>{{1, VIRTIO_CONSOLE_PORT_ADD, ""}}));
	say(0, VIRTIO_CONSOLE_PORT_READY, 1);
	EXPECT_EQ(told(), (std::vector<Told>{{0, VIRTIO_CONSOLE_CONSOLE_PORT, ""},
					     {0, VIRTIO_CONSOLE_PORT_OPEN, ""},
					     {0, VIRTIO_CONSOLE_RESIZE, std::string{"\x50\0\x19\0", 4}}}));
	say(1, VIRTIO_CONSOLE_PORT_READY, 1);
	EXPECT_EQ(told(), (std::vector<Told>{{1, VIRTIO_CONSOLE_PORT_NAME, "data"}, {1, VIRTIO_CONSOLE_PORT_OPEN, ""}}));

	driver.queue(Console::receive_queue(0)).chain().writable(8).submit();
	driver.queue(Console::receive_queue(1)).chain().writable(8).submit();
	EXPECT_EQ(input(0), 0u);
	terminal.wanted = 0;
	say(0, VIRTIO_CONSOLE_PORT_OPEN, 1);
	EXPECT_EQ(terminal.wanted, 1u);
	EXPECT_EQ(input(0), 1u);
	EXPECT_EQ(input(1), 0u);
	registers.with_device([&](Transport &transport) { console.resize(transport, 100, 30); });
	EXPECT_EQ(told(), (std::vector<Told>{{0, VIRTIO_CONSOLE_RESIZE, std::string{"\x64\0\x1e\0", 4}}}));

	driver.queue(Console::transmit_queue(1)).chain().readable("to port 1").submit();
	driver.set(VIRTIO_MMIO_QUEUE_NOTIFY, Console::transmit_queue(1));
	run();
	EXPECT_EQ(other.output, "to port 1");
	EXPECT_EQ(terminal.output, "");

	// The end of file waits until the guest has opened the port.
	auto hang_up = [&] { registers.with_device([&](Transport &transport) { console.hang_up(transport, 1); }); };
	hang_up();
	EXPECT_EQ(told(), std::vector<Told>{});
	say(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	hang_up();
	auto last = guest.load<virtio_console_control>(buffers.at(seen).address(0));
	EXPECT_EQ(told(), (std::vector<Told>{{1, VIRTIO_CONSOLE_PORT_OPEN, ""}}));
	EXPECT_EQ(last.value, 0);

	say(77, VIRTIO_CONSOLE_PORT_READY, 1);
	say(0, 999, 1);
	EXPECT_FALSE(driver.needs_reset());
	driver.queue(Console::control_from_guest).chain().readable("short").submit();
	registers.process(Console::control_from_guest);
	EXPECT_TRUE(driver.needs_reset());
}

TEST_F(ConsoleDevice, QueueCannotMoveWhileReady)
{
	driver.start();
	driver.set(VIRTIO_MMIO_QUEUE_SEL, 1);
	driver.set(VIRTIO_MMIO_QUEUE_DESC_LOW, 0xfffffff0);
	driver.set(VIRTIO_MMIO_QUEUE_NUM, 4);
	send(driver.queue(1).chain().readable("still"));
	EXPECT_EQ(host.output, "still");
}

TEST_F(ConsoleDevice, BadQueueNeedsReset)
{
	driver.negotiate();
	driver.set(VIRTIO_MMIO_QUEUE_SEL, 0);
	driver.set(VIRTIO_MMIO_QUEUE_DESC_HIGH, 0x7fffffff);
	driver.set(VIRTIO_MMIO_QUEUE_READY, 1);
	EXPECT_EQ(driver.get(VIRTIO_MMIO_QUEUE_READY), 0u);
	EXPECT_TRUE(driver.needs_reset());
	EXPECT_EQ(guest.interrupts, 0u);	// there is no driver to interrupt yet
}

TEST_F(ConsoleDevice, LastWordsBeforeAResetAreHeard)
{
	driver.start(16, one_port);
	host.room = 2;
	send(driver.queue(Console::transmit_queue(0)).chain().readable("one "));
	send(driver.queue(Console::transmit_queue(0)).chain().readable("two"));
	EXPECT_EQ(host.output, "on");
	driver.set(VIRTIO_MMIO_STATUS, 0);
	EXPECT_EQ(host.output, "one two");
	// Nothing is said twice, and a ring that is broken by then breaks nothing.
	driver.start(16, one_port);
	driver.queue(Console::transmit_queue(0)).submit(999);
	driver.set(VIRTIO_MMIO_STATUS, 0);
	EXPECT_EQ(driver.status(), 0u);
	EXPECT_EQ(host.output, "one two");
}

TEST_F(ConsoleDevice, StatusIsMirroredWhereTheDriverWantsIt)
{
	std::uint64_t word = guest.allocate(4, 4);
	guest.store<std::uint32_t>(word, 0);
	driver.start();
	driver.set(LG_BUS_STATUS_WORD_LOW, static_cast<std::uint32_t>(word));
	driver.set(LG_BUS_STATUS_WORD_HIGH, 0);
	send(driver.queue(Console::transmit_queue(0)).chain().readable("x"));
	EXPECT_EQ(guest.load<std::uint32_t>(word), static_cast<std::uint32_t>(VIRTIO_MMIO_INT_VRING));
	registers.with_device([&](Transport &transport) { transport.config_changed(); });
	EXPECT_EQ(guest.load<std::uint32_t>(word), static_cast<std::uint32_t>(VIRTIO_MMIO_INT_VRING | VIRTIO_MMIO_INT_CONFIG));
	// The driver takes them; only what is new appears.
	guest.store<std::uint32_t>(word, 0);
	registers.with_device([&](Transport &transport) { transport.config_changed(); });
	EXPECT_EQ(guest.load<std::uint32_t>(word), static_cast<std::uint32_t>(VIRTIO_MMIO_INT_CONFIG));
}

TEST_F(ConsoleDevice, AResetForgetsTheStatusWord)
{
	std::uint64_t word = guest.allocate(4, 4);
	driver.start();
	driver.set(LG_BUS_STATUS_WORD_LOW, static_cast<std::uint32_t>(word));
	driver.set(LG_BUS_STATUS_WORD_HIGH, 0);
	driver.start();
	guest.store<std::uint32_t>(word, 0);
	registers.with_device([&](Transport &transport) { transport.config_changed(); });
	EXPECT_EQ(guest.load<std::uint32_t>(word), 0u);
}

TEST_F(ConsoleDevice, BadStatusWordNeedsReset)
{
	for (std::uint64_t word : {std::uint64_t{guest.memory.size()}, guest.memory.size() - 2, std::uint64_t{0x1002}, ~std::uint64_t{3}}) {
		driver.start();
		guest.reason.clear();
		driver.set(LG_BUS_STATUS_WORD_LOW, static_cast<std::uint32_t>(word));
		driver.set(LG_BUS_STATUS_WORD_HIGH, static_cast<std::uint32_t>(word >> 32));
		EXPECT_TRUE(driver.needs_reset()) << word;
		EXPECT_EQ(guest.reason, "status word misaligned or outside memory");
	}
}

TEST_F(ConsoleDevice, BusReachesSlots)
{
	Bus bus;
	EXPECT_EQ(bus.read(0, 4), 0u);
	EXPECT_EQ(bus.attach(registers), 0u);
	EXPECT_EQ(bus.read(0, 4), 0x74726976u);
	EXPECT_EQ(bus.read(LG_BUS_SLOT_SIZE, 4), 0u);
	EXPECT_EQ(bus.read(~0ull, 8), 0u);
	EXPECT_EQ(bus.read(LG_BUS_SLOT_SIZE - 2, 4), 0u);
	EXPECT_EQ(bus.read(0, 3), 0u);
	EXPECT_EQ(bus.read(0, 0), 0u);
	bus.write(~0ull - 3, 4, 1);
	driver.start();
	guest.doorbells.clear();
	bus.doorbell(0, 1);
	bus.doorbell(1, 1);
	bus.doorbell(0, 7);
	bus.doorbell(~0ull, ~0ull);
	EXPECT_EQ(guest.doorbells, (std::deque<unsigned>{1}));
	for (unsigned slot = 1; slot < LG_BUS_SLOTS; slot++)
		EXPECT_EQ(bus.attach(registers), slot);
	EXPECT_FALSE(bus.attach(registers));
}

} // namespace
} // namespace lguest::test
