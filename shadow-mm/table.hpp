/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The objects of shadow-mm: a shadow table with its identity and back links, and
 * struct shadow_mm which owns all of them.  Data only; table_pool.hpp says what
 * can be done to them.
 *
 * What hardware walks, for each root of the guest (K kernel view, U user view):
 *
 *   4-level host                         LA57 host
 *
 *    K PML4            U PML4             K PML5          U PML5
 *   +--------+        +--------+         +--------+      +--------+
 *   |   0    |---+  +-|   0    |         |   0 NX |--+ +-|   0    |
 *   |  .. NX |-+ |  | |  ..    |         |   ..   |  | | |   ..   |
 *   |  255   | | |  | |  255   |         |  256   |H | | |  256   |H
 *   +--------+ | |  | +--------+         |   ..   |  v v |   ..   |
 *   |  256   |H| |  | |  256   |H        |  511   |--|-+ |  511   | empty
 *   +--------+ | |  | +--------+         +--------+  | | +--------+
 *   |  257   | | |  | |        |                     | |
 *   |  ..    | | |  | | empty  |          low PML4 <-+ +-> high PML4
 *   |  511   |-|-|-+| |        |          0..255 used      257..511 used
 *   +--------+ | | || +--------+             |                |
 *              v v |v                        v                v
 *       lower PDPTs| of this root only    lower PDPTs      upper PDPTs
 *       (both views)                      -> PD -> PT      -> PD -> PT
 *                  v
 *       upper PDPTs, shared by all roots
 *
 *   H: the hypervisor slot; the guest's own entry there is ignored.
 *   NX in the kernel view's lower half is SMEP.  All else is W=1 U=1 NX=0 down to
 *   the leaves, which carry the rights of the guest's whole path (their tables are
 *   told apart by those rights, see Identity).
 */
#ifndef SHADOW_TABLE_HPP
#define SHADOW_TABLE_HPP

#include "entry.hpp"

namespace shadow
{

/*
 * What a shadow table is the shadow of.  Two places of the guest's tables share
 * one shadow table only if all of this is equal, and then whatever was filled for
 * one was a true translation for the other:
 *
 *   - the guest frame it was read from and the level it was read as;
 *   - the address it covers: one frame used at two addresses, or at two levels, or
 *     pointing at itself, has a shadow for each;
 *   - in the lower half, the root: what one root's tables gave, another's did not.
 *     The upper half is shared by all roots, as if all entries were global;
 *   - the rights of the path above it.  Were they in the link instead, a link made
 *     writable today would revive a leaf that was writable yesterday;
 *   - whether it splits a large guest page, which has frames and no table.
 */
struct Identity {
	Gfn frame;	/* the guest's table; split: the first frame covered */
	Gva base;
	Gfn owner;	/* root of the lower half, kShared for the upper */
	u8 level;
	bool split;
	Rights rights;

	friend constexpr bool operator==(const Identity &a, const Identity &b)
	{
		return a.frame == b.frame && a.base == b.base && a.owner == b.owner &&
		       a.level == b.level && a.split == b.split && a.rights == b.rights;
	}
};

constexpr Gfn kShared{~0ull};

using TableId = u32;	/* index into shadow_mm::tables */

/*
 * Back links: for every present entry a node in the list of all entries that point
 * to the same thing (reverse_map.hpp).  A node is named by table and slot.
 */
struct Links {
	u32 next[kEntries];
	u32 previous[kEntries];
};
static_assert(sizeof(Links) == kPageSize);

/*
 * The child's identity beside the entry: an entry that is not present must be zero.
 * (It is from here that revalidation will find what a cleared link pointed to.)
 */
struct Children {
	TableId id[kEntries];
};
static_assert(sizeof(Children) <= kPageSize);

/* The pages of a table; which of them exist depends on level and host. */
enum PageUse : unsigned {
	kTable,		/* levels 1 to 3: what hardware walks */
	kKernelTop = kTable,	/* level 4: kernel view */
	kUserTop,	/* level 4: user view */
	kLow,		/* level 4, LA57: PML4 of the lower half, */
	kHigh,		/* and of the upper half */
	kLinks,
	kChildren,	/* levels 2 to 4 */
	kPageUses,
};

enum class State : u8 { Free, Live, Dead };

struct Table {
	Identity identity;
	State state;
	u16 present;		/* entries */
	u32 held;		/* level 4: by shadow_get_roots() */
	u32 parents;		/* head of the list of links to this table */
	TableId hash_next;
	TableId newer, older;	/* in the list of use; free, dead: `older` is next */
	u64 operation;		/* last used by this operation */
	struct shadow_page page[kPageUses];

	ShadowEntry *entries(PageUse use) const { return static_cast<ShadowEntry *>(page[use].va); }
	Hpa address(PageUse use) const { return Hpa(page[use].pa); }
	Links &links() const { return *static_cast<Links *>(page[kLinks].va); }
	Children &children() const { return *static_cast<Children *>(page[kChildren].va); }
};

/* The first two tables are only heads of circular lists. */
constexpr TableId kRecent = 0;	/* all tables but held roots, by use */
constexpr TableId kHeld = 1;	/* held roots */
constexpr TableId kFirstTable = 2;
constexpr TableId kNoTable = 0;

/* Least number of tables that lets a vCPU or two make progress. */
constexpr u64 kMinTables = 8;
/* More than one operation can build while what it evicted still waits for its flush. */
constexpr u64 kSpareTables = 8;
/* Tables and slots must fit a node, with one bit to spare; so must frames. */
constexpr u64 kMaxTables = (1u << 22) - kSpareTables - kFirstTable;
constexpr u64 kMaxFrames = 1u << 31;

} // namespace shadow

struct shadow_mm {
	struct shadow_config config;	/* frames and max_tables clamped */
	struct shadow_counters counters;
	int needs_pge_off;

	shadow::u64 operation;		/* counts calls that build */
	shadow::Table *tables;
	shadow::TableId free;		/* used before, */
	shadow::TableId fresh;		/* never used from here */
	shadow::TableId *buckets;
	unsigned bucket_bits;
	shadow::u32 *leaves;		/* per frame: head of the list of leaves */

	shadow::GuestEntry buffer[shadow::kEntries];	/* too large for a kernel stack */
};

#endif
