// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hypercalls: what the guest kernel asks for with SYSCALL.  guest_abi.h is the
 * specification, one function here for each call that needs more than a line.
 * Runs in the vCPU's thread, interrupts on, no lock held.
 */
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>
#include <asm/processor-flags.h>
#include <asm/segment.h>

#include "lg.h"

/* -- life ---------------------------------------------------------------------*/

static long register_vcpu(struct lg_vcpu *vcpu, u64 gpa)
{
	struct lg_vcpu_registration registration;
	struct page *pin;

	if (lg_read_guest(vcpu->vm, gpa, &registration, sizeof(registration)) ||
	    !lg_valid_registration(&registration))
		return -EINVAL;
	pin = lg_pin_guest_page(vcpu->vm, registration.page);
	if (!pin)
		return -EINVAL;

	if (vcpu->page && page_address(pin) != vcpu->page)
		memcpy(page_address(pin), vcpu->page, PAGE_SIZE);
	if (vcpu->page_pin)
		unpin_user_page(vcpu->page_pin);
	vcpu->page_pin = pin;
	vcpu->page = page_address(pin);
	vcpu->page_gpa = registration.page;
	vcpu->event_from_user = registration.event_from_user;
	vcpu->event_from_kernel = registration.event_from_kernel;
	vcpu->sw->syscall_from_user = registration.syscall_from_user;
	vcpu->sw->return_to_user = registration.return_to_user;
	vcpu->sw->kernel_gs_base = registration.kernel_gs_base;
	lg_switcher_set_page(vcpu, pin);
	vcpu->sw->direct = 1;
	return 0;
}

/* One that is down waits to be started, whatever interrupts come. */
static bool wakes(struct lg_vcpu *vcpu)
{
	if (vcpu->down)
		return READ_ONCE(vcpu->start_requested) || atomic_read(&vcpu->vm->dead);
	return lg_interrupt_pending(vcpu) || READ_ONCE(vcpu->kicked) ||
	       READ_ONCE(vcpu->start_requested) || atomic_read(&vcpu->vm->dead);
}

static void start(struct lg_vcpu *vcpu)
{
	struct switcher_vcpu *sw = vcpu->sw;

	smp_rmb();	/* start was written before start_requested */
	sw->frame = (struct switcher_frame) {
		.rip = vcpu->start.rip, .rsp = vcpu->start.rsp, .rdi = vcpu->start.argument,
		.rflags = LG_ENTRY_RFLAGS, .cs = __USER_CS, .ss = __USER_DS,
	};
	sw->gs_base = vcpu->start.gs_base;
	sw->fs_base = 0;
	sw->user_mode = 0;
	vcpu->down = false;
	WRITE_ONCE(vcpu->start_requested, false);
	if (lg_load_root(vcpu, vcpu->start.cr3))
		lg_kill(vcpu->vm, vcpu, "vCPU %u was started with root %#llx", vcpu->index,
			vcpu->start.cr3);
}

/* Block a vCPU that is halted, parked or down.  Returns when it may run, or with a
 * signal pending. */
enum lg_next lg_halt(struct lg_vcpu *vcpu)
{
	if (wait_event_interruptible(vcpu->wait, wakes(vcpu)))
		return LG_CONTINUE;
	if (vcpu->down && !vcpu->start_requested)
		return LG_CONTINUE;
	if (vcpu->down)
		start(vcpu);
	vcpu->halted = false;
	WRITE_ONCE(vcpu->kicked, false);
	return LG_CONTINUE;
}

static long vcpu_up(struct lg_vcpu *vcpu, u64 index, u64 gpa)
{
	struct lg_vcpu_start arguments;
	struct lg_vcpu *other;

	if (index >= LG_MAX_VCPUS || !READ_ONCE(vcpu->vm->vcpus[index]))
		return -ENOENT;
	other = vcpu->vm->vcpus[index];
	if (lg_read_guest(vcpu->vm, gpa, &arguments, sizeof(arguments)) ||
	    !lg_valid_start(&arguments))
		return -EINVAL;
	if (!READ_ONCE(other->down) || other->start_requested)
		return -EBUSY;
	other->start = arguments;
	smp_wmb();
	WRITE_ONCE(other->start_requested, true);
	lg_vcpu_kick(other);
	return 0;
}

