/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The C interface of shadow_mm.h: layout of the memory given to shadow_create(),
 * roots, and the way from plain numbers to the types inside.
 */
#include "flush.hpp"
#include "sync.hpp"

namespace shadow
{

int check_everything(shadow_mm &mm);	/* check.cpp */

namespace
{

/* What shadow_create() makes of its memory, in this order. */
struct Layout {
	u64 max_tables, frames;		/* clamped */
	unsigned bucket_bits;
	u64 tables, buckets, leaves, size;	/* offsets */
};

constexpr u64 aligned(u64 offset)
{
	return (offset + 63) & ~63ull;
}

Layout layout_of(const struct shadow_config &config)
{
	Layout l;

	l.max_tables = config.max_tables < kMinTables ? kMinTables :
		       config.max_tables > kMaxTables ? kMaxTables : config.max_tables;
	l.frames = config.frames > kMaxFrames ? kMaxFrames : config.frames;
	l.bucket_bits = 4;
	while (l.bucket_bits < 22 && 1ull << l.bucket_bits < l.max_tables)
		l.bucket_bits++;
	l.tables = aligned(sizeof(shadow_mm));
	l.buckets = aligned(l.tables +
			    (kFirstTable + l.max_tables + kSpareTables) * sizeof(Table));
	l.leaves = aligned(l.buckets + (sizeof(TableId) << l.bucket_bits));
	l.size = aligned(l.leaves + l.frames * sizeof(u32));
	return l;
}

constexpr Gva kLowerEnd{(1ull << 47) - 1};
constexpr Gva kUpperStart{~0ull << 47};

} // namespace

} // namespace shadow

using namespace shadow;

/* -- life ---------------------------------------------------------------------------- */

__u64 shadow_size(const struct shadow_config *config)
{
	return layout_of(*config).size;
}

struct shadow_mm *shadow_create(void *memory, const struct shadow_config *config)
{
	Layout l = layout_of(*config);
	char *start = static_cast<char *>(memory);
	shadow_mm *mm = reinterpret_cast<shadow_mm *>(start);

	mm->config = *config;
	mm->config.max_tables = l.max_tables;
	mm->config.frames = l.frames;
	mm->tables = reinterpret_cast<Table *>(start + l.tables);
	mm->buckets = reinterpret_cast<TableId *>(start + l.buckets);
	mm->bucket_bits = l.bucket_bits;
	mm->leaves = reinterpret_cast<u32 *>(start + l.leaves);
	mm->fresh = kFirstTable;
	for (TableId list = kRecent; list <= kHeld; list++)
		mm->tables[list].newer = mm->tables[list].older = list;
	return mm;
}

void shadow_destroy(struct shadow_mm *mm)
{
	Consistency consistency(*mm);

	for (TableId list = kRecent; list <= kHeld; list++)
		while (mm->tables[list].newer != list)
			consistency.retire(mm->tables[list].newer);
}

/* -- roots ------------------------------------------------------------------------------ */

struct shadow_result shadow_get_roots(struct shadow_mm *mm, __u64 root, struct shadow_roots *out)
{
	Gfn frame = frame_of(Gpa(root));
	TableId id = find_root(*mm, frame);

	if (!id || !mm->tables[id].held) {
		enum shadow_env_status status = SHADOW_ENV_OUTSIDE;

		if (frame.value < mm->config.frames)
			status = shadow_env_read_entries(mm->config.env,
							 entry_address(frame, 0).value,
							 &mm->buffer[0].raw, kEntries);
		if (status != SHADOW_ENV_OK)
			return lack_of(status, frame, false);
		if (id)
			revalidate_root(*mm, id);
	}
	if (!id) {
		Consistency consistency(*mm);

		mm->operation++;
		Built built = build_table(consistency, Identity{frame, Gva(0), frame, kRootLevel,
								false, kAllRights});

		if (built.lack == Built::Lack::Pages)
			return make_result(SHADOW_NEED_PAGES);
		if (!built.id)	/* all are held: more vCPUs than max_tables allows */
			return make_result(SHADOW_BAD_FRAME, 0, frame.value);
		id = built.id;
	}
	if (mm->tables[id].held++ == 0)
		move_to(*mm, kHeld, id);
	out->kernel_view = mm->tables[id].address(kKernelTop).value;
	out->user_view = mm->tables[id].address(kUserTop).value;
	return make_result(SHADOW_DONE);
}

