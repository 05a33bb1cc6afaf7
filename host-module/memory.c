// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory: the slots, and the services shadow-mm asks of its embedder.
 *
 * Guest memory is the launcher's.  It is not pinned: the mmu notifier tells when
 * the host takes a page away, and a miss brings it back.
 */
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <linux/mem_encrypt.h>

#include "lg.h"

#define RESERVE		(2 * SHADOW_PAGES_PER_CALL)

/* -- slots ---------------------------------------------------------------------*/

static const struct lg_slot *find_slot(const struct lg_vm *vm, u64 gfn)
{
	unsigned int i;

	for (i = 0; i < LG_MAX_SLOTS; i++)
		if (gfn - vm->slots[i].gfn < vm->slots[i].frames)
			return &vm->slots[i];
	return NULL;
}

static unsigned long slot_address(const struct lg_slot *slot, u64 gfn)
{
	return slot->hva + ((gfn - slot->gfn) << PAGE_SHIFT);
}

int lg_set_slot(struct lg_vm *vm, const struct lg_memory_slot *arg)
{
	struct lg_slot *slot, wanted;
	int error = lg_decode_slot(arg, TASK_SIZE_MAX, &wanted);

	if (error)
		return error;
	mutex_lock(&vm->mm_lock);
	slot = &vm->slots[arg->slot];
	if (lg_slot_overlaps(vm->slots, arg->slot, &wanted))
		error = -EEXIST;
	/* The reverse map has the size the memory had at the first run. */
	if (vm->shadow && wanted.gfn + wanted.frames > vm->frames)
		error = -EINVAL;
	if (!error) {
		if (vm->shadow && slot->frames)
			shadow_unmap_frames(vm->shadow, slot->gfn, slot->frames);
		*slot = wanted;
	}
	mutex_unlock(&vm->mm_lock);
	return error;
}

/* -- the guest's memory for our own use --------------------------------------------*/

/* User address of [gpa, gpa + length), which lies in one page. */
static void __user *user_address(struct lg_vm *vm, u64 gpa, bool write)
{
	const struct lg_slot *slot;
	void __user *address = NULL;

	mutex_lock(&vm->mm_lock);
	slot = find_slot(vm, gpa >> PAGE_SHIFT);
	if (slot && !(write && slot->readonly))
		address = (void __user *)(slot_address(slot, gpa >> PAGE_SHIFT) +
					  offset_in_page(gpa));
	mutex_unlock(&vm->mm_lock);
	return address;
}

static int access_guest(struct lg_vm *vm, u64 gpa, void *buffer, unsigned int length, bool write)
{
	while (length) {
		unsigned int part = min_t(unsigned int, length, PAGE_SIZE - offset_in_page(gpa));
		void __user *address = user_address(vm, gpa, write);

		if (!address)
			return -EFAULT;
		if (write ? copy_to_user(address, buffer, part)
			  : copy_from_user(buffer, address, part))
			return -EFAULT;
		gpa += part;
		buffer += part;
		length -= part;
	}
	return 0;
}

int lg_read_guest(struct lg_vm *vm, u64 gpa, void *to, unsigned int length)
{
	return access_guest(vm, gpa, to, length, false);
}

int lg_write_guest(struct lg_vm *vm, u64 gpa, const void *from, unsigned int length)
{
	return access_guest(vm, gpa, (void *)from, length, true);
}

int lg_read_guest_virtual(struct lg_vcpu *vcpu, u64 gva, void *to, unsigned int length)
{
	struct lg_vm *vm = vcpu->vm;

	while (length) {
		unsigned int part = min_t(unsigned int, length, PAGE_SIZE - offset_in_page(gva));
		struct shadow_result result;
		u64 gpa;

		if (!lg_canonical(gva))
			return -EFAULT;
		do {
			mutex_lock(&vm->mm_lock);
			result = shadow_translate(vm->shadow, vcpu->root, gva, 0, &gpa);
			mutex_unlock(&vm->mm_lock);
			if (result.outcome == SHADOW_INJECT || result.outcome == SHADOW_BAD_FRAME)
				return -EFAULT;
		} while (result.outcome != SHADOW_DONE && !lg_satisfy(vm, &result));
		if (result.outcome != SHADOW_DONE || lg_read_guest(vm, gpa, to, part))
			return -EFAULT;
		gva += part;
		to += part;
		length -= part;
	}
	return 0;
}

