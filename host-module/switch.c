// SPDX-License-Identifier: GPL-2.0-only
/*
 * The switcher seen from C: its memory (switcher/layout.h draws it), what has to
 * be loaded into a CPU before a vCPU may run on it, and the world switch itself.
 *
 * One part of the switcher's address range is the same for all VMs (text, IDT,
 * host CPUs), one belongs to a VM (its vCPUs).  A VM's tree joins both; it hangs
 * in one slot of the launcher's top-level table and of every shadow root.
 */
#include <linux/cpuhotplug.h>
#include <linux/gfp.h>
#include <linux/kvm_host.h>
#include <linux/mm.h>
#include <linux/mem_encrypt.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <asm/debugreg.h>
#include <asm/desc.h>
#include <asm/fsgsbase.h>
#include <asm/mce.h>
#include <asm/msr.h>
#include <asm/special_insns.h>
#include <asm/tlbflush.h>
#include <asm/trapnr.h>

#include "lg.h"
#include "compat.h"

extern const char switcher_start[], switcher_end[];
extern const char switcher_enter[], switcher_syscall[], switcher_syscall32[];
extern const char switcher_vectors[];

void lg_call_interrupt_entry(unsigned long entry);
void lg_call_nmi_entry(void);

#define TABLE_FLAGS	(_PAGE_PRESENT | _PAGE_RW | _PAGE_ACCESSED)
#define DATA_FLAGS	(_PAGE_PRESENT | _PAGE_RW | _PAGE_ACCESSED | _PAGE_DIRTY | _PAGE_NX)
#define CONST_FLAGS	(_PAGE_PRESENT | _PAGE_ACCESSED | _PAGE_NX)
#define TEXT_FLAGS	(_PAGE_PRESENT | _PAGE_ACCESSED)

/* Not Linux's own (1..6, and bit 11 with KPTI).  Each view has one, flushed
 * whenever it is loaded. */
#define PCID_KERNEL_VIEW	0x100
#define PCID_USER_VIEW		0x101

#define CPU_AREA_ORDER		3	/* 8 of the 16 pages of an area */

static u64 base;			/* of the switcher's address range */
static unsigned int text_order;
static struct page *text, *idt;
static u64 *shared_level2;		/* text, IDT, CPUs: the range's first GiB */
static u64 **shared_level1;		/* 512 */
static struct page **cpu_areas;
static int hotplug_state;

static u64 entry_for(const void *va, u64 flags)
{
	return __sme_set(__pa(va) | flags);
}

