// SPDX-License-Identifier: GPL-2.0-only
// The split ring as it lies in guest memory (virtio 1.2, section 2.7), and its bits.
//
// Used by virtqueue.cpp and by the tests' driver side.  The kernel's
// <linux/virtio_ring.h> says the same but does not compile as C++.
#pragma once

#include <bit>
#include <cstdint>

namespace lguest::ring {

static_assert(std::endian::native == std::endian::little, "virtio's rings are little-endian");

struct Descriptor {
	std::uint64_t address;
	std::uint32_t length;
	std::uint16_t flags;
	std::uint16_t next;
};
static_assert(sizeof(Descriptor) == 16);

struct UsedElement {
	std::uint32_t id;
	std::uint32_t length;
};
static_assert(sizeof(UsedElement) == 8);

constexpr std::uint16_t descriptor_next = 1;		// Descriptor::flags
constexpr std::uint16_t descriptor_write = 2;
constexpr std::uint16_t descriptor_indirect = 4;

constexpr std::uint16_t available_no_interrupt = 1;	// flags of the available ring
constexpr std::uint16_t used_no_notify = 1;		// flags of the used ring

constexpr unsigned feature_indirect = 28;		// feature bits
constexpr unsigned feature_event_idx = 29;

// Both rings: flags, index, entries, and behind these the other side's event index.
constexpr std::uint64_t flags_offset = 0;
constexpr std::uint64_t index_offset = 2;
constexpr std::uint64_t entries_offset = 4;

constexpr std::uint64_t available_bytes(unsigned size) { return entries_offset + 2ull * size + 2; }
constexpr std::uint64_t used_bytes(unsigned size) { return entries_offset + 8ull * size + 2; }
constexpr std::uint64_t used_event_offset(unsigned size) { return entries_offset + 2ull * size; }
constexpr std::uint64_t avail_event_offset(unsigned size) { return entries_offset + 8ull * size; }

// Whether the other side, waiting for index `event`, is to be told that the index
// went from `before` to `now`.  All of them wrap.
constexpr bool passed(std::uint16_t event, std::uint16_t now, std::uint16_t before)
{
	return static_cast<std::uint16_t>(now - event - 1) < static_cast<std::uint16_t>(now - before);
}

} // namespace lguest::ring