struct page *lg_pin_guest_page(struct lg_vm *vm, u64 gpa)
{
	unsigned long address = (unsigned long)user_address(vm, gpa, true);
	struct page *page;

	if (!address || pin_user_pages_fast(address, 1, FOLL_WRITE | FOLL_LONGTERM, &page) != 1)
		return NULL;
	return page;
}

/* -- the reserve of pages for shadow-mm ---------------------------------------------*/

static int refill(struct lg_vm *vm)
{
	struct shadow_page page;
	bool full;

	do {
		page.va = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
		if (!page.va)
			return -ENOMEM;
		page.pa = __pa(page.va);
		mutex_lock(&vm->mm_lock);
		full = vm->reserved == RESERVE;
		if (!full)
			vm->reserve[vm->reserved++] = page;
		full = vm->reserved == RESERVE;
		mutex_unlock(&vm->mm_lock);
	} while (!full);
	return 0;
}

/*
 * With write access if the launcher has it, also for a read: else an untouched page of
 * a private mapping becomes the zero page, which get_user_pages_fast_only() never
 * gives, and the miss would be asked for again for ever.
 */
static int fault_in(struct lg_vm *vm, u64 gfn, bool write)
{
	unsigned long address = (unsigned long)user_address(vm, gfn << PAGE_SHIFT, write);
	struct page *page;

	if (!address)
		return -EFAULT;
	if (get_user_pages_unlocked(address, 1, &page, FOLL_WRITE) != 1 &&
	    (write || get_user_pages_unlocked(address, 1, &page, 0) != 1))
		return -EFAULT;
	put_page(page);
	return 0;
}

int lg_satisfy(struct lg_vm *vm, const struct shadow_result *result)
{
	int error;

	if (signal_pending(current) && fatal_signal_pending(current))
		return -EINTR;
	switch (result->outcome) {
	case SHADOW_NEED_PAGES:
		error = refill(vm);
		if (error)
			lg_kill(vm, NULL, "no memory on the host for its page tables");
		return error;
	case SHADOW_NEED_FRAME:
		error = fault_in(vm, result->gfn, result->write);
		if (error)
			lg_kill(vm, NULL, "the launcher's memory behind guest frame %#llx is not accessible",
				result->gfn);
		return error;
	default:
		return -EINVAL;
	}
}

/* -- what shadow-mm asks of us; all under mm_lock ---------------------------------------*/

int shadow_env_alloc(void *env, struct shadow_page *page)
{
	struct lg_vm *vm = env;

	if (!vm->reserved)
		return 0;
	*page = vm->reserve[--vm->reserved];
	return 1;
}

void shadow_env_free(void *env, struct shadow_page page)
{
	free_page((unsigned long)page.va);
}

enum shadow_env_status shadow_env_read_entries(void *env, u64 gpa, u64 *entries,
					       unsigned int count)
{
	const struct lg_slot *slot = find_slot(env, gpa >> PAGE_SHIFT);
	u64 __user *from;
	unsigned int i;

	if (!slot)
		return SHADOW_ENV_OUTSIDE;
	from = (u64 __user *)(slot_address(slot, gpa >> PAGE_SHIFT) + offset_in_page(gpa));
	pagefault_disable();
	if (!user_read_access_begin(from, count * sizeof(u64)))
		goto absent;
	for (i = 0; i < count; i++)
		unsafe_get_user(entries[i], &from[i], absent_access);
	user_read_access_end();
	pagefault_enable();
	return SHADOW_ENV_OK;

absent_access:
	user_read_access_end();
absent:
	pagefault_enable();
	return SHADOW_ENV_ABSENT;
}