static u64 *new_table(void)
{
	return (u64 *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
}

static u64 switcher_address(const char *symbol)
{
	return base + (symbol - switcher_start);
}

static u64 cpu_address(int cpu)
{
	return base + SWITCHER_CPUS + ((u64)cpu << SWITCHER_CPU_SHIFT);
}

static struct switcher_cpu *cpu_area(int cpu)
{
	return page_address(cpu_areas[cpu]);
}

/* Map a page of the shared part. */
static int map_shared(u64 offset, const void *va, u64 flags)
{
	u64 **level1 = &shared_level1[offset >> PMD_SHIFT];

	if (!*level1) {
		*level1 = new_table();
		if (!*level1)
			return -ENOMEM;
		shared_level2[offset >> PMD_SHIFT] = entry_for(*level1, TABLE_FLAGS);
	}
	(*level1)[(offset >> PAGE_SHIFT) & 511] = entry_for(va, flags);
	return 0;
}

/* -- text and IDT ---------------------------------------------------------------*/

static unsigned int ist_of(unsigned int vector)
{
	switch (vector) {
	case X86_TRAP_DF:	return IST_INDEX_DF + 1;
	case X86_TRAP_NMI:	return IST_INDEX_NMI + 1;
	case X86_TRAP_DB:	return IST_INDEX_DB + 1;
	case X86_TRAP_MC:	return IST_INDEX_MCE + 1;
	default:		return 0;
	}
}

/* What INT n may reach from the guest; the others answer it with #GP. */
static unsigned int dpl_of(unsigned int vector)
{
	return vector == X86_TRAP_BP || vector == X86_TRAP_OF || vector == IA32_SYSCALL_VECTOR
		? 3 : 0;
}

static void fill_idt(gate_desc *gates)
{
	unsigned int vector;

	for (vector = 0; vector < 256; vector++) {
		u64 address = switcher_address(switcher_vectors) + 16 * vector;

		gates[vector] = (gate_desc) {
			.offset_low = (u16)address,
			.offset_middle = (u16)(address >> 16),
			.offset_high = (u32)(address >> 32),
			.segment = __KERNEL_CS,
			.bits = {
				.ist = ist_of(vector),
				.type = GATE_INTERRUPT,
				.dpl = dpl_of(vector),
				.p = 1,
			},
		};
	}
}

static int init_text(void)
{
	size_t size = switcher_end - switcher_start, offset;
	int error;

	if (size > SWITCHER_TEXT_MAX)
		return -E2BIG;
	text_order = get_order(size);
	text = alloc_pages(GFP_KERNEL | __GFP_ZERO, text_order);
	idt = alloc_page(GFP_KERNEL | __GFP_ZERO);
	if (!text || !idt)
		return -ENOMEM;
	memcpy(page_address(text), switcher_start, size);
	fill_idt(page_address(idt));

	for (offset = 0; offset < size; offset += PAGE_SIZE) {
		error = map_shared(offset, page_address(text) + offset, TEXT_FLAGS);
		if (error)
			return error;
	}
	return map_shared(SWITCHER_IDT, page_address(idt), CONST_FLAGS);
}

/* -- per CPU ----------------------------------------------------------------------*/

static void fill_gdt(u64 *gdt, int cpu)
{
	u64 tss = cpu_address(cpu) + SWITCHER_CPU_TSS;

	BUILD_BUG_ON(LG_USER_CS != __USER_CS || LG_USER32_CS != __USER32_CS ||
		     LG_USER_DS != __USER_DS || LG_TLS_SELECTOR(0) != GDT_ENTRY_TLS_MIN * 8 + 3);
	/* Accessed bits preset.  Selectors are the host's, because STAR is. */
	gdt[GDT_ENTRY_KERNEL_CS] = 0x00af9b000000ffffULL;
	gdt[GDT_ENTRY_KERNEL_DS] = 0x00cf93000000ffffULL;
	gdt[GDT_ENTRY_DEFAULT_USER32_CS] = 0x00cffb000000ffffULL;
	gdt[GDT_ENTRY_DEFAULT_USER_DS] = 0x00cff3000000ffffULL;
	gdt[GDT_ENTRY_DEFAULT_USER_CS] = 0x00affb000000ffffULL;
	gdt[GDT_ENTRY_TSS] = 0x0000890000000000ULL | (sizeof(struct x86_hw_tss) - 1) |
			     (tss & 0xffffff) << 16 | (tss & 0xff000000) << 32;
	gdt[GDT_ENTRY_TSS + 1] = tss >> 32;
}

static int init_cpu_area(int cpu)
{
	struct page *pages = alloc_pages_node(cpu_to_node(cpu), GFP_KERNEL | __GFP_ZERO,
					      CPU_AREA_ORDER);
	u64 address = cpu_address(cpu), offset;
	struct switcher_cpu *area;
	struct x86_hw_tss *tss;
	int i, error;

	if (!pages)
		return -ENOMEM;
	cpu_areas[cpu] = pages;
	area = page_address(pages);
	for (offset = 0; offset < PAGE_SIZE << CPU_AREA_ORDER; offset += PAGE_SIZE) {
		if (offset == SWITCHER_CPU_TSS + PAGE_SIZE)
			continue;	/* a hole below the stacks */
		error = map_shared(address - base + offset, (void *)area + offset, DATA_FLAGS);
		if (error)
			return error;
	}

	area->self = address;
	area->guest_idt = (struct switcher_table) { 256 * sizeof(gate_desc) - 1,
						    base + SWITCHER_IDT };
	area->guest_gdt = (struct switcher_table) { GDT_SIZE - 1, address + SWITCHER_CPU_GDT };
	fill_gdt((void *)area + SWITCHER_CPU_GDT, cpu);

	tss = (void *)area + SWITCHER_CPU_TSS;
	tss->io_bitmap_base = sizeof(*tss);	/* beyond the limit: no port is allowed */
	for (i = 0; i < 4; i++)
		tss->ist[i] = address + SWITCHER_CPU_IST + (i + 1) * PAGE_SIZE;
	return 0;
}

/* On each CPU that is or comes online, once. */
static int learn_host_tables(unsigned int cpu)
{
	struct switcher_cpu *area = cpu_area(cpu);
	unsigned long writable = (unsigned long)get_cpu_gdt_rw(cpu);
	struct desc_ptr table;

	native_store_gdt(&table);
	area->host_gdt = (struct switcher_table) { table.size, table.address };
	area->host_gdt_writable = (struct switcher_table) { table.size, writable };
	area->host_tss_descriptor = writable + GDT_ENTRY_TSS * 8 + 5;
	store_idt(&table);
	area->host_idt = (struct switcher_table) { table.size, table.address };
	return 0;
}

int lg_switcher_init(void)
{
	int cpu, error = -ENOMEM;

	base = pgtable_l5_enabled() ? 0xff00000000000000ULL : 0xffff800000000000ULL;
	shared_level2 = new_table();
	shared_level1 = kcalloc(512, sizeof(*shared_level1), GFP_KERNEL);
	cpu_areas = kcalloc(nr_cpu_ids, sizeof(*cpu_areas), GFP_KERNEL);
	if (!shared_level2 || !shared_level1 || !cpu_areas)
		goto free;
	error = init_text();
	if (error)
		goto free;
	for_each_possible_cpu(cpu) {
		error = init_cpu_area(cpu);
		if (error)
			goto free;
	}
	error = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "lguest:online", learn_host_tables, NULL);
	if (error < 0)
		goto free;
	hotplug_state = error;
	return 0;

free:
	lg_switcher_exit();
	return error;
}

