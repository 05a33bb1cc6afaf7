/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who points at this?  For every guest frame the list of leaves that map it, for
 * every table the list of links to it.  Both are one kind of doubly linked list,
 * whose nodes are (table, slot) and lie in that table's Links page:
 *
 *   leaves[gfn]  --> (table 7, slot 3) <--> (table 9, slot 0)
 *   table.parents -> (table 2, slot 1) <--> (table 5, slot 511)
 *
 * `previous` of the first node names the head (the gfn, or the table), so a node is
 * taken out in constant time without knowing what its entry pointed to.
 */
#ifndef SHADOW_REVERSE_MAP_HPP
#define SHADOW_REVERSE_MAP_HPP

#include "table.hpp"

namespace shadow
{

/* 0 is no node: tables 0 and 1 have no entries. */
constexpr u32 node_of(TableId table, unsigned slot)
{
	return table * kEntries + slot;
}

constexpr TableId node_table(u32 node)
{
	return node / kEntries;
}

constexpr unsigned node_slot(u32 node)
{
	return node % kEntries;
}

static_assert(node_table(node_of(7, 511)) == 7 && node_slot(node_of(7, 511)) == 511);
static_assert(node_of(kMaxTables + kSpareTables + kFirstTable - 1, 511) < 1u << 31);

/* `subject`: the gfn if the holder is of level 1, else the child's id. */
void add_node(shadow_mm &mm, TableId holder, unsigned slot, u32 subject);
void remove_node(shadow_mm &mm, TableId holder, unsigned slot);

} // namespace shadow

#endif
