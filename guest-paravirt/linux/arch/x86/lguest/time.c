// SPDX-License-Identifier: GPL-2.0-only
/*
 * Time in an lguest guest.  The host keeps a pvclock page up to date: reading the
 * clock is RDTSC and a multiplication, in the kernel and, through the vDSO, in user
 * mode, and never leaves the guest.  The timer is one hypercall per shot.
 */
#include <linux/clockchips.h>
#include <linux/clocksource.h>
#include <linux/hardirq.h>
#include <linux/interrupt.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/sched/clock.h>
#include <linux/time64.h>

#include <asm/cpufeature.h>
#include <asm/idtentry.h>
#include <asm/irq_regs.h>
#include <asm/irq_stack.h>
#include <asm/lguest.h>
#include <asm/paravirt.h>
#include <asm/pvclock.h>
#include <asm/x86_init.h>

/* One for all vCPUs: their TSCs are the host's.  A page of its own, which the vDSO
 * maps into user space. */
static union {
	struct pvclock_vsyscall_time_info info;
	u8 page[PAGE_SIZE];
} time_page __aligned(PAGE_SIZE);

static u64 boot_time __ro_after_init;

static noinstr u64 lguest_clock(void)
{
	return pvclock_clocksource_read_nowd(&time_page.info.pvti);
}

static noinstr u64 lguest_sched_clock(void)
{
	return lguest_clock() - boot_time;
}

static u64 lguest_clocksource_read(struct clocksource *cs)
{
	return lguest_clock();
}

static int lguest_clocksource_enable(struct clocksource *cs)
{
	vclocks_set_used(VDSO_CLOCKMODE_PVCLOCK);
	return 0;
}

static struct clocksource lguest_clocksource = {
	.name	= "lguest",
	.rating	= 400,
	.read	= lguest_clocksource_read,
	.enable	= lguest_clocksource_enable,
	.mask	= CLOCKSOURCE_MASK(64),
	.flags	= CLOCK_SOURCE_IS_CONTINUOUS,
};

static void lguest_get_wallclock(struct timespec64 *now)
{
	*now = ns_to_timespec64(lg_hypercall(LG_HC_WALLCLOCK, 0, 0, 0));
}

static int lguest_set_wallclock(const struct timespec64 *now)
{
	return -ENODEV;
}

static unsigned long lguest_tsc_khz(void)
{
	return pvclock_tsc_khz(&time_page.info.pvti);
}

/* -- the timer ---------------------------------------------------------------- */

static DEFINE_PER_CPU(struct clock_event_device, lguest_clockevent);

static int lguest_timer_shutdown(struct clock_event_device *evt)
{
	lg_hypercall(LG_HC_SET_TIMER, 0, 0, 0);
	return 0;
}

static int lguest_timer_set_next_event(unsigned long delta,
				       struct clock_event_device *evt)
{
	return lg_hypercall(LG_HC_SET_TIMER, lguest_clock() + delta, 0, 0) ? -ETIME : 0;
}

static void handle_timer_interrupt(struct pt_regs *regs)
{
	struct pt_regs *old_regs = set_irq_regs(regs);
	struct clock_event_device *evt = this_cpu_ptr(&lguest_clockevent);

	inc_irq_stat(apic_timer_irqs);
	if (evt->event_handler)
		evt->event_handler(evt);
	set_irq_regs(old_regs);
}

noinstr void lguest_timer_interrupt(struct pt_regs *regs)
{
	irqentry_state_t state = irqentry_enter(regs);

	instrumentation_begin();
	run_sysvec_on_irqstack_cond(handle_timer_interrupt, regs);
	instrumentation_end();
	irqentry_exit(regs, state);
}

static void handle_resumed_interrupt(struct pt_regs *regs)
{
	pvclock_touch_watchdogs();
}

/* The host had stopped this vCPU, and the clock went on: nobody is to take that for a
 * lockup.  Comes before the timer interrupt that would. */
noinstr void lguest_resumed_interrupt(struct pt_regs *regs)
{
	irqentry_state_t state = irqentry_enter(regs);

	instrumentation_begin();
	run_sysvec_on_irqstack_cond(handle_resumed_interrupt, regs);
	instrumentation_end();
	irqentry_exit(regs, state);
}

void lguest_setup_cpu_clockevent(void)
{
	struct clock_event_device *evt = this_cpu_ptr(&lguest_clockevent);

	evt->name = "lguest";
	evt->features = CLOCK_EVT_FEAT_ONESHOT;
	evt->rating = 500;
	evt->cpumask = cpumask_of(smp_processor_id());
	evt->set_state_shutdown = lguest_timer_shutdown;
	evt->set_state_oneshot_stopped = lguest_timer_shutdown;
	evt->set_next_event = lguest_timer_set_next_event;
	clockevents_config_and_register(evt, NSEC_PER_SEC, 1000, LONG_MAX);
}

/* Late: interrupts and the scheduler exist. */
static void __init lguest_timer_init(void)
{
	clocksource_register_hz(&lguest_clocksource, NSEC_PER_SEC);
	lguest_setup_cpu_clockevent();
}

void __init lguest_install_sched_clock(void)
{
	paravirt_set_sched_clock(lguest_sched_clock);
}

void __init lguest_init_time(void)
{
	BUILD_BUG_ON(sizeof(time_page) != PAGE_SIZE);

	if (lg_hypercall(LG_HC_SET_TIME_PAGE, lg_gpa(&time_page), 0, 0))
		BUG();

	boot_time = lguest_clock();

	/* Let vDSO and clocksource trust it only if the host says it is stable. */
	pvclock_set_flags(PVCLOCK_TSC_STABLE_BIT);
	if (pvclock_read_flags(&time_page.info.pvti) & PVCLOCK_TSC_STABLE_BIT) {
		pvclock_set_pvti_cpu0_va(&time_page.info);
		lguest_clocksource.vdso_clock_mode = VDSO_CLOCKMODE_PVCLOCK;
	}

	/* There is nothing to calibrate or watch the TSC against, and a watchdog
	 * would wake an idle guest twice a second. */
	setup_force_cpu_cap(X86_FEATURE_TSC_KNOWN_FREQ);
	setup_force_cpu_cap(X86_FEATURE_TSC_RELIABLE);
	setup_force_cpu_cap(X86_FEATURE_CONSTANT_TSC);

	x86_platform.calibrate_tsc = lguest_tsc_khz;
	x86_platform.calibrate_cpu = lguest_tsc_khz;
	x86_platform.get_wallclock = lguest_get_wallclock;
	x86_platform.set_wallclock = lguest_set_wallclock;
	x86_platform.save_sched_clock_state = x86_init_noop;
	x86_platform.restore_sched_clock_state = x86_init_noop;
	x86_init.timers.timer_init = lguest_timer_init;
	x86_init.timers.setup_percpu_clockev = x86_init_noop;
	x86_init.timers.wallclock_init = x86_init_noop;
	x86_cpuinit.setup_percpu_clockev = lguest_setup_cpu_clockevent;
}