void lg_switcher_exit(void)
{
	int i;

	if (hotplug_state)
		cpuhp_remove_state_nocalls(hotplug_state);
	hotplug_state = 0;
	if (cpu_areas) {
		for_each_possible_cpu(i)
			if (cpu_areas[i])
				__free_pages(cpu_areas[i], CPU_AREA_ORDER);
	}
	kfree(cpu_areas);
	if (idt)
		__free_page(idt);
	if (text)
		__free_pages(text, text_order);
	if (shared_level1) {
		for (i = 0; i < 512; i++)
			free_page((unsigned long)shared_level1[i]);
	}
	kfree(shared_level1);
	free_page((unsigned long)shared_level2);
}

/* -- a VM's tree ---------------------------------------------------------------------*/

int lg_tree_init(struct lg_vm *vm)
{
	struct lg_tree *tree = &vm->tree;
	u64 *top = (u64 *)vm->mm->pgd;

	tree->level3 = new_table();
	tree->level2 = new_table();
	if (!tree->level3 || !tree->level2)
		return -ENOMEM;
	tree->level3[0] = entry_for(shared_level2, TABLE_FLAGS);
	tree->level3[SWITCHER_VCPUS >> PUD_SHIFT] = entry_for(tree->level2, TABLE_FLAGS);
	tree->entry = entry_for(tree->level3, TABLE_FLAGS);
	if (pgtable_l5_enabled()) {
		tree->level4 = new_table();
		if (!tree->level4)
			return -ENOMEM;
		tree->level4[0] = tree->entry;
		tree->entry = entry_for(tree->level4, TABLE_FLAGS);
	}

	/* Linux reserves this slot for hypervisors and never fills it.  A raw store,
	 * because set_pgd() of a KPTI kernel wants symbols modules may not have; the
	 * user half of its tables does not get the slot, nor needs it. */
	if (cmpxchg(&top[LG_HYPERVISOR_SLOT], 0, tree->entry) != 0)
		return -EBUSY;
	vm->mapped = true;
	return 0;
}

