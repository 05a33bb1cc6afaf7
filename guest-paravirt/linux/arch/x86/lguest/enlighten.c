// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tells the kernel that it runs as an lguest guest, and answers for the CPU state a
 * kernel at CPL 3 cannot touch.  entry.S calls lguest_start_kernel(); mmu.c, irq.c,
 * time.c, console.c, control.c and smp.c fill in their own parts of pv_ops and
 * x86_init from there.
 *
 *   1. CPUID and model-specific registers
 *   2. Control and debug registers
 *   3. Descriptors: TLS, LDT, the CPU number, GS
 *   4. Start
 *
 * What hardware would do is either pretended (control registers: software copies),
 * done another way that CPL 3 allows (segment bases: RDGSBASE and friends), or asked
 * of the host.  Where Linux would use a privileged instruction for a feature, the
 * feature is hidden.
 */
#include <linux/console.h>
#include <linux/elf.h>
#include <linux/export.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/memblock.h>
#include <linux/percpu.h>
#include <linux/pgtable.h>
#include <linux/sched.h>
#include <linux/start_kernel.h>
#include <linux/string.h>

#include <asm/apic.h>
#include <asm/bootparam.h>
#include <asm/cpu.h>
#include <asm/cpufeature.h>
#include <asm/debugreg.h>
#include <asm/desc.h>
#include <asm/fsgsbase.h>
#include <asm/hypervisor.h>
#include <asm/lguest.h>
#include <asm/msr.h>
#include <asm/mpspec.h>
#include <asm/paravirt.h>
#include <asm/processor.h>
#include <asm/proto.h>
#include <asm/sections.h>
#include <asm/setup.h>
#include <asm/tlbflush.h>
#include <asm/x86_init.h>

#include "../kernel/cpu/cpu.h"

/* In .data: asked before .bss is cleared, by code that runs on bare hardware too. */
bool lguest_guest __ro_after_init = false;

struct lg_boot_info lguest_boot_info __ro_after_init;

/* A host with KASLR leaves few gaps for all of a guest: plenty, yet small. */
#define LG_VMALLOC_SIZE_TB	1

DEFINE_PER_CPU_PAGE_ALIGNED(struct lg_vcpu_page, lguest_vcpu_page) __visible;
DEFINE_PER_CPU(struct lguest_cpu, lguest_cpu);

/*
 * 1. CPUID and model-specific registers.
 */

static void host_cpuid(u32 leaf, u32 subleaf, u32 regs[4])
{
	unsigned long flags;
	u32 *answer;

	local_irq_save(flags);
	answer = this_cpu_ptr(&lguest_cpu)->cpuid;
	lg_hypercall(LG_HC_CPUID, leaf, subleaf, lg_gpa(answer));
	memcpy(regs, answer, sizeof(lguest_cpu.cpuid));
	local_irq_restore(flags);
}

#define CPUID_XSTATE_ALIGNED	BIT(1)	/* ECX of an XSAVE component: 64-byte aligned */

/*
 * EBX of leaf 0xd tells the size of an XSAVE area for what XCR0 has, and XCR0 is the
 * host's, with components we may not see.  Compute it for those in EAX:EDX.
 */
static u32 xsave_size(bool compacted)
{
	u32 regs[4], size = 512 + 64;
	u64 components;
	int i;

	host_cpuid(0xd, 0, regs);
	components = regs[0] | (u64)regs[3] << 32;
	for (i = 2; i < 63; i++) {
		if (!(components & BIT_ULL(i)))
			continue;
		host_cpuid(0xd, i, regs);
		if (!compacted)
			size = max(size, regs[0] + regs[1]);
		else if (regs[2] & CPUID_XSTATE_ALIGNED)
			size = ALIGN(size, 64) + regs[0];
		else
			size += regs[0];
	}
	return size;
}

