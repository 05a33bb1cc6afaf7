// SPDX-License-Identifier: GPL-2.0-only
/*
 * vCPUs of an lguest guest: how many there are, and how one starts and stops.  IPIs
 * are the APIC driver's, in irq.c.
 */
#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/sched/hotplug.h>
#include <linux/sched/task_stack.h>
#include <linux/smp.h>

#include <asm/apic.h>
#include <asm/cpu.h>
#include <asm/debugreg.h>
#include <asm/desc.h>
#include <asm/fpu/api.h>
#include <asm/fsgsbase.h>
#include <asm/lguest.h>
#include <asm/mpspec.h>
#include <asm/smp.h>
#include <asm/spec-ctrl.h>
#include <asm/tlbflush.h>
#include <asm/x86_init.h>

#include "../kernel/cpu/cpu.h"

static DEFINE_PER_CPU_ALIGNED(struct lg_vcpu_start, lguest_vcpu_start);

static void __init lguest_parse_smp_cfg(void)
{
	unsigned int cpu, vcpus = max(lguest_boot_info.vcpus, 1U);

	topology_register_boot_apic(0);
	for (cpu = 0; cpu < min(vcpus, nr_cpu_ids); cpu++)
		topology_register_apic(cpu, CPU_ACPIID_INVALID, true);

	/* Keeps init_apic_mappings() from looking for one. */
	smp_found_config = 1;
}

static void __init lguest_smp_prepare_cpus(unsigned int max_cpus)
{
	smp_prepare_cpus_common();
	speculative_store_bypass_ht_init();
}

/* entry.S: a vCPU that another started, on its idle task's stack. */
asmlinkage __visible void __noreturn lguest_ap_main(unsigned long cpu)
{
	this_cpu_write(lguest_cpu.cr0, CR0_STATE);
	this_cpu_write(lguest_cpu.cr3, __pa_symbol(swapper_pg_dir));
	this_cpu_write(lguest_cpu.cr4, X86_CR4_PAE | X86_CR4_PSE | X86_CR4_PGE);
	this_cpu_write(lguest_cpu.dr[6], DR6_RESERVED);
	this_cpu_write(lguest_cpu.dr[7], DR7_FIXED_1);
	lguest_register_vcpu(rdgsbase());

	cr4_init();
	cpu_init_exception_handling(false);
	cpuhp_ap_sync_alive();
	cpu_init();
	fpu__init_cpu();
	rcutree_report_cpu_starting(cpu);
	smp_store_cpu_info(cpu);
	set_cpu_sibling_map(cpu);
	speculative_store_bypass_ht_init();
	x86_cpuinit.setup_percpu_clockev();
	notify_cpu_starting(cpu);
	set_cpu_online(cpu, true);

	local_irq_enable();
	cpu_startup_entry(CPUHP_AP_ONLINE_IDLE);
}

static int lguest_kick_ap(unsigned int cpu, struct task_struct *idle)
{
	struct lg_vcpu_start *start = per_cpu_ptr(&lguest_vcpu_start, cpu);
	int err = common_cpu_up(cpu, idle);

	if (err)
		return err;

	per_cpu(lguest_vcpu_page, cpu).irq_flags = 0;
	start->rip = (unsigned long)lguest_ap_start;
	start->rsp = (unsigned long)task_pt_regs(idle);
	start->cr3 = __pa_symbol(swapper_pg_dir);
	start->gs_base = per_cpu_offset(cpu);
	start->argument = cpu;
	return lg_hypercall(LG_HC_VCPU_UP, cpu, lg_gpa(start), 0);
}

static void stop_self(void *unused)
{
	local_irq_disable();
	set_cpu_online(smp_processor_id(), false);
	lg_hypercall(LG_HC_VCPU_DOWN, 0, 0, 0);
}

static void lguest_stop_other_cpus(int wait)
{
	smp_call_function(stop_self, NULL, wait);
}

static int lguest_cpu_disable(void)
{
	/* Hotplug comes with the vCPUs that would use it. */
	return -EOPNOTSUPP;
}

void __init lguest_init_smp(void)
{
	x86_init.mpparse.parse_smp_cfg = lguest_parse_smp_cfg;
	x86_cpuinit.parallel_bringup = false;

	smp_ops.smp_prepare_cpus = lguest_smp_prepare_cpus;
	smp_ops.kick_ap_alive = lguest_kick_ap;
	smp_ops.stop_other_cpus = lguest_stop_other_cpus;
	smp_ops.cpu_disable = lguest_cpu_disable;
}
