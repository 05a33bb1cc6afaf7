/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Shadow tables: finding, building, linking, dropping.  The layer below the
 * policies of sync.cpp (what to fill) and flush.cpp (what must go).
 */
#ifndef SHADOW_TABLE_POOL_HPP
#define SHADOW_TABLE_POOL_HPP

#include "reverse_map.hpp"

namespace shadow
{

/*
 * An operation that takes present entries away makes one of these first.  It
 * collects the tables that die; its end empties all TLBs, once, if anything was
 * taken away, and only then gives the pages back.
 *
 * Until then a dead table is still found in its hash chain, so that a chain can
 * be followed while tables die.
 */
class Consistency
{
public:
	explicit Consistency(shadow_mm &m) : mm(m) {}
	~Consistency();
	Consistency(const Consistency &) = delete;
	Consistency &operator=(const Consistency &) = delete;

	shadow_mm &mm;

	/* A translation was removed or narrowed. */
	void changed() { flush = true; }
	/* Remove a live table, all links to it, and all below that nothing else
	 * links to. */
	void retire(TableId id);

private:
	void bury(TableId id);

	bool flush = false;
	TableId first = kNoTable, last = kNoTable;
};

/* -- finding -------------------------------------------------------------------- */

TableId find_table(const shadow_mm &mm, const Identity &identity);
TableId find_root(const shadow_mm &mm, Gfn root);

/* Call visit(id) for each live table of this level, base and owner: one in the
 * lower half, those of different roots in the upper.  visit may retire tables. */
TableId bucket_of(const shadow_mm &mm, unsigned level, Gva base, Gfn owner);

template <class Visit>
void for_each_at(shadow_mm &mm, unsigned level, Gva base, Gfn owner, Visit visit)
{
	TableId id = mm.buckets[bucket_of(mm, level, base, owner)];

	for (; id; id = mm.tables[id].hash_next) {
		const Table &t = mm.tables[id];

		if (t.state == State::Live && t.identity.level == level &&
		    t.identity.base == base && t.identity.owner == owner)
			visit(id);
	}
}

/* -- building --------------------------------------------------------------------- */

struct Built {
	TableId id;	/* kNoTable: */
	enum class Lack : u8 { None, Pages, Budget } lack;
};

/* A new, empty table.  May evict others, but none of this operation's. */
Built build_table(Consistency &consistency, const Identity &identity);
/* Mark as most recently used, and in use by this operation. */
void touch(shadow_mm &mm, TableId id);
/* Move between the lists kRecent and kHeld. */
void move_to(shadow_mm &mm, TableId list, TableId id);
/* Take out of its list: the first thing when a table dies.  Free it: the last. */
void delist(shadow_mm &mm, TableId id);
void free_table(shadow_mm &mm, TableId id);
/* Evict up to `count` of the least recently used tables; returns how many went. */
u64 evict(Consistency &consistency, u64 count);

/* -- entries ---------------------------------------------------------------------- */

/* The entry itself; of a root's lower half, the kernel view's. */
ShadowEntry &entry_at(const shadow_mm &mm, const Table &table, unsigned slot);
/* Make an empty slot point at a table of the level below. */
void link(shadow_mm &mm, TableId parent, unsigned slot, TableId child);
/* Take a present link away, and the child too if it was the last one to it. */
void drop_link(Consistency &consistency, TableId parent, unsigned slot);
/* Fill an empty slot of a level 1 table; put another leaf in place of a present one
 * (the caller minds TLBs); take a present one away. */
void set_leaf(shadow_mm &mm, TableId id, unsigned slot, Gfn gfn, ShadowEntry value);
void replace_leaf(shadow_mm &mm, TableId id, unsigned slot, Gfn gfn, ShadowEntry value);
void drop_leaf(Consistency &consistency, TableId id, unsigned slot);

} // namespace shadow

#endif
