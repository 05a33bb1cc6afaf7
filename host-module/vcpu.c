// SPDX-License-Identifier: GPL-2.0-only
/*
 * The vCPU object: its file, its registers, and what has to be swapped between
 * the launcher's thread and the guest when the thread enters or leaves LG_RUN,
 * or is scheduled out within it.
 *
 * In LG_RUN the thread's user state is the guest's: FPU, FS and GS base.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <asm/fpu/api.h>
#include <asm/fsgsbase.h>
#include <asm/processor-flags.h>
#include <asm/segment.h>
#include <asm/special_insns.h>
#include <trace/events/ipi.h>	/* smp_send_reschedule() traces since 6.4 */

#include "lg.h"
#include "compat.h"

/* -- requests from other threads ------------------------------------------------*/

void lg_vcpu_kick(struct lg_vcpu *vcpu)
{
	smp_mb();
	wake_up(&vcpu->wait);
	/* An interrupt, any, makes it leave the guest.  If it has gone to another CPU
	 * since we saw it there, it has looked at what is pending on its way. */
	preempt_disable();		/* a CPU that is online stays so */
	if (READ_ONCE(vcpu->mode) == LG_IN_GUEST) {
		int cpu = READ_ONCE(vcpu->cpu);

		if (cpu >= 0 && cpu_online(cpu))
			smp_send_reschedule(cpu);
	}
	preempt_enable();
}

void lg_vcpu_interrupt(struct lg_vcpu *vcpu, unsigned int vector)
{
	set_bit(vector, vcpu->pending);
	lg_vcpu_kick(vcpu);
}

/* -- loading --------------------------------------------------------------------*/

static void load(struct lg_vcpu *vcpu)
{
	WRITE_ONCE(vcpu->cpu, smp_processor_id());
	lg_switcher_load(vcpu);
}

static void put(struct lg_vcpu *vcpu)
{
	lg_switcher_put(vcpu);
	WRITE_ONCE(vcpu->cpu, -1);
}

static void sched_in(struct preempt_notifier *notifier, int cpu)
{
	load(container_of(notifier, struct lg_vcpu, preempt));
}

static void sched_out(struct preempt_notifier *notifier, struct task_struct *next)
{
	put(container_of(notifier, struct lg_vcpu, preempt));
}

static struct preempt_ops preempt_ops = {
	.sched_in = sched_in,
	.sched_out = sched_out,
};

/* GS base of user space, which is the inactive one here. */
static u64 user_gs_base(void)
{
	unsigned long flags;
	u64 base;

	local_irq_save(flags);
	native_swapgs();
	base = rdgsbase();
	native_swapgs();
	local_irq_restore(flags);
	return base;
}

static void set_user_gs_base(u64 base)
{
	unsigned long flags;

	local_irq_save(flags);
	native_swapgs();
	wrgsbase(base);
	native_swapgs();
	local_irq_restore(flags);
}

static void become_guest(struct lg_vcpu *vcpu)
{
	preempt_disable();
	vcpu->host_fs_base = rdfsbase();
	vcpu->host_gs_base = user_gs_base();
	savesegment(ds, vcpu->host_ds);
	savesegment(es, vcpu->host_es);
	savesegment(fs, vcpu->host_fs);
	savesegment(gs, vcpu->host_gs);
	loadsegment(ds, 0);
	loadsegment(es, 0);
	loadsegment(fs, 0);
	load_gs_index(0);
	fpu_swap_kvm_fpstate(&vcpu->fpu, true);
	load(vcpu);
	preempt_notifier_register(&vcpu->preempt);
	preempt_enable();
}

static void become_launcher(struct lg_vcpu *vcpu)
{
	preempt_disable();
	preempt_notifier_unregister(&vcpu->preempt);
	put(vcpu);
	fpu_swap_kvm_fpstate(&vcpu->fpu, false);
	loadsegment(ds, vcpu->host_ds);
	loadsegment(es, vcpu->host_es);
	loadsegment(fs, vcpu->host_fs);
	load_gs_index(vcpu->host_gs);
	wrfsbase(vcpu->host_fs_base);
	set_user_gs_base(vcpu->host_gs_base);
	preempt_enable();
}

static long run(struct lg_vcpu *vcpu)
{
	struct lg_vm *vm = vcpu->vm;
	long error;

	mutex_lock(&vm->lock);
	error = lg_memory_start(vm);
	mutex_unlock(&vm->lock);
	if (error)
		return error;
	become_guest(vcpu);
	error = lg_vcpu_run(vcpu);
	become_launcher(vcpu);
	return error;
}

/* -- registers --------------------------------------------------------------------*/

