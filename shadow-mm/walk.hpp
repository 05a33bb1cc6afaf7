/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Walking the guest's own tables, as the processor would with CR0.WP, EFER.NXE and
 * CR4.SMEP set and SMAP clear.
 *
 *    gva  63    48 47    39 38    30 29    21 20    12 11      0
 *        | sign  | slot 4 | slot 3 | slot 2 | slot 1 | offset  |
 *                    |        |        |        |
 *        root --> [entry 4]-->[entry 3]-->[entry 2]-->[entry 1]--> frame
 *                                 |           |
 *                              1 GiB page   2 MiB page   (leaf bit set)
 *
 * Nothing of the guest's is changed by a walk; sync.cpp writes A and D.
 */
#ifndef SHADOW_WALK_HPP
#define SHADOW_WALK_HPP

#include "table.hpp"

namespace shadow
{

struct Walk {
	struct shadow_result result;	/* DONE: the guest's tables allow the access */
	unsigned leaf_level;		/* where it ended */
	Gfn table[kRootLevel + 1];	/* by level, down to leaf_level: the guest frame read */
	GuestEntry entry[kRootLevel + 1];	/* and what was there */
	Rights rights;			/* AND over the path; D not considered */
	bool user;
	Gfn gfn;			/* the 4 KiB frame gva is in */
};

inline struct shadow_result make_result(enum shadow_outcome outcome, u32 error_code = 0,
					u64 gfn = 0, int write = 0)
{
	return shadow_result{outcome, error_code, gfn, write};
}

/* The part of an error code that the access itself decides. */
constexpr u32 attempted(u32 access)
{
	return access & (PFEC_WRITE | PFEC_USER | PFEC_FETCH);
}

/* What a failed access to guest frame `gfn` means for the caller. */
struct shadow_result lack_of(enum shadow_env_status status, Gfn gfn, bool write);

void walk_guest(const shadow_mm &mm, Gfn root, Gva gva, u32 access, Walk &walk);

/*
 * The table that `entry`, read for `slot` of `parent`, says shall be linked there.
 * False: none, for it is not present, is reserved, belongs to the hypervisor, is out
 * of reach of the user view (U=0 in the lower half), or was not accessed yet.
 */
bool child_identity(const shadow_mm &mm, const Identity &parent, unsigned slot,
		    GuestEntry entry, Identity &child);

} // namespace shadow

#endif