static void flush_this_cpu(void *unused)
{
	__flush_tlb_all();
}

void lg_tree_unmap(struct lg_vm *vm)
{
	u64 *top = (u64 *)vm->mm->pgd;

	if (!vm->mapped)
		return;
	WRITE_ONCE(top[LG_HYPERVISOR_SLOT], 0);
	vm->mapped = false;
	on_each_cpu(flush_this_cpu, NULL, 1);
}

void lg_tree_free(struct lg_vm *vm)
{
	struct lg_tree *tree = &vm->tree;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(tree->level1); i++)
		free_page((unsigned long)tree->level1[i]);
	free_page((unsigned long)tree->level2);
	free_page((unsigned long)tree->level3);
	free_page((unsigned long)tree->level4);
}

/* Entry of the tree for a page at `offset` of a vCPU's part; its table exists. */
static u64 *vcpu_entry(struct lg_vcpu *vcpu, u64 offset)
{
	u64 where = ((u64)vcpu->index << SWITCHER_VCPU_SHIFT) + offset;

	return &vcpu->vm->tree.level1[where >> PMD_SHIFT][(where >> PAGE_SHIFT) & 511];
}

int lg_switcher_add_vcpu(struct lg_vcpu *vcpu)
{
	struct lg_tree *tree = &vcpu->vm->tree;
	unsigned int slot = ((u64)vcpu->index << SWITCHER_VCPU_SHIFT) >> PMD_SHIFT;

	BUILD_BUG_ON(sizeof(struct switcher_cpu) > PAGE_SIZE);
	BUILD_BUG_ON(sizeof(struct switcher_vcpu) > PAGE_SIZE);
	if (!tree->level1[slot]) {
		tree->level1[slot] = new_table();
		if (!tree->level1[slot])
			return -ENOMEM;
		tree->level2[slot] = entry_for(tree->level1[slot], TABLE_FLAGS);
	}
	vcpu->sw = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!vcpu->sw)
		return -ENOMEM;
	vcpu->sw_address = base + SWITCHER_VCPUS + ((u64)vcpu->index << SWITCHER_VCPU_SHIFT);
	*vcpu_entry(vcpu, 0) = entry_for(vcpu->sw, DATA_FLAGS);
	return 0;
}

/* After lg_tree_unmap(), or before the vCPU ever ran. */
void lg_switcher_free_vcpu(struct lg_vcpu *vcpu)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(vcpu->ldt_pages); i++)
		if (vcpu->ldt_pages[i])
			__free_page(vcpu->ldt_pages[i]);
	if (vcpu->sw)
		*vcpu_entry(vcpu, 0) = 0;
	free_page((unsigned long)vcpu->sw);
}

/*
 * Stale translations of the old page do no harm: the switcher touches this one
 * only on a guest root, and loading one of those flushes.
 */
void lg_switcher_set_page(struct lg_vcpu *vcpu, struct page *page)
{
	WRITE_ONCE(*vcpu_entry(vcpu, SWITCHER_VCPU_PAGE),
		   page ? entry_for(page_address(page), DATA_FLAGS) : 0);
	vcpu->sw->page = page ? vcpu->sw_address + SWITCHER_VCPU_PAGE : 0;
}

