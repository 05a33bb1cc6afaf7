/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The reference "legal TLB": guest memory with the history of every entry, and the
 * question whether the guest's tables gave a translation at some moment since the
 * last flush that covered its address.  Knows nothing of shadow-mm's inside.
 *
 * Neighbours: shadow_machine.hpp runs hardware against it.
 */
#ifndef SHADOW_REFERENCE_HPP
#define SHADOW_REFERENCE_HPP

#include <cstdint>
#include <vector>

namespace shadow_test
{

using u8 = std::uint8_t;
using u32 = std::uint32_t;
using u64 = unsigned long long;	/* the ABI's __u64 */

constexpr u64 kP = 1, kW = 2, kU = 4, kA = 0x20, kD = 0x40, kPS = 0x80, kNX = 1ull << 63;
constexpr u64 kAddress = 0x000ffffffffff000;
constexpr u64 kUpper = 0xffff800000000000;

constexpr unsigned slot_of(u64 gva, unsigned level)
{
	return gva >> (12 + 9 * (level - 1)) & 511;
}

constexpr bool upper(u64 gva)
{
	return gva >> 63;
}

constexpr u64 make_gva(unsigned s4, unsigned s3, unsigned s2, unsigned s1)
{
	u64 a = u64(s4) << 39 | u64(s3) << 30 | u64(s2) << 21 | u64(s1) << 12;

	return s4 & 256 ? a | 0xffff000000000000 : a;
}

bool reserved(u64 entry, unsigned level);
bool leaf(u64 entry, unsigned level);

/* What one walk of the guest's tables finds. */
struct GuestView {
	enum Kind { Mapped, NotPresent, Reserved, TableOutside } kind;
	u64 gfn;	/* mapped; outside: the table */
	bool write, execute, user;
	bool all_accessed, dirty;
};

class Reference
{
public:
	explicit Reference(u64 frames);

	u64 frames() const { return frame_count; }
	u64 read(u64 gfn, unsigned slot) const { return memory[gfn * 512 + slot]; }
	void write(u64 gfn, unsigned slot, u64 value);

	/* This frame was used as a root. */
	void add_root(u64 root);

	/* A walk now; the hypervisor slot is never present. */
	GuestView walk(u64 root, u64 gva) const;

	static constexpr u64 kAllRoots = ~0ull;
	void flushed(u64 root, u64 start, u64 last);

	/* Was gva -> gfn with at least these rights given?  Leaf and links had A set,
	 * for W the leaf D, in the lower half all U.  In the upper half any root counts,
	 * as if all entries were global. */
	bool gave(u64 root, u64 gva, u64 gfn, bool write, bool execute) const;

private:
	struct Version {
		u64 time, value;
	};
	struct Flush {
		u64 time, root, start, last;
	};
	struct Query {
		u64 gva, gfn;
		bool write, execute;
	};

	u64 last_flush(u64 root, u64 gva) const;
	bool gave_from(const Query &q, unsigned level, u64 table, u64 from, u64 to, bool w,
		       bool x) const;

	u64 frame_count;
	std::vector<u64> roots;
	std::vector<u64> memory;
	std::vector<u32> history_of;	/* entry -> index + 1 into histories */
	std::vector<std::vector<Version>> histories;
	std::vector<Flush> flushes;
	u64 clock = 1;
};

} // namespace shadow_test

#endif