static void lguest_cpuid(unsigned int *ax, unsigned int *bx,
			 unsigned int *cx, unsigned int *dx)
{
	u32 leaf = *ax, subleaf = *cx, regs[4];

	host_cpuid(leaf, subleaf, regs);

	/* The topology is flat: every vCPU is a package whose APIC ID is its number. */
	switch (leaf) {
	case 0x1:
		regs[1] = (regs[1] & 0xffff) | 1 << 16 | raw_smp_processor_id() << 24;
		regs[3] &= ~BIT(28);				/* HTT */
		break;
	case 0x4:
		if (regs[0] & 0x1f)
			regs[0] &= 0x3fff;			/* shared by one, one core */
		break;
	case 0xb:
	case 0x1f:
	case 0x80000026:
		memset(regs, 0, sizeof(regs));
		break;
	case 0xd:
		if (subleaf == 0)
			regs[1] = regs[2] = xsave_size(false);
		else if (subleaf == 1) {
			regs[0] &= ~BIT(3);			/* XSAVES */
			regs[1] = xsave_size(true);
			regs[2] = regs[3] = 0;
		}
		break;
	case 0x80000008:
		/* Four levels, whatever the host has. */
		regs[0] = (regs[0] & ~0xff00) | 48 << 8;
		regs[2] = 0;					/* cores, APIC ID size */
		break;
	}

	*ax = regs[0];
	*bx = regs[1];
	*cx = regs[2];
	*dx = regs[3];
}

/* Features that would make Linux touch what it cannot.  The host hides most of them
 * already; a kernel that trusted it would be one CPU generation from a crash. */
static const unsigned short hidden_features[] __initconst = {
	/* memory */
	X86_FEATURE_INVPCID, X86_FEATURE_SMEP, X86_FEATURE_SMAP,
	X86_FEATURE_PKU, X86_FEATURE_OSPKE, X86_FEATURE_LA57, X86_FEATURE_MTRR,
	X86_FEATURE_PAT, X86_FEATURE_SME, X86_FEATURE_LAM,
	/* privileged instructions and their companions */
	X86_FEATURE_UMIP, X86_FEATURE_XSAVES, X86_FEATURE_MWAIT, X86_FEATURE_WAITPKG,
	X86_FEATURE_FRED, X86_FEATURE_LKGS, X86_FEATURE_IBT, X86_FEATURE_SHSTK,
	X86_FEATURE_SEP, X86_FEATURE_SYSENTER32, X86_FEATURE_SYSCALL32,
	X86_FEATURE_RDPID, X86_FEATURE_CPUID_FAULT, X86_FEATURE_VMX, X86_FEATURE_SVM,
	X86_FEATURE_ENQCMD, X86_FEATURE_AMX_TILE, X86_FEATURE_XFD,
	/* what a real APIC, PIC or power management has */
	X86_FEATURE_X2APIC, X86_FEATURE_TSC_DEADLINE_TIMER, X86_FEATURE_TSC_ADJUST,
	X86_FEATURE_ACPI, X86_FEATURE_ACC, X86_FEATURE_EST, X86_FEATURE_APERFMPERF,
	X86_FEATURE_EPB, X86_FEATURE_HWP, X86_FEATURE_HW_PSTATE, X86_FEATURE_CPB,
	X86_FEATURE_DTHERM, X86_FEATURE_PTS,
	/* performance monitoring, resource control, machine checks */
	X86_FEATURE_DS, X86_FEATURE_PDCM, X86_FEATURE_ARCH_PERFMON, X86_FEATURE_PERFCTR_CORE,
	X86_FEATURE_PERFCTR_NB, X86_FEATURE_PERFCTR_LLC, X86_FEATURE_PERFMON_V2,
	X86_FEATURE_IBS, X86_FEATURE_INTEL_PT, X86_FEATURE_ARCH_LBR, X86_FEATURE_RDT_A,
	X86_FEATURE_CQM, X86_FEATURE_MBA, X86_FEATURE_SGX, X86_FEATURE_MCE, X86_FEATURE_MCA,
	X86_FEATURE_SPLIT_LOCK_DETECT, X86_FEATURE_BUS_LOCK_DETECT, X86_FEATURE_CORE_CAPABILITIES,
	/* speculation control belongs to the host; the kernel keeps to retpolines */
	X86_FEATURE_SPEC_CTRL, X86_FEATURE_SPEC_CTRL_SSBD, X86_FEATURE_INTEL_STIBP,
	X86_FEATURE_AMD_IBPB, X86_FEATURE_AMD_IBRS, X86_FEATURE_AMD_STIBP, X86_FEATURE_AMD_SSBD,
	X86_FEATURE_VIRT_SSBD, X86_FEATURE_ARCH_CAPABILITIES, X86_FEATURE_IBRS_ENHANCED,
	X86_FEATURE_FLUSH_L1D, X86_FEATURE_MD_CLEAR,
};

