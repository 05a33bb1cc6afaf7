// SPDX-License-Identifier: GPL-2.0-only
/*
 * Events into the guest: exceptions and interrupts through the vCPU page, and the
 * slow way back to its user mode.  guest_abi.h describes the page; switcher.S does
 * the same for system calls and simple returns without coming here.
 */
#include <linux/bitops.h>
#include <asm/processor-flags.h>
#include <asm/segment.h>
#include <asm/trapnr.h>

#include "lg.h"

static void enter_at(struct lg_vcpu *vcpu, u64 rip)
{
	struct switcher_frame *frame = &vcpu->sw->frame;

	frame->rip = rip;
	frame->rflags = LG_ENTRY_RFLAGS;
	frame->cs = __USER_CS;
	frame->ss = __USER_DS;
}

/*
 * The interrupted context goes to the page, the guest continues at its entry
 * point.  Caller has checked that there is a page and that it is not busy.
 */
static void deliver(struct lg_vcpu *vcpu, unsigned int vector, u64 error, u64 address)
{
	struct switcher_vcpu *sw = vcpu->sw;
	struct switcher_frame *frame = &sw->frame;
	struct lg_vcpu_page *page = vcpu->page;

	if (sw->user_mode) {
		page->user_rip = frame->rip;
		page->user_rsp = frame->rsp;
		page->user_rflags = frame->rflags;
		page->user_cs = frame->cs;
		page->user_ss = frame->ss;
		page->user_gs_base = sw->gs_base;
		sw->gs_base = sw->kernel_gs_base;
		sw->user_mode = 0;
		enter_at(vcpu, vcpu->event_from_user);
	} else {
		page->kernel_rip = frame->rip;
		page->kernel_rsp = frame->rsp;
		page->kernel_rflags = (frame->rflags & ~X86_EFLAGS_IF) |
				      (page->irq_flags & X86_EFLAGS_IF);
		enter_at(vcpu, vcpu->event_from_kernel);
	}
	page->irq_flags = 0;
	page->event_busy = 1;
	page->event_vector = vector;
	page->event_error = error;
	page->event_address = address;
	vcpu->stats.events_injected++;
}

void lg_inject(struct lg_vcpu *vcpu, unsigned int vector, u64 error, u64 address)
{
	if (!vcpu->page)
		lg_kill(vcpu->vm, vcpu, "exception %u (error code %#llx, address %#llx) before a vCPU page was registered",
			vector, error, address);
	else if (vcpu->page->event_busy)
		lg_kill(vcpu->vm, vcpu, "exception %u (error code %#llx, address %#llx) while another event was being taken; kernel stack overflow?",
			vector, error, address);
	else
		deliver(vcpu, vector, error, address);
}

bool lg_interrupt_pending(const struct lg_vcpu *vcpu)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(vcpu->pending); i++)
		if (READ_ONCE(vcpu->pending[i]))
			return true;
	return false;
}

int lg_take_interrupt(struct lg_vcpu *vcpu)
{
	int i;

	/* Higher vectors first, as a local APIC ranks them. */
	for (i = ARRAY_SIZE(vcpu->pending) - 1; i >= 0; i--) {
		unsigned long word = READ_ONCE(vcpu->pending[i]);

		if (word) {
			int vector = i * BITS_PER_LONG + __fls(word);

			clear_bit(vector, vcpu->pending);
			return vector;
		}
	}
	return -1;
}

void lg_deliver_interrupt(struct lg_vcpu *vcpu)
{
	struct lg_vcpu_page *page = vcpu->page;

	if (!page)
		return;
	if ((page->irq_flags & X86_EFLAGS_IF) && !page->event_busy) {
		int vector = lg_take_interrupt(vcpu);

		if (vector >= 0) {
			deliver(vcpu, vector, 0, 0);
			vcpu->stats.interrupts_injected++;
		}
	}
	page->irq_pending = lg_interrupt_pending(vcpu);
}

/*
 * What IRETQ to user mode would do with a bad frame, a guest kernel may not feel
 * at CPL 3 of ours; so it becomes a #GP of the user program, which is what Linux
 * makes of a failing IRET.
 */
void lg_return_to_user(struct lg_vcpu *vcpu)
{
	struct switcher_vcpu *sw = vcpu->sw;
	struct switcher_frame *frame = &sw->frame;
	const struct lg_vcpu_page *page = vcpu->page;
	u64 gs_base = READ_ONCE(page->user_gs_base);
	bool valid;

	frame->rip = READ_ONCE(page->user_rip);
	frame->rsp = READ_ONCE(page->user_rsp);
	frame->rflags = lg_user_rflags(READ_ONCE(page->user_rflags));
	frame->cs = READ_ONCE(page->user_cs);
	frame->ss = READ_ONCE(page->user_ss);
	frame->rcx = READ_ONCE(page->user_rcx);
	frame->r11 = READ_ONCE(page->user_r11);

	valid = lg_valid_user_selectors(frame->cs, frame->ss);
	if (!valid) {
		frame->cs = __USER_CS;
		frame->ss = __USER_DS;
	}
	valid = valid && lg_canonical(frame->rip) && lg_canonical(gs_base);
	sw->gs_base = lg_canonical(gs_base) ? gs_base : 0;
	sw->user_mode = 1;
	vcpu->page->irq_flags = X86_EFLAGS_IF;
	if (!valid)
		lg_inject(vcpu, X86_TRAP_GP, 0, 0);
}
