/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Shadow tables: memory, hash, order of use (table_pool.hpp).  What they contain,
 * and their end, is in links.cpp.
 */
#include "table_pool.hpp"

namespace shadow
{

namespace
{

/* How many go when the budget is spent: one TLB flush serves them all. */
constexpr u64 kEvictBatch = 16;
/* A sane guest has one table per upper-half address, or two.  Hostile ones must not
 * make us follow long chains. */
constexpr unsigned kMaxVariants = 64;

void list_add(shadow_mm &mm, TableId list, TableId id)
{
	Table &t = mm.tables[id];

	t.newer = list;
	t.older = mm.tables[list].older;
	mm.tables[t.older].newer = id;
	mm.tables[list].older = id;
}

TableId &bucket_for(const shadow_mm &mm, const Identity &i)
{
	return mm.buckets[bucket_of(mm, i.level, i.base, i.owner)];
}

void hash_remove(shadow_mm &mm, TableId id)
{
	TableId *at = &bucket_for(mm, mm.tables[id].identity);

	while (*at != id)
		at = &mm.tables[*at].hash_next;
	*at = mm.tables[id].hash_next;
}

bool has_page(const shadow_mm &mm, unsigned level, unsigned use)
{
	switch (use) {
	case kTable:
	case kLinks:
		return true;
	case kChildren:
		return level > 1;
	case kUserTop:
		return level == kRootLevel;
	default:
		return level == kRootLevel && mm.config.host_levels == 5;
	}
}

void free_pages(shadow_mm &mm, Table &t)
{
	for (struct shadow_page &page : t.page) {
		if (page.va)
			shadow_env_free(mm.config.env, page);
		page = shadow_page{nullptr, 0};
	}
}

bool alloc_pages(shadow_mm &mm, Table &t, unsigned level)
{
	for (unsigned use = 0; use < kPageUses; use++) {
		if (!has_page(mm, level, use))
			continue;
		if (!shadow_env_alloc(mm.config.env, &t.page[use])) {
			t.page[use] = shadow_page{nullptr, 0};
			free_pages(mm, t);
			return false;
		}
	}
	return true;
}

TableId take_id(shadow_mm &mm)
{
	TableId id = mm.free;

	if (id)
		mm.free = mm.tables[id].older;
	else
		id = mm.fresh++;
	return id;
}

void return_id(shadow_mm &mm, TableId id)
{
	mm.tables[id].state = State::Free;
	mm.tables[id].older = mm.free;
	mm.free = id;
}

/* The fixed entries of a root: see the picture in table.hpp. */
void init_root(const shadow_mm &mm, const Table &t)
{
	ShadowEntry *kernel = t.entries(kKernelTop);
	ShadowEntry *user = t.entries(kUserTop);
	ShadowEntry hypervisor{mm.config.hypervisor_entry};

	kernel[LG_HYPERVISOR_SLOT] = hypervisor;
	user[LG_HYPERVISOR_SLOT] = hypervisor;
	if (mm.config.host_levels == 5) {
		ShadowEntry low = ShadowEntry::link(t.address(kLow), mm.config.encryption_mask);

		kernel[0] = low.no_execute();
		user[0] = low;
		kernel[kEntries - 1] = ShadowEntry::link(t.address(kHigh), mm.config.encryption_mask);
	}
}

} // namespace

/* -- finding ---------------------------------------------------------------------- */

TableId bucket_of(const shadow_mm &mm, unsigned level, Gva base, Gfn owner)
{
	u64 h = (base.value >> kPageShift) + level;

	h = (h ^ (h >> 29)) * 0x9e3779b97f4a7c15ull;
	h = (h ^ owner.value) * 0xbf58476d1ce4e5b9ull;
	return static_cast<TableId>(h >> (64 - mm.bucket_bits));
}

TableId find_table(const shadow_mm &mm, const Identity &identity)
{
	TableId id = bucket_for(mm, identity);

	while (id && !(mm.tables[id].state == State::Live && mm.tables[id].identity == identity))
		id = mm.tables[id].hash_next;
	return id;
}

TableId find_root(const shadow_mm &mm, Gfn root)
{
	return find_table(mm, Identity{root, Gva(0), root, kRootLevel, false, kAllRights});
}

/* -- building ----------------------------------------------------------------------- */

Built build_table(Consistency &consistency, const Identity &identity)
{
	shadow_mm &mm = consistency.mm;

	if (identity.owner == kShared) {
		unsigned variants = 0;
		TableId oldest = kNoTable;

		for_each_at(mm, identity.level, identity.base, identity.owner, [&](TableId id) {
			variants++;
			oldest = id;
		});
		if (variants >= kMaxVariants) {
			consistency.retire(oldest);
			mm.counters.evictions++;
		}
	}
	if (mm.counters.tables >= mm.config.max_tables) {
		evict(consistency, kEvictBatch);
		if (mm.counters.tables >= mm.config.max_tables)
			return Built{kNoTable, Built::Lack::Budget};
	}

	TableId id = take_id(mm);
	Table &t = mm.tables[id];

	if (!alloc_pages(mm, t, identity.level)) {
		return_id(mm, id);
		return Built{kNoTable, Built::Lack::Pages};
	}
	t.identity = identity;
	t.state = State::Live;
	t.present = 0;
	t.held = 0;
	t.parents = 0;
	t.operation = mm.operation;
	list_add(mm, kRecent, id);

	TableId &bucket = bucket_for(mm, identity);

	t.hash_next = bucket;
	bucket = id;
	if (identity.level == kRootLevel)
		init_root(mm, t);
	mm.counters.tables++;
	mm.counters.tables_built++;
	return Built{id, Built::Lack::None};
}

void delist(shadow_mm &mm, TableId id)
{
	Table &t = mm.tables[id];

	mm.tables[t.newer].older = t.older;
	mm.tables[t.older].newer = t.newer;
}

void move_to(shadow_mm &mm, TableId list, TableId id)
{
	delist(mm, id);
	list_add(mm, list, id);
}

void touch(shadow_mm &mm, TableId id)
{
	mm.tables[id].operation = mm.operation;
	if (!mm.tables[id].held)
		move_to(mm, kRecent, id);
}

u64 evict(Consistency &consistency, u64 count)
{
	shadow_mm &mm = consistency.mm;
	u64 before = mm.counters.tables;

	/* What this operation uses is at the recent end: met, nothing else is left. */
	while (before - mm.counters.tables < count) {
		TableId victim = mm.tables[kRecent].newer;

		if (victim == kRecent || mm.tables[victim].operation == mm.operation)
			break;
		consistency.retire(victim);
	}
	mm.counters.evictions += before - mm.counters.tables;
	return before - mm.counters.tables;
}

void free_table(shadow_mm &mm, TableId id)
{
	hash_remove(mm, id);
	free_pages(mm, mm.tables[id]);
	return_id(mm, id);
}

} // namespace shadow
