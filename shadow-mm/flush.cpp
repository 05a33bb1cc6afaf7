/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Flushes (flush.hpp).  A flush of [start, last] drops every leaf in it, and makes
 * every link on the paths to it either gone or true now:
 *
 *        root     slot compared with the guest's entry ---+
 *        PDPT     slot compared, dropped if all covered   |  equal: the link is what
 *        PD       slot compared, dropped if all covered   |  a walk after this flush
 *        PT       leaves dropped                        --+  would find, so it stays
 *
 * Comparing, where INVLPG would drop, keeps a one-page flush in the kernel half from
 * losing 512 GiB of it.  Tables are found by the address they cover, not by walking
 * down from a root, so those that only idle roots reach are flushed as well; the
 * links of idle roots themselves wait for shadow_get_roots().
 */
#include "flush.hpp"
#include "walk.hpp"

namespace shadow
{

namespace
{

/* Above this a range drops whole root slots. */
constexpr u64 kSpanLimit = 1ull << 30;

void compare_link(Consistency &consistency, TableId id, unsigned slot, GuestEntry now)
{
	shadow_mm &mm = consistency.mm;
	const Table &t = mm.tables[id];
	Identity want;

	if (!child_identity(mm, t.identity, slot, now, want) ||
	    !(want == mm.tables[t.children().id[slot]].identity))
		drop_link(consistency, id, slot);
}

/* The guest's entry for a present link, read afresh. */
void revalidate_link(Consistency &consistency, TableId id, unsigned slot)
{
	shadow_mm &mm = consistency.mm;
	const Identity &identity = mm.tables[id].identity;
	GuestEntry now(0);

	if (!identity.split &&
	    shadow_env_read_entries(mm.config.env, entry_address(identity.frame, slot).value,
				    &now.raw, 1) != SHADOW_ENV_OK)
		now = GuestEntry(0);
	compare_link(consistency, id, slot, now);
}

/* The hypervisor slot of a root is present and yet no link. */
bool link_present(const shadow_mm &mm, const Table &t, unsigned slot)
{
	return !(t.identity.level == kRootLevel && slot == LG_HYPERVISOR_SLOT) &&
	       entry_at(mm, t, slot).present();
}

void drop_root_slots(Consistency &consistency, TableId root, unsigned first, unsigned last)
{
	for (unsigned slot = first; slot <= last; slot++)
		if (link_present(consistency.mm, consistency.mm.tables[root], slot))
			drop_link(consistency, root, slot);
}

/* All slots of a table of level 1 to 3 in [start, last]. */
void flush_table(Consistency &consistency, TableId id, Gva start, Gva last)
{
	shadow_mm &mm = consistency.mm;
	const Table &t = mm.tables[id];
	unsigned level = t.identity.level;
	Gva base = t.identity.base;
	u64 span = entry_span(level);
	Gva end = base + (span * kEntries - 1);	/* inclusive */
	unsigned lo = start <= base ? 0 : slot_of(start, level);
	unsigned hi = last >= end ? kEntries - 1 : slot_of(last, level);

	for (unsigned slot = lo; slot <= hi && t.present; slot++) {
		if (!entry_at(mm, t, slot).present())
			continue;
		Gva first = slot_base(base, level, slot);

		if (level == 1)
			drop_leaf(consistency, id, slot);
		else if (start <= first && first + (span - 1) <= last)
			drop_link(consistency, id, slot);
		else
			revalidate_link(consistency, id, slot);
	}
}

/* Call visit(root) for all roots with links to flush.  In the upper half: all, or only
 * those that hardware may be using. */
template <class Visit>
void for_each_root(shadow_mm &mm, Gfn root, bool upper, bool idle_too, Visit visit)
{
	if (!upper) {
		TableId id = find_root(mm, root);

		if (id)
			visit(id);
		return;
	}
	for (TableId list = idle_too ? kRecent : kHeld; list <= kHeld; list++) {
		TableId next;

		/* visit() retires no root. */
		for (TableId id = mm.tables[list].newer; id != list; id = next) {
			if (mm.tables[id].identity.level == kRootLevel)
				visit(id);
			next = mm.tables[id].newer;
		}
	}
}

} // namespace

void flush_span(shadow_mm &mm, Gfn root, Gva start, Gva last)
{
	Consistency consistency(mm);
	bool upper = is_upper(start);
	unsigned first_slot = slot_of(start, kRootLevel), last_slot = slot_of(last, kRootLevel);

	if (last.value - start.value >= kSpanLimit) {
		for_each_root(mm, root, upper, true, [&](TableId id) {
			drop_root_slots(consistency, id, first_slot, last_slot);
		});
		return;
	}
	for_each_root(mm, root, upper, false, [&](TableId id) {
		for (unsigned slot = first_slot; slot <= last_slot; slot++)
			if (link_present(mm, mm.tables[id], slot))
				revalidate_link(consistency, id, slot);
	});
	for (unsigned level = kRootLevel - 1; level >= 1; level--) {
		Gva base = table_base(start, level);

		for (;;) {
			for_each_at(mm, level, base, upper ? kShared : root, [&](TableId id) {
				flush_table(consistency, id, start, last);
			});
			if (last.value - base.value < entry_span(level + 1))
				break;
			base = base + entry_span(level + 1);
		}
	}
}

void flush_lower_half(shadow_mm &mm, Gfn root)
{
	Consistency consistency(mm);
	TableId id = find_root(mm, root);

	if (id)
		drop_root_slots(consistency, id, 0, kHalf - 1);
}

void flush_everything(shadow_mm &mm)
{
	Consistency consistency(mm);

	mm.operation++;
	for (TableId id = mm.tables[kHeld].newer; id != kHeld; id = mm.tables[id].newer)
		drop_root_slots(consistency, id, 0, kEntries - 1);
	while (mm.tables[kRecent].newer != kRecent)
		consistency.retire(mm.tables[kRecent].newer);
}

void revalidate_root(shadow_mm &mm, TableId root)
{
	Consistency consistency(mm);

	for (unsigned slot = kHalf; slot < kEntries; slot++)
		if (link_present(mm, mm.tables[root], slot))
			compare_link(consistency, root, slot, mm.buffer[slot]);
}

void forget_frames(shadow_mm &mm, Gfn first, u64 count)
{
	Consistency consistency(mm);

	if (first.value >= mm.config.frames)
		return;
	if (count > mm.config.frames - first.value)
		count = mm.config.frames - first.value;
	for (u64 gfn = first.value; gfn < first.value + count; gfn++) {
		while (u32 node = mm.leaves[gfn])
			drop_leaf(consistency, node_table(node), node_slot(node));
	}
}

} // namespace shadow
