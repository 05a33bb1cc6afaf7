// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory management of an lguest guest: which page tables are in force, and when
 * the host must forget what it read in them.  The host's counterpart is shadow-mm.
 *
 * The host's shadow page tables behave as a TLB: for any address they hold nothing,
 * or what our tables said at some moment since the last flush covering it.  Linux
 * is written for exactly that, so page tables are ordinary memory here, written by
 * ordinary stores, and only flushes and CR3 loads become hypercalls:
 *
 *   Linux                          host
 *   ---------------------------    -----------------------------------------------
 *   load CR3                       LOAD_ROOT: that root's lower half starts empty
 *   load CR3, NOFLUSH bit set      LOAD_ROOT with bit 63: it keeps what is still true
 *   flush_tlb_user                 FLUSH_MM of the current root
 *   flush_tlb_one_user             FLUSH_PAGE; in the upper half for all roots
 *   flush_tlb_kernel               FLUSH_ALL
 *   flush_tlb_multi                FLUSH_RANGE or FLUSH_MM of that mm, for all vCPUs
 *
 * Without PCID Linux counts on every CR3 load to flush, and none has the NOFLUSH
 * bit.  With it the bit appears wherever Linux knows by its generation counts that
 * nothing changed.  A flush that Linux puts off to the next CR3 load, because the
 * mm runs nowhere, comes with that load; until then nobody uses that root.
 */
#include <linux/cpumask.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/pgtable.h>

#include <asm/fixmap.h>
#include <asm/lguest.h>
#include <asm/paravirt.h>
#include <asm/pgalloc.h>
#include <asm/sections.h>
#include <asm/setup.h>
#include <asm/tlbflush.h>

static void flush(u64 number, u64 root, u64 start, u64 end)
{
	WARN_ON_ONCE(lg_hypercall(number, root, start, end));
}

static unsigned long lguest_read_cr3(void)
{
	return this_cpu_read(lguest_cpu.cr3);
}

static void lguest_write_cr3(unsigned long cr3)
{
	this_cpu_write(lguest_cpu.cr3, cr3 & ~X86_CR3_PCID_NOFLUSH);
	if (lg_hypercall(LG_HC_LOAD_ROOT, cr3, 0, 0))
		BUG();
}

static void lguest_write_cr2(unsigned long cr2)
{
	this_cpu_write(lguest_vcpu_page.event_address, cr2);
}

static void lguest_flush_tlb_user(void)
{
	flush(LG_HC_FLUSH_MM, 0, 0, 0);
}

static void lguest_flush_tlb_kernel(void)
{
	flush(LG_HC_FLUSH_ALL, 0, 0, 0);
}

static void lguest_flush_tlb_one_user(unsigned long addr)
{
	flush(LG_HC_FLUSH_PAGE, 0, addr, 0);
}

/*
 * The host flushes on all vCPUs before it returns.  Which ones Linux thinks
 * concerned does not matter, and no IPI is sent.
 */
static void lguest_flush_tlb_multi(const struct cpumask *cpus,
				   const struct flush_tlb_info *info)
{
	u64 root;

	/* Batched unmapping, of pages of any number of address spaces. */
	if (!info->mm) {
		flush(LG_HC_FLUSH_ALL, 0, 0, 0);
		return;
	}

	root = __pa(info->mm->pgd);
	if (info->end == TLB_FLUSH_ALL)
		flush(LG_HC_FLUSH_MM, root, 0, 0);
	else
		flush(LG_HC_FLUSH_RANGE, root, info->start, info->end);
}

/* Lets the host free an address space's shadow tables early.  Should the frame
 * become a root again, its first load has no NOFLUSH bit. */
static void lguest_pgd_free(struct mm_struct *mm, pgd_t *pgd)
{
	lg_batch(LG_HC_RELEASE_TABLE, __pa(pgd), 0, 0);
}