static void __init hide_features(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(hidden_features); i++)
		setup_clear_cpu_cap(hidden_features[i]);

	setup_force_cpu_cap(X86_FEATURE_PV_CPL3);
	setup_force_cpu_cap(X86_FEATURE_LGUEST);
	setup_force_cpu_cap(X86_FEATURE_HYPERVISOR);
	setup_force_cpu_cap(X86_FEATURE_APIC);	/* it sends IPIs, irq_work's too */
}

/* MSR_GS_BASE moves when the per-CPU area does, and the vCPU page with it.  The host
 * copies the page; nothing may be written to either meanwhile. */
static void move_percpu_base(unsigned long base)
{
	unsigned long flags;

	local_irq_save(flags);
	if (base != rdgsbase()) {
		/* The host copies its page; the rest is ours to carry along. */
		struct lguest_cpu *new = (void *)(base + (unsigned long)&lguest_cpu);

		*new = *this_cpu_ptr(&lguest_cpu);
		lguest_register_vcpu(base);
		wrgsbase(base);
	}
	local_irq_restore(flags);
}

static bool read_known_msr(unsigned int msr, u64 *value)
{
	switch (msr) {
	case MSR_FS_BASE:
		*value = rdfsbase();
		return true;
	case MSR_GS_BASE:
		*value = rdgsbase();
		return true;
	case MSR_KERNEL_GS_BASE:
		*value = this_cpu_read(lguest_vcpu_page.user_gs_base);
		return true;
	case MSR_EFER:
		*value = EFER_SCE | EFER_LME | EFER_LMA | EFER_NX;
		return true;
	case MSR_IA32_APICBASE:
		*value = APIC_DEFAULT_PHYS_BASE | MSR_IA32_APICBASE_ENABLE;
		if (!raw_smp_processor_id())
			*value |= MSR_IA32_APICBASE_BSP;
		return true;
	default:
		*value = 0;
		return false;
	}
}

static bool write_known_msr(unsigned int msr, u64 value)
{
	switch (msr) {
	case MSR_FS_BASE:
		wrfsbase(value);
		return true;
	case MSR_GS_BASE:
		move_percpu_base(value);
		return true;
	case MSR_KERNEL_GS_BASE:
		this_cpu_write(lguest_vcpu_page.user_gs_base, value);
		return true;
	/* What these say is told to the host at registration. */
	case MSR_EFER:
	case MSR_STAR:
	case MSR_LSTAR:
	case MSR_CSTAR:
	case MSR_SYSCALL_MASK:
	case MSR_IA32_SYSENTER_CS:
	case MSR_IA32_SYSENTER_ESP:
	case MSR_IA32_SYSENTER_EIP:
		return true;
	default:
		return false;
	}
}

/* An unknown register reads as 0 and ignores writes, and says so where one can. */
static u64 lguest_read_msr(unsigned int msr)
{
	u64 value;

	read_known_msr(msr, &value);
	return value;
}

static u64 lguest_read_msr_safe(unsigned int msr, int *err)
{
	u64 value;

	*err = read_known_msr(msr, &value) ? 0 : -EIO;
	return value;
}

