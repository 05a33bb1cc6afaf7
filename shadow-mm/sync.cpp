/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Misses (sync.hpp), in this order, so that a step that fails leaves nothing half
 * done and the caller can simply call again:
 *
 *   1. walk the guest's tables; what they deny is injected
 *   2. get the host frame behind the page
 *   3. set A on the path and D at its end if it is written
 *   4. find or build the shadow tables on the path, and link them
 *   5. fill the leaf table: the entry asked for, and all others that are ready
 */
#include "sync.hpp"

namespace shadow
{

namespace
{

/* Entries round the one asked for that get A set too (after fork all of a child's
 * are old), and frames of a large page that are mapped at a time.  Aligned groups. */
constexpr unsigned kAccessedWindow = 32;
constexpr unsigned kSplitWindow = 64;
/* How often to start again when the guest changes an entry under our hands. */
constexpr unsigned kAttempts = 4;

struct Frame {
	enum shadow_env_status status;
	Pfn pfn;
	bool writable;
};

/* must_write: a read-only frame is of no use. */
Frame host_frame(const shadow_mm &mm, Gfn gfn, bool may_write, bool must_write)
{
	Frame f{SHADOW_ENV_OUTSIDE, Pfn(0), false};

	if (gfn.value >= mm.config.frames)
		return f;
	if (may_write) {
		f.status = shadow_env_frame(mm.config.env, gfn.value, 1, &f.pfn.value);
		f.writable = f.status == SHADOW_ENV_OK;
		if (f.writable || must_write)
			return f;
	}
	f.status = shadow_env_frame(mm.config.env, gfn.value, 0, &f.pfn.value);
	return f;
}

bool in_host_window(const shadow_mm &mm, Gva page)
{
	for (unsigned i = 0; i < mm.config.window_count; i++) {
		const struct shadow_window &w = mm.config.windows[i];

		/* end 0 wraps to the last address. */
		if (page.value <= w.end - 1 && page.value + (kPageSize - 1) >= w.start)
			return true;
	}
	return false;
}

/* -- step 3 ------------------------------------------------------------------------ */

/* DONE, also if the guest changed the entry meanwhile: then `changed` is set. */
struct shadow_result set_bits(const shadow_mm &mm, Walk &walk, Gva gva, unsigned level, u64 bits,
			      bool &changed)
{
	GuestEntry old = walk.entry[level];
	Gpa at = entry_address(walk.table[level], slot_of(gva, level));
	enum shadow_env_status status;

	if ((old.raw & bits) == bits)
		return make_result(SHADOW_DONE);
	status = shadow_env_cmpxchg_entry(mm.config.env, at.value, old.raw, old.with(bits).raw);
	if (status == SHADOW_ENV_CHANGED) {
		changed = true;
		return make_result(SHADOW_DONE);
	}
	if (status != SHADOW_ENV_OK)
		return lack_of(status, walk.table[level], true);
	walk.entry[level] = old.with(bits);
	return make_result(SHADOW_DONE);
}

struct shadow_result set_accessed(const shadow_mm &mm, Walk &walk, Gva gva, bool write,
				  bool &changed)
{
	struct shadow_result r = make_result(SHADOW_DONE);

	for (unsigned level = kRootLevel; level >= walk.leaf_level; level--) {
		bool dirty = write && level == walk.leaf_level;

		r = set_bits(mm, walk, gva, level, bit::Accessed | (dirty ? bit::Dirty : 0),
			     changed);
		if (changed || r.outcome != SHADOW_DONE)
			break;
	}
	return r;
}

/* -- step 4 ------------------------------------------------------------------------ */

struct Path {
	TableId at[kRootLevel + 1];
	struct shadow_result result;
};

/* The table linked at a slot of `parent`; what is there and wrong goes. */
Built linked_child(Consistency &consistency, TableId parent, unsigned slot, const Identity &want)
{
	shadow_mm &mm = consistency.mm;
	Built child{kNoTable, Built::Lack::None};

	if (entry_at(mm, mm.tables[parent], slot).present()) {
		child.id = mm.tables[parent].children().id[slot];
		if (mm.tables[child.id].identity == want)
			return child;
		drop_link(consistency, parent, slot);
		child.id = kNoTable;
	}
	/* In the lower half a table lives only as long as its link. */
	if (want.owner == kShared)
		child.id = find_table(mm, want);
	if (!child.id)
		child = build_table(consistency, want);
	if (child.id)
		link(mm, parent, slot, child.id);
	return child;
}

void build_path(Consistency &consistency, TableId root, Gva gva, const Walk &walk, Path &path)
{
	shadow_mm &mm = consistency.mm;

	path.result = make_result(SHADOW_DONE);
	path.at[kRootLevel] = root;
	touch(mm, root);
	for (unsigned level = kRootLevel; level > 1; level--) {
		const Identity &parent = mm.tables[path.at[level]].identity;
		unsigned slot = slot_of(gva, level);
		GuestEntry entry = level >= walk.leaf_level ? walk.entry[level] : GuestEntry(0);
		Identity want;

		if (!child_identity(mm, parent, slot, entry, want)) {
			/* Does not happen: the walk came through here. */
			path.result = make_result(SHADOW_INJECT, PFEC_PRESENT);
			return;
		}

		Built child = linked_child(consistency, path.at[level], slot, want);

		if (!child.id) {
			path.result = child.lack == Built::Lack::Pages ?
				make_result(SHADOW_NEED_PAGES) :
				make_result(SHADOW_BAD_FRAME, 0, mm.tables[root].identity.frame.value);
			return;
		}
		path.at[level - 1] = child.id;
		touch(mm, child.id);
	}
	/* Parents count as used after their children, so leaf tables go first. */
	for (unsigned level = 1; level <= kRootLevel; level++)
		touch(mm, path.at[level]);
}

/* -- step 5 ------------------------------------------------------------------------ */

/* Put a leaf into an empty slot, or in place of another. */
void fill(Consistency &consistency, TableId id, unsigned slot, Gfn gfn, ShadowEntry value)
{
	shadow_mm &mm = consistency.mm;
	const Table &t = mm.tables[id];
	ShadowEntry old = t.entries(kTable)[slot];

	if (!mm.needs_pge_off && in_host_window(mm, slot_base(t.identity.base, 1, slot))) {
		/* Before the leaf can be used, every vCPU leaves and comes back with
		 * PGE off. */
		mm.needs_pge_off = 1;
		shadow_env_flush_tlb(mm.config.env);
	}
	mm.counters.synced_entries++;
	if (!old.present()) {
		set_leaf(mm, id, slot, gfn, value);
		return;
	}
	/* A TLB may keep the old leaf.  That is harmless only if the new one, which
	 * the reverse map knows from here on, grants all that the old one did. */
	if ((old.raw & ~(bit::Write | bit::Dirty | bit::NoExecute)) !=
		    (value.raw & ~(bit::Write | bit::Dirty | bit::NoExecute)) ||
	    (old.rights().write && !value.rights().write) ||
	    (old.rights().execute && !value.rights().execute))
		consistency.changed();
	replace_leaf(mm, id, slot, gfn, value);
}

/* May an entry that nobody asked for be filled? */
bool open_slot(const shadow_mm &mm, const Table &t, unsigned slot)
{
	return !t.entries(kTable)[slot].present() &&
	       (mm.needs_pge_off || !in_host_window(mm, slot_base(t.identity.base, 1, slot)));
}

void fill_ahead(Consistency &consistency, TableId id, unsigned slot, Gfn gfn, Rights rights)
{
	shadow_mm &mm = consistency.mm;
	Frame f = host_frame(mm, gfn, rights.write, false);

	if (f.status == SHADOW_ENV_OK)
		fill(consistency, id, slot, gfn,
		     ShadowEntry::leaf(f.pfn, Rights{f.writable, rights.execute},
				       mm.config.encryption_mask));
}

void sync_split(Consistency &consistency, TableId id, unsigned asked)
{
	const shadow_mm &mm = consistency.mm;
	const Table &t = mm.tables[id];
	unsigned first = asked - asked % kSplitWindow;

	for (unsigned slot = first; slot < first + kSplitWindow; slot++)
		if (slot != asked && open_slot(mm, t, slot))
			fill_ahead(consistency, id, slot, t.identity.frame + slot,
				   t.identity.rights);
}

void sync_table(Consistency &consistency, TableId id, unsigned asked)
{
	shadow_mm &mm = consistency.mm;
	const Table &t = mm.tables[id];
	Gfn frame = t.identity.frame;
	bool upper = is_upper(t.identity.base);

	if (shadow_env_read_entries(mm.config.env, entry_address(frame, 0).value,
				    &mm.buffer[0].raw, kEntries) != SHADOW_ENV_OK)
		return;
	for (unsigned slot = 0; slot < kEntries; slot++) {
		GuestEntry entry = mm.buffer[slot];

		if (!entry.present() || slot == asked || (!upper && !entry.user()) ||
		    !open_slot(mm, t, slot))
			continue;
		if (!entry.accessed()) {
			if (slot / kAccessedWindow != asked / kAccessedWindow ||
			    shadow_env_cmpxchg_entry(mm.config.env, entry_address(frame, slot).value,
						     entry.raw, entry.with(bit::Accessed).raw) !=
				    SHADOW_ENV_OK)
				continue;
		}

		Rights rights = entry.narrow(t.identity.rights);

		rights.write = rights.write && entry.dirty();
		fill_ahead(consistency, id, slot, entry.frame(1), rights);
	}
}

/* What can be denied though the guest's tables allow it (see README.md). */
bool honoured(const Walk &walk, Gva gva, u32 access)
{
	/* The user view has no upper half; the lower half has no supervisor pages. */
	return is_upper(gva) ? !(access & PFEC_USER) : walk.user;
}

} // namespace

struct shadow_result answer_miss(shadow_mm &mm, TableId root, Gva gva, u32 access)
{
	Consistency consistency(mm);
	bool write = access & PFEC_WRITE;
	Walk walk;
	Frame frame;

