// SPDX-License-Identifier: GPL-2.0-only
/*
 * How an lguest guest ends, and what user space may tell the host about it:
 * /sys/kernel/lguest/exit_status is what the launcher exits with when the guest
 * powers off.  The host can ask for that too, as if a power button were pressed.
 */
#include <linux/entry-common.h>
#include <linux/kobject.h>
#include <linux/notifier.h>
#include <linux/panic_notifier.h>
#include <linux/pm.h>
#include <linux/reboot.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include <asm/irq_regs.h>
#include <asm/irq_stack.h>
#include <asm/lguest.h>
#include <asm/reboot.h>

static u8 exit_status;

static ssize_t exit_status_show(struct kobject *kobj, struct kobj_attribute *attr,
				char *buf)
{
	return sysfs_emit(buf, "%u\n", exit_status);
}

static ssize_t exit_status_store(struct kobject *kobj, struct kobj_attribute *attr,
				 const char *buf, size_t count)
{
	return kstrtou8(buf, 10, &exit_status) ?: count;
}

static ssize_t version_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", LG_ABI_VERSION);
}

static struct kobj_attribute exit_status_attr = __ATTR_RW(exit_status);
static struct kobj_attribute version_attr = __ATTR_RO(version);

static struct attribute *lguest_attrs[] = {
	&exit_status_attr.attr,
	&version_attr.attr,
	NULL,
};

static const struct attribute_group lguest_group = { .attrs = lguest_attrs };

static void lguest_power_off(void)
{
	lg_hypercall(LG_HC_SHUTDOWN, exit_status, 0, 0);
}

static void lguest_restart(char *command)
{
	lg_hypercall(LG_HC_REBOOT, 0, 0, 0);
}

static void lguest_emergency_restart(void)
{
	lguest_restart(NULL);
}

static void lguest_machine_shutdown(void)
{
	/* The other vCPUs end with the guest. */
}

static const struct machine_ops lguest_machine_ops __initconst = {
	.restart		= lguest_restart,
	.halt			= lguest_power_off,
	.power_off		= lguest_power_off,
	.shutdown		= lguest_machine_shutdown,
	.emergency_restart	= lguest_emergency_restart,
};

/* Says that we are alive, which buys user space time to shut down. */
static void handle_shutdown_interrupt(struct pt_regs *regs)
{
	struct pt_regs *old_regs = set_irq_regs(regs);

	lg_hypercall(LG_HC_BUS_WRITE, LG_BUS_SHUTDOWN_TAKEN, sizeof(u32), 1);
	pr_info("lguest: the host asks us to power off\n");
	orderly_poweroff(true);
	set_irq_regs(old_regs);
}

noinstr void lguest_shutdown_interrupt(struct pt_regs *regs)
{
	irqentry_state_t state = irqentry_enter(regs);

	instrumentation_begin();
	run_sysvec_on_irqstack_cond(handle_shutdown_interrupt, regs);
	instrumentation_end();
	irqentry_exit(regs, state);
}

static char panic_text[2048] __aligned(2048);

static int lguest_panic(struct notifier_block *nb, unsigned long action, void *reason)
{
	strscpy(panic_text, reason, sizeof(panic_text));
	lg_hypercall(LG_HC_PANIC, lg_gpa(panic_text), strlen(panic_text), 0);
	return NOTIFY_DONE;
}

/* Last: the others may still have something to say. */
static struct notifier_block lguest_panic_block = {
	.notifier_call	= lguest_panic,
	.priority	= INT_MIN,
};

void __init lguest_init_control(void)
{
	machine_ops = lguest_machine_ops;
	atomic_notifier_chain_register(&panic_notifier_list, &lguest_panic_block);
}

static int __init lguest_control_init(void)
{
	struct kobject *kobj;

	if (!lguest_guest)
		return 0;

	/* Else a power-off ends as a halt, without our machine_ops being asked. */
	pm_power_off = lguest_power_off;

	kobj = kobject_create_and_add("lguest", kernel_kobj);
	if (!kobj)
		return -ENOMEM;
	return sysfs_create_group(kobj, &lguest_group);
}
postcore_initcall(lguest_control_init);	/* kernel_kobj is a core one */
