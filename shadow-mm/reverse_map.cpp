/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The lists of reverse_map.hpp.  Every operation touches at most three nodes.
 */
#include "reverse_map.hpp"

namespace shadow
{

namespace
{

constexpr u32 kIsHead = 1u << 31;	/* in `previous`: the rest is the subject */

static_assert(kMaxFrames <= kIsHead);

u32 &head(shadow_mm &mm, const Table &holder, u32 subject)
{
	return holder.identity.level == 1 ? mm.leaves[subject] : mm.tables[subject].parents;
}

} // namespace

void add_node(shadow_mm &mm, TableId holder, unsigned slot, u32 subject)
{
	Table &table = mm.tables[holder];
	u32 &first = head(mm, table, subject);
	u32 node = node_of(holder, slot);

	table.links().next[slot] = first;
	table.links().previous[slot] = kIsHead | subject;
	if (first)
		mm.tables[node_table(first)].links().previous[node_slot(first)] = node;
	first = node;
}

void remove_node(shadow_mm &mm, TableId holder, unsigned slot)
{
	Table &table = mm.tables[holder];
	u32 next = table.links().next[slot];
	u32 previous = table.links().previous[slot];

	if (previous & kIsHead)
		head(mm, table, previous & ~kIsHead) = next;
	else
		mm.tables[node_table(previous)].links().next[node_slot(previous)] = next;
	if (next)
		mm.tables[node_table(next)].links().previous[node_slot(next)] = previous;
}

} // namespace shadow
