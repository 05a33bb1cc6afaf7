// SPDX-License-Identifier: GPL-2.0-only
// The virtio console (virtio 1.2, section 5.3): ports, the first of them the guest's
// hvc0, and the control queues on which host and guest tell each other of ports.
//
// Behind a RegisterFile; the other side of a port is a ConsoleHost, which is the
// launcher's terminal, pipe or file (launcher/console_port.h).
//
//     guest --transmit queue--> process() --> ConsoleHost::write()
//     guest <--receive queue--- input()   <-- the host, when it has bytes
//
//     queues: 0, 1 port 0 | 2, 3 control | 4, 5 port 1 | 6, 7 port 2 ...
//             each pair: to the guest, from the guest
//
// Nothing is dropped in either direction: while the host has no room, chains stay
// in the transmit queue, one of them perhaps half sent; until the guest has opened
// the port and while it gives no buffers, input() takes nothing.
#pragma once

#include "device.h"

#include <linux/virtio_console.h>

#include <optional>
#include <string>
#include <vector>

namespace lguest {

// Called with the device's lock held, from either thread; must not call back.
class ConsoleHost {
public:
	// Takes as many of the bytes, which are guest memory, as it has room for, and
	// returns how many.  If not all, it calls Console::resume_output() once it has room.
	virtual std::size_t write(std::span<const std::byte> bytes) = 0;
	// The last of the guest's bytes before it resets the device, as Linux does on its way
	// to power off: nobody keeps what is not taken, so it is, up to some limit.
	virtual void write_last(std::span<const std::byte> bytes) { write(bytes); }
	// The guest may have room for input again: offer it with Console::input().
	virtual void input_wanted() = 0;
	// Whether there is somebody on this side; for the console it does not matter.
	virtual bool connected() { return true; }

protected:
	~ConsoleHost() = default;
};

class Console final : public Device {
public:
	// Port 0 is the console; others are added before the device is put behind its
	// RegisterFile, and appear in the guest by their names (/dev/virtio-ports/NAME).
	explicit Console(ConsoleHost &host);
	unsigned add_port(ConsoleHost &host, std::string name);

	static constexpr unsigned receive_queue(unsigned port) { return port ? 2 + 2 * port : 0; }
	static constexpr unsigned transmit_queue(unsigned port) { return receive_queue(port) + 1; }
	static constexpr unsigned control_to_guest = 2;
	static constexpr unsigned control_from_guest = 3;

	std::uint32_t id() const override;
	std::uint64_t features() const override;
	std::span<const std::uint16_t> queue_sizes() const override { return sizes_; }
	std::uint64_t read_config(std::uint64_t offset, unsigned width) override;
	void write_config(std::uint64_t offset, unsigned width, std::uint64_t value) override;
	void activate(std::uint64_t features) override;
	void process(Transport &transport, unsigned queue) override;
	void before_reset(Transport &transport) override;
	void reset() override;

	// Bytes for the guest; returns how many it had room for.  If not all of them,
	// ConsoleHost::input_wanted() will follow.
	std::size_t input(Transport &transport, unsigned port, std::span<const std::byte> bytes);
	// The host has no more input: the guest reads what there is, then the end of file.
	// Only for ports other than the console, which has no such thing.
	void hang_up(Transport &transport, unsigned port);
	// ConsoleHost::connected() has changed: without anybody there the guest's writers wait
	// and its readers get an end of file.
	void connection_changed(Transport &transport, unsigned port);
	// The host accepts output again.
	void resume_output(Transport &transport, unsigned port);
	// The size of the terminal, in characters.
	void resize(Transport &transport, std::uint16_t columns, std::uint16_t rows);
	// The same before a driver is there.  Not locked: before the first vCPU runs.
	void set_initial_size(std::uint16_t columns, std::uint16_t rows);

private:
	// What the guest has yet to be told about a port; sent in this order.
	enum Message : unsigned { add, console_port, name, open, size, close, messages };

	struct Port {
		ConsoleHost *host;
		std::string name;
		std::optional<DescriptorChain> sending{};	// popped, not yet all of it written
		std::size_t sent = 0;				// bytes of it that were
		bool ready = false;				// the guest has the port
		bool guest_open = false;			// and somebody there has opened it
		unsigned to_tell = 0;				// bits: 1 << Message
	};

	bool send(Port &port, bool last = false);
	void handle_control(Transport &transport);
	void take_message(const virtio_console_control &message);
	void tell(Transport &transport);
	std::vector<std::byte> message(unsigned port, unsigned what) const;

	std::vector<Port> ports_;
	std::vector<std::uint16_t> sizes_;
	virtio_console_config config_{};
	bool multiport_ = false;	// the driver knows of ports; else there is port 0, open
};

} // namespace lguest
