// SPDX-License-Identifier: GPL-2.0-only
/*
 * The run loop of a vCPU: host work, requests, events, enter; then look why it
 * left.  Runs in the vCPU's thread, in LG_RUN.
 */
#include <linux/entry-kvm.h>
#include <linux/hrtimer.h>
#include <linux/kvm_host.h>
#include <linux/ratelimit.h>
#include <linux/sched/signal.h>
#include <asm/debugreg.h>
#include <asm/fpu/api.h>
#include <asm/processor-flags.h>
#include <asm/trapnr.h>

#include "lg.h"

#define PFEC_PROTECTION_KEY	(1u << 5)

/*
 * A guest on top of the host's mappings is correct, but each switch empties the TLB:
 * whoever wonders finds the reason in the log, once for each VM.  A leaf among the
 * host's comes only by a miss, so it is at this address.  The window itself is not
 * named: where the host's kernel lies is not for all who may read its log.
 */
static void note_fallback(struct lg_vcpu *vcpu)
{
	struct lg_vm *vm = vcpu->vm;
	u64 start = vcpu->cr2 & PMD_MASK;

	if (vm->fallback_noted || !shadow_needs_pge_off(vm->shadow))
		return;
	vm->fallback_noted = true;
	pr_info_ratelimited("lguest: process %d: its guest has pages where the host has some, in [%#llx, %#llx); it runs slowly, with CR4.PGE off\n",
			    task_tgid_nr(current), start, start + PMD_SIZE);
}

/* A #PF the CPU raised: a miss of the shadow tables, or the guest's own. */
static void page_fault(struct lg_vcpu *vcpu)
{
	const struct switcher_frame *frame = &vcpu->sw->frame;
	struct lg_vm *vm = vcpu->vm;
	u32 access = frame->error & (PFEC_WRITE | PFEC_FETCH);
	struct shadow_result result;

	if (vcpu->sw->user_mode)
		access |= PFEC_USER;
	if (!lg_canonical(vcpu->cr2)) {
		/* Only on a host with five levels; the guest has four. */
		lg_inject(vcpu, X86_TRAP_GP, 0, 0);
		return;
	}
	/* No CPU does that at CPL 3, but QEMU before 9.0 has IRETQ access the stack so,
	 * and with SMAP it would never come to an end. */
	if (!(frame->error & PFEC_USER)) {
		lg_kill(vm, vcpu, "the CPU made a supervisor access at CPL 3; if this host is emulated by QEMU, start it with -cpu ...,smap=off");
		return;
	}
	/* A protection key of the guest's user program; it is gone by now. */
	if (frame->error & PFEC_PROTECTION_KEY)
		return;
	do {
		mutex_lock(&vm->mm_lock);
		result = shadow_fault(vm->shadow, vcpu->root, vcpu->cr2, access);
		note_fallback(vcpu);
		mutex_unlock(&vm->mm_lock);
		switch (result.outcome) {
		case SHADOW_DONE:
			return;
		case SHADOW_INJECT:
			lg_inject(vcpu, X86_TRAP_PF, result.error_code, vcpu->cr2);
			return;
		case SHADOW_BAD_FRAME:
			lg_kill(vm, vcpu, "address %#llx leads to guest frame %#llx, which is no memory of the guest",
				vcpu->cr2, result.gfn);
			return;
		default:
			if (lg_satisfy(vm, &result))
				return;
		}
		cond_resched();
	} while (!signal_pending(current));
}

static void exception(struct lg_vcpu *vcpu, unsigned int vector)
{
	const struct switcher_frame *frame = &vcpu->sw->frame;

	vcpu->stats.exit_exception++;
	switch (vector) {
	case X86_TRAP_DB:
		lg_inject(vcpu, vector, 0, DR6_RESERVED | DR_STEP);
		break;
	case X86_TRAP_GP:
		if (vcpu->sw->user_mode || !lg_emulate(vcpu))
			lg_inject(vcpu, vector, frame->error, 0);
		break;
	default:
		lg_inject(vcpu, vector, frame->error, 0);
	}
}

/* A descriptor changed under a loaded selector: whoever has that one, has null from
 * now on.  Of a selector the error code says all but the RPL. */
