/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the parts of the lguest guest shim (arch/x86/lguest/) share: hypercalls,
 * the vCPU page, per-CPU state, and who initialises what.  The ABI itself is in
 * lguest/guest_abi.h.
 */
#ifndef _ASM_X86_LGUEST_H
#define _ASM_X86_LGUEST_H

#include <lguest/guest_abi.h>

#ifndef __ASSEMBLY__

#include <linux/init.h>
#include <linux/percpu.h>
#include <linux/types.h>
#include <asm/asm.h>
#include <asm/page.h>

struct pt_regs;
struct task_struct;

/* -- hypercalls -------------------------------------------------------------*/

/* Only ever called through the inline functions below: entry.S. */
void lguest_hypercall(void);

static __always_inline long lg_hypercall(unsigned long number, unsigned long a0,
					 unsigned long a1, unsigned long a2)
{
	long result;

	asm volatile("call lguest_hypercall"
		     : "=a" (result), ASM_CALL_CONSTRAINT
		     : "a" (number), "D" (a0), "S" (a1), "d" (a2)
		     : "rcx", "r11", "memory", "cc");
	return result;
}

/* Append to the batch of the vCPU page: done before the host does anything else
 * for this vCPU.  For calls whose result nobody needs. */
void lg_batch(u64 number, u64 a0, u64 a1, u64 a2);

/* -- per-CPU state ------------------------------------------------------------*/

/* What hardware would keep in registers a kernel at CPL 3 does not have. */
struct lguest_cpu {
	struct lg_vcpu_registration registration;	/* 48 bytes: first, so in one page */
	u32 cpuid[4] __aligned(16);	/* where the host answers LG_HC_CPUID */
	unsigned long cr0, cr3, cr4;
	unsigned long dr[8];
	u64 tls[3];			/* what the host has, so as to tell it changes only */
	bool switching, ldt_changed;	/* a new LDT waits for the end of the context switch */
	unsigned int ldt_entries;
	const void *ldt;
} __aligned(64);

DECLARE_PER_CPU_PAGE_ALIGNED(struct lg_vcpu_page, lguest_vcpu_page);
DECLARE_PER_CPU(struct lguest_cpu, lguest_cpu);

/* The guest-physical address of an object in the kernel image, the direct map or
 * a per-CPU area (which the first chunk keeps in the direct map). */
static inline u64 lg_gpa(const void *p)
{
	return __pa(p);
}

/* -- the shim's parts -----------------------------------------------------------*/

extern bool lguest_guest;
extern struct lg_boot_info lguest_boot_info;

void lguest_register_vcpu(unsigned long gs_base);
void __init lguest_init_mmu(void);
void __init lguest_init_irq(void);
void __init lguest_install_apic(void);
void __init lguest_init_time(void);
void __init lguest_install_sched_clock(void);
void lguest_setup_cpu_clockevent(void);
void __init lguest_init_console(void);
void __init lguest_early_print(const char *text);
void __init lguest_init_control(void);
void __init lguest_init_smp(void);

int lguest_slot_irq(unsigned int slot);

/* entry.S */
extern char lguest_event_from_user[], lguest_event_from_kernel[];
extern char lguest_syscall_from_user[], lguest_return_to_user_end[];
unsigned long lguest_save_fl(void);
void lguest_irq_disable(void);
void lguest_irq_enable(void);
unsigned long lguest_read_cr2(void);
void asm_lguest_load_gs_index(unsigned int selector);
void lguest_ap_start(void);

/* event.c, smp.c: called from entry.S */
void lguest_event(struct pt_regs *regs, unsigned long vector);
void __noreturn lguest_start_kernel(unsigned long boot_params_gva);
void __noreturn lguest_ap_main(unsigned long cpu);

/* irq.c, time.c, control.c: called by event.c */
void lguest_bus_interrupt(struct pt_regs *regs, u32 vector);
void lguest_timer_interrupt(struct pt_regs *regs);
void lguest_resumed_interrupt(struct pt_regs *regs);
void lguest_shutdown_interrupt(struct pt_regs *regs);

#endif /* !__ASSEMBLY__ */
#endif /* _ASM_X86_LGUEST_H */