static long ipi(struct lg_vcpu *vcpu, u64 target, u64 vector)
{
	struct lg_vm *vm = vcpu->vm;
	unsigned int i;

	if (!lg_valid_interrupt(vector))
		return -EINVAL;
	if (target != ~0ULL) {
		if (target >= LG_MAX_VCPUS || !READ_ONCE(vm->vcpus[target]))
			return -ENOENT;
		lg_vcpu_interrupt(vm->vcpus[target], vector);
		return 0;
	}
	for (i = 0; i < LG_MAX_VCPUS; i++)
		if (i != vcpu->index && READ_ONCE(vm->vcpus[i]))
			lg_vcpu_interrupt(vm->vcpus[i], vector);
	return 0;
}

/* -- memory -------------------------------------------------------------------*/

/*
 * Hold the roots for the guest's table at `root` and let the switcher use them.
 * The root that was loaded before may be `root` itself.
 */
int lg_load_root(struct lg_vcpu *vcpu, u64 root)
{
	struct lg_vm *vm = vcpu->vm;
	struct switcher_vcpu *sw = vcpu->sw;
	struct shadow_roots roots;
	struct shadow_result result;

	if (!lg_valid_root(root))
		return -EINVAL;
	do {
		mutex_lock(&vm->mm_lock);
		result = shadow_get_roots(vm->shadow, root, &roots);
		if (result.outcome == SHADOW_DONE) {
			if (sw->kernel_cr3)
				shadow_put_roots(vm->shadow, vcpu->root);
			vcpu->root = root;
			sw->kernel_cr3 = roots.kernel_view | sme_me_mask;
			sw->user_cr3 = roots.user_view | sme_me_mask;
		}
		mutex_unlock(&vm->mm_lock);
		if (result.outcome == SHADOW_DONE) {
			vcpu->stats.root_loads++;
			return 0;
		}
	} while (!lg_satisfy(vm, &result));
	return -EINVAL;
}

static long load_root(struct lg_vcpu *vcpu, u64 cr3)
{
	const u64 noflush = 1ULL << 63;
	u64 root = lg_root_of(cr3);

	if (!(cr3 & noflush)) {
		mutex_lock(&vcpu->vm->mm_lock);
		shadow_flush_lower_half(vcpu->vm->shadow, root);
		mutex_unlock(&vcpu->vm->mm_lock);
	}
	return root == vcpu->root ? 0 : lg_load_root(vcpu, root);
}

static long flush(struct lg_vcpu *vcpu, u64 number, u64 a, u64 b, u64 c)
{
	struct lg_vm *vm = vcpu->vm;
	u64 root = a ? a & PAGE_MASK : vcpu->root;

	mutex_lock(&vm->mm_lock);
	switch (number) {
	case LG_HC_FLUSH_PAGE:
		shadow_flush_page(vm->shadow, root, b);
		break;
	case LG_HC_FLUSH_RANGE:
		shadow_flush_range(vm->shadow, root, b, c);
		break;
	case LG_HC_FLUSH_MM:
		shadow_flush_lower_half(vm->shadow, root);
		break;
	case LG_HC_FLUSH_ALL:
		shadow_flush_all(vm->shadow);
		break;
	case LG_HC_RELEASE_TABLE:
		shadow_release_table(vm->shadow, a & PAGE_MASK);
		break;
	}
	mutex_unlock(&vm->mm_lock);
	return 0;
}

/* -- segments -------------------------------------------------------------------*/

static void reload_descriptors(struct lg_vcpu *vcpu)
{
	preempt_disable();
	lg_switcher_load_descriptors(vcpu);
	preempt_enable();
}