static void lost_segment(struct lg_vcpu *vcpu, u64 error)
{
	struct switcher_vcpu *sw = vcpu->sw;
	u16 *const selectors[] = { &sw->ds, &sw->es, &sw->fs, &sw->gs };
	u16 lost = error & 0xfffc;
	bool found = false;
	int i;

	for (i = 0; lost && i < ARRAY_SIZE(selectors); i++) {
		if ((*selectors[i] & 0xfffc) == lost) {
			*selectors[i] = 0;
			found = true;
		}
	}
	if (!found)	/* cannot be; but to enter with it again would be for ever */
		sw->ds = sw->es = sw->fs = sw->gs = 0;
}

/* Interrupts on: everything that may take time. */
static enum lg_next handle_exit(struct lg_vcpu *vcpu, unsigned int vector)
{
	struct switcher_frame *frame = &vcpu->sw->frame;

	switch (vector) {
	case X86_TRAP_NMI:
	case X86_TRAP_MC:
	case SWITCHER_EXIT_ABORT:
		return LG_CONTINUE;
	case X86_TRAP_PF:
		vcpu->stats.exit_page_fault++;
		page_fault(vcpu);
		return LG_CONTINUE;
	case SWITCHER_EXIT_HYPERCALL:
		vcpu->stats.exit_hypercall++;
		return lg_hypercall(vcpu);
	case SWITCHER_EXIT_RETURN:
		vcpu->stats.exit_return_to_user++;
		if (vcpu->page)
			lg_return_to_user(vcpu);
		else
			lg_kill(vcpu->vm, vcpu, "return to user mode, and no vCPU page is registered");
		return LG_CONTINUE;
	case SWITCHER_EXIT_SYSCALL:
		vcpu->stats.exit_syscall++;
		lg_kill(vcpu->vm, vcpu, "system call, and no vCPU page is registered");
		return LG_CONTINUE;
	case SWITCHER_EXIT_SYSCALL32:
		frame->rip = (u32)frame->rip - 2;	/* as if SYSCALL had raised #UD */
		lg_inject(vcpu, X86_TRAP_UD, 0, 0);
		return LG_CONTINUE;
	case SWITCHER_EXIT_IRET:
		lg_inject(vcpu, X86_TRAP_GP, frame->error & 0xffff, 0);
		return LG_CONTINUE;
	case SWITCHER_EXIT_SEGMENT:
		lost_segment(vcpu, frame->error);
		return LG_CONTINUE;
	case SWITCHER_EXIT_BUG:
		pr_lg(KERN_ERR, "exception %llu inside the switcher at +%#llx; the guest is stopped\n",
		      frame->error, frame->rip);
		lg_kill(vcpu->vm, vcpu, "exception %llu inside the switcher at +%#llx",
			frame->error, frame->rip);
		return LG_CONTINUE;
	case IA32_SYSCALL_VECTOR:
		if (vcpu->sw->user_mode)
			lg_inject(vcpu, vector, 0, 0);
		else
			lg_inject(vcpu, X86_TRAP_GP, vector * 8 + 2, 0);
		vcpu->stats.exit_exception++;
		return LG_CONTINUE;
	default:
		if (vector < 32)
			exception(vcpu, vector);
		return LG_CONTINUE;	/* a host interrupt, handled already */
	}
}

/* Interrupts off: what the host has to handle before anything else runs. */
static void handle_exit_irqoff(struct lg_vcpu *vcpu, unsigned int vector)
{
	if (vector == X86_TRAP_NMI || (vcpu->pending_host & SWITCHER_PENDING_NMI)) {
		vcpu->stats.exit_nmi++;
		lg_reraise_nmi();
	}
	/* It is sticky: left alone, the host's next breakpoint would look like a single step. */
	if (vector == X86_TRAP_DB)
		set_debugreg(DR6_RESERVED, 6);
	if (vector == X86_TRAP_MC || (vcpu->pending_host & SWITCHER_PENDING_MC))
		lg_reraise_machine_check();
	if (vector >= 32 && vector < 256 && vector != IA32_SYSCALL_VECTOR) {
		vcpu->stats.exit_interrupt++;
		lg_reraise_interrupt(vector);
	}
}