enum shadow_env_status shadow_env_cmpxchg_entry(void *env, u64 gpa, u64 old_value, u64 new_value)
{
	const struct lg_slot *slot = find_slot(env, gpa >> PAGE_SHIFT);
	u64 __user *entry;
	int changed;

	if (!slot)
		return SHADOW_ENV_OUTSIDE;
	if (slot->readonly)
		return SHADOW_ENV_READONLY;
	entry = (u64 __user *)(slot_address(slot, gpa >> PAGE_SHIFT) + offset_in_page(gpa));
	pagefault_disable();
	changed = __try_cmpxchg_user(entry, &old_value, new_value, fault);
	pagefault_enable();
	if (changed < 0)
		return SHADOW_ENV_ABSENT;
	return changed ? SHADOW_ENV_CHANGED : SHADOW_ENV_OK;
}

enum shadow_env_status shadow_env_frame(void *env, u64 gfn, int write, u64 *pfn)
{
	struct lg_vm *vm = env;
	const struct lg_slot *slot = find_slot(vm, gfn);
	struct page *page;

	if (!slot)
		return SHADOW_ENV_OUTSIDE;
	if (write && slot->readonly)
		return SHADOW_ENV_READONLY;
	/* While the host is taking pages away, what we would find may be one of
	 * those.  No invalidation starts under us: it takes mm_lock first. */
	if (atomic_read(&vm->invalidations))
		return SHADOW_ENV_ABSENT;
	if (get_user_pages_fast_only(slot_address(slot, gfn), 1, write ? FOLL_WRITE : 0,
				     &page) != 1)
		return SHADOW_ENV_ABSENT;
	*pfn = page_to_pfn(page);
	if (write)
		SetPageDirty(page);
	/* Not ours to hold: the notifier tells when it goes. */
	put_page(page);
	return SHADOW_ENV_OK;
}

static void nothing(void *unused)
{
}

/*
 * Every enter loads CR3 without NOFLUSH, and what runs in a guest now leaves by the
 * interrupt.  So when all have taken it, no stale translation is left in use.
 */
void lg_flush_guest_tlbs(struct lg_vm *vm)
{
	struct cpumask *cpus = vm->flush_cpus;
	unsigned int i;

	smp_mb();
	preempt_disable();
	cpumask_clear(cpus);
	for (i = 0; i < LG_MAX_VCPUS; i++) {
		struct lg_vcpu *vcpu = READ_ONCE(vm->vcpus[i]);

		if (vcpu && READ_ONCE(vcpu->mode) == LG_IN_GUEST) {
			int cpu = READ_ONCE(vcpu->cpu);

			if (cpu >= 0 && cpu != smp_processor_id()) {
				cpumask_set_cpu(cpu, cpus);
				vcpu->stats.tlb_kicks++;
			}
		}
	}
	smp_call_function_many(cpus, nothing, NULL, 1);
	preempt_enable();
}

void shadow_env_flush_tlb(void *env)
{
	lg_flush_guest_tlbs(env);
}

/* -- the mmu notifier ---------------------------------------------------------------------*/

static void unmap_user_range(struct lg_vm *vm, unsigned long start, unsigned long end)
{
	unsigned int i;

	for (i = 0; vm->shadow && i < LG_MAX_SLOTS; i++) {
		const struct lg_slot *slot = &vm->slots[i];
		unsigned long first = max(start, slot->hva);
		unsigned long last = min(end, slot->hva + (slot->frames << PAGE_SHIFT));

		if (slot->frames && first < last)
			shadow_unmap_frames(vm->shadow,
					    slot->gfn + ((first - slot->hva) >> PAGE_SHIFT),
					    (last - first + PAGE_SIZE - 1) >> PAGE_SHIFT);
	}
}

