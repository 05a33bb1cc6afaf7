// SPDX-License-Identifier: GPL-2.0-only
/*
 * Time: the page from which the guest computes nanoseconds out of the TSC, and
 * the one-shot timer on that clock.
 *
 * The TSC is not offset nor scaled, so the page need not change after it is set:
 * ns = time_ns + (tsc - time_tsc) * 10^6 / tsc_khz, the same for all vCPUs.
 */
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/timekeeping.h>
#include <asm/msr.h>
#include <asm/pvclock-abi.h>
#include <asm/tsc.h>

#include "lg.h"

/* ns = (ticks << shift) * multiplier >> 32, as in pvclock's ABI. */
static u32 tsc_multiplier(s8 *shift)
{
	u64 khz = tsc_khz;

	*shift = 0;
	while (khz <= USEC_PER_SEC) {	/* the quotient must fit 32 bits */
		khz *= 2;
		++*shift;
	}
	return div64_u64((u64)USEC_PER_SEC << 32, khz);
}

void lg_time_init(struct lg_vm *vm)
{
	unsigned long flags;

	local_irq_save(flags);
	vm->time_tsc = rdtsc_ordered();
	vm->time_ns = ktime_get_ns();
	local_irq_restore(flags);
}

u64 lg_time_now(const struct lg_vm *vm)
{
	s8 shift;
	u32 multiplier = tsc_multiplier(&shift);

	return vm->time_ns + mul_u64_u32_shr((rdtsc_ordered() - vm->time_tsc) << shift,
					     multiplier, 32);
}

int lg_set_time_page(struct lg_vcpu *vcpu, u64 gpa)
{
	struct pvclock_vcpu_time_info info = {
		.version = 2,		/* even: consistent */
		.tsc_timestamp = vcpu->vm->time_tsc,
		.system_time = vcpu->vm->time_ns,
		.flags = PVCLOCK_TSC_STABLE_BIT,
	};

	if (!PAGE_ALIGNED(gpa))
		return -EINVAL;
	info.tsc_to_system_mul = tsc_multiplier(&info.tsc_shift);
	if (lg_write_guest(vcpu->vm, gpa, &info, sizeof(info)))
		return -EINVAL;
	vcpu->time_page = gpa;
	return 0;
}

static enum hrtimer_restart fire(struct hrtimer *timer)
{
	struct lg_vcpu *vcpu = container_of(timer, struct lg_vcpu, timer);

	vcpu->timer_deadline = 0;
	lg_vcpu_interrupt(vcpu, LG_VECTOR_TIMER);
	return HRTIMER_NORESTART;
}

void lg_timer_init(struct lg_vcpu *vcpu)
{
	hrtimer_init(&vcpu->timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	vcpu->timer.function = fire;
}

void lg_set_timer(struct lg_vcpu *vcpu, u64 deadline)
{
	u64 now;

	hrtimer_cancel(&vcpu->timer);
	vcpu->timer_deadline = deadline;
	if (!deadline)
		return;
	now = lg_time_now(vcpu->vm);
	if (deadline <= now) {
		vcpu->timer_deadline = 0;
		lg_vcpu_interrupt(vcpu, LG_VECTOR_TIMER);
		return;
	}
	/* A deadline of centuries is a guest without one. */
	hrtimer_start(&vcpu->timer, ns_to_ktime(min_t(u64, deadline - now, KTIME_MAX / 2)),
		      HRTIMER_MODE_REL);
}