static void get_regs(struct lg_vcpu *vcpu, struct lg_regs *regs)
{
	const struct switcher_vcpu *sw = vcpu->sw;
	const struct switcher_frame *frame = &sw->frame;

	*regs = (struct lg_regs) {
		.rax = frame->rax, .rbx = frame->rbx, .rcx = frame->rcx, .rdx = frame->rdx,
		.rsi = frame->rsi, .rdi = frame->rdi, .rbp = frame->rbp, .rsp = frame->rsp,
		.r8 = frame->r8, .r9 = frame->r9, .r10 = frame->r10, .r11 = frame->r11,
		.r12 = frame->r12, .r13 = frame->r13, .r14 = frame->r14, .r15 = frame->r15,
		.rip = frame->rip, .rflags = frame->rflags, .cs = frame->cs, .ss = frame->ss,
		.ds = sw->ds, .es = sw->es, .fs = sw->fs, .gs = sw->gs,
		.fs_base = sw->fs_base, .gs_base = sw->gs_base,
		.cr3 = vcpu->root, .user_mode = sw->user_mode, .halted = vcpu->halted,
		.vcpu_page = vcpu->page ? vcpu->page_gpa : LG_NO_GPA,
		.time_page = vcpu->time_page,
		.kernel_gs_base = sw->kernel_gs_base,
		.event_from_user = vcpu->event_from_user,
		.event_from_kernel = vcpu->event_from_kernel,
		.syscall_from_user = sw->syscall_from_user,
		.return_to_user = sw->return_to_user,
		.cpunode = vcpu->cpunode, .timer_deadline = vcpu->timer_deadline,
	};
	memcpy(regs->tls, vcpu->tls, sizeof(regs->tls));
	memcpy(regs->pending, vcpu->pending, sizeof(regs->pending));
}

static int set_regs(struct lg_vcpu *vcpu, const struct lg_regs *regs)
{
	struct switcher_vcpu *sw = vcpu->sw;
	struct switcher_frame *frame = &sw->frame;
	struct page *page = NULL;
	u64 tls[ARRAY_SIZE(vcpu->tls)];
	unsigned int i;

	if (!lg_valid_regs(regs))
		return -EINVAL;
	for (i = 0; i < ARRAY_SIZE(tls); i++) {
		tls[i] = regs->tls[i];
		if (!lg_sane_descriptor(&tls[i]))
			return -EINVAL;
	}
	if (regs->vcpu_page != LG_NO_GPA) {
		page = lg_pin_guest_page(vcpu->vm, regs->vcpu_page);
		if (!page)
			return -EINVAL;
	}
	*frame = (struct switcher_frame) {
		.rax = regs->rax, .rbx = regs->rbx, .rcx = regs->rcx, .rdx = regs->rdx,
		.rsi = regs->rsi, .rdi = regs->rdi, .rbp = regs->rbp, .rsp = regs->rsp,
		.r8 = regs->r8, .r9 = regs->r9, .r10 = regs->r10, .r11 = regs->r11,
		.r12 = regs->r12, .r13 = regs->r13, .r14 = regs->r14, .r15 = regs->r15,
		.rip = regs->rip, .rflags = regs->rflags | X86_EFLAGS_IF | X86_EFLAGS_FIXED,
		.cs = regs->cs, .ss = regs->ss,
	};
	sw->ds = sw->es = sw->fs = sw->gs = 0;
	sw->fs_base = regs->fs_base;
	sw->gs_base = regs->gs_base;
	sw->user_mode = regs->user_mode;
	sw->kernel_gs_base = regs->kernel_gs_base;
	sw->syscall_from_user = regs->syscall_from_user;
	sw->return_to_user = regs->return_to_user;
	vcpu->event_from_user = regs->event_from_user;
	vcpu->event_from_kernel = regs->event_from_kernel;
	if (vcpu->root != LG_NO_GPA && vcpu->vm->shadow) {
		mutex_lock(&vcpu->vm->mm_lock);
		if (sw->kernel_cr3)
			shadow_put_roots(vcpu->vm->shadow, vcpu->root);
		sw->kernel_cr3 = 0;
		mutex_unlock(&vcpu->vm->mm_lock);
	}
	vcpu->root = lg_root_of(regs->cr3);
	vcpu->halted = regs->halted;
	vcpu->down = false;
	vcpu->cpunode = regs->cpunode;
	memcpy(vcpu->tls, tls, sizeof(tls));
	memcpy(vcpu->pending, regs->pending, sizeof(vcpu->pending));
	if (vcpu->page_pin)
		unpin_user_page(vcpu->page_pin);
	vcpu->page_pin = page;
	vcpu->page = page ? page_address(page) : NULL;
	vcpu->page_gpa = regs->vcpu_page;
	lg_switcher_set_page(vcpu, page);
	sw->direct = page != NULL;
	vcpu->time_page = LG_NO_GPA;
	if (regs->time_page != LG_NO_GPA && lg_set_time_page(vcpu, regs->time_page))
		return -EINVAL;
	lg_set_timer(vcpu, regs->timer_deadline);
	return 0;
}

