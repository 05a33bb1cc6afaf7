// SPDX-License-Identifier: GPL-2.0-only
// A driver that obeys no rule, against the balloon and the entropy device, one behind
// each slot of the bus.  What the balloon releases must be whole pages of the memory,
// and each of them once in a chain; the entropy device keeps to its allowance.
#include "fuzz_driver.h"

#include "balloon.h"
#include "bus.h"
#include "entropy.h"

#include <fuzzer/FuzzedDataProvider.h>

#include <cstdint>

namespace {

using namespace lguest;
using namespace lguest::test;

struct Host final : BalloonHost, EntropyHost {
	explicit Host(const GuestMemory &memory) : memory{memory} {}

	void release(std::span<std::byte> pages) override
	{
		auto offset = static_cast<std::uint64_t>(pages.data() - memory.range(Gpa{0}, 0)->data());
		require(offset % Balloon::page_size == 0 && pages.size() % Balloon::page_size == 0 && !pages.empty());
		require(memory.range(Gpa{offset}, pages.size()).has_value());
		std::ranges::fill(pages, std::byte{});
	}
	void take_stats(std::span<const virtio_balloon_stat> stats) override
	{
		for (const virtio_balloon_stat &stat : stats)
			seen ^= stat.tag ^ stat.val;
	}
	void fill(std::span<std::byte> buffer) override
	{
		std::ranges::fill(buffer, std::byte{0x5a});
		given += buffer.size();
	}
	void allowance_used() override { starving = true; }

	const GuestMemory &memory;
	std::uint64_t seen = 0, given = 0;
	bool starving = false;
};

enum Operation : std::uint8_t { read_bus, write_bus, ring_doorbell, store_memory, submit, target, stats, resume, restart, kMaxValue = restart };

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size)
{
	constexpr std::uint64_t first_allowance = 100;
	FakeGuest guest{1 << 16}, other{1 << 16};	// two, for the sake of their doorbells
	Host host{guest.memory};
	Balloon balloon{guest.memory, host, {true, true}};
	Entropy entropy{host, first_allowance};
	RegisterFile balloon_registers{guest.memory, balloon, guest}, entropy_registers{other.memory, entropy, other};
	FakeDriver balloon_driver{guest, balloon_registers}, entropy_driver{other, entropy_registers};
	Bus bus;
	bus.attach(balloon_registers);
	bus.attach(entropy_registers);
	balloon_driver.start(8);
	entropy_driver.start(8);
	std::uint64_t allowed = first_allowance;

	FuzzedDataProvider input{data, size};
	auto number = [&]<typename T>(T) { return input.ConsumeIntegral<T>(); };
	for (unsigned steps = 0; input.remaining_bytes() > 0 && steps < 1000; steps++) {
		bool second = input.ConsumeBool();
		FakeGuest &its_guest = second ? other : guest;
		FakeDriver &driver = second ? entropy_driver : balloon_driver;
		RegisterFile &registers = second ? entropy_registers : balloon_registers;
		std::uint64_t window = second ? LG_BUS_SLOT_SIZE : 0;
		switch (input.ConsumeEnum<Operation>()) {
		case read_bus:
			bus.read(window + number(std::uint16_t{}) % LG_BUS_SLOT_SIZE, number(std::uint8_t{}) % 9);
			break;
		case write_bus:
			bus.write(window + number(std::uint16_t{}) % LG_BUS_SLOT_SIZE, number(std::uint8_t{}) % 9, number(std::uint32_t{}));
			break;
		case ring_doorbell:
			bus.doorbell(second, number(std::uint8_t{}) % 6);
			break;
		case store_memory:
			its_guest.store(number(std::uint16_t{}) & 0xfff8, number(std::uint64_t{}));
			break;
		case submit: {
			FakeQueue &queue = driver.queue(number(std::uint8_t{}) % registers.queue_count());
			queue.set_descriptor(number(std::uint8_t{}) % 8, {number(std::uint32_t{}), number(std::uint32_t{}),
									   number(std::uint16_t{}), number(std::uint16_t{})});
			queue.submit(number(std::uint8_t{}) % 9);
			break;
		}
		case target:
			balloon.set_target(number(std::uint32_t{}));
			balloon_registers.with_device([](Transport &transport) { transport.config_changed(); });
			break;
		case stats:
			balloon_registers.with_device([&](Transport &transport) { balloon.request_stats(transport); });
			break;
		case resume:
			entropy_registers.with_device([&](Transport &transport) {
				allowed += 50;
				entropy.resume(transport, 50);
			});
			break;
		case restart:
			restart_device(driver, registers, number(std::uint32_t{}));
			break;
		}
		serve_doorbells(its_guest, registers);
		require(host.given <= allowed);
	}
	return 0;
}