int lg_switcher_set_ldt(struct lg_vcpu *vcpu, const u64 *descriptors, unsigned int count)
{
	unsigned int done, part, i;

	for (i = 0, done = 0; done < count; i++, done += part) {
		part = min_t(unsigned int, count - done, PAGE_SIZE / sizeof(u64));
		if (!vcpu->ldt_pages[i]) {
			vcpu->ldt_pages[i] = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
			if (!vcpu->ldt_pages[i])
				return -ENOMEM;
			*vcpu_entry(vcpu, SWITCHER_VCPU_LDT + i * PAGE_SIZE) =
				entry_for(page_address(vcpu->ldt_pages[i]), DATA_FLAGS);
		}
		memcpy(page_address(vcpu->ldt_pages[i]), descriptors + done, part * sizeof(u64));
	}
	vcpu->ldt_entries = count;
	vcpu->sw->ldt = count ? GDT_ENTRY_LDT * 8 : 0;
	return 0;
}

/* -- a vCPU on a CPU ------------------------------------------------------------------*/

void lg_switcher_load_descriptors(struct lg_vcpu *vcpu)
{
	u64 *gdt = (void *)cpu_area(smp_processor_id()) + SWITCHER_CPU_GDT;
	u64 ldt = vcpu->sw_address + SWITCHER_VCPU_LDT;
	u64 limit = vcpu->ldt_entries * 8 - 1;

	memcpy(&gdt[GDT_ENTRY_TLS_MIN], vcpu->tls, sizeof(vcpu->tls));
	/* Read-only data, accessed, expand-down as in Linux: its limit is the answer
	 * to LSL, which vDSO's getcpu reads. */
	gdt[GDT_ENTRY_CPUNODE] = 0x0040f50000000000ULL | (vcpu->cpunode & 0xffff) |
				 (vcpu->cpunode & 0xf0000) << 32;
	gdt[GDT_ENTRY_LDT] = vcpu->ldt_entries ?
		0x0000820000000000ULL | (limit & 0xffff) |
		(ldt & 0xffffff) << 16 | (ldt & 0xff000000) << 32 : 0;
	gdt[GDT_ENTRY_LDT + 1] = vcpu->ldt_entries ? ldt >> 32 : 0;
}

/*
 * The MSRs by which SYSCALL and SYSENTER find their entry.  Not written in the
 * world switch, where each would be an exit if this host is itself a VM; the
 * host's threads do not execute either while this vCPU is loaded.
 */
static DEFINE_PER_CPU(u64, host_lstar);
static DEFINE_PER_CPU(u64, host_cstar);
static DEFINE_PER_CPU(u64, host_sysenter_cs);

void lg_switcher_load(struct lg_vcpu *vcpu)
{
	u64 value;

	rdmsrl(MSR_LSTAR, value);
	__this_cpu_write(host_lstar, value);
	rdmsrl(MSR_CSTAR, value);
	__this_cpu_write(host_cstar, value);
	rdmsrl(MSR_IA32_SYSENTER_CS, value);
	__this_cpu_write(host_sysenter_cs, value);

	wrmsrl(MSR_LSTAR, switcher_address(switcher_syscall));
	wrmsrl(MSR_CSTAR, switcher_address(switcher_syscall32));
	wrmsrl(MSR_IA32_SYSENTER_CS, 0);	/* SYSENTER raises #GP */
	lg_switcher_load_descriptors(vcpu);
}

void lg_switcher_put(struct lg_vcpu *vcpu)
{
	wrmsrl(MSR_LSTAR, __this_cpu_read(host_lstar));
	wrmsrl(MSR_CSTAR, __this_cpu_read(host_cstar));
	wrmsrl(MSR_IA32_SYSENTER_CS, __this_cpu_read(host_sysenter_cs));
}

/*
 * RDI, RSI: the arguments of switcher_enter.  It saves what C keeps; everything
 * else is the guest's when it returns.  The call goes to the switcher's own address.
 *
 * What Linux does about branch predictors when it is entered from user mode is done
 * before anything here can be predicted, by the same feature bits (the bits of
 * AMD's SRSO imply UNRET).
 */
