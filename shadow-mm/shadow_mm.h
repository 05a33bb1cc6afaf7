/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * shadow-mm: what hardware walks instead of the guest's own page tables.
 *
 * This header is the whole interface, in both directions: what host-module/
 * (C, in the kernel) and the tests call, and the few services (shadow_env_*)
 * that whoever embeds it supplies.  It sees no kernel header.
 *
 * The promise, "a legal TLB": for any address a shadow root holds either nothing
 * or a translation that the guest's tables gave at some moment since the last
 * flush that covered it.
 *
 * The other promise, whatever the guest does: every present leaf maps a frame
 * that the embedder named for this guest, with U=1, and W=1 only if it said so;
 * every other entry points at a table of this shadow_mm; the hypervisor slot
 * holds exactly the configured entry.  shadow_check() verifies it.
 *
 * Locking: the caller serialises all calls on one shadow_mm.  The functions
 * never sleep; what needs sleeping is asked for in the outcome, done by the
 * caller without its lock, and the call repeated.
 */
#ifndef SHADOW_MM_H
#define SHADOW_MM_H

#include "../include/lguest/guest_abi.h"	/* __u64 and friends, LG_HYPERVISOR_SLOT */

#ifdef __cplusplus
extern "C" {
#endif

struct shadow_mm;

/* -- services of the embedder ----------------------------------------------*/

struct shadow_page {
	void *va;
	__u64 pa;
};

enum shadow_env_status {
	SHADOW_ENV_OK,
	SHADOW_ENV_ABSENT,	/* memory of the guest, but not resident (or not writable) now */
	SHADOW_ENV_OUTSIDE,	/* no memory of the guest */
	SHADOW_ENV_READONLY,	/* memory the guest may not write */
	SHADOW_ENV_CHANGED,	/* compare-and-exchange: another value was there */
};

/* A zeroed 4 KiB page, from a reserve the embedder filled before the call: 0
 * when the reserve is empty. */
int shadow_env_alloc(void *env, struct shadow_page *page);
/* Return a page; no translation through it is cached any more (shadow-mm has
 * called shadow_env_flush_tlb() since it was last reachable). */
void shadow_env_free(void *env, struct shadow_page page);

/* Read `count` entries of a guest table, each one atomically, all in one page. */
enum shadow_env_status shadow_env_read_entries(void *env, __u64 gpa, __u64 *entries,
					       unsigned int count);
/* Atomically replace an entry of a guest table (to set A and D). */
enum shadow_env_status shadow_env_cmpxchg_entry(void *env, __u64 gpa, __u64 old_value,
						__u64 new_value);
/* The host frame behind a guest frame, valid until the embedder calls
 * shadow_unmap_frames() for it.  OK for write=0 does not promise writability.
 * ABSENT/OUTSIDE/READONLY as named. */
enum shadow_env_status shadow_env_frame(void *env, __u64 gfn, int write, __u64 *pfn);
/* Empty every TLB that may hold translations of this guest; on return none does. */
void shadow_env_flush_tlb(void *env);

/* -- life --------------------------------------------------------------------*/

struct shadow_window {
	__u64 start, end;	/* gva; end 0: end of the address space */
};

struct shadow_config {
	void *env;
	unsigned int host_levels;	/* 4 or 5; the guest's tables have 4 */
	__u64 hypervisor_entry;		/* top-level entry at LG_HYPERVISOR_SLOT of each root */
	__u64 encryption_mask;		/* or-ed into every entry (AMD SME), usually 0 */
	__u64 frames;			/* guest frames: gfn < frames, bounds the reverse map */
	__u64 max_tables;		/* budget, in shadow tables; least recently used go first */
	const struct shadow_window *windows;	/* where the host has global mappings */
	unsigned int window_count;	/* the array stays the caller's, and must outlive us */
};

/* Bytes of zeroed, 64-byte aligned memory that shadow_create() wants for a
 * configuration (the reverse map grows with `frames`). */
__u64 shadow_size(const struct shadow_config *config);
/* Build a shadow_mm in `memory` (shadow_size() bytes).  Cannot fail. */
struct shadow_mm *shadow_create(void *memory, const struct shadow_config *config);
/* Free all tables.  No vCPU may run on them. */
void shadow_destroy(struct shadow_mm *mm);

/* -- roots and misses ----------------------------------------------------------*/

enum shadow_outcome {
	SHADOW_DONE,		/* done; after a fault: let the guest try again */
	SHADOW_INJECT,		/* the guest's own tables deny it: #PF with error_code */
	SHADOW_NEED_PAGES,	/* the reserve ran empty: refill it, call again */
	SHADOW_NEED_FRAME,	/* make guest frame gfn resident (writable if write), call again */
	SHADOW_BAD_FRAME,	/* the guest uses gfn, which is no memory of its own (or is
				 * read-only and needs to be written): stop it */
};

struct shadow_result {
	enum shadow_outcome outcome;
	__u32 error_code;	/* SHADOW_INJECT: as the architecture defines, PFEC_* bits */
	__u64 gfn;		/* SHADOW_NEED_FRAME, SHADOW_BAD_FRAME */
	int write;
};

/* #PF error code bits (SDM vol. 3, 4.7). */
#define PFEC_PRESENT		(1u << 0)
#define PFEC_WRITE		(1u << 1)
#define PFEC_USER		(1u << 2)
#define PFEC_RESERVED		(1u << 3)
#define PFEC_FETCH		(1u << 4)

/* At most this many pages are taken from the reserve by one call. */
#define SHADOW_PAGES_PER_CALL	16

/* Both views of a guest root: host-physical addresses of their top tables. */
struct shadow_roots {
	__u64 kernel_view;	/* everything, the lower half not executable */
	__u64 user_view;	/* the lower half only */
};

/* Find or build the roots for the guest table at `root` (gpa) and hold them until
 * shadow_put_roots().  Held roots are never evicted. */
struct shadow_result shadow_get_roots(struct shadow_mm *mm, __u64 root, struct shadow_roots *out);
void shadow_put_roots(struct shadow_mm *mm, __u64 root);

/* Answer a #PF the hardware raised on a held root: walk the guest's tables from
 * `root` for gva.  `access`: PFEC_WRITE, PFEC_FETCH, PFEC_USER (user mode) as
 * attempted.  gva is canonical for 48 bits. */
struct shadow_result shadow_fault(struct shadow_mm *mm, __u64 root, __u64 gva, __u32 access);

/* Where gva points for the host's own accesses on the guest's behalf: walks the
 * guest's tables only.  DONE: *gpa holds the address; INJECT: not mapped so. */
struct shadow_result shadow_translate(struct shadow_mm *mm, __u64 root, __u64 gva, __u32 access,
				      __u64 *gpa);

/* -- flushes: complete, on every vCPU, when they return ----------------------------*/

void shadow_flush_page(struct shadow_mm *mm, __u64 root, __u64 gva);
void shadow_flush_range(struct shadow_mm *mm, __u64 root, __u64 start, __u64 end);
void shadow_flush_lower_half(struct shadow_mm *mm, __u64 root);
void shadow_flush_all(struct shadow_mm *mm);
/* Hint: the guest frame at gpa is no table any more. */
void shadow_release_table(struct shadow_mm *mm, __u64 gpa);
/* The host takes frames [first, first + count) away or write-protects them. */
void shadow_unmap_frames(struct shadow_mm *mm, __u64 first, __u64 count);
/* Give memory back: evict up to `tables`; returns how many went. */
__u64 shadow_shrink(struct shadow_mm *mm, __u64 tables);

/* -- looking inside ------------------------------------------------------------------*/

/* A leaf lies in a host window: from now on CR4.PGE must be off in the guest. */
int shadow_needs_pge_off(const struct shadow_mm *mm);

struct shadow_counters {
	__u64 fills, synced_entries, flushes, tables_built, evictions;
	__u64 tables;		/* now */
};
const struct shadow_counters *shadow_counters(const struct shadow_mm *mm);

/* Verify the host-safety promise over all tables; 0, or the line of the check
 * that failed (for tests and debugging: slow). */
int shadow_check(struct shadow_mm *mm);

#ifdef __cplusplus
}
#endif
#endif
