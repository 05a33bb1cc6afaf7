/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guest's tables, read (walk.hpp).
 */
#include "walk.hpp"

namespace shadow
{

struct shadow_result lack_of(enum shadow_env_status status, Gfn gfn, bool write)
{
	return make_result(status == SHADOW_ENV_ABSENT ? SHADOW_NEED_FRAME : SHADOW_BAD_FRAME, 0,
			   gfn.value, write);
}

namespace
{

struct Request {
	const shadow_mm &mm;
	Gva gva;
	u32 access;
};

bool allowed(const Request &request, const Walk &walk)
{
	if ((request.access & PFEC_WRITE) && !walk.rights.write)
		return false;
	if ((request.access & PFEC_FETCH) && !walk.rights.execute)
		return false;
	if (request.access & PFEC_USER)
		return walk.user;
	/* SMEP: the kernel view's lower half is not executable.  In the upper half
	 * U=1 means nothing: start-up tables set it throughout. */
	return !((request.access & PFEC_FETCH) && !is_upper(request.gva));
}

template <unsigned level>
void step(const Request &request, Gfn table, Walk &walk)
{
	static_assert(level >= 1 && level <= kRootLevel);
	unsigned slot = slot_of(request.gva, level);
	GuestEntry entry(0);

	if (table.value >= request.mm.config.frames) {
		walk.result = lack_of(SHADOW_ENV_OUTSIDE, table, false);
		return;
	}
	if (level != kRootLevel || slot != LG_HYPERVISOR_SLOT) {
		enum shadow_env_status status =
			shadow_env_read_entries(request.mm.config.env,
						entry_address(table, slot).value, &entry.raw, 1);

		if (status != SHADOW_ENV_OK) {
			walk.result = lack_of(status, table, false);
			return;
		}
	}
	walk.table[level] = table;
	walk.entry[level] = entry;
	if (!entry.present()) {
		walk.result = make_result(SHADOW_INJECT, attempted(request.access));
		return;
	}
	if (entry.reserved(level)) {
		walk.result = make_result(SHADOW_INJECT, attempted(request.access) |
						PFEC_PRESENT | PFEC_RESERVED);
		return;
	}
	walk.rights = entry.narrow(walk.rights);
	walk.user = walk.user && entry.user();
	if constexpr (level > 1) {
		if (!entry.leaf(level)) {
			step<level - 1>(request, entry.frame(level), walk);
			return;
		}
	}
	walk.leaf_level = level;
	walk.gfn = entry.frame(level) +
		   ((request.gva.value & (entry_span(level) - 1)) >> kPageShift);
	walk.result = allowed(request, walk) ? make_result(SHADOW_DONE) :
		make_result(SHADOW_INJECT, attempted(request.access) | PFEC_PRESENT);
}

} // namespace

void walk_guest(const shadow_mm &mm, Gfn root, Gva gva, u32 access, Walk &walk)
{
	walk.rights = kAllRights;
	walk.user = true;
	step<kRootLevel>(Request{mm, gva, access}, root, walk);
}

bool child_identity(const shadow_mm &mm, const Identity &parent, unsigned slot,
		    GuestEntry entry, Identity &child)
{
	unsigned level = parent.level;
	bool upper = is_upper(slot_base(parent.base, level, slot));

	child.level = static_cast<u8>(level - 1);
	child.base = slot_base(parent.base, level, slot);
	child.owner = level != kRootLevel ? parent.owner : upper ? kShared : parent.frame;
	child.rights = parent.rights;
	if (parent.split) {
		/* Part of a 1 GiB page: nothing of the guest's to read. */
		child.split = true;
		child.frame = parent.frame + slot * (entry_span(level) >> kPageShift);
		return true;
	}
	if (level == kRootLevel && slot == LG_HYPERVISOR_SLOT)
		return false;
	if (!entry.present() || entry.reserved(level) || !entry.accessed())
		return false;
	if (!upper && !entry.user())
		return false;
	child.split = entry.leaf(level);
	child.frame = entry.frame(level);
	child.rights = entry.narrow(child.rights);
	/* A large page that is not dirty is read-only until a write sets D. */
	if (child.split)
		child.rights.write = child.rights.write && entry.dirty();
	return child.split || child.frame.value < mm.config.frames;
}

} // namespace shadow
