/* SPDX-License-Identifier: GPL-2.0-only */
/* The reference "legal TLB" (shadow_reference.hpp). */
#include "shadow_reference.hpp"

#include <algorithm>

namespace shadow_test
{

bool leaf(u64 entry, unsigned level)
{
	return level == 1 || (level != 4 && (entry & kPS));
}

bool reserved(u64 entry, unsigned level)
{
	if (level == 1 || !(entry & kPS))
		return false;
	if (level == 4)
		return true;
	return entry & (level == 3 ? 0x3fffe000ull : 0x1fe000ull);
}

namespace
{

u64 frame_in(u64 entry, unsigned level, u64 gva)
{
	u64 address = entry & kAddress;

	if (!leaf(entry, level))
		return address >> 12;
	u64 mask = (1ull << (12 + 9 * (level - 1))) - 1;

	return ((address & ~mask) | (gva & mask)) >> 12;
}

} // namespace

Reference::Reference(u64 n) : frame_count(n), memory(n * 512), history_of(n * 512)
{
}

void Reference::add_root(u64 root)
{
	if (std::find(roots.begin(), roots.end(), root) == roots.end())
		roots.push_back(root);
}

void Reference::write(u64 gfn, unsigned slot, u64 value)
{
	u64 at = gfn * 512 + slot;

	if (memory[at] == value)
		return;
	if (!history_of[at]) {
		histories.push_back({{0, memory[at]}});
		history_of[at] = static_cast<u32>(histories.size());
	}
	histories[history_of[at] - 1].push_back({++clock, value});
	memory[at] = value;
}

GuestView Reference::walk(u64 root, u64 gva) const
{
	GuestView v{GuestView::NotPresent, 0, true, true, true, true, false};
	u64 table = root;

	for (unsigned level = 4;; level--) {
		if (table >= frame_count) {
			v.kind = GuestView::TableOutside;
			v.gfn = table;
			return v;
		}

		u64 e = read(table, slot_of(gva, level));

		if (level == 4 && slot_of(gva, 4) == 256)
			e = 0;
		if (!(e & kP))
			return v;
		if (reserved(e, level)) {
			v.kind = GuestView::Reserved;
			return v;
		}
		v.write &= (e & kW) != 0;
		v.execute &= !(e & kNX);
		v.user &= (e & kU) != 0;
		v.all_accessed &= (e & kA) != 0;
		table = frame_in(e, level, gva);
		if (leaf(e, level)) {
			v.kind = GuestView::Mapped;
			v.gfn = table;
			v.dirty = e & kD;
			return v;
		}
	}
}

void Reference::flushed(u64 root, u64 start, u64 last)
{
	flushes.push_back({clock, root, start, last});
}

u64 Reference::last_flush(u64 root, u64 gva) const
{
	for (auto f = flushes.rbegin(); f != flushes.rend(); ++f)
		if (f->start <= gva && gva <= f->last &&
		    (f->root == kAllRoots || f->root == root || upper(gva)))
			return f->time;
	return 0;
}

/* Is there a path whose entries all held at one moment within [from, to)? */
bool Reference::gave_from(const Query &q, unsigned level, u64 table, u64 from, u64 to, bool w,
			  bool x) const
{
	unsigned slot = slot_of(q.gva, level);

	if (table >= frame_count || (level == 4 && slot == 256))
		return false;

	auto holds = [&](u64 e, u64 since, u64 until) {
		since = std::max(since, from);
		until = std::min(until, to);
		if (since >= until || !(e & kP) || !(e & kA) || reserved(e, level))
			return false;
		if (!upper(q.gva) && !(e & kU))
			return false;

		bool w2 = w && (e & kW), x2 = x && !(e & kNX);

		if ((q.write && !w2) || (q.execute && !x2))
			return false;
		u64 next = frame_in(e, level, q.gva);

		if (leaf(e, level))
			return next == q.gfn && (!q.write || (e & kD));
		return gave_from(q, level - 1, next, since, until, w2, x2);
	};

	u64 at = table * 512 + slot;

	if (!history_of[at])
		return holds(memory[at], 0, to);

	const std::vector<Version> &h = histories[history_of[at] - 1];
	u64 until = ~0ull;

	for (auto v = h.rbegin(); v != h.rend() && until > from; ++v) {
		if (holds(v->value, v->time, until))
			return true;
		until = v->time;
	}
	return false;
}

bool Reference::gave(u64 root, u64 gva, u64 gfn, bool write, bool execute) const
{
	Query q{gva, gfn, write, execute};
	u64 from = last_flush(root, gva);

	if (!upper(gva))
		return gave_from(q, 4, root, from, ~0ull, true, true);
	for (u64 r : roots)
		if (gave_from(q, 4, r, from, ~0ull, true, true))
			return true;
	return false;
}

} // namespace shadow_test
