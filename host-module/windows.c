// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where the host has mappings in the upper half of the address space.  While
 * CR4.PGE is set some of them stay in the TLB across CR3 loads, so a guest must
 * not have pages of its own there: docs/address-space.md.
 *
 * What is mapped now is found in the live page tables, 2 MiB at a time; areas in
 * which the host maps more later are taken whole, and not looked into.
 */
#include <linux/mm.h>
#include <linux/pgtable.h>

#include "lg.h"

#define UPPER_HALF	0xffff800000000000ULL

/* Two windows that touch, or are the closest pair when there are too many, become
 * one; too wide a window only costs the guest some choice. */
static void join_closest(struct lg_host_windows *windows)
{
	u64 best_gap = U64_MAX;
	unsigned int i, best = 0;

	for (i = 0; i + 1 < windows->count; i++) {
		u64 gap = windows->window[i + 1].start - windows->window[i].end;

		if (gap < best_gap) {
			best_gap = gap;
			best = i;
		}
	}
	windows->window[best].end = windows->window[best + 1].end;
	windows->count--;
	memmove(&windows->window[best + 1], &windows->window[best + 2],
		(windows->count - best - 1) * sizeof(windows->window[0]));
}

/* Add [start, last], keeping the list sorted and free of overlaps. */
static void add_window(struct lg_host_windows *windows, u64 start, u64 last)
{
	u64 end = last + 1;	/* 0: end of the address space */
	unsigned int i = 0, j;

	if (last < UPPER_HALF)
		return;		/* five levels: out of a guest's reach */
	start = max(start, UPPER_HALF);
	while (i < windows->count && windows->window[i].end &&
	       windows->window[i].end < start)
		i++;
	/* [i, j) overlap or touch the new one. */
	for (j = i; j < windows->count && (!end || windows->window[j].start <= end); j++) {
		start = min(start, windows->window[j].start);
		if (!windows->window[j].end || (end && windows->window[j].end > end))
			end = windows->window[j].end;
	}
	if (j == i && windows->count == LG_MAX_WINDOWS) {
		join_closest(windows);
		add_window(windows, start, last);	/* its place may be another now */
		return;
	}
	if (j == i) {
		memmove(&windows->window[i + 1], &windows->window[i],
			(windows->count - i) * sizeof(windows->window[0]));
		windows->count++;
		j = i + 1;
	} else {
		memmove(&windows->window[i + 1], &windows->window[j],
			(windows->count - j) * sizeof(windows->window[0]));
		windows->count -= j - i - 1;
	}
	windows->window[i] = (struct lg_window) { start, end };
}

/* Whether [start, end) lies in one of the windows, which do not touch. */
static bool known(const struct lg_host_windows *windows, u64 start, u64 end)
{
	unsigned int i;

	for (i = 0; i < windows->count; i++)
		if (windows->window[i].start <= start && windows->window[i].end - 1 >= end - 1)
			return true;
	return false;
}

static void walk_pud(struct lg_host_windows *windows, pud_t *puds, u64 address)
{
	unsigned int i, j;

	for (i = 0; i < PTRS_PER_PUD; i++, address += PUD_SIZE) {
		pud_t pud = READ_ONCE(puds[i]);
		pmd_t *pmds;

		if (!pud_present(pud))
			continue;
		if (pud_val(pud) & _PAGE_PSE) {
			add_window(windows, address, address + PUD_SIZE - 1);
			continue;
		}
		pmds = (pmd_t *)pud_pgtable(pud);
		for (j = 0; j < PTRS_PER_PMD; j++)
			if (pmd_val(READ_ONCE(pmds[j])) & _PAGE_PRESENT)
				add_window(windows, address + j * PMD_SIZE,
					   address + (j + 1) * PMD_SIZE - 1);
	}
}

void lg_find_host_windows(struct lg_host_windows *windows)
{
	pgd_t *top = current->mm->pgd;
	p4d_t *level4 = (p4d_t *)top;
	unsigned int i;

	windows->count = 0;
	/* Areas that grow: their start is known, their size is at most this. */
	add_window(windows, vmalloc_base, VMALLOC_END);
	add_window(windows, page_offset_base,
		   page_offset_base + ((u64)totalram_pages() << PAGE_SHIFT) - 1);
#ifdef CONFIG_KASAN
	/* An eighth of the upper half; at first all of it is mapped to one page. */
	add_window(windows, KASAN_SHADOW_START, KASAN_SHADOW_END - 1);
#endif

	/* The last 128 TiB, which is all a guest with four levels has: the upper half
	 * of the only level-4 table, or of the last of several. */
	if (pgtable_l5_enabled()) {
		if (!pgd_present(top[511]))
			return;
		level4 = (p4d_t *)pgd_page_vaddr(top[511]);
	}
	for (i = 256; i < 512; i++) {
		p4d_t p4d = READ_ONCE(level4[i]);
		u64 address = UPPER_HALF + (u64)(i - 256) * P4D_SIZE;

		if (i == LG_HYPERVISOR_SLOT && !pgtable_l5_enabled())
			continue;
		if (p4d_present(p4d) && !known(windows, address, address + P4D_SIZE))
			walk_pud(windows, (pud_t *)p4d_pgtable(p4d), address);
	}
}