static void lguest_write_msr(unsigned int msr, unsigned int low, unsigned int high)
{
	write_known_msr(msr, low | (u64)high << 32);
}

static int lguest_write_msr_safe(unsigned int msr, unsigned int low, unsigned int high)
{
	return write_known_msr(msr, low | (u64)high << 32) ? 0 : -EIO;
}

static u64 lguest_read_pmc(int counter)
{
	return 0;
}

/*
 * 2. Control and debug registers.
 */

static unsigned long lguest_read_cr0(void)
{
	return this_cpu_read(lguest_cpu.cr0);
}

static void lguest_write_cr0(unsigned long cr0)
{
	this_cpu_write(lguest_cpu.cr0, cr0);
}

unsigned long lguest_read_cr4(void)
{
	return this_cpu_read(lguest_cpu.cr4);
}
EXPORT_SYMBOL_GPL(lguest_read_cr4);
EXPORT_SYMBOL_GPL(lguest_guest);

static void lguest_write_cr4(unsigned long cr4)
{
	this_cpu_write(lguest_cpu.cr4, cr4);
}

static noinstr unsigned long lguest_get_debugreg(int reg)
{
	return this_cpu_read(lguest_cpu.dr[reg]);
}

static noinstr void lguest_set_debugreg(int reg, unsigned long value)
{
	this_cpu_write(lguest_cpu.dr[reg], value);
}

static noinstr void lguest_wbinvd(void)
{
}

/*
 * 3. Descriptors.
 *
 * The GDT in use is the switcher's.  Linux's own is memory, written as ever, because
 * some parts read it back; the host is told of the entries that matter.
 */

static void lguest_load_tls(struct thread_struct *t, unsigned int cpu)
{
	unsigned int i;

	native_load_tls(t, cpu);
	for (i = 0; i < GDT_ENTRY_TLS_ENTRIES; i++) {
		u64 desc;

		memcpy(&desc, &t->tls_array[i], sizeof(desc));
		if (this_cpu_read(lguest_cpu.tls[i]) == desc)
			continue;
		/* One the host refuses becomes the empty one there as well. */
		if (lg_hypercall(LG_HC_SET_TLS, i, desc, 0))
			lg_hypercall(LG_HC_SET_TLS, i, 0, 0);
		this_cpu_write(lguest_cpu.tls[i], desc);
	}
}

/*
 * In a context switch the mm comes first, while selectors of the previous task's LDT
 * are still loaded: the new LDT waits until switch_to() has saved them.
 */
static void lguest_set_ldt(const void *addr, unsigned int entries)
{
	if (this_cpu_read(lguest_cpu.switching)) {
		this_cpu_write(lguest_cpu.ldt, addr);
		this_cpu_write(lguest_cpu.ldt_entries, entries);
		this_cpu_write(lguest_cpu.ldt_changed, true);
		return;
	}
	lg_hypercall(LG_HC_SET_LDT, (unsigned long)addr, entries, 0);
}

static void lguest_start_context_switch(struct task_struct *prev)
{
	this_cpu_write(lguest_cpu.switching, true);
}

static void lguest_end_context_switch(struct task_struct *next)
{
	this_cpu_write(lguest_cpu.switching, false);
	if (!this_cpu_read(lguest_cpu.ldt_changed))
		return;
	this_cpu_write(lguest_cpu.ldt_changed, false);
	lguest_set_ldt(this_cpu_read(lguest_cpu.ldt), this_cpu_read(lguest_cpu.ldt_entries));
}

static void lguest_write_gdt_entry(struct desc_struct *gdt, int entry,
				   const void *desc, int type)
{
	native_write_gdt_entry(gdt, entry, desc, type);

	/* The vDSO's getcpu() reads its limit. */
	if (entry == GDT_ENTRY_CPUNODE)
		lg_hypercall(LG_HC_SET_CPUNODE, get_desc_limit(desc), 0, 0);
}