static long load_tls(struct lg_vcpu *vcpu, u64 index, u64 descriptor)
{
	if (index >= ARRAY_SIZE(vcpu->tls) || !lg_sane_descriptor(&descriptor))
		return -EINVAL;
	vcpu->tls[index] = descriptor;
	reload_descriptors(vcpu);
	return 0;
}

static long load_ldt(struct lg_vcpu *vcpu, u64 gva, u64 count)
{
	u64 *descriptors = NULL;
	unsigned int i;
	long error = 0;

	if (count > 8192)
		return -EINVAL;
	if (count) {
		descriptors = kvcalloc(count, sizeof(u64), GFP_KERNEL_ACCOUNT);
		if (!descriptors)
			return -ENOMEM;
		error = lg_read_guest_virtual(vcpu, gva, descriptors, count * sizeof(u64));
		for (i = 0; i < count; i++)
			if (!lg_sane_descriptor(&descriptors[i]))
				descriptors[i] = 0;
	}
	if (!error)
		error = lg_switcher_set_ldt(vcpu, descriptors, count);
	kvfree(descriptors);
	if (!error)
		reload_descriptors(vcpu);
	return error;
}

/* -- to the launcher ----------------------------------------------------------------*/

static enum lg_next text_exit(struct lg_vcpu *vcpu, enum lg_exit_reason reason, u64 gpa, u64 length)
{
	struct lg_run *run = vcpu->run;

	length = min_t(u64, length, LG_TEXT_MAX);
	if (lg_read_guest(vcpu->vm, gpa, run->u.text.data, length)) {
		vcpu->sw->frame.rax = -EINVAL;
		if (reason == LG_EXIT_CONSOLE)
			return LG_CONTINUE;
		length = 0;
	}
	run->exit_reason = reason;
	run->u.text.length = length;
	return LG_TO_LAUNCHER;
}

static enum lg_next bus_access(struct lg_vcpu *vcpu, bool write)
{
	struct switcher_frame *frame = &vcpu->sw->frame;
	struct lg_run *run = vcpu->run;

	if (!lg_valid_bus_access(frame->rdi, frame->rsi)) {
		frame->rax = -EINVAL;
		return LG_CONTINUE;
	}
	run->exit_reason = write ? LG_EXIT_BUS_WRITE : LG_EXIT_BUS_READ;
	run->u.bus.address = frame->rdi;
	run->u.bus.width = frame->rsi;
	run->u.bus.value = write ? frame->rdx : 0;
	if (!write)
		vcpu->completion = LG_COMPLETE_BUS_READ;
	return LG_TO_LAUNCHER;
}

static enum lg_next doorbell(struct lg_vcpu *vcpu, u64 slot, u64 queue)
{
	struct lg_run *run = vcpu->run;

	if (!lg_valid_doorbell(slot, queue)) {
		vcpu->sw->frame.rax = -EINVAL;
		return LG_CONTINUE;
	}
	if (lg_doorbell(vcpu->vm, slot, queue))
		return LG_CONTINUE;
	run->exit_reason = LG_EXIT_DOORBELL;
	run->u.bus.address = slot;
	run->u.bus.value = queue;
	return LG_TO_LAUNCHER;
}

static long cpuid_call(struct lg_vcpu *vcpu, u64 leaf, u64 subleaf, u64 gpa)
{
	u32 registers[4];

	lg_cpuid(vcpu, leaf, subleaf, registers);
	return lg_write_guest(vcpu->vm, gpa, registers, sizeof(registers)) ? -EINVAL : 0;
}

/* -- dispatch -------------------------------------------------------------------------*/

static long memory_or_segment(struct lg_vcpu *vcpu, u64 number, u64 a, u64 b, u64 c)
{
	switch (number) {
	case LG_HC_LOAD_ROOT:
		return load_root(vcpu, a);
	case LG_HC_SET_TLS:
		return load_tls(vcpu, a, b);
	case LG_HC_SET_LDT:
		return load_ldt(vcpu, a, b);
	case LG_HC_SET_CPUNODE:
		vcpu->cpunode = a;
		reload_descriptors(vcpu);
		return 0;
	default:
		return flush(vcpu, number, a, b, c);
	}
}