static bool must_not_enter(struct lg_vcpu *vcpu)
{
	return __xfer_to_guest_mode_work_pending() || atomic_read(&vcpu->vm->dead);
}

/* One turn in the guest.  Returns what ended it, or -1 if something came up. */
static int turn(struct lg_vcpu *vcpu)
{
	struct lg_vm *vm = vcpu->vm;
	bool pge_off;
	unsigned int vector;

	preempt_disable();
	local_irq_disable();
	/* Pairs with the barriers of lg_vcpu_kick() and lg_flush_guest_tlbs(): either
	 * they see us in the guest and interrupt this CPU, or we see their request,
	 * or the tables they changed, which entering loads anew. */
	WRITE_ONCE(vcpu->mode, LG_IN_GUEST);
	smp_mb();
	if (must_not_enter(vcpu)) {
		WRITE_ONCE(vcpu->mode, LG_OUTSIDE);
		local_irq_enable();
		preempt_enable();
		return -1;
	}
	lg_deliver_interrupt(vcpu);
	if (test_thread_flag(TIF_NEED_FPU_LOAD))
		switch_fpu_return();
	pge_off = shadow_needs_pge_off(vm->shadow);
	if (pge_off)
		vcpu->stats.global_pages_fallback++;
	vcpu->stats.enters++;

	guest_timing_enter_irqoff();
	lg_switch(vcpu, pge_off);
	vector = vcpu->sw->frame.vector;
	WRITE_ONCE(vcpu->mode, LG_OUTSIDE);
	handle_exit_irqoff(vcpu, vector);
	/* Let a pending tick be accounted to the guest. */
	local_irq_enable();
	local_irq_disable();
	guest_timing_exit_irqoff();
	local_irq_enable();
	preempt_enable();
	return vector;
}

static enum lg_next report_death(struct lg_vcpu *vcpu)
{
	struct lg_vm *vm = vcpu->vm;
	struct lg_run *run = vcpu->run;

	/* dead is 2 once the reason is complete. */
	while (atomic_read_acquire(&vm->dead) == 1)
		cpu_relax();
	run->exit_reason = LG_EXIT_KILLED;
	strscpy(run->u.killed.reason, vm->death, sizeof(run->u.killed.reason));
	run->u.killed.rip = vm->death_rip;
	run->u.killed.address = vm->death_address;
	run->u.killed.vector = vm->death_vector;
	run->u.killed.user_mode = vm->death_user_mode;
	return LG_TO_LAUNCHER;
}

static void complete_exit(struct lg_vcpu *vcpu)
{
	if (vcpu->completion == LG_COMPLETE_BUS_READ)
		vcpu->sw->frame.rax = vcpu->run->u.bus.value;
	vcpu->completion = LG_COMPLETE_NOTHING;
}

int lg_vcpu_run(struct lg_vcpu *vcpu)
{
	struct lg_vm *vm = vcpu->vm;
	enum lg_next next = LG_CONTINUE;
	int error, vector;

	complete_exit(vcpu);
	vcpu->run->exit_reason = LG_EXIT_NONE;
	if (!vcpu->sw->kernel_cr3 && !vcpu->down) {
		error = lg_load_root(vcpu, vcpu->root);
		if (error)
			return error;
	}
	if (READ_ONCE(vcpu->run->immediate_exit))
		return -EINTR;

	while (next == LG_CONTINUE) {
		if (atomic_read(&vm->dead)) {
			next = report_death(vcpu);
			break;
		}
		/* Work on the way back to user space is done there: the launcher
		 * calls again.  (The kernel's helper for this writes into a struct
		 * kvm_vcpu.) */
		if (signal_pending(current) || test_thread_flag(TIF_NOTIFY_RESUME))
			return -EINTR;
		cond_resched();
		if (vcpu->halted) {
			next = lg_halt(vcpu);
			if (signal_pending(current))
				return -EINTR;
			continue;
		}
		vector = turn(vcpu);
		if (vector < 0)
			continue;
		if (vcpu->page && vcpu->page->batch_count)
			lg_run_batch(vcpu);
		next = handle_exit(vcpu, vector);
	}
	vcpu->stats.exits_to_launcher++;
	return 0;
}
