// SPDX-License-Identifier: GPL-2.0-only
/*
 * Events: what the vCPU page says happened becomes a call of Linux's handler for
 * it.  entry.S has built pt_regs and cleared event_busy, irq.c and time.c hold the
 * handlers of our own interrupts.
 *
 * Handlers are those an IDT would lead to, without its assembly stubs: each does
 * its own irqentry_enter() and irqentry_exit().
 */
#include <linux/entry-common.h>
#include <linux/kdebug.h>
#include <linux/panic.h>
#include <linux/sched/debug.h>

#include <asm/debugreg.h>
#include <asm/desc.h>
#include <asm/idtentry.h>
#include <asm/lguest.h>
#include <asm/trapnr.h>
#include <asm/traps.h>

/* Nothing the guest or its users can do leads here: the host does not keep to the
 * ABI, or a feature is visible to us which it should hide. */
static noinstr void unknown_event(struct pt_regs *regs, unsigned long vector,
				  unsigned long error)
{
	irqentry_state_t state = irqentry_nmi_enter(regs);

	instrumentation_begin();
	pr_emerg("lguest: unknown event %lu, error %#lx\n", vector, error);
	die("unknown event", regs, error);
	instrumentation_end();
	irqentry_nmi_exit(regs, state);
}

static noinstr void exception(struct pt_regs *regs, unsigned long vector,
			      unsigned long error)
{
	switch (vector) {
	case X86_TRAP_DE: return exc_divide_error(regs);
	case X86_TRAP_DB:
		/* Software debug registers: DR6 is what this event says. */
		this_cpu_write(lguest_cpu.dr[6],
			       this_cpu_read(lguest_vcpu_page.event_address));
		return user_mode(regs) ? noist_exc_debug(regs) : exc_debug(regs);
	case X86_TRAP_NMI: return exc_nmi(regs);
	case X86_TRAP_BP: return exc_int3(regs);
	case X86_TRAP_OF: return exc_overflow(regs);
	case X86_TRAP_BR: return exc_bounds(regs);
	case X86_TRAP_UD: return exc_invalid_op(regs);
	case X86_TRAP_NM: return exc_device_not_available(regs);
	case X86_TRAP_DF: exc_double_fault(regs, error); return;
	case X86_TRAP_TS: return exc_invalid_tss(regs, error);
	case X86_TRAP_NP: return exc_segment_not_present(regs, error);
	case X86_TRAP_SS: return exc_stack_segment(regs, error);
	case X86_TRAP_GP: return exc_general_protection(regs, error);
	case X86_TRAP_MF: return exc_coprocessor_error(regs);
	case X86_TRAP_AC: return exc_alignment_check(regs, error);
	case X86_TRAP_XF: return exc_simd_coprocessor_error(regs);
	default: return unknown_event(regs, vector, error);
	}
}

static noinstr void interrupt(struct pt_regs *regs, unsigned long vector)
{
	switch (vector) {
	case LG_VECTOR_TIMER: return lguest_timer_interrupt(regs);
	case LG_VECTOR_BUS ... LG_VECTOR_BUS + LG_BUS_SLOTS - 1:
		return lguest_bus_interrupt(regs, vector);
	case LG_VECTOR_SHUTDOWN: return lguest_shutdown_interrupt(regs);
	case LG_VECTOR_RESUMED: return lguest_resumed_interrupt(regs);
	case IA32_SYSCALL_VECTOR:
		if (IS_ENABLED(CONFIG_IA32_EMULATION) && user_mode(regs)) {
			if (ia32_enabled())
				return do_int80_emulation(regs);
			/* As if the IDT had no gate there. */
			return exc_general_protection(regs, IA32_SYSCALL_VECTOR << 3 | 2);
		}
		return unknown_event(regs, vector, 0);
	case RESCHEDULE_VECTOR: return sysvec_reschedule_ipi(regs);
	case CALL_FUNCTION_VECTOR: return sysvec_call_function(regs);
	case CALL_FUNCTION_SINGLE_VECTOR: return sysvec_call_function_single(regs);
	case IRQ_WORK_VECTOR: return sysvec_irq_work(regs);
	case REBOOT_VECTOR: return sysvec_reboot(regs);
	default: return spurious_interrupt(regs, vector);
	}
}

/* Called by entry.S with virtual interrupts off; returns so.  regs->orig_ax holds
 * the error code of an exception. */
__visible noinstr void lguest_event(struct pt_regs *regs, unsigned long vector)
{
	unsigned long error = regs->orig_ax;

	/* Not a system call, as far as signals and ptrace can see. */
	regs->orig_ax = -1;

	/* Nearly all are page faults. */
	if (likely(vector == X86_TRAP_PF))
		return exc_page_fault(regs, error);
	if (vector < NUM_EXCEPTION_VECTORS)
		return exception(regs, vector, error);
	interrupt(regs, vector);
}
