// SPDX-License-Identifier: GPL-2.0-only
// A split virtqueue (virtio 1.2, section 2.7), the device's side.
//
// register_file.h sets it up, the devices take chains from it and give them
// back.  The driver is not trusted: what it can write is marked guest-controlled,
// is read once and checked before use, and a breach throws DriverError, which
// register_file.cpp turns into DEVICE_NEEDS_RESET.
//
//     descriptor table          available ring         used ring
//     guest writes              guest writes           we write
//     +------+-----+---+----+   +-----+---+---+---+    +-----+---------+---
//     | addr | len | f |next|<--| idx | 3 | 0 | . |    | idx | id, len | .
//     +------+-----+---+----+   +-----+---+---+---+    +-----+---------+---
//     |  ...  next, or INDIRECT |     used_event       |     avail_event
//
// Locking: none of its own; the lock of the device's RegisterFile covers it.
#pragma once

#include "guest_memory.h"
#include "ring.h"

#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace lguest {

// The driver broke the rules of virtio.  The device is of no use until it is reset.
struct DriverError : std::runtime_error {
	using std::runtime_error::runtime_error;
};

// A descriptor chain taken from a queue: its buffers, readable ones first.  It has
// one owner at a time, who gives it back with Virtqueue::push().
class DescriptorChain {
public:
	DescriptorChain(DescriptorChain &&) = default;
	DescriptorChain &operator=(DescriptorChain &&) = default;
	DescriptorChain(const DescriptorChain &) = delete;
	DescriptorChain &operator=(const DescriptorChain &) = delete;

	// Buffers the device reads.  Guest-controlled bytes, which may change at any time.
	std::span<const std::span<std::byte>> readable() const
	{
		return std::span{buffers_}.first(readable_count_);
	}
	// Buffers the device writes.
	std::span<const std::span<std::byte>> writable() const
	{
		return std::span{buffers_}.subspan(readable_count_);
	}

private:
	friend class Virtqueue;
	DescriptorChain() = default;

	std::vector<std::span<std::byte>> buffers_;
	std::size_t readable_count_ = 0;
	std::uint16_t head_ = 0;
	std::uint64_t epoch_ = 0;
};

class Virtqueue {
public:
	// Bounds a chain and an indirect table: more than Linux's drivers send, and
	// a limit to the work one chain can make.
	static constexpr unsigned max_chain = 1024;

	Virtqueue(const GuestMemory &memory, std::uint16_t max_size)
		: memory_{memory}, max_size_{max_size}, size_{max_size} {}

	// Where the driver put the rings.  Guest-controlled; checked by start().
	struct Rings {
		std::uint64_t descriptors = 0;
		std::uint64_t available = 0;
		std::uint64_t used = 0;
	};
	Rings rings;

	std::uint16_t max_size() const { return max_size_; }
	std::uint16_t size() const { return size_; }
	void set_size(std::uint32_t size);		// throws DriverError
	bool ready() const { return ready_; }
	// Throws DriverError unless the rings are aligned and inside memory.
	void start(bool event_idx);
	void stop() { ready_ = false; }
	// As new.  Chains still out are worthless then: push() drops them.
	void reset();

	// The next chain the driver made available; nothing when there is none or
	// the queue is not started.  Throws DriverError.
	std::optional<DescriptorChain> pop();
	// Give the chain back, `written` bytes having been put into its writable buffers.
	void push(DescriptorChain &&chain, std::uint32_t written);
	// The same in two steps, for chains which the driver must see all at once: it sees
	// those put so far when publish() is called.
	void put(DescriptorChain &&chain, std::uint32_t written);
	void publish();

	// Whether the driver wants an interrupt for what was pushed since the last call.
	[[nodiscard]] bool interrupt_wanted();
	// Ask the driver for doorbells from now on.  True: there are chains already,
	// made available before it could know, for which no doorbell will come.
	[[nodiscard]] bool enable_doorbell();
	void disable_doorbell();

	struct Counters {
		std::uint64_t chains = 0;	// popped
		std::uint64_t bytes_out = 0;	// in their readable buffers
		std::uint64_t bytes_in = 0;	// written to the guest
		std::uint64_t interrupts = 0;	// wanted by the driver
	};
	const Counters &counters() const { return counters_; }

private:
	std::uint16_t available_index() const;
	ring::Descriptor descriptor(Gpa table, unsigned index) const;
	void collect(DescriptorChain &chain, Gpa table, unsigned table_size, unsigned index, bool indirect);
	void add_buffer(DescriptorChain &chain, const ring::Descriptor &descriptor) const;
	std::uint16_t load16(std::uint64_t gpa) const;
	void store16(std::uint64_t gpa, std::uint16_t value) const;

	const GuestMemory &memory_;
	std::uint16_t max_size_;
	std::uint16_t size_;
	bool ready_ = false;
	bool event_idx_ = false;
	std::uint16_t next_available_ = 0;	// next entry of the available ring to take
	std::uint16_t next_used_ = 0;		// next entry of the used ring to fill
	std::uint16_t signalled_used_ = 0;	// next_used_ at the last interrupt_wanted()
	std::uint64_t epoch_ = 0;		// counts resets
	std::vector<std::vector<std::span<std::byte>>> spares_;	// storage of chains given back
	Counters counters_;
};

} // namespace lguest
