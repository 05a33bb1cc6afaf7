/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What shadow tables contain, and how they end (table_pool.hpp): links, leaves, and
 * the Consistency that collects the dead.  table_pool.cpp makes the tables.
 */
#include "table_pool.hpp"

namespace shadow
{

namespace
{

/* Write a slot, in both views if both have it.  An empty slot stays empty in the
 * one until it is filled in the other: no order matters. */
void write_slot(shadow_mm &mm, const Table &t, unsigned slot, ShadowEntry value)
{
	if (t.identity.level == kRootLevel && mm.config.host_levels == 4 && slot < kHalf) {
		store(t.entries(kUserTop)[slot], value);
		if (value.present())
			value = value.no_execute();
	}
	store(entry_at(mm, t, slot), value);
}

/* Clear a link and forget it; the child may be left without parents. */
TableId cut(shadow_mm &mm, TableId parent, unsigned slot)
{
	Table &t = mm.tables[parent];

	write_slot(mm, t, slot, ShadowEntry::none());
	remove_node(mm, parent, slot);
	t.present--;
	return t.children().id[slot];
}

} // namespace

/* -- entries ------------------------------------------------------------------------ */

ShadowEntry &entry_at(const shadow_mm &mm, const Table &t, unsigned slot)
{
	PageUse use = kTable;

	if (t.identity.level == kRootLevel && mm.config.host_levels == 5)
		use = slot < kHalf ? kLow : kHigh;
	return t.entries(use)[slot];
}

void link(shadow_mm &mm, TableId parent, unsigned slot, TableId child)
{
	Table &t = mm.tables[parent];

	t.children().id[slot] = child;
	add_node(mm, parent, slot, child);
	t.present++;
	write_slot(mm, t, slot, ShadowEntry::link(mm.tables[child].address(kTable),
						  mm.config.encryption_mask));
}

void drop_link(Consistency &consistency, TableId parent, unsigned slot)
{
	TableId child = cut(consistency.mm, parent, slot);

	consistency.changed();
	if (!consistency.mm.tables[child].parents)
		consistency.retire(child);
}

void set_leaf(shadow_mm &mm, TableId id, unsigned slot, Gfn gfn, ShadowEntry value)
{
	Table &t = mm.tables[id];

	add_node(mm, id, slot, static_cast<u32>(gfn.value));
	t.present++;
	store(t.entries(kTable)[slot], value);
}

void replace_leaf(shadow_mm &mm, TableId id, unsigned slot, Gfn gfn, ShadowEntry value)
{
	remove_node(mm, id, slot);
	add_node(mm, id, slot, static_cast<u32>(gfn.value));
	store(mm.tables[id].entries(kTable)[slot], value);
}

void drop_leaf(Consistency &consistency, TableId id, unsigned slot)
{
	Table &t = consistency.mm.tables[id];

	store(t.entries(kTable)[slot], ShadowEntry::none());
	remove_node(consistency.mm, id, slot);
	t.present--;
	consistency.changed();
}

/* -- the end of tables ---------------------------------------------------------------- */

void Consistency::bury(TableId id)
{
	delist(mm, id);
	mm.tables[id].state = State::Dead;
	mm.tables[id].older = kNoTable;
	if (last)
		mm.tables[last].older = id;
	else
		first = id;
	last = id;
	mm.counters.tables--;
}

void Consistency::retire(TableId id)
{
	changed();
	while (mm.tables[id].parents) {
		u32 node = mm.tables[id].parents;

		cut(mm, node_table(node), node_slot(node));
	}
	bury(id);
	/* The list of the dead is the work list too: no recursion. */
	for (; id; id = mm.tables[id].older) {
		Table &t = mm.tables[id];

		for (unsigned slot = 0; t.present; slot++) {
			if (!entry_at(mm, t, slot).present() ||
			    (t.identity.level == kRootLevel && slot == LG_HYPERVISOR_SLOT))
				continue;
			if (t.identity.level == 1) {
				drop_leaf(*this, id, slot);
				continue;
			}

			TableId child = cut(mm, id, slot);

			if (!mm.tables[child].parents)
				bury(child);
		}
	}
}

Consistency::~Consistency()
{
	if (flush) {
		mm.counters.flushes++;
		shadow_env_flush_tlb(mm.config.env);
	}
	while (first) {
		TableId id = first;

		first = mm.tables[id].older;
		free_table(mm, id);
	}
}

} // namespace shadow
