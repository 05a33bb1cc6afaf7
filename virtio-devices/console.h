// SPDX-License-Identifier: GPL-2.0-only
// The virtio console (virtio 1.2, section 5.3), one port: the guest's hvc0.
//
// Behind a RegisterFile; its other side is a ConsoleHost, which is the launcher's
// terminal, pipe or file (launcher/console_port.h).
//
//     guest --transmit queue--> process() --> ConsoleHost::write()
//     guest <--receive queue--- input()   <-- the host, when it has bytes
//
// Nothing is dropped in either direction: while the host has no room, chains stay
// in the transmit queue, one of them perhaps half sent; while the guest gives no
// buffers, input() takes nothing.
#pragma once

#include "device.h"

#include <linux/virtio_console.h>

namespace lguest {

// Called with the device's lock held, from either thread; must not call back.
class ConsoleHost {
public:
	// Takes as many of the bytes, which are guest memory, as it has room for, and
	// returns how many.  If not all, it calls Console::resume_output() once it has room.
	virtual std::size_t write(std::span<const std::byte> bytes) = 0;
	// The guest has room for input again: offer it with Console::input().
	virtual void input_wanted() = 0;

protected:
	~ConsoleHost() = default;
};

class Console final : public Device {
public:
	static constexpr unsigned receive_queue = 0;
	static constexpr unsigned transmit_queue = 1;

	explicit Console(ConsoleHost &host) : host_{host} {}

	std::uint32_t id() const override;
	std::uint64_t features() const override;
	std::span<const std::uint16_t> queue_sizes() const override;
	std::uint64_t read_config(std::uint64_t offset, unsigned width) override;
	void write_config(std::uint64_t offset, unsigned width, std::uint64_t value) override;
	void activate(std::uint64_t) override {}
	void process(Transport &transport, unsigned queue) override;
	void reset() override { sending_.reset(); }

	// Bytes for the guest; returns how many it had room for.  If not all of them,
	// ConsoleHost::input_wanted() will follow.
	std::size_t input(Transport &transport, std::span<const std::byte> bytes);
	// The host accepts output again.
	void resume_output(Transport &transport);
	// The size of the terminal, in characters.
	void resize(Transport &transport, std::uint16_t columns, std::uint16_t rows);
	// The same before a driver is there.  Not locked: before the first vCPU runs.
	void set_initial_size(std::uint16_t columns, std::uint16_t rows);

private:
	bool send();

	ConsoleHost &host_;
	std::optional<DescriptorChain> sending_;	// popped, not yet all of it written
	std::size_t sent_ = 0;				// bytes of it that were
	virtio_console_config config_{};
};

} // namespace lguest