static void lguest_load_gs_index(unsigned int selector)
{
	unsigned long flags;

	local_irq_save(flags);
	asm_lguest_load_gs_index(selector);
	local_irq_restore(flags);
}

static void lguest_load_descriptor_table(const struct desc_ptr *dtr)
{
}

static unsigned long lguest_store_tr(void)
{
	return 0;
}

static void lguest_load_sp0(unsigned long sp0)
{
	/* Entries take pcpu_hot.top_of_stack. */
}

/*
 * 4. Start.
 */

/* Register this CPU's vCPU page, in the per-CPU area at gs_base.  Also moves it. */
void lguest_register_vcpu(unsigned long gs_base)
{
	struct lguest_cpu *cpu = (void *)(gs_base + (unsigned long)&lguest_cpu);
	struct lg_vcpu_registration *reg = &cpu->registration;

	reg->page = lg_gpa((void *)(gs_base + (unsigned long)&lguest_vcpu_page));
	reg->kernel_gs_base = gs_base;
	reg->event_from_user = (unsigned long)lguest_event_from_user;
	reg->event_from_kernel = (unsigned long)lguest_event_from_kernel;
	reg->syscall_from_user = (unsigned long)lguest_syscall_from_user;
	reg->return_to_user = (unsigned long)lguest_return_to_user_end;

	if (lg_hypercall(LG_HC_REGISTER_VCPU, lg_gpa(reg), 0, 0))
		BUG();
}

static const typeof(pv_ops.cpu) lguest_cpu_ops __initconst = {
	.io_delay		= paravirt_nop,
	.cpuid			= lguest_cpuid,
	.get_debugreg		= lguest_get_debugreg,
	.set_debugreg		= lguest_set_debugreg,
	.read_cr0		= lguest_read_cr0,
	.write_cr0		= lguest_write_cr0,
	.write_cr4		= lguest_write_cr4,
	.wbinvd			= lguest_wbinvd,
	.read_msr		= lguest_read_msr,
	.write_msr		= lguest_write_msr,
	.read_msr_safe		= lguest_read_msr_safe,
	.write_msr_safe		= lguest_write_msr_safe,
	.read_pmc		= lguest_read_pmc,
	.load_tr_desc		= paravirt_nop,
	.load_gdt		= lguest_load_descriptor_table,
	.load_idt		= lguest_load_descriptor_table,
	.store_tr		= lguest_store_tr,
	.load_tls		= lguest_load_tls,
	.load_gs_index		= lguest_load_gs_index,
	.set_ldt		= lguest_set_ldt,
	.write_ldt_entry	= native_write_ldt_entry,
	.write_gdt_entry	= lguest_write_gdt_entry,
	.write_idt_entry	= native_write_idt_entry,
	.alloc_ldt		= paravirt_nop,
	.free_ldt		= paravirt_nop,
	.load_sp0		= lguest_load_sp0,
#ifdef CONFIG_X86_IOPL_IOPERM
	.invalidate_io_bitmap	= native_tss_invalidate_io_bitmap,
	.update_io_bitmap	= native_tss_update_io_bitmap,
#endif
	.start_context_switch	= lguest_start_context_switch,
	.end_context_switch	= lguest_end_context_switch,
};

static void __init lguest_arch_setup(void)
{
	struct lg_boot_info *info = &lguest_boot_info;

	/* In use until init_mem_mapping() has made others; mmu.c frees them. */
	memblock_reserve(info->tables_start, info->tables_end - info->tables_start);
}

static u32 __init lguest_detect(void)
{
	return lguest_guest ? U32_MAX : 0;
}

/* In setup_arch(): static calls can be changed by now, and nobody has yet asked the
 * APIC who it is. */
static void __init lguest_init_platform(void)
{
	lguest_install_apic();
	lguest_install_sched_clock();
}

