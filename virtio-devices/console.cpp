// SPDX-License-Identifier: GPL-2.0-only
// The virtio console, see console.h.
//
// How a port comes up, if the driver knows of ports.  A Linux driver drops input that
// reaches it before the end of this, so we wait for it.
//
//     guest: DEVICE_READY      host: PORT_ADD, for each port
//     guest: PORT_READY        host: CONSOLE_PORT and RESIZE, or PORT_NAME; PORT_OPEN if connected
//     guest: PORT_OPEN         input begins
#include "console.h"

#include <linux/virtio_ids.h>

#include <algorithm>
#include <array>
#include <utility>

namespace lguest {
namespace {

constexpr std::uint16_t port_queue_size = 256;
constexpr std::uint16_t control_queue_size = 64;

// A driver that feeds a queue for ever gets this many chains served in one call.
unsigned budget_of(const Virtqueue &queue) { return 4u * queue.size(); }

// Copy what fits into the chain's writable buffers; returns the number of bytes.
std::size_t fill(const DescriptorChain &chain, std::span<const std::byte> bytes)
{
	std::size_t done = 0;
	for (std::span<std::byte> buffer : chain.writable()) {
		std::size_t part = std::min(buffer.size(), bytes.size() - done);
		std::copy_n(bytes.data() + done, part, buffer.data());
		done += part;
	}
	return done;
}

template <typename T>
void append(std::vector<std::byte> &bytes, const T &object)
{
	auto raw = std::as_bytes(std::span{&object, 1});
	bytes.insert(bytes.end(), raw.begin(), raw.end());
}

} // namespace

Console::Console(ConsoleHost &host)
	: sizes_{port_queue_size, port_queue_size, control_queue_size, control_queue_size}
{
	ports_.push_back({&host, {}});
	config_.max_nr_ports = 1;
}

unsigned Console::add_port(ConsoleHost &host, std::string name)
{
	ports_.push_back({&host, std::move(name)});
	sizes_.insert(sizes_.end(), 2, port_queue_size);
	return config_.max_nr_ports++;
}

std::uint32_t Console::id() const { return VIRTIO_ID_CONSOLE; }

std::uint64_t Console::features() const
{
	return 1ull << VIRTIO_CONSOLE_F_SIZE | 1ull << VIRTIO_CONSOLE_F_MULTIPORT | 1ull << VIRTIO_CONSOLE_F_EMERG_WRITE;
}

std::uint64_t Console::read_config(std::uint64_t offset, unsigned width)
{
	return config_bytes(config_, offset, width);
}

void Console::write_config(std::uint64_t offset, unsigned, std::uint64_t value)
{
	// A dying kernel's way out, with or without a driver and queues: one character.
	if (offset == offsetof(virtio_console_config, emerg_wr)) {
		auto character = static_cast<std::byte>(value);
		ports_[0].host->write({&character, 1});
	}
}

void Console::activate(std::uint64_t features)
{
	multiport_ = features & 1ull << VIRTIO_CONSOLE_F_MULTIPORT;
	ports_[0].guest_open = !multiport_;
}

void Console::before_reset(Transport &transport)
{
	for (unsigned index = 0; index < ports_.size(); index++) {
		Port &port = ports_[index];
		Virtqueue &queue = transport.queue(transmit_queue(index));
		for (unsigned budget = queue.size() + 1u; budget > 0; budget--) {
			if (!port.sending) {
				port.sending = queue.pop();
				port.sent = 0;
			}
			if (!port.sending)
				break;
			send(port, true);
			port.sending.reset();
		}
	}
}

void Console::reset()
{
	for (Port &port : ports_) {
		port.sending.reset();
		port.ready = port.guest_open = false;
		port.to_tell = 0;
	}
}

void Console::process(Transport &transport, unsigned queue)
{
	if (queue == control_from_guest)
		handle_control(transport);
	else if (queue == control_to_guest)
		tell(transport);
	else if (unsigned port = queue < control_to_guest ? 0 : queue / 2 - 1; queue == transmit_queue(port))
		resume_output(transport, port);
	else
		ports_[port].host->input_wanted();
}

// --- bytes -------------------------------------------------------------------

// Write the rest of the chain in hand; false if the host had no room for all of it.
bool Console::send(Port &port, bool last)
{
	std::size_t skip = port.sent;
	for (std::span<const std::byte> buffer : port.sending->readable()) {
		if (skip >= buffer.size()) {
			skip -= buffer.size();
			continue;
		}
		buffer = buffer.subspan(std::exchange(skip, 0));
		if (last) {
			port.host->write_last(buffer);
			continue;
		}
		std::size_t taken = port.host->write(buffer);
		port.sent += taken;
		if (taken < buffer.size())
			return false;
	}
	return true;
}

void Console::resume_output(Transport &transport, unsigned index)
{
	Port &port = ports_[index];
	Virtqueue &queue = transport.queue(transmit_queue(index));
	unsigned budget = budget_of(queue);	// empty chains never fill the host's buffer
	bool room = true;
	do {
		queue.disable_doorbell();
		for (; budget > 0; budget--) {
			if (!port.sending) {
				port.sending = queue.pop();
				port.sent = 0;
			}
			if (!port.sending)
				break;
			room = send(port);
			if (!room)
				break;
			queue.push(*std::exchange(port.sending, std::nullopt), 0);
		}
		transport.queue_used(transmit_queue(index));
		// While the host is full no doorbell is of use: it resumes us.
	} while (room && budget > 0 && queue.enable_doorbell());
	if (budget == 0)
		transport.look_again(transmit_queue(index));
}

std::size_t Console::input(Transport &transport, unsigned port, std::span<const std::byte> bytes)
{
	if (!ports_[port].guest_open)
		return 0;	// opening it will want input
	Virtqueue &queue = transport.queue(receive_queue(port));
	std::size_t done = 0;
	queue.disable_doorbell();
	while (done < bytes.size()) {
		auto chain = queue.pop();
		if (!chain) {
			if (queue.enable_doorbell())
				continue;
			break;
		}
		std::size_t part = fill(*chain, bytes.subspan(done));
		if (part == 0)
			throw DriverError{"receive buffer without room"};
		queue.push(std::move(*chain), static_cast<std::uint32_t>(part));
		done += part;
	}
	transport.queue_used(receive_queue(port));
	return done;
}

void Console::hang_up(Transport &transport, unsigned port)
{
	if (!multiport_ || !ports_[port].guest_open)
		return;
	ports_[port].to_tell |= 1u << close;
	tell(transport);
}

void Console::connection_changed(Transport &transport, unsigned index)
{
	Port &port = ports_[index];
	if (!port.ready || index == 0)
		return;		// it will be asked for, or does not matter
	port.to_tell &= ~(1u << open | 1u << close);
	port.to_tell |= 1u << (port.host->connected() ? open : close);
	tell(transport);
}

// --- ports -------------------------------------------------------------------

void Console::set_initial_size(std::uint16_t columns, std::uint16_t rows)
{
	config_.cols = columns;
	config_.rows = rows;
}

void Console::resize(Transport &transport, std::uint16_t columns, std::uint16_t rows)
{
	if (config_.cols == columns && config_.rows == rows)
		return;
	set_initial_size(columns, rows);
	transport.config_changed();
	if (ports_[0].guest_open && multiport_) {
		ports_[0].to_tell |= 1u << size;
		tell(transport);
	}
}

void Console::handle_control(Transport &transport)
{
	Virtqueue &queue = transport.queue(control_from_guest);
	unsigned budget = budget_of(queue);
	do {
		queue.disable_doorbell();
		for (; budget > 0; budget--) {
			auto chain = queue.pop();
			if (!chain)
				break;
			auto buffers = chain->readable();
			virtio_console_control message;
			if (buffers.empty() || buffers[0].size() < sizeof(message))
				throw DriverError{"control message too short"};
			std::memcpy(&message, buffers[0].data(), sizeof(message));	// guest-controlled
			queue.push(std::move(*chain), 0);
			take_message(message);
		}
		transport.queue_used(control_from_guest);
	} while (budget > 0 && queue.enable_doorbell());
	if (budget == 0)
		transport.look_again(control_from_guest);
	tell(transport);
}

void Console::take_message(const virtio_console_control &message)
{
	if (message.event == VIRTIO_CONSOLE_DEVICE_READY) {
		for (Port &port : ports_)
			port.to_tell |= message.value ? 1u << add : 0;
		return;
	}
	if (message.id >= ports_.size())
		return;
	Port &port = ports_[message.id];
	bool is_console = message.id == 0;
	if (message.event == VIRTIO_CONSOLE_PORT_READY && message.value) {
		port.ready = true;
		port.to_tell |= 1u << (is_console ? console_port : name);
		if (is_console || port.host->connected())
			port.to_tell |= 1u << open;
		if (is_console && config_.cols)
			port.to_tell |= 1u << size;
	}
	if (message.event == VIRTIO_CONSOLE_PORT_OPEN) {
		port.guest_open = message.value;
		if (port.guest_open)
			port.host->input_wanted();
	}
}

// Send what there is to tell, as far as the guest gives buffers for it.
void Console::tell(Transport &transport)
{
	Virtqueue &queue = transport.queue(control_to_guest);
	for (unsigned index = 0; index < ports_.size(); index++)
		for (unsigned what = 0; what < messages; what++) {
			unsigned &to_tell = ports_[index].to_tell;
			if (!(to_tell & 1u << what))
				continue;
			auto chain = queue.pop();
			if (!chain && queue.enable_doorbell())
				chain = queue.pop();
			if (!chain) {
				transport.queue_used(control_to_guest);
				return;		// to go on at the doorbell
			}
			auto bytes = message(index, what);
			if (fill(*chain, bytes) < bytes.size())
				throw DriverError{"control buffer too small"};
			queue.push(std::move(*chain), static_cast<std::uint32_t>(bytes.size()));
			to_tell &= ~(1u << what);
		}
	transport.queue_used(control_to_guest);
}

std::vector<std::byte> Console::message(unsigned port, unsigned what) const
{
	constexpr std::uint16_t events[messages] = {VIRTIO_CONSOLE_PORT_ADD, VIRTIO_CONSOLE_CONSOLE_PORT,
						    VIRTIO_CONSOLE_PORT_NAME, VIRTIO_CONSOLE_PORT_OPEN,
						    VIRTIO_CONSOLE_RESIZE, VIRTIO_CONSOLE_PORT_OPEN};
	std::vector<std::byte> bytes;
	append(bytes, virtio_console_control{port, events[what], what != close});
	if (what == name)
		for (char character : ports_[port].name)
			append(bytes, character);
	if (what == size)
		append(bytes, std::array{config_.cols, config_.rows});
	return bytes;
}

} // namespace lguest
