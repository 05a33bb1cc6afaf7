// SPDX-License-Identifier: GPL-2.0-only
// The virtio console, see console.h.
#include "console.h"

#include <linux/virtio_ids.h>

#include <algorithm>
#include <array>

namespace lguest {
namespace {

constexpr std::array<std::uint16_t, 2> sizes{256, 256};

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

} // namespace

std::uint32_t Console::id() const { return VIRTIO_ID_CONSOLE; }

std::uint64_t Console::features() const
{
	return 1ull << VIRTIO_CONSOLE_F_SIZE | 1ull << VIRTIO_CONSOLE_F_EMERG_WRITE;
}

std::span<const std::uint16_t> Console::queue_sizes() const { return sizes; }

std::uint64_t Console::read_config(std::uint64_t offset, unsigned width)
{
	return config_bytes(config_, offset, width);
}

void Console::write_config(std::uint64_t offset, unsigned, std::uint64_t value)
{
	// A dying kernel's way out, with or without a driver and queues: one character.
	if (offset == offsetof(virtio_console_config, emerg_wr)) {
		auto character = static_cast<std::byte>(value);
		host_.write({&character, 1});
	}
}

void Console::process(Transport &transport, unsigned queue)
{
	if (queue == transmit_queue)
		resume_output(transport);
	else
		host_.input_wanted();
}

// Write the rest of the chain in hand; false if the host had no room for all of it.
bool Console::send()
{
	std::size_t skip = sent_;
	for (std::span<const std::byte> buffer : sending_->readable()) {
		if (skip >= buffer.size()) {
			skip -= buffer.size();
			continue;
		}
		buffer = buffer.subspan(skip);
		skip = 0;
		std::size_t taken = host_.write(buffer);
		sent_ += taken;
		if (taken < buffer.size())
			return false;
	}
	return true;
}

void Console::resume_output(Transport &transport)
{
	Virtqueue &queue = transport.queue(transmit_queue);
	// A bound to the chains of one call: empty ones never fill the host's buffer.
	unsigned budget = 4 * queue.size();
	bool room = true;
	do {
		queue.disable_doorbell();
		for (; budget > 0; budget--) {
			if (!sending_) {
				sending_ = queue.pop();
				sent_ = 0;
			}
			if (!sending_)
				break;
			room = send();
			if (!room)
				break;
			queue.push(std::move(*sending_), 0);
			sending_.reset();
		}
		transport.queue_used(transmit_queue);
		// While the host is full no doorbell is of use: it resumes us.
	} while (room && budget > 0 && queue.enable_doorbell());
	if (budget == 0)
		transport.look_again(transmit_queue);
}

std::size_t Console::input(Transport &transport, std::span<const std::byte> bytes)
{
	Virtqueue &queue = transport.queue(receive_queue);
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
	transport.queue_used(receive_queue);
	return done;
}

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
}

} // namespace lguest
