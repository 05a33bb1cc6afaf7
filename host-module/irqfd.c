// SPDX-License-Identifier: GPL-2.0-only
/*
 * Eventfds: an irqfd raises an interrupt when the launcher (or any process it
 * gave the fd) writes to it; an ioeventfd is signalled by the guest's doorbell
 * without a return to the launcher.
 */
#include <linux/eventfd.h>
#include <linux/file.h>
#include <linux/list.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "lg.h"
#include "compat.h"

struct irqfd {
	struct list_head list;
	struct lg_vcpu *vcpu;
	unsigned int vector;
	struct eventfd_ctx *event;
	wait_queue_entry_t wait;
	wait_queue_head_t *queue;
	poll_table poll;
};

struct ioeventfd {
	struct list_head list;
	u32 slot, queue;
	struct eventfd_ctx *event;
};

/* Called with the eventfd's wait queue locked, interrupts off. */
static int wakeup(wait_queue_entry_t *wait, unsigned int mode, int sync, void *key)
{
	struct irqfd *irqfd = container_of(wait, struct irqfd, wait);

	if (key_to_poll(key) & EPOLLIN) {
		u64 count;

		eventfd_ctx_do_read(irqfd->event, &count);
		lg_vcpu_interrupt(irqfd->vcpu, irqfd->vector);
	}
	return 0;
}

static void queue_up(struct file *file, wait_queue_head_t *queue, poll_table *poll)
{
	struct irqfd *irqfd = container_of(poll, struct irqfd, poll);

	irqfd->queue = queue;
	add_wait_queue_priority(queue, &irqfd->wait);
}

static void irqfd_free(struct irqfd *irqfd)
{
	u64 count;

	eventfd_ctx_remove_wait_queue(irqfd->event, &irqfd->wait, &count);
	eventfd_ctx_put(irqfd->event);
	list_del(&irqfd->list);
	kfree(irqfd);
}

/* An eventfd once: whoever writes to it calls all that wait for it, with interrupts off. */
static bool is_bound(struct lg_vm *vm, const struct eventfd_ctx *event)
{
	struct irqfd *irqfd;

	list_for_each_entry(irqfd, &vm->irqfds, list)
		if (irqfd->event == event)
			return true;
	return false;
}

static int irqfd_bind(struct lg_vm *vm, const struct lg_irqfd *arg, struct fd file)
{
	struct irqfd *irqfd = kzalloc(sizeof(*irqfd), GFP_KERNEL_ACCOUNT);

	if (!irqfd)
		return -ENOMEM;
	irqfd->event = eventfd_ctx_fileget(fd_file(file));
	if (IS_ERR(irqfd->event)) {
		int error = PTR_ERR(irqfd->event);

		kfree(irqfd);
		return error;
	}
	if (is_bound(vm, irqfd->event)) {
		eventfd_ctx_put(irqfd->event);
		kfree(irqfd);
		return -EEXIST;
	}
	irqfd->vcpu = vm->vcpus[arg->vcpu];
	irqfd->vector = arg->vector;
	init_waitqueue_func_entry(&irqfd->wait, wakeup);
	init_poll_funcptr(&irqfd->poll, queue_up);
	list_add(&irqfd->list, &vm->irqfds);
	if (vfs_poll(fd_file(file), &irqfd->poll) & EPOLLIN)
		lg_vcpu_interrupt(irqfd->vcpu, irqfd->vector);
	return 0;
}

static int irqfd_unbind(struct lg_vm *vm, const struct lg_irqfd *arg)
{
	struct eventfd_ctx *event = eventfd_ctx_fdget(arg->fd);
	struct irqfd *irqfd, *next;
	int error = -ENOENT;

	if (IS_ERR(event))
		return PTR_ERR(event);
	list_for_each_entry_safe(irqfd, next, &vm->irqfds, list) {
		if (irqfd->event == event && irqfd->vector == arg->vector &&
		    irqfd->vcpu->index == arg->vcpu) {
			irqfd_free(irqfd);
			error = 0;
		}
	}
	eventfd_ctx_put(event);
	return error;
}

/* Under vm->lock. */
int lg_irqfd(struct lg_vm *vm, const struct lg_irqfd *arg)
{
	struct fd file;
	int error;

	if (!lg_valid_irqfd(arg))
		return -EINVAL;
	if (arg->vcpu >= LG_MAX_VCPUS || !vm->vcpus[arg->vcpu])
		return -ENOENT;
	if (arg->flags & LG_FD_UNBIND)
		return irqfd_unbind(vm, arg);
	file = fdget(arg->fd);
	if (!fd_file(file))
		return -EBADF;
	error = irqfd_bind(vm, arg, file);
	fdput(file);
	return error;
}

/* Under vm->lock. */
int lg_ioeventfd(struct lg_vm *vm, const struct lg_ioeventfd *arg)
{
	struct ioeventfd *ioeventfd, *old;
	struct eventfd_ctx *event;
	int error = 0;

	if (!lg_valid_ioeventfd(arg))
		return -EINVAL;
	event = eventfd_ctx_fdget(arg->fd);
	if (IS_ERR(event))
		return PTR_ERR(event);
	ioeventfd = kzalloc(sizeof(*ioeventfd), GFP_KERNEL_ACCOUNT);
	if (!ioeventfd) {
		eventfd_ctx_put(event);
		return -ENOMEM;
	}
	*ioeventfd = (struct ioeventfd) {
		.slot = arg->slot, .queue = arg->queue, .event = event,
	};

	spin_lock(&vm->eventfd_lock);
	list_for_each_entry(old, &vm->ioeventfds, list)
		if (old->slot == arg->slot && old->queue == arg->queue)
			goto found;
	old = NULL;
found:
	if (arg->flags & LG_FD_UNBIND) {
		if (old && old->event == event)
			list_del(&old->list);
		else
			old = NULL, error = -ENOENT;
	} else if (old) {
		old = NULL;
		error = -EEXIST;
	} else {
		list_add(&ioeventfd->list, &vm->ioeventfds);
		ioeventfd = NULL;
	}
	spin_unlock(&vm->eventfd_lock);

	if (ioeventfd) {	/* not needed after all */
		eventfd_ctx_put(ioeventfd->event);
		kfree(ioeventfd);
	}
	if (old) {
		eventfd_ctx_put(old->event);
		kfree(old);
	}
	return error;
}

bool lg_doorbell(struct lg_vm *vm, u32 slot, u32 queue)
{
	struct ioeventfd *ioeventfd;
	bool found = false;

	spin_lock(&vm->eventfd_lock);
	list_for_each_entry(ioeventfd, &vm->ioeventfds, list) {
		if (ioeventfd->slot == slot && ioeventfd->queue == queue) {
			lg_eventfd_signal(ioeventfd->event);
			found = true;
			break;
		}
	}
	spin_unlock(&vm->eventfd_lock);
	return found;
}

void lg_eventfds_free(struct lg_vm *vm)
{
	struct ioeventfd *ioeventfd, *next_ioeventfd;
	struct irqfd *irqfd, *next_irqfd;

	list_for_each_entry_safe(irqfd, next_irqfd, &vm->irqfds, list)
		irqfd_free(irqfd);
	list_for_each_entry_safe(ioeventfd, next_ioeventfd, &vm->ioeventfds, list) {
		eventfd_ctx_put(ioeventfd->event);
		list_del(&ioeventfd->list);
		kfree(ioeventfd);
	}
}