static int invalidate_start(struct mmu_notifier *notifier, const struct mmu_notifier_range *range)
{
	struct lg_vm *vm = container_of(notifier, struct lg_vm, notifier);

	if (mmu_notifier_range_blockable(range))
		mutex_lock(&vm->mm_lock);
	else if (!mutex_trylock(&vm->mm_lock))
		return -EAGAIN;
	atomic_inc(&vm->invalidations);
	unmap_user_range(vm, range->start, range->end);
	mutex_unlock(&vm->mm_lock);
	return 0;
}

static void invalidate_end(struct mmu_notifier *notifier, const struct mmu_notifier_range *range)
{
	struct lg_vm *vm = container_of(notifier, struct lg_vm, notifier);

	/* May not sleep in an OOM reaper, so no lock.  Nobody waits for this: a
	 * miss in between is asked for again. */
	atomic_dec(&vm->invalidations);
}

/* The launcher's address space ends. */
static void release(struct mmu_notifier *notifier, struct mm_struct *mm)
{
	struct lg_vm *vm = container_of(notifier, struct lg_vm, notifier);

	lg_kill(vm, NULL, "the launcher is exiting");
	mutex_lock(&vm->mm_lock);
	unmap_user_range(vm, 0, ULONG_MAX);
	lg_tree_unmap(vm);
	mutex_unlock(&vm->mm_lock);
}

static const struct mmu_notifier_ops notifier_ops = {
	.invalidate_range_start = invalidate_start,
	.invalidate_range_end = invalidate_end,
	.release = release,
};

/* -- life ---------------------------------------------------------------------------------*/

static struct shadow_mm *make_shadow(struct lg_vm *vm, u64 frames)
{
	struct shadow_config config = {
		.env = vm,
		.host_levels = pgtable_l5_enabled() ? 5 : 4,
		.hypervisor_entry = vm->tree.entry,
		.encryption_mask = sme_me_mask,
		.frames = frames,
		/* A table for every 16 frames is more than any guest has of its own,
		 * with room for both halves of split large pages. */
		.max_tables = max_t(u64, frames / 16, 1024),
		.windows = vm->windows,
		.window_count = vm->window_count,
	};
	void *memory = __vmalloc(shadow_size(&config), GFP_KERNEL_ACCOUNT | __GFP_ZERO);

	return memory ? shadow_create(memory, &config) : NULL;
}

int lg_memory_init(struct lg_vm *vm)
{
	if (!zalloc_cpumask_var(&vm->flush_cpus, GFP_KERNEL_ACCOUNT))
		return -ENOMEM;
	vm->reserve = kcalloc(RESERVE, sizeof(*vm->reserve), GFP_KERNEL_ACCOUNT);
	if (!vm->reserve)
		return -ENOMEM;
	vm->notifier.ops = &notifier_ops;
	return mmu_notifier_register(&vm->notifier, vm->mm);
}

int lg_memory_start(struct lg_vm *vm)
{
	struct shadow_mm *shadow;
	u64 frames = 0;
	unsigned int i;

	mutex_lock(&vm->mm_lock);
	for (i = 0; i < LG_MAX_SLOTS; i++)
		if (vm->slots[i].frames)
			frames = max(frames, vm->slots[i].gfn + vm->slots[i].frames);
	shadow = vm->shadow;
	mutex_unlock(&vm->mm_lock);
	if (shadow)
		return 0;
	if (!frames)
		return -EINVAL;
	shadow = make_shadow(vm, frames);
	if (!shadow)
		return -ENOMEM;
	mutex_lock(&vm->mm_lock);
	vm->frames = frames;
	vm->shadow = shadow;
	mutex_unlock(&vm->mm_lock);
	return 0;
}

void lg_memory_free(struct lg_vm *vm)
{
	if (vm->shadow) {
		shadow_destroy(vm->shadow);
		vfree(vm->shadow);
	}
	while (vm->reserved)
		free_page((unsigned long)vm->reserve[--vm->reserved].va);
	kfree(vm->reserve);
	free_cpumask_var(vm->flush_cpus);
}