const __initconst struct hypervisor_x86 x86_hyper_lguest = {
	.name			= "lguest",
	.detect			= lguest_detect,
	.type			= X86_HYPER_LGUEST,
	.init.init_platform	= lguest_init_platform,
	.ignore_nopv		= true,
};

static void __init lguest_set_legacy_features(void)
{
	x86_platform.legacy.rtc = 0;
	x86_platform.legacy.warm_reset = 0;
	x86_platform.legacy.reserve_bios_regions = 0;
	x86_platform.legacy.devices.pnpbios = 0;
	x86_platform.legacy.i8042 = X86_LEGACY_I8042_PLATFORM_ABSENT;
	x86_platform.legacy.no_vga = 1;
}

static int __init lguest_iommu_init(void)
{
	return 0;
}

static void __init init_platform_hooks(void)
{
	x86_init.resources.probe_roms = x86_init_noop;
	x86_init.resources.reserve_resources = x86_init_noop;
	x86_init.resources.dmi_setup = x86_init_noop;
	x86_init.mpparse.find_mptable = x86_init_noop;
	x86_init.mpparse.early_parse_smp_cfg = x86_init_noop;
	x86_init.oem.arch_setup = lguest_arch_setup;
	x86_init.iommu.iommu_init = lguest_iommu_init;
	x86_platform.realmode_reserve = x86_init_noop;
	x86_platform.realmode_init = x86_init_noop;
	x86_platform.set_legacy_features = lguest_set_legacy_features;
}

/*
 * entry.S jumps here, on the initial stack, with the GS base of the boot CPU's
 * template per-CPU area and the launcher's page tables: all memory at
 * page_offset_base, and the kernel image where it was linked or relocated to.
 *
 * Order matters.  Nothing may print, take a lock or use a static call before pv_ops
 * are in place, and nothing may fault before the vCPU page is registered.
 */
asmlinkage __visible void __init __noreturn
lguest_start_kernel(unsigned long boot_params_gva)
{
	struct boot_params *params = (struct boot_params *)boot_params_gva;
	unsigned long direct_map = boot_params_gva & PUD_MASK;
	struct lg_boot_info *info =
		(void *)(direct_map + params->hdr.hardware_subarch_data);

	clear_bss();

	lguest_guest = true;
	lguest_boot_info = *info;
	phys_base = info->phys_base;
	page_offset_base = info->page_offset_base;
	vmalloc_base = info->vmalloc_base;
	vmemmap_base = info->vmemmap_base;
	vmalloc_size_tb = LG_VMALLOC_SIZE_TB;
	if (info->modules_vaddr) {
		modules_vaddr = info->modules_vaddr;
		modules_end = info->modules_end;
	}

	pv_info.name = "lguest";
	pv_ops.cpu = lguest_cpu_ops;
	lguest_init_irq();
	this_cpu_write(lguest_cpu.cr0, CR0_STATE);
	this_cpu_write(lguest_cpu.cr4, X86_CR4_PAE | X86_CR4_PSE | X86_CR4_PGE);
	this_cpu_write(lguest_cpu.dr[6], DR6_RESERVED);
	this_cpu_write(lguest_cpu.dr[7], DR7_FIXED_1);

	lguest_register_vcpu(rdgsbase());

	if (info->version != LG_ABI_VERSION || info->page_offset_base != direct_map)
		lguest_early_print("lguest: the launcher and this kernel do not match\n");

	lguest_init_mmu();
	cr4_init_shadow();
	early_boot_irqs_disabled = true;

	hide_features();
	get_cpu_cap(&boot_cpu_data);
	x86_configure_nx();

	lguest_init_time();
	lguest_init_console();
	lguest_init_control();
	lguest_init_smp();
	init_platform_hooks();

	/* The launcher chose the addresses: see where they do not meet the host's. */
	params->hdr.loadflags &= ~KASLR_FLAG;

	x86_64_start_reservations((char *)(boot_params_gva - direct_map));
}
