// SPDX-License-Identifier: GPL-2.0-only
/*
 * lg.ko: /dev/lguest, and whether this host can carry it at all.
 */
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <asm/cpufeature.h>
#include <linux/cc_platform.h>
#include <linux/fs.h>
#include <asm/processor-flags.h>

#include "lg.h"

static long ioctl(struct file *file, unsigned int command, unsigned long argument)
{
	struct lg_host_windows *windows;
	long error;

	switch (command) {
	case LG_GET_VERSION:
		return LG_IOCTL_VERSION;
	case LG_CREATE_VM:
		return lg_vm_create();
	case LG_GET_HOST_WINDOWS:
		windows = kzalloc(sizeof(*windows), GFP_KERNEL);
		if (!windows)
			return -ENOMEM;
		lg_find_host_windows(windows);
		error = copy_to_user((void __user *)argument, windows, sizeof(*windows))
			? -EFAULT : 0;
		kfree(windows);
		return error;
	default:
		return -ENOTTY;
	}
}

static const struct file_operations fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "lguest",
	.fops = &fops,
	.mode = 0660,
};

/* NULL: the host is fit. */
static const char *unfit(void)
{
	if (!boot_cpu_has(X86_FEATURE_FSGSBASE) || !(native_read_cr4() & X86_CR4_FSGSBASE))
		return "the CPU has no FSGSBASE, or it is switched off";
	if (!boot_cpu_has(X86_FEATURE_CX16))
		return "the CPU has no CMPXCHG16B";
	if (cpu_feature_enabled(X86_FEATURE_XENPV))
		return "the host is a Xen PV domain, which may not change page tables itself";
#ifdef X86_FEATURE_FRED
	if (cpu_feature_enabled(X86_FEATURE_FRED))
		return "the host uses FRED; boot it with fred=off";
#endif
	if (native_read_cr4() & BIT(27))
		return "the host uses LASS, which forbids user mode the upper half";
	if (cc_platform_has(CC_ATTR_GUEST_STATE_ENCRYPT) || cc_platform_has(CC_ATTR_GUEST_MEM_ENCRYPT))
		return "the host is a confidential VM (SEV or TDX)";
	return NULL;
}

static int __init lg_init(void)
{
	const char *reason = unfit();
	int error;

	if (reason) {
		pr_lg(KERN_ERR, "cannot run here: %s\n", reason);
		return -ENODEV;
	}
	error = lg_switcher_init();
	if (error)
		return error;
	preempt_notifier_inc();
	error = misc_register(&device);
	if (error) {
		preempt_notifier_dec();
		lg_switcher_exit();
	}
	return error;
}

static void __exit lg_exit(void)
{
	misc_deregister(&device);
	preempt_notifier_dec();
	lg_switcher_exit();
}

module_init(lg_init);
module_exit(lg_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Runs paravirtual Linux guests without hardware virtualization");