void lg_batch(u64 number, u64 a0, u64 a1, u64 a2)
{
	struct lg_vcpu_page *page;
	struct lg_batch_entry *entry;
	unsigned long flags;

	local_irq_save(flags);
	page = this_cpu_ptr(&lguest_vcpu_page);
	if (page->batch_count >= LG_BATCH_MAX)
		/* Any hypercall has the batch done first. */
		lg_hypercall(LG_HC_WALLCLOCK, 0, 0, 0);

	entry = &page->batch[page->batch_count];
	entry->number = number;
	entry->arg[0] = a0;
	entry->arg[1] = a1;
	entry->arg[2] = a2;
	barrier();
	page->batch_count++;
	local_irq_restore(flags);
}

/*
 * The first page tables of our own.  Until init_mem_mapping() has built the direct
 * map in init_top_pgt and loaded it, we stay on the launcher's root, which has all
 * memory in its direct map, but hang Linux's kernel half under it: what Linux puts
 * into fixmap is visible at once, and no page fault has to fill anything.
 *
 *   launcher's root          init_top_pgt
 *   [direct map] all memory   [direct map] empty, filled by init_mem_mapping()
 *   [511] ------------------> level3_kernel_pgt <------------------- [511]
 *                               [510] level2_kernel_pgt: the image
 *                               [511] level2_fixmap_pgt: fixmap
 */
static void __init build_kernel_tables(void)
{
	pgd_t *start_root = __va(lguest_boot_info.tables_start);
	unsigned long i, first = pmd_index((unsigned long)_text);
	unsigned long last = pmd_index((unsigned long)_end);

	/* They are linked for phys_base 0. */
	level3_kernel_pgt[PTRS_PER_PUD - 2].pud += phys_base;
	level3_kernel_pgt[PTRS_PER_PUD - 1].pud += phys_base;
	for (i = 0; i < FIXMAP_PMD_NUM; i++)
		level2_fixmap_pgt[FIXMAP_PMD_TOP - i].pmd += phys_base;
	for (i = 0; i < PTRS_PER_PMD; i++) {
		if (i < first || i > last)
			level2_kernel_pgt[i].pmd = 0;
		else
			level2_kernel_pgt[i].pmd += phys_base;
	}

	clear_page(init_top_pgt);
	init_top_pgt[pgd_index(__START_KERNEL_map)].pgd =
		__pa_symbol(level3_kernel_pgt) | _PAGE_TABLE_NOENC;
	start_root[pgd_index(__START_KERNEL_map)] =
		init_top_pgt[pgd_index(__START_KERNEL_map)];

	lg_hypercall(LG_HC_FLUSH_ALL, 0, 0, 0);
}

/* The start-up tables were reserved by enlighten.c.  init_mem_mapping() has just
 * left them. */
static void __init lguest_pagetable_init(void)
{
	struct lg_boot_info *info = &lguest_boot_info;

	memblock_phys_free(info->tables_start, info->tables_end - info->tables_start);
	native_pagetable_init();
}

void __init lguest_init_mmu(void)
{
	this_cpu_write(lguest_cpu.cr3, lguest_boot_info.tables_start);

	pv_ops.mmu.read_cr2 = __PV_IS_CALLEE_SAVE(lguest_read_cr2);
	pv_ops.mmu.write_cr2 = lguest_write_cr2;
	pv_ops.mmu.read_cr3 = lguest_read_cr3;
	pv_ops.mmu.write_cr3 = lguest_write_cr3;
	pv_ops.mmu.flush_tlb_user = lguest_flush_tlb_user;
	pv_ops.mmu.flush_tlb_kernel = lguest_flush_tlb_kernel;
	pv_ops.mmu.flush_tlb_one_user = lguest_flush_tlb_one_user;
	pv_ops.mmu.flush_tlb_multi = lguest_flush_tlb_multi;
	pv_ops.mmu.pgd_free = lguest_pgd_free;

	x86_init.paging.pagetable_init = lguest_pagetable_init;

	build_kernel_tables();
}