static __always_inline void world_switch(u64 cpu, u64 vcpu, u64 enter)
{
	asm volatile(ANNOTATE_RETPOLINE_SAFE
		     "call *%[enter]\n\t"
		     ALTERNATIVE_2("", "call entry_untrain_ret", X86_FEATURE_UNRET,
				   "call entry_ibpb", X86_FEATURE_ENTRY_IBPB) "\n\t"
		     ALTERNATIVE("", "call clear_bhb_loop", X86_FEATURE_CLEAR_BHB_LOOP)
		     : "+D" (cpu), "+S" (vcpu), [enter] "+a" (enter), ASM_CALL_CONSTRAINT
		     :: "rcx", "rdx", "r8", "r9", "r10", "r11", "memory", "cc");
	if (cpu_feature_enabled(X86_FEATURE_KERNEL_IBRS))
		native_wrmsrl(MSR_IA32_SPEC_CTRL, this_cpu_read(x86_spec_ctrl_current));
}

/*
 * To the kernel the guest is user mode: between these calls interrupts count as
 * enabled and RCU does not watch this CPU, so nothing here may be traced or
 * checked.  Returns CR2.
 */
static noinstr u64 run_guest(u64 cpu, u64 vcpu, u64 enter)
{
	u64 cr2;

	guest_state_enter_irqoff();
	if (cpu_feature_enabled(X86_FEATURE_CLEAR_CPU_BUF))
		x86_clear_cpu_buffers();
	world_switch(cpu, vcpu, enter);
	cr2 = native_read_cr2();
	guest_state_exit_irqoff();
	return cr2;
}

void lg_switch(struct lg_vcpu *vcpu, bool pge_off)
{
	struct switcher_cpu *area = cpu_area(smp_processor_id());
	unsigned long cr4 = cr4_read_shadow();
	bool pcid = cr4 & X86_CR4_PCIDE;
	u64 pkru = 0;

	area->vcpu = vcpu->sw_address;
	area->host_cr3 = __read_cr3() | (pcid ? X86_CR3_PCID_NOFLUSH : 0);
	area->host_cr4 = cr4;
	area->guest_cr4 = pge_off ? cr4 & ~X86_CR4_PGE : cr4;
	area->host_gs_base = rdgsbase();
	store_ldt(area->host_ldt);
	if (pcid) {
		vcpu->sw->kernel_cr3 |= PCID_KERNEL_VIEW;
		vcpu->sw->user_cr3 |= PCID_USER_VIEW;
	}
	/* Breakpoints of the launcher's debugger would hit guest addresses. */
	if (hw_breakpoint_active())
		set_debugreg(0UL, 7);
	if (cpu_feature_enabled(X86_FEATURE_OSPKE)) {
		pkru = rdpkru();
		if (pkru)
			wrpkru(0);	/* all guest pages are user pages to the CPU */
	}

	vcpu->cr2 = run_guest(area->self, vcpu->sw_address, switcher_address(switcher_enter));

	if (cpu_feature_enabled(X86_FEATURE_OSPKE) && pkru != rdpkru())
		wrpkru(pkru);
	if (hw_breakpoint_active())
		hw_breakpoint_restore();
	vcpu->pending_host = area->pending;
	area->pending = 0;
	vcpu->sw->pending = 0;
}

void lg_reraise_interrupt(unsigned int vector)
{
	const struct switcher_cpu *area = cpu_area(smp_processor_id());
	const gate_desc *gate = (const gate_desc *)area->host_idt.base + vector;

	lg_call_interrupt_entry(gate_offset(gate));
}

void lg_reraise_nmi(void)
{
	lg_call_nmi_entry();
}

void lg_reraise_machine_check(void)
{
	asm volatile("int $18");
}