void lg_run_batch(struct lg_vcpu *vcpu)
{
	struct lg_vcpu_page *page = vcpu->page;
	u32 count = lg_batch_count(page), i;

	for (i = 0; i < count; i++) {
		struct lg_batch_entry entry = lg_read_batch_entry(page, i);

		if (!lg_batchable(entry.number)) {
			lg_kill(vcpu->vm, vcpu, "hypercall %llu in a batch", entry.number);
			return;
		}
		memory_or_segment(vcpu, entry.number, entry.arg[0], entry.arg[1], entry.arg[2]);
	}
	page->batch_count = 0;
}

enum lg_next lg_hypercall(struct lg_vcpu *vcpu)
{
	struct switcher_frame *frame = &vcpu->sw->frame;
	struct lg_run *run = vcpu->run;
	u64 number = frame->rax, a = frame->rdi, b = frame->rsi, c = frame->rdx;
	int vector;

	if (lg_batchable(number)) {
		frame->rax = memory_or_segment(vcpu, number, a, b, c);
		return LG_CONTINUE;
	}
	frame->rax = 0;
	switch (number) {
	case LG_HC_REGISTER_VCPU:
		frame->rax = register_vcpu(vcpu, a);
		break;
	case LG_HC_HALT:
		if (vcpu->page)
			vcpu->page->irq_flags = X86_EFLAGS_IF;
		vcpu->halted = true;
		vcpu->stats.halts++;
		break;
	case LG_HC_SHUTDOWN:
		run->exit_reason = LG_EXIT_SHUTDOWN;
		run->u.shutdown.status = a & 0xff;
		return LG_TO_LAUNCHER;
	case LG_HC_REBOOT:
		run->exit_reason = LG_EXIT_REBOOT;
		return LG_TO_LAUNCHER;
	case LG_HC_PANIC:
		return text_exit(vcpu, LG_EXIT_PANIC, a, b);
	case LG_HC_CONSOLE:
		return text_exit(vcpu, LG_EXIT_CONSOLE, a, b);
	case LG_HC_VCPU_UP:
		frame->rax = vcpu_up(vcpu, a, b);
		break;
	case LG_HC_VCPU_DOWN:
		vcpu->down = true;
		vcpu->halted = true;
		break;
	case LG_HC_IRQ_WINDOW:
		break;		/* the run loop delivers */
	case LG_HC_NEXT_IRQ:
		vector = lg_take_interrupt(vcpu);
		frame->rax = vector < 0 ? -EAGAIN : vector;
		if (vcpu->page)
			vcpu->page->irq_pending = lg_interrupt_pending(vcpu);
		if (vector >= 0)
			vcpu->stats.interrupts_injected++;
		break;
	case LG_HC_IPI:
		frame->rax = ipi(vcpu, a, b);
		break;
	case LG_HC_SET_TIMER:
		lg_set_timer(vcpu, a);
		break;
	case LG_HC_SET_TIME_PAGE:
		frame->rax = lg_set_time_page(vcpu, a);
		break;
	case LG_HC_WALLCLOCK:
		frame->rax = ktime_get_real_ns();
		break;
	case LG_HC_PARK:
		vcpu->halted = true;
		break;
	case LG_HC_KICK:
		if (a >= LG_MAX_VCPUS || !READ_ONCE(vcpu->vm->vcpus[a])) {
			frame->rax = -ENOENT;
			break;
		}
		WRITE_ONCE(vcpu->vm->vcpus[a]->kicked, true);
		lg_vcpu_kick(vcpu->vm->vcpus[a]);
		break;
	case LG_HC_CPUID:
		frame->rax = cpuid_call(vcpu, a, b, c);
		break;
	case LG_HC_BUS_READ:
		return bus_access(vcpu, false);
	case LG_HC_BUS_WRITE:
		return bus_access(vcpu, true);
	case LG_HC_DOORBELL:
		return doorbell(vcpu, a, b);
	default:
		frame->rax = -ENOSYS;
	}
	return LG_CONTINUE;
}
