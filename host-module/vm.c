// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VM object: its file, its life, its end.  A VM lives as long as its file or
 * one of its vCPUs' is open.
 */
#include <linux/anon_inodes.h>
#include <linux/fs.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "lg.h"

void lg_kill(struct lg_vm *vm, struct lg_vcpu *vcpu, const char *format, ...)
{
	unsigned int i;
	va_list args;

	if (atomic_cmpxchg(&vm->dead, 0, 1) != 0)
		return;
	va_start(args, format);
	vsnprintf(vm->death, sizeof(vm->death), format, args);
	va_end(args);
	if (vcpu) {
		vm->death_rip = vcpu->sw->frame.rip;
		vm->death_address = vcpu->cr2;
		vm->death_vector = vcpu->sw->frame.vector;
		vm->death_user_mode = vcpu->sw->user_mode;
	}
	atomic_set_release(&vm->dead, 2);
	for (i = 0; i < LG_MAX_VCPUS; i++) {
		struct lg_vcpu *other = READ_ONCE(vm->vcpus[i]);

		if (other)
			lg_vcpu_kick(other);
	}
}

/* The only places that add to a vCPU's counters are its own thread and flushes
 * that interrupt it; a sum of moments is good enough here. */
static void sum_stats(struct lg_vm *vm, struct lg_stats *sum)
{
	unsigned int i, j;

	memset(sum, 0, sizeof(*sum));
	for (i = 0; i < LG_MAX_VCPUS; i++) {
		const struct lg_vcpu *vcpu = vm->vcpus[i];

		for (j = 0; vcpu && j < sizeof(*sum) / sizeof(u64); j++)
			((u64 *)sum)[j] += READ_ONCE(((const u64 *)&vcpu->stats)[j]);
	}
	mutex_lock(&vm->mm_lock);
	if (vm->shadow) {
		const struct shadow_counters *counters = shadow_counters(vm->shadow);

		sum->shadow_fills = counters->fills;
		sum->shadow_synced_entries = counters->synced_entries;
		sum->shadow_flushes = counters->flushes;
		sum->shadow_tables = counters->tables_built;
		sum->shadow_evictions = counters->evictions;
	}
	mutex_unlock(&vm->mm_lock);
}

static int interrupt(struct lg_vm *vm, const struct lg_interrupt *arg)
{
	if (arg->vcpu >= LG_MAX_VCPUS || !vm->vcpus[arg->vcpu])
		return -ENOENT;
	if (!lg_valid_interrupt(arg->vector))
		return -EINVAL;
	lg_vcpu_interrupt(vm->vcpus[arg->vcpu], arg->vector);
	return 0;
}

static long ioctl(struct file *file, unsigned int command, unsigned long argument)
{
	struct lg_vm *vm = file->private_data;
	void __user *user = (void __user *)argument;
	union {
		struct lg_memory_slot slot;
		struct lg_interrupt interrupt;
		struct lg_irqfd irqfd;
		struct lg_ioeventfd ioeventfd;
		struct lg_stats stats;
	} arg;
	long error;

	/* Others may watch, if the launcher's owner lets them have the descriptor. */
	if (vm->mm != current->mm && command != LG_GET_STATS)
		return -EIO;
	if (_IOC_DIR(command) & _IOC_WRITE) {
		if (_IOC_SIZE(command) > sizeof(arg))
			return -ENOTTY;
		if (copy_from_user(&arg, user, _IOC_SIZE(command)))
			return -EFAULT;
	}
	if (command == LG_INTERRUPT)
		return interrupt(vm, &arg.interrupt);

	mutex_lock(&vm->lock);
	switch (command) {
	case LG_SET_MEMORY_SLOT:
		error = lg_set_slot(vm, &arg.slot);
		break;
	case LG_CREATE_VCPU:
		error = lg_vcpu_create(vm, argument);
		break;
	case LG_IRQFD:
		error = lg_irqfd(vm, &arg.irqfd);
		break;
	case LG_IOEVENTFD:
		error = lg_ioeventfd(vm, &arg.ioeventfd);
		break;
	case LG_GET_STATS:
		sum_stats(vm, &arg.stats);
		error = 0;
		break;
	default:
		error = -ENOTTY;
	}
	mutex_unlock(&vm->lock);
	/* Without the lock: an observer's page may take as long to come as he likes. */
	if (command == LG_GET_STATS && copy_to_user(user, &arg.stats, sizeof(arg.stats)))
		error = -EFAULT;
	return error;
}

static int close(struct inode *inode, struct file *file)
{
	lg_vm_put(file->private_data);
	return 0;
}

static const struct file_operations vm_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = ioctl,
	.release = close,
	.llseek = noop_llseek,
};

/* Backwards through lg_vm_create(). */
static void vm_free(struct kref *refs)
{
	struct lg_vm *vm = container_of(refs, struct lg_vm, refs);
	unsigned int i;

	lg_eventfds_free(vm);
	if (vm->notifier.ops)
		mmu_notifier_unregister(&vm->notifier, vm->mm);
	mutex_lock(&vm->mm_lock);
	lg_tree_unmap(vm);
	mutex_unlock(&vm->mm_lock);
	lg_memory_free(vm);
	for (i = 0; i < LG_MAX_VCPUS; i++)
		if (vm->vcpus[i])
			lg_vcpu_free(vm->vcpus[i]);
	lg_tree_free(vm);
	mmdrop(vm->mm);
	kfree(vm);
}

void lg_vm_put(struct lg_vm *vm)
{
	kref_put(&vm->refs, vm_free);
}

int lg_vm_create(void)
{
	struct lg_host_windows *windows;
	struct lg_vm *vm;
	unsigned int i;
	int error, fd;

	vm = kzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);
	windows = kzalloc(sizeof(*windows), GFP_KERNEL);
	if (!vm || !windows) {
		kfree(vm);
		kfree(windows);
		return -ENOMEM;
	}
	lg_find_host_windows(windows);
	vm->window_count = windows->count;
	for (i = 0; i < windows->count; i++)
		vm->windows[i] = (struct shadow_window) { windows->window[i].start,
							  windows->window[i].end };
	kfree(windows);

	kref_init(&vm->refs);
	mutex_init(&vm->lock);
	mutex_init(&vm->mm_lock);
	spin_lock_init(&vm->eventfd_lock);
	INIT_LIST_HEAD(&vm->irqfds);
	INIT_LIST_HEAD(&vm->ioeventfds);
	vm->mm = current->mm;
	mmgrab(vm->mm);
	lg_time_init(vm);
	error = lg_tree_init(vm);
	if (error)
		goto put;
	error = lg_memory_init(vm);
	if (error) {
		vm->notifier.ops = NULL;
		goto put;
	}
	fd = anon_inode_getfd("lguest-vm", &vm_fops, vm, O_RDWR | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	error = fd;
put:
	lg_vm_put(vm);
	return error;
}
