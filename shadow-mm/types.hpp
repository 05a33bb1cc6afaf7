/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Numbers that must not be mixed: addresses and frames of the guest, of the
 * host, and of neither.  Each is a type of its own, and every conversion has a
 * name.  Used by all of shadow-mm; entry.hpp adds the entries of page tables.
 */
#ifndef SHADOW_TYPES_HPP
#define SHADOW_TYPES_HPP

#include "shadow_mm.h"

namespace shadow
{

using u8 = __u8;
using u16 = __u16;
using u32 = __u32;
using u64 = __u64;

constexpr unsigned kPageShift = 12;
constexpr unsigned kIndexBits = 9;
constexpr unsigned kEntries = 1u << kIndexBits;
constexpr u64 kPageSize = 1ull << kPageShift;

template <class Tag> struct Number {
	u64 value;

	Number() = default;
	constexpr explicit Number(u64 v) : value(v) {}

	friend constexpr bool operator==(Number a, Number b) { return a.value == b.value; }
	friend constexpr bool operator!=(Number a, Number b) { return a.value != b.value; }
	friend constexpr bool operator<(Number a, Number b) { return a.value < b.value; }
	friend constexpr bool operator>(Number a, Number b) { return a.value > b.value; }
	friend constexpr bool operator<=(Number a, Number b) { return a.value <= b.value; }
	friend constexpr bool operator>=(Number a, Number b) { return a.value >= b.value; }
	friend constexpr Number operator+(Number a, u64 n) { return Number(a.value + n); }
};

using Gva = Number<struct GvaTag>;	/* guest-virtual address */
using Gpa = Number<struct GpaTag>;	/* guest-physical address */
using Hpa = Number<struct HpaTag>;	/* host-physical address */
using Gfn = Number<struct GfnTag>;	/* guest frame: Gpa without its page offset */
using Pfn = Number<struct PfnTag>;	/* host frame: Hpa without its page offset */

constexpr Gfn frame_of(Gpa a)
{
	return Gfn(a.value >> kPageShift);
}

constexpr Gpa entry_address(Gfn table, unsigned slot)
{
	return Gpa((table.value << kPageShift) + slot * sizeof(u64));
}

/* -- levels: 1 is the table of leaves, 4 the guest's root --------------------- */

constexpr unsigned kRootLevel = 4;
constexpr unsigned kHalf = kEntries / 2;	/* root slots from here: upper half */

/* What one entry of a table of this level covers, as a shift. */
constexpr unsigned level_shift(unsigned level)
{
	return kPageShift + (level - 1) * kIndexBits;
}

constexpr u64 entry_span(unsigned level)
{
	return 1ull << level_shift(level);
}

constexpr unsigned slot_of(Gva a, unsigned level)
{
	return (a.value >> level_shift(level)) % kEntries;
}

constexpr bool is_upper(Gva a)
{
	return a.value >> 63;
}

/* The first address below the table of this level that covers `a`.  A root covers
 * both halves: call its base 0. */
constexpr Gva table_base(Gva a, unsigned level)
{
	return level == kRootLevel ? Gva(0) : Gva(a.value & ~(entry_span(level + 1) - 1));
}

/* The first address below a slot of a table: canonical for a root's upper half. */
constexpr Gva slot_base(Gva base, unsigned level, unsigned slot)
{
	u64 a = base.value + slot * entry_span(level);

	return Gva(level == kRootLevel && slot >= kHalf ? a | 0xffff000000000000ull : a);
}

static_assert(level_shift(1) == 12 && level_shift(2) == 21);
static_assert(level_shift(3) == 30 && level_shift(4) == 39);
static_assert(slot_of(Gva(0xffff800000000000), 4) == LG_HYPERVISOR_SLOT);
static_assert(slot_of(Gva(0x00007fffffffffff), 4) == kHalf - 1);
static_assert(slot_of(Gva(0xffffffff80200000), 3) == 510);
static_assert(slot_of(Gva(0xffffffff80200000), 2) == 1);
static_assert(slot_base(Gva(0), 4, 511) == Gva(0xffffff8000000000));
static_assert(slot_base(slot_base(Gva(0), 4, 511), 3, 510) == Gva(0xffffffff80000000));
static_assert(table_base(Gva(0xffffffff80234567), 1) == Gva(0xffffffff80200000));
static_assert(table_base(Gva(0xffffffff80234567), 3) == slot_base(Gva(0), 4, 511));

} // namespace shadow

#endif