	mm.operation++;
	for (unsigned attempt = 0;; attempt++) {
		bool changed = false;

		walk_guest(mm, mm.tables[root].identity.frame, gva, access, walk);
		if (walk.result.outcome != SHADOW_DONE)
			return walk.result;
		if (!honoured(walk, gva, access))
			return make_result(SHADOW_INJECT, attempted(access) | PFEC_PRESENT);

		bool dirty = write || walk.entry[walk.leaf_level].dirty();

		frame = host_frame(mm, walk.gfn, walk.rights.write && dirty, write);
		if (frame.status != SHADOW_ENV_OK)
			return lack_of(frame.status, walk.gfn, write);

		struct shadow_result r = set_accessed(mm, walk, gva, write, changed);

		if (r.outcome != SHADOW_DONE)
			return r;
		if (!changed)
			break;
		if (attempt == kAttempts)
			return make_result(SHADOW_DONE);	/* the guest will be back */
	}

	Path path;
	unsigned asked = slot_of(gva, 1);

	build_path(consistency, root, gva, walk, path);
	if (path.result.outcome != SHADOW_DONE)
		return path.result;

	TableId leaf = path.at[1];
	bool fresh = !mm.tables[leaf].entries(kTable)[asked].present();

	fill(consistency, leaf, asked, walk.gfn,
	     ShadowEntry::leaf(frame.pfn, Rights{frame.writable, walk.rights.execute},
			       mm.config.encryption_mask));
	mm.counters.fills++;
	if (!fresh)
		return make_result(SHADOW_DONE);
	if (mm.tables[leaf].identity.split)
		sync_split(consistency, leaf, asked);
	else
		sync_table(consistency, leaf, asked);
	return make_result(SHADOW_DONE);
}

} // namespace shadow
