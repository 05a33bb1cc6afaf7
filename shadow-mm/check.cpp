/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * shadow_check(): the host-safety promise of shadow_mm.h, verified from what is in
 * the tables, and the bookkeeping that keeps it.  For tests and debugging: slow.
 */
#include "table_pool.hpp"

#define CHECK(condition)		\
	do {				\
		if (!(condition))	\
			return __LINE__;	\
	} while (0)

namespace shadow
{

namespace
{

bool clean(ShadowEntry e)
{
	return e.present() || e.raw == 0;
}

/* The top-level pages of a root on an LA57 host hold what init_root() put there. */
int check_top(const shadow_mm &mm, const Table &t)
{
	ShadowEntry low = ShadowEntry::link(t.address(kLow), mm.config.encryption_mask);
	ShadowEntry high = ShadowEntry::link(t.address(kHigh), mm.config.encryption_mask);

	for (unsigned slot = 0; slot < kEntries; slot++) {
		ShadowEntry kernel = t.entries(kKernelTop)[slot];
		ShadowEntry user = t.entries(kUserTop)[slot];

		if (slot == LG_HYPERVISOR_SLOT)
			continue;
		CHECK(kernel == (slot == 0 ? low.no_execute() :
				 slot == kEntries - 1 ? high : ShadowEntry::none()));
		CHECK(user == (slot == 0 ? low : ShadowEntry::none()));
		CHECK((slot < kHalf ? t.entries(kHigh) : t.entries(kLow))[slot] ==
		      ShadowEntry::none());
	}
	CHECK(t.entries(kHigh)[LG_HYPERVISOR_SLOT] == ShadowEntry::none());
	return 0;
}

int check_link(const shadow_mm &mm, const Table &t, unsigned slot)
{
	TableId child_id = t.children().id[slot];
	const Table &child = mm.tables[child_id];
	ShadowEntry want = ShadowEntry::link(child.address(kTable), mm.config.encryption_mask);
	bool top = t.identity.level == kRootLevel;
	Gva base = slot_base(t.identity.base, t.identity.level, slot);

	CHECK(child_id >= kFirstTable && child_id < mm.fresh);
	CHECK(child.state == State::Live);
	CHECK(child.identity.level == t.identity.level - 1);
	CHECK(child.identity.base == base);
	CHECK(child.identity.owner == (!top ? t.identity.owner :
				       is_upper(base) ? kShared : t.identity.frame));
	if (top && mm.config.host_levels == 4 && slot < kHalf) {
		CHECK(t.entries(kUserTop)[slot] == want);
		want = want.no_execute();
	}
	CHECK(entry_at(mm, t, slot) == want);
	return 0;
}

int check_leaf(const shadow_mm &mm, const Table &t, unsigned slot)
{
	ShadowEntry e = t.entries(kTable)[slot];
	Gva page = slot_base(t.identity.base, 1, slot);

	CHECK(e.user());
	CHECK(!e.rights().write || t.identity.rights.write);
	CHECK(!e.rights().execute || t.identity.rights.execute);
	for (unsigned i = 0; !mm.needs_pge_off && i < mm.config.window_count; i++) {
		const struct shadow_window &w = mm.config.windows[i];

		CHECK(page.value > w.end - 1 || page.value + (kPageSize - 1) < w.start);
	}
	return 0;
}

int check_table(const shadow_mm &mm, TableId id, u64 &leaves, u64 &links)
{
	const Table &t = mm.tables[id];
	bool top = t.identity.level == kRootLevel;
	unsigned present = 0;
	int error = 0;

	if (top) {
		CHECK(t.entries(kKernelTop)[LG_HYPERVISOR_SLOT].raw == mm.config.hypervisor_entry);
		CHECK(t.entries(kUserTop)[LG_HYPERVISOR_SLOT].raw == mm.config.hypervisor_entry);
		CHECK(!t.parents);
		if (mm.config.host_levels == 5)
			error = check_top(mm, t);
	} else {
		CHECK(t.parents);
		CHECK(!t.held);
	}
	for (unsigned slot = 0; slot < kEntries && !error; slot++) {
		ShadowEntry e = entry_at(mm, t, slot);

		if (top && slot == LG_HYPERVISOR_SLOT)
			continue;
		CHECK(clean(e));
		if (!e.present()) {
			if (top && mm.config.host_levels == 4)
				CHECK(t.entries(kUserTop)[slot] == ShadowEntry::none());
			continue;
		}
		if (top && mm.config.host_levels == 4 && slot >= kHalf)
			CHECK(t.entries(kUserTop)[slot] == ShadowEntry::none());
		present++;
		if (t.identity.level == 1)
			error = check_leaf(mm, t, slot);
		else
			error = check_link(mm, t, slot);
	}
	CHECK(error || present == t.present);
	(t.identity.level == 1 ? leaves : links) += present;
	return error;
}

/* All nodes of one list: linked both ways, and what they stand for is there. */
int check_list(const shadow_mm &mm, u32 first, bool leaves, u32 subject, u64 &count)
{
	u32 previous = (1u << 31) | subject;

	for (u32 node = first; node; node = mm.tables[node_table(node)].links().next[node_slot(node)]) {
		const Table &t = mm.tables[node_table(node)];
		unsigned slot = node_slot(node);

		CHECK(t.state == State::Live && (t.identity.level == 1) == leaves);
		CHECK(t.links().previous[slot] == previous);
		CHECK(entry_at(mm, t, slot).present());
		CHECK(leaves || t.children().id[slot] == subject);
		previous = node;
		count++;
		if (!leaves)
			continue;

		ShadowEntry e = t.entries(kTable)[slot];
		u64 pfn;

		CHECK(shadow_env_frame(mm.config.env, subject, e.rights().write, &pfn) ==
		      SHADOW_ENV_OK);
		CHECK(ShadowEntry::leaf(Pfn(pfn), e.rights(), mm.config.encryption_mask) == e);
	}
	return 0;
}

int check_use_list(const shadow_mm &mm, TableId list, u64 &count)
{
	for (TableId id = mm.tables[list].newer; id != list; id = mm.tables[id].newer) {
		const Table &t = mm.tables[id];

		CHECK(t.state == State::Live);
		CHECK(mm.tables[t.newer].older == id && mm.tables[t.older].newer == id);
		CHECK((t.held != 0) == (list == kHeld));
		CHECK(find_table(mm, t.identity) == id);
		count++;
	}
	return 0;
}

} // namespace

int check_everything(shadow_mm &mm)
{
	u64 live = 0, listed = 0, leaves = 0, links = 0, leaf_nodes = 0, link_nodes = 0;
	int error = 0;

	for (TableId id = kFirstTable; id < mm.fresh && !error; id++) {
		CHECK(mm.tables[id].state != State::Dead);
		if (mm.tables[id].state != State::Live)
			continue;
		live++;
		error = check_table(mm, id, leaves, links);
		if (!error)
			error = check_list(mm, mm.tables[id].parents, false, id, link_nodes);
	}
	for (u64 gfn = 0; gfn < mm.config.frames && !error; gfn++)
		error = check_list(mm, mm.leaves[gfn], true, static_cast<u32>(gfn), leaf_nodes);
	if (!error)
		error = check_use_list(mm, kRecent, listed);
	if (!error)
		error = check_use_list(mm, kHeld, listed);
	if (error)
		return error;
	CHECK(live == mm.counters.tables && live == listed);
	CHECK(live <= mm.config.max_tables);
	CHECK(leaves == leaf_nodes && links == link_nodes);
	return 0;
}

} // namespace shadow
