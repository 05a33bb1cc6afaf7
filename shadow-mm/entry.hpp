/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Entries of page tables: GuestEntry as found in guest memory (anything may be in
 * it), ShadowEntry as hardware sees it (only what is built here).  Bits and
 * conversions only; walk.cpp reads the former, table_pool.cpp and sync.cpp write
 * the latter.
 */
#ifndef SHADOW_ENTRY_HPP
#define SHADOW_ENTRY_HPP

#include "types.hpp"

namespace shadow
{

namespace bit
{
constexpr u64 Present   = 1ull << 0;
constexpr u64 Write     = 1ull << 1;
constexpr u64 User      = 1ull << 2;
constexpr u64 Accessed  = 1ull << 5;
constexpr u64 Dirty     = 1ull << 6;
constexpr u64 Large     = 1ull << 7;	/* levels 2 and 3; PAT in level 1, reserved in 4 */
constexpr u64 NoExecute = 1ull << 63;
constexpr u64 Address   = 0x000ffffffffff000ull;
}

/* What a path of entries grants so far: the AND over its levels. */
struct Rights {
	bool write;
	bool execute;

	friend constexpr bool operator==(Rights a, Rights b)
	{
		return a.write == b.write && a.execute == b.execute;
	}
};

constexpr Rights kAllRights{true, true};

struct GuestEntry {
	u64 raw;

	GuestEntry() = default;
	constexpr explicit GuestEntry(u64 r) : raw(r) {}

	constexpr bool present() const { return raw & bit::Present; }
	constexpr bool writable() const { return raw & bit::Write; }
	constexpr bool user() const { return raw & bit::User; }
	constexpr bool accessed() const { return raw & bit::Accessed; }
	constexpr bool dirty() const { return raw & bit::Dirty; }
	constexpr bool executable() const { return !(raw & bit::NoExecute); }

	/* Does the walk end here? */
	constexpr bool leaf(unsigned level) const
	{
		return level == 1 || (level < kRootLevel && (raw & bit::Large));
	}

	/* A bit is set that must be 0.  All of 51:12 is address: the guest is told
	 * of 52 bits; frames beyond its memory are a different matter.  Bit 12 of
	 * a large entry is PAT. */
	constexpr bool reserved(unsigned level) const
	{
		if (!(raw & bit::Large) || level == 1)
			return false;
		if (level == kRootLevel)
			return true;
		return raw & (entry_span(level) - 1) & bit::Address & ~kPageSize;
	}

	/* The table it points at or, of a leaf, the first frame it maps. */
	constexpr Gfn frame(unsigned level) const
	{
		u64 address = raw & bit::Address;

		return frame_of(Gpa(leaf(level) ? address & ~(entry_span(level) - 1) : address));
	}

	constexpr Rights narrow(Rights r) const
	{
		return Rights{r.write && writable(), r.execute && executable()};
	}

	constexpr GuestEntry with(u64 bits) const { return GuestEntry(raw | bits); }
};

struct ShadowEntry {
	u64 raw;

	ShadowEntry() = default;
	constexpr explicit ShadowEntry(u64 r) : raw(r) {}

	/* Not present is all zero, always: nothing for L1TF to work with. */
	static constexpr ShadowEntry none() { return ShadowEntry(0); }

	/* A and D are preset, so hardware never writes to our tables. */
	static constexpr ShadowEntry link(Hpa table, u64 encryption)
	{
		return ShadowEntry(table.value | encryption | bit::Present | bit::Write |
				   bit::User | bit::Accessed);
	}
	static constexpr ShadowEntry leaf(Pfn frame, Rights r, u64 encryption)
	{
		return ShadowEntry((frame.value << kPageShift) | encryption | bit::Present |
				   bit::User | bit::Accessed |
				   (r.write ? bit::Write | bit::Dirty : 0) |
				   (r.execute ? 0 : bit::NoExecute));
	}

	constexpr ShadowEntry no_execute() const { return ShadowEntry(raw | bit::NoExecute); }

	constexpr bool present() const { return raw & bit::Present; }
	constexpr bool user() const { return raw & bit::User; }
	constexpr Rights rights() const
	{
		return Rights{(raw & bit::Write) != 0, !(raw & bit::NoExecute)};
	}

	friend constexpr bool operator==(ShadowEntry a, ShadowEntry b) { return a.raw == b.raw; }
	friend constexpr bool operator!=(ShadowEntry a, ShadowEntry b) { return a.raw != b.raw; }
};

static_assert(sizeof(GuestEntry) == 8 && sizeof(ShadowEntry) == 8);
static_assert(GuestEntry(0x200083).leaf(2) && !GuestEntry(0x200003).leaf(2));
static_assert(GuestEntry(0x83).leaf(1) && !GuestEntry(0x83).leaf(4));
static_assert(GuestEntry(0x83).reserved(4) && !GuestEntry(0x83).reserved(1));
static_assert(GuestEntry(0x202083).reserved(2) && !GuestEntry(0x201083).reserved(2));
static_assert(GuestEntry(0x40200083).reserved(3) && !GuestEntry(0x40001083).reserved(3));
static_assert(!GuestEntry(0x202003).reserved(2));
static_assert(GuestEntry(0x201083).frame(2) == Gfn(0x200));
static_assert(GuestEntry(0x8000000000201063).frame(1) == Gfn(0x201));
static_assert(!ShadowEntry::none().present());
static_assert(ShadowEntry::leaf(Pfn(5), Rights{false, false}, 0).raw == 0x8000000000005025);
static_assert(ShadowEntry::leaf(Pfn(5), kAllRights, 0).raw == 0x5067);
static_assert(ShadowEntry::link(Hpa(0x5000), 0).raw == 0x5027);

/* Hardware may read a shadow entry at any moment: one store, never torn, and what
 * it points at is complete before. */
inline void store(ShadowEntry &slot, ShadowEntry value)
{
	__atomic_store_n(&slot.raw, value.raw, __ATOMIC_RELEASE);
}

} // namespace shadow

#endif
