// SPDX-License-Identifier: GPL-2.0-only
// A driver that obeys no rule, against the register file, the queues and the console.
// The input is a program: register accesses, writes to the rings, doorbells, events
// of the host's side.  Nothing may crash, hang, or put more than its share into the host.
#include "fuzz_driver.h"
#include "fuzz_input.h"

#include "bus.h"
#include "console.h"

#include <cstdint>

namespace {

using namespace lguest;
using namespace lguest::test;

struct Host final : ConsoleHost {
	std::size_t write(std::span<const std::byte> bytes) override
	{
		// Touch what we are given, as a copy would.
		for (std::size_t at = 0; at < bytes.size(); at += 4096)
			seen ^= bytes[at];
		std::size_t taken = std::min(bytes.size(), room);
		room -= taken;
		return taken;
	}
	void input_wanted() override {}
	bool connected() override { return present; }
	std::size_t room = 4096;
	std::byte seen{};
	bool present = true;
};

enum Operation : std::uint8_t { read_bus, write_bus, ring_doorbell, store_memory, send, receive, host_room, host_input, resize, restart, connect, operations };

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size)
{
	FakeGuest guest{1 << 16};
	Host host;
	Console console{host};
	console.add_port(host, "port");
	RegisterFile registers{guest.memory, console, guest};
	FakeDriver driver{guest, registers};
	Bus bus;
	bus.attach(registers);
	driver.start(8);

	Input input{data, size};
	for (unsigned steps = 0; !input.empty() && steps < 1000; steps++) {
		switch (input.take<std::uint8_t>() % operations) {
		case read_bus: {
			auto address = input.take<std::uint16_t>();
			bus.read(address, input.take<std::uint8_t>() % 9);
			break;
		}
		case write_bus: {
			auto address = input.take<std::uint16_t>();
			auto width = input.take<std::uint8_t>() % 9;
			bus.write(address, width, input.take<std::uint32_t>());
			break;
		}
		case ring_doorbell:
			bus.doorbell(input.take<std::uint8_t>() % 2, input.take<std::uint8_t>());
			break;
		case store_memory:
			guest.store(input.take<std::uint16_t>() & 0xfff8, input.take<std::uint64_t>());
			break;
		case send:
		case receive: {
			FakeQueue &queue = driver.queue(input.take<std::uint8_t>() % registers.queue_count());
			queue.set_descriptor(input.take<std::uint8_t>() % 8, input.take<ring::Descriptor>());
			queue.submit(input.take<std::uint8_t>() % 9);
			break;
		}
		case host_room:
			host.room = input.take<std::uint16_t>();
			registers.with_device([&](Transport &transport) { console.resume_output(transport, input.take<std::uint8_t>() & 1); });
			break;
		case host_input: {
			const std::byte bytes[100]{};
			registers.with_device([&](Transport &transport) { console.input(transport, input.take<std::uint8_t>() & 1, bytes); });
			break;
		}
		case resize:
			registers.with_device([&](Transport &transport) { console.resize(transport, input.take<std::uint8_t>(), 1); });
			break;
		case connect:
			host.present = input.take<std::uint8_t>() & 1;
			registers.with_device([&](Transport &transport) {
				console.connection_changed(transport, input.take<std::uint8_t>() & 1);
				console.hang_up(transport, input.take<std::uint8_t>() & 1);
			});
			break;
		case restart:
			restart_device(driver, registers, input.take<std::uint32_t>());
			break;
		}
		serve_doorbells(guest, registers);
	}
	return 0;
}
