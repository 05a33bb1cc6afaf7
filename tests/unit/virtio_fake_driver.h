// SPDX-License-Identifier: GPL-2.0-only
// The driver's side of virtio, for tests and fuzzers: sets a device up through its
// registers, builds descriptor chains fluently, and looks at what came back.
//
//     FakeGuest guest;                       memory, an allocator, recorded Wires
//     FakeDriver driver{guest, registers};   negotiation
//     driver.queue(1).chain().readable("hi").submit();
//
// It can lie: every ring entry can be overwritten before the device looks.
#pragma once

#include "register_file.h"

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <deque>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace lguest::test {

class FakeGuest final : public Wires {
public:
	explicit FakeGuest(std::size_t size = 1 << 20) : words_(size / 8), memory{std::as_writable_bytes(std::span{words_})} {}

	// In memory of somebody else's.
	explicit FakeGuest(std::span<std::byte> bytes) : memory{bytes} {}

	// Guest memory from here on is unused.
	std::uint64_t allocate(std::uint64_t size, std::uint64_t alignment = 16)
	{
		next_ = (next_ + alignment - 1) / alignment * alignment;
		std::uint64_t at = next_;
		next_ += size;
		if (next_ > memory.size())
			throw std::logic_error{"the fake guest is out of memory"};
		return at;
	}
	template <typename T>
	T load(std::uint64_t gpa) const { return memory.read<T>(Gpa{gpa}).value(); }
	template <typename T>
	void store(std::uint64_t gpa, T value) const
	{
		if (!memory.write(Gpa{gpa}, value))
			throw std::logic_error{"the fake guest writes outside its memory"};
	}
	// A ring's index, which the other side uses at the same time.
	std::atomic_ref<std::uint16_t> index(std::uint64_t gpa) const
	{
		return std::atomic_ref{*reinterpret_cast<std::uint16_t *>(memory.range(Gpa{gpa}, 2).value().data())};
	}
	std::string text(std::uint64_t gpa, std::size_t size) const
	{
		auto bytes = memory.range(Gpa{gpa}, size).value();
		return {reinterpret_cast<const char *>(bytes.data()), bytes.size()};
	}

	void interrupt() override { interrupts++; }
	void doorbell(unsigned queue) override { doorbells.push_back(queue); }
	void broken(std::string_view why) override { reason = why; }

private:
	std::vector<std::uint64_t> words_;	// aligned as a page is
	std::uint64_t next_ = 0x1000;

public:
	GuestMemory memory;
	unsigned interrupts = 0;
	std::deque<unsigned> doorbells;
	std::string reason;			// why the device broke; empty: it did not
};

// One queue as the driver has it.
class FakeQueue {
public:
	FakeQueue(FakeGuest &guest, std::uint16_t size) : guest_{guest}, size{size}
	{
		descriptors = guest.allocate(16ull * size, 16);
		available = guest.allocate(ring::available_bytes(size), 2);
		used = guest.allocate(ring::used_bytes(size), 4);
	}

	class Chain;
	Chain chain();

	// Make a head available, whatever is in it.
	void submit(std::uint16_t head)
	{
		guest_.store(available + ring::entries_offset + 2u * (available_index % size), head);
		guest_.index(available + ring::index_offset).store(++available_index);
	}
	void set_descriptor(unsigned index, ring::Descriptor descriptor)
	{
		guest_.store(descriptors + 16 * index, descriptor);
	}
	std::uint16_t used_index() const { return guest_.index(used + ring::index_offset).load(); }
	ring::UsedElement used_element(unsigned index) const
	{
		return guest_.load<ring::UsedElement>(used + ring::entries_offset + 8 * (index % size));
	}
	void set_used_event(std::uint16_t index) { guest_.store(available + ring::used_event_offset(size), index); }
	std::uint16_t avail_event() const { return guest_.load<std::uint16_t>(used + ring::avail_event_offset(size)); }
	void set_no_interrupt() { guest_.store(available, ring::available_no_interrupt); }

	FakeGuest &guest_;
	std::uint16_t size;
	std::uint64_t descriptors, available, used;
	std::uint16_t available_index = 0;
	std::uint16_t next_descriptor = 0;	// never freed: enough for a test
};

// Builds one chain; submit() makes it available.
class FakeQueue::Chain {
public:
	explicit Chain(FakeQueue &queue) : queue_{queue} {}

	Chain &readable(std::string_view text)
	{
		std::uint64_t at = queue_.guest_.allocate(text.size(), 1);
		std::memcpy(queue_.guest_.memory.range(Gpa{at}, text.size())->data(), text.data(), text.size());
		return raw(at, static_cast<std::uint32_t>(text.size()), 0);
	}
	Chain &writable(std::uint32_t size)
	{
		return raw(queue_.guest_.allocate(size, 1), size, ring::descriptor_write);
	}
	Chain &raw(std::uint64_t address, std::uint32_t length, std::uint16_t flags)
	{
		parts_.push_back({address, length, flags, 0});
		return *this;
	}
	// Put all parts so far into an indirect table.
	Chain &indirect()
	{
		std::uint64_t table = queue_.guest_.allocate(16 * parts_.size());
		for (unsigned index = 0; index < parts_.size(); index++) {
			link(index, static_cast<std::uint16_t>(index + 1));
			queue_.guest_.store(table + 16 * index, parts_[index]);
		}
		parts_ = {{table, static_cast<std::uint32_t>(16 * parts_.size()), ring::descriptor_indirect, 0}};
		return *this;
	}
	// Where part `index` is, to look at what the device wrote.
	std::uint64_t address(unsigned index) const { return parts_.at(index).address; }

	std::uint16_t submit()
	{
		std::uint16_t head = queue_.next_descriptor;
		for (unsigned index = 0; index < parts_.size(); index++) {
			std::uint16_t at = queue_.next_descriptor++ % queue_.size;
			link(index, queue_.next_descriptor % queue_.size);
			queue_.set_descriptor(at, parts_[index]);
		}
		queue_.submit(head % queue_.size);
		return head % queue_.size;
	}

private:
	void link(unsigned index, std::uint16_t next)
	{
		if (index + 1 < parts_.size()) {
			parts_[index].flags |= ring::descriptor_next;
			parts_[index].next = next;
		}
	}

	FakeQueue &queue_;
	std::vector<ring::Descriptor> parts_;
};

inline FakeQueue::Chain FakeQueue::chain() { return Chain{*this}; }

class FakeDriver {
public:
	FakeDriver(FakeGuest &guest, RegisterFile &registers) : guest_{guest}, registers_{registers} {}

	std::uint32_t get(std::uint64_t offset) { return static_cast<std::uint32_t>(registers_.read(offset, 4)); }
	void set(std::uint64_t offset, std::uint32_t value) { registers_.write(offset, 4, value); }
	std::uint32_t status() { return get(VIRTIO_MMIO_STATUS); }
	bool needs_reset() { return status() & VIRTIO_CONFIG_S_NEEDS_RESET; }

	std::uint64_t offered_features()
	{
		set(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
		std::uint64_t low = get(VIRTIO_MMIO_DEVICE_FEATURES);
		set(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
		return low | std::uint64_t{get(VIRTIO_MMIO_DEVICE_FEATURES)} << 32;
	}
	// Up to FEATURES_OK, with all that is offered but `without`.
	void negotiate(std::uint64_t without = 0)
	{
		set(VIRTIO_MMIO_STATUS, 0);
		set(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
		accept(offered_features() & ~without);
		set(VIRTIO_MMIO_STATUS, status() | VIRTIO_CONFIG_S_FEATURES_OK);
	}
	void accept(std::uint64_t features)
	{
		for (std::uint32_t half : {0u, 1u}) {
			set(VIRTIO_MMIO_DRIVER_FEATURES_SEL, half);
			set(VIRTIO_MMIO_DRIVER_FEATURES, static_cast<std::uint32_t>(features >> (32 * half)));
		}
	}
	FakeQueue &set_up_queue(unsigned index, std::uint16_t size)
	{
		queues_.erase(index);
		FakeQueue &queue = queues_.try_emplace(index, guest_, size).first->second;
		announce(index, queue);
		return queue;
	}
	void announce(unsigned index, const FakeQueue &queue)
	{
		set(VIRTIO_MMIO_QUEUE_SEL, index);
		set(VIRTIO_MMIO_QUEUE_NUM, queue.size);
		set_address(VIRTIO_MMIO_QUEUE_DESC_LOW, queue.descriptors);
		set_address(VIRTIO_MMIO_QUEUE_AVAIL_LOW, queue.available);
		set_address(VIRTIO_MMIO_QUEUE_USED_LOW, queue.used);
		set(VIRTIO_MMIO_QUEUE_READY, 1);
	}
	// Everything, with queues of `size`, or as large as they can be.
	void start(std::uint16_t size = 16, std::uint64_t without = 0)
	{
		negotiate(without);
		for (unsigned index = 0; index < registers_.queue_count(); index++) {
			set(VIRTIO_MMIO_QUEUE_SEL, index);
			set_up_queue(index, std::min(size, static_cast<std::uint16_t>(get(VIRTIO_MMIO_QUEUE_NUM_MAX))));
		}
		driver_ok();
	}
	void driver_ok() { set(VIRTIO_MMIO_STATUS, status() | VIRTIO_CONFIG_S_DRIVER_OK); }
	FakeQueue &queue(unsigned index) { return queues_.at(index); }

private:
	void set_address(std::uint64_t low, std::uint64_t value)
	{
		set(low, static_cast<std::uint32_t>(value));
		set(low + 4, static_cast<std::uint32_t>(value >> 32));
	}

	FakeGuest &guest_;
	RegisterFile &registers_;
	std::map<unsigned, FakeQueue> queues_;
};

} // namespace lguest::test