void shadow_put_roots(struct shadow_mm *mm, __u64 root)
{
	TableId id = find_root(*mm, frame_of(Gpa(root)));

	if (id && mm->tables[id].held && --mm->tables[id].held == 0)
		move_to(*mm, kRecent, id);
}

struct shadow_result shadow_fault(struct shadow_mm *mm, __u64 root, __u64 gva, __u32 access)
{
	TableId id = find_root(*mm, frame_of(Gpa(root)));

	if (!id)	/* not held: the caller broke the rules, not the guest */
		return make_result(SHADOW_BAD_FRAME, 0, frame_of(Gpa(root)).value);
	return answer_miss(*mm, id, Gva(gva), access);
}

struct shadow_result shadow_translate(struct shadow_mm *mm, __u64 root, __u64 gva, __u32 access,
				      __u64 *gpa)
{
	Walk walk;

	walk_guest(*mm, frame_of(Gpa(root)), Gva(gva), access, walk);
	if (walk.result.outcome == SHADOW_DONE)
		*gpa = entry_address(walk.gfn, 0).value + gva % kPageSize;
	return walk.result;
}

/* -- flushes ------------------------------------------------------------------------------- */

void shadow_flush_range(struct shadow_mm *mm, __u64 root, __u64 start, __u64 end)
{
	Gfn frame = frame_of(Gpa(root));
	Gva first(start & ~(kPageSize - 1));
	Gva last((end - 1) | (kPageSize - 1));	/* end 0: that of the address space */

	if (start == end || last < first)
		return;
	if (first <= kLowerEnd)
		flush_span(*mm, frame, first, last < kLowerEnd ? last : kLowerEnd);
	if (last >= kUpperStart)
		flush_span(*mm, frame, first > kUpperStart ? first : kUpperStart, last);
}

void shadow_flush_page(struct shadow_mm *mm, __u64 root, __u64 gva)
{
	__u64 page = gva & ~(kPageSize - 1);

	shadow_flush_range(mm, root, page, page + kPageSize);
}

void shadow_flush_lower_half(struct shadow_mm *mm, __u64 root)
{
	flush_lower_half(*mm, frame_of(Gpa(root)));
}

void shadow_flush_all(struct shadow_mm *mm)
{
	flush_everything(*mm);
}

void shadow_release_table(struct shadow_mm *mm, __u64 gpa)
{
	TableId id = find_root(*mm, frame_of(Gpa(gpa)));

	/* Of an idle root all is worth freeing.  Other tables go with the flush that
	 * takes away the link to them. */
	if (id && !mm->tables[id].held)
		Consistency(*mm).retire(id);
}

void shadow_unmap_frames(struct shadow_mm *mm, __u64 first, __u64 count)
{
	forget_frames(*mm, Gfn(first), count);
}

__u64 shadow_shrink(struct shadow_mm *mm, __u64 tables)
{
	Consistency consistency(*mm);

	mm->operation++;
	return evict(consistency, tables);
}

/* -- looking inside -------------------------------------------------------------------------- */

int shadow_needs_pge_off(const struct shadow_mm *mm)
{
	return mm->needs_pge_off;
}

const struct shadow_counters *shadow_counters(const struct shadow_mm *mm)
{
	return &mm->counters;
}

int shadow_check(struct shadow_mm *mm)
{
	return check_everything(*mm);
}