/* -- the file -------------------------------------------------------------------------*/

static long ioctl(struct file *file, unsigned int command, unsigned long argument)
{
	struct lg_vcpu *vcpu = file->private_data;
	struct lg_regs *regs;
	long error;

	if (vcpu->vm->mm != current->mm)
		return -EIO;
	if (mutex_lock_interruptible(&vcpu->lock))
		return -EINTR;
	switch (command) {
	case LG_RUN:
		error = run(vcpu);
		break;
	case LG_GET_REGS:
		error = -ENOMEM;
		regs = kzalloc(sizeof(*regs), GFP_KERNEL);
		if (regs) {
			get_regs(vcpu, regs);
			error = copy_to_user((void __user *)argument, regs, sizeof(*regs))
				? -EFAULT : 0;
		}
		kfree(regs);
		break;
	case LG_SET_REGS:
		regs = memdup_user((void __user *)argument, sizeof(*regs));
		error = PTR_ERR_OR_ZERO(regs);
		if (!error) {
			error = set_regs(vcpu, regs);
			kfree(regs);
		}
		break;
	default:
		error = -ENOTTY;
	}
	mutex_unlock(&vcpu->lock);
	return error;
}

static vm_fault_t fault(struct vm_fault *fault)
{
	struct lg_vcpu *vcpu = fault->vma->vm_file->private_data;

	if (fault->pgoff)
		return VM_FAULT_SIGBUS;
	fault->page = virt_to_page(vcpu->run);
	get_page(fault->page);
	return 0;
}

static const struct vm_operations_struct mapping_ops = { .fault = fault };

static int map(struct file *file, struct vm_area_struct *vma)
{
	if (vma_pages(vma) != 1 || vma->vm_pgoff)
		return -EINVAL;
	vma->vm_ops = &mapping_ops;
	return 0;
}

static int close(struct inode *inode, struct file *file)
{
	struct lg_vcpu *vcpu = file->private_data;

	/* The object belongs to the VM; the timer must not outlive interest. */
	lg_vm_put(vcpu->vm);
	return 0;
}

static const struct file_operations vcpu_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = ioctl,
	.mmap = map,
	.release = close,
	.llseek = noop_llseek,
};

int lg_vcpu_create(struct lg_vm *vm, unsigned long index)
{
	struct lg_vcpu *vcpu;
	int fd, error;

	if (index >= LG_MAX_VCPUS)
		return -EINVAL;
	if (vm->vcpus[index])
		return -EEXIST;
	vcpu = kzalloc(sizeof(*vcpu), GFP_KERNEL_ACCOUNT);
	if (!vcpu)
		return -ENOMEM;
	vcpu->vm = vm;
	vcpu->index = index;
	vcpu->cpu = -1;
	vcpu->root = LG_NO_GPA;
	vcpu->page_gpa = vcpu->time_page = LG_NO_GPA;
	vcpu->cpunode = index;
	vcpu->down = vcpu->halted = index != 0;
	mutex_init(&vcpu->lock);
	init_waitqueue_head(&vcpu->wait);
	preempt_notifier_init(&vcpu->preempt, &preempt_ops);
	lg_timer_init(vcpu);

	error = -ENOMEM;
	vcpu->run = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!vcpu->run || !fpu_alloc_guest_fpstate(&vcpu->fpu))
		goto free;
	error = lg_switcher_add_vcpu(vcpu);
	if (error)
		goto free;

	/* Everything is in place before the file is, for another thread may close it
	 * at once. */
	kref_get(&vm->refs);
	WRITE_ONCE(vm->vcpus[index], vcpu);
	fd = anon_inode_getfd("lguest-vcpu", &vcpu_fops, vcpu, O_RDWR | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	error = fd;
	/* From here on others may have seen it: it stays until the VM goes. */
	lg_vm_put(vm);
	return error;

free:
	lg_vcpu_free(vcpu);
	return error;
}

void lg_vcpu_free(struct lg_vcpu *vcpu)
{
	hrtimer_cancel(&vcpu->timer);
	if (vcpu->page_pin)
		unpin_user_page(vcpu->page_pin);
	lg_switcher_free_vcpu(vcpu);
	if (vcpu->fpu.fpstate)
		fpu_free_guest_fpstate(&vcpu->fpu);
	free_page((unsigned long)vcpu->run);
	kfree(vcpu);
}
