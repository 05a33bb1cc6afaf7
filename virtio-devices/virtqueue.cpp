// SPDX-License-Identifier: GPL-2.0-only
// The split virtqueue: walking what the driver wrote, see virtqueue.h.
//
// Ring indices are shared with a vCPU that runs meanwhile, hence the atomics;
// start() has checked that they are aligned and inside memory.
#include "virtqueue.h"

#include <atomic>
#include <bit>
#include <utility>

namespace lguest {

using namespace ring;

namespace {

constexpr std::size_t max_spare = 128;	// buffers

} // namespace

std::uint16_t Virtqueue::load16(std::uint64_t gpa) const
{
	auto bytes = memory_.range(Gpa{gpa}, 2);
	if (!bytes)
		throw DriverError{"ring outside memory"};
	return std::atomic_ref{*reinterpret_cast<std::uint16_t *>(bytes->data())}.load(std::memory_order_acquire);
}

void Virtqueue::store16(std::uint64_t gpa, std::uint16_t value) const
{
	auto bytes = memory_.range(Gpa{gpa}, 2);
	if (!bytes)
		throw DriverError{"ring outside memory"};
	std::atomic_ref{*reinterpret_cast<std::uint16_t *>(bytes->data())}.store(value, std::memory_order_release);
}

void Virtqueue::set_size(std::uint32_t size)
{
	if (size == 0 || size > max_size_ || !std::has_single_bit(size))
		throw DriverError{"queue size " + std::to_string(size)};
	size_ = static_cast<std::uint16_t>(size);
}

void Virtqueue::start(bool event_idx)
{
	struct {
		const char *name;
		std::uint64_t address, alignment, bytes;
	} parts[] = {
		{"descriptor table", rings.descriptors, 16, sizeof(Descriptor) * size_},
		{"available ring", rings.available, 2, available_bytes(size_)},
		{"used ring", rings.used, 4, used_bytes(size_)},
	};
	for (const auto &part : parts) {
		if (part.address % part.alignment)
			throw DriverError{std::string{part.name} + " not aligned"};
		if (!memory_.range(Gpa{part.address}, part.bytes))
			throw DriverError{std::string{part.name} + " outside memory"};
	}
	event_idx_ = event_idx;
	ready_ = true;
}

void Virtqueue::reset()
{
	rings = {};
	size_ = max_size_;
	ready_ = event_idx_ = false;
	next_available_ = next_used_ = signalled_used_ = 0;
	epoch_++;
}

std::uint16_t Virtqueue::available_index() const
{
	std::uint16_t index = load16(rings.available + index_offset);	// guest-controlled
	if (static_cast<std::uint16_t>(index - next_available_) > size_)
		throw DriverError{"available index jumped"};
	return index;
}

Descriptor Virtqueue::descriptor(Gpa table, unsigned index) const
{
	auto descriptor = memory_.read<Descriptor>(table + index * sizeof(Descriptor));	// guest-controlled
	if (!descriptor)
		throw DriverError{"descriptor outside memory"};
	return *descriptor;
}

void Virtqueue::add_buffer(DescriptorChain &chain, const Descriptor &descriptor) const
{
	if (chain.buffers_.size() >= max_chain)
		throw DriverError{"descriptor chain too long"};
	auto bytes = memory_.range(Gpa{descriptor.address}, descriptor.length);
	if (!bytes)
		throw DriverError{"buffer outside memory"};
	bool writable = descriptor.flags & descriptor_write;
	if (!writable && chain.readable_count_ != chain.buffers_.size())
		throw DriverError{"readable buffer behind a writable one"};
	chain.buffers_.push_back(*bytes);
	chain.readable_count_ += !writable;
}

// Follow one table: the queue's own, or an indirect one.  A chain visits each of
// its descriptors once, so as many steps as the table has entries end a loop.
void Virtqueue::collect(DescriptorChain &chain, Gpa table, unsigned table_size, unsigned index, bool indirect)
{
	for (unsigned steps = 0; steps < table_size; steps++) {
		if (index >= table_size)
			throw DriverError{"descriptor index outside its table"};
		Descriptor entry = descriptor(table, index);
		if (entry.flags & descriptor_indirect) {
			if (indirect)
				throw DriverError{"indirect table inside an indirect table"};
			if (entry.flags & descriptor_next)
				throw DriverError{"indirect descriptor with a next one"};
			unsigned count = entry.length / sizeof(Descriptor);
			if (entry.length % sizeof(Descriptor) || count == 0 || count > max_chain)
				throw DriverError{"indirect table of " + std::to_string(entry.length) + " bytes"};
			if (!memory_.range(Gpa{entry.address}, entry.length))
				throw DriverError{"indirect table outside memory"};
			collect(chain, Gpa{entry.address}, count, 0, true);
			return;
		}
		add_buffer(chain, entry);
		if (!(entry.flags & descriptor_next))
			return;
		index = entry.next;
	}
	throw DriverError{"descriptor chain loops"};
}

std::optional<DescriptorChain> Virtqueue::pop()
{
	if (!ready_ || available_index() == next_available_)
		return std::nullopt;

	std::uint64_t entry = rings.available + entries_offset + 2u * (next_available_ % size_);
	DescriptorChain chain;
	chain.head_ = load16(entry);	// guest-controlled
	chain.epoch_ = epoch_;
	if (!spares_.empty()) {
		chain.buffers_ = std::move(spares_.back());
		spares_.pop_back();
		chain.buffers_.clear();
	}
	collect(chain, Gpa{rings.descriptors}, size_, chain.head_, false);
	next_available_++;

	counters_.chains++;
	for (auto buffer : chain.readable())
		counters_.bytes_out += buffer.size();
	return chain;
}

void Virtqueue::push(DescriptorChain &&chain, std::uint32_t written)
{
	put(std::move(chain), written);
	publish();
}

void Virtqueue::put(DescriptorChain &&chain, std::uint32_t written)
{
	if (chain.epoch_ == epoch_ && ready_) {
		std::uint64_t entry = rings.used + entries_offset + sizeof(UsedElement) * (next_used_ % size_);
		if (!memory_.write(Gpa{entry}, UsedElement{chain.head_, written}))
			throw DriverError{"used ring outside memory"};
		next_used_++;
		counters_.bytes_in += written;
	}
	// Storage of an unusually long chain is not kept.
	if (spares_.size() < max_size_ && chain.buffers_.capacity() <= max_spare)
		spares_.push_back(std::move(chain.buffers_));
}

void Virtqueue::publish()
{
	if (ready_)
		store16(rings.used + index_offset, next_used_);
}

bool Virtqueue::interrupt_wanted()
{
	if (!ready_ || next_used_ == signalled_used_)
		return false;
	std::uint16_t before = std::exchange(signalled_used_, next_used_);
	// The driver publishes what it wants, then looks at the used index; we publish
	// the index, then look at what it wants: one of us must see the other.
	std::atomic_thread_fence(std::memory_order_seq_cst);
	bool wanted = event_idx_
		? passed(load16(rings.available + used_event_offset(size_)), next_used_, before)
		: !(load16(rings.available + flags_offset) & available_no_interrupt);
	counters_.interrupts += wanted;
	return wanted;
}

bool Virtqueue::enable_doorbell()
{
	if (!ready_)
		return false;
	if (event_idx_)
		store16(rings.used + avail_event_offset(size_), next_available_);
	else
		store16(rings.used + flags_offset, 0);
	std::atomic_thread_fence(std::memory_order_seq_cst);	// as above
	return available_index() != next_available_;
}

void Virtqueue::disable_doorbell()
{
	// With EVENT_IDX an avail_event that stays behind says the same.
	if (ready_ && !event_idx_)
		store16(rings.used + flags_offset, used_no_notify);
}

} // namespace lguest
