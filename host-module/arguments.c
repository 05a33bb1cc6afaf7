// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which arguments are good: see arguments.h.
 */
#include <linux/errno.h>
#include <asm/processor-flags.h>

#include "arguments.h"

#define PAGE_BITS	12

/* What user mode may have in RFLAGS.  IF and bit 1 are forced on. */
#define USER_RFLAGS	(X86_EFLAGS_CF | X86_EFLAGS_PF | X86_EFLAGS_AF | X86_EFLAGS_ZF | \
			 X86_EFLAGS_SF | X86_EFLAGS_TF | X86_EFLAGS_DF | X86_EFLAGS_OF | \
			 X86_EFLAGS_RF | X86_EFLAGS_AC | X86_EFLAGS_ID)
/* What LG_SET_REGS refuses: privileges, virtual-8086 mode, and NT, with which IRETQ
 * faults. */
#define NO_RFLAGS	(X86_EFLAGS_IOPL | X86_EFLAGS_VM | X86_EFLAGS_NT | \
			 X86_EFLAGS_VIF | X86_EFLAGS_VIP)

static bool page_aligned(__u64 address)
{
	return !(address & ((1 << PAGE_BITS) - 1));
}

/* -- registers -------------------------------------------------------------------*/

bool lg_valid_regs(const struct lg_regs *regs)
{
	if (!lg_canonical(regs->rip) || !lg_canonical(regs->fs_base) ||
	    !lg_canonical(regs->gs_base) || !lg_canonical(regs->kernel_gs_base) ||
	    !lg_canonical(regs->event_from_user) || !lg_canonical(regs->event_from_kernel) ||
	    !lg_canonical(regs->syscall_from_user) || !lg_canonical(regs->return_to_user))
		return false;
	if (regs->rflags & NO_RFLAGS || regs->rflags >> 22)
		return false;
	if (regs->cs != LG_USER_CS && !(regs->user_mode && regs->cs == LG_USER32_CS))
		return false;
	if (regs->vcpu_page != LG_NO_GPA && !page_aligned(regs->vcpu_page))
		return false;
	return regs->ss == LG_USER_DS && !(regs->ds | regs->es | regs->fs | regs->gs) &&
	       regs->user_mode <= 1 && regs->halted <= 1;
}

bool lg_valid_registration(const struct lg_vcpu_registration *registration)
{
	return page_aligned(registration->page) &&
	       lg_canonical(registration->kernel_gs_base) &&
	       lg_canonical(registration->event_from_user) &&
	       lg_canonical(registration->event_from_kernel) &&
	       lg_canonical(registration->syscall_from_user) &&
	       lg_canonical(registration->return_to_user);
}

bool lg_valid_start(const struct lg_vcpu_start *start)
{
	return lg_canonical(start->rip) && lg_canonical(start->gs_base);
}

static bool in_ldt(__u64 selector)
{
	return selector <= 0xffff && (selector & 7) == 7;	/* table LDT, RPL 3 */
}

bool lg_valid_user_selectors(__u64 cs, __u64 ss)
{
	return (cs == LG_USER_CS || cs == LG_USER32_CS || in_ldt(cs)) &&
	       (ss == LG_USER_DS || ss == LG_TLS_SELECTOR(0) || ss == LG_TLS_SELECTOR(1) ||
		ss == LG_TLS_SELECTOR(2) || in_ldt(ss));
}

__u64 lg_user_rflags(__u64 rflags)
{
	return (rflags & USER_RFLAGS) | X86_EFLAGS_IF | X86_EFLAGS_FIXED;
}

/* Code or data, DPL 3, or empty.  Marked accessed, so that the CPU need not write
 * to the table; L is for 64-bit code, which the guest has a segment for already. */
bool lg_sane_descriptor(__u64 *descriptor)
{
	const __u64 code_or_data = 1ULL << 44, dpl3 = 3ULL << 45, accessed = 1ULL << 40;
	const __u64 code = 1ULL << 43, long_mode = 1ULL << 53;

	if (*descriptor == 0)
		return true;
	if ((*descriptor & (code_or_data | dpl3)) != (code_or_data | dpl3))
		return false;
	if ((*descriptor & (code | long_mode)) == (code | long_mode))
		return false;
	*descriptor |= accessed;
	return true;
}

/* Without PCID and the bit that asks not to flush. */
__u64 lg_root_of(__u64 cr3)
{
	return cr3 & ~(1ULL << 63) & ~0xfffULL;
}

bool lg_valid_root(__u64 root)
{
	return root < LG_MAX_GPA && page_aligned(root);
}

/* -- memory slots ----------------------------------------------------------------*/

int lg_decode_slot(const struct lg_memory_slot *arg, __u64 user_end, struct lg_slot *slot)
{
	if (arg->slot >= LG_MAX_SLOTS || arg->flags & ~LG_MEM_READONLY)
		return -EINVAL;
	if (!page_aligned(arg->gpa | arg->size | arg->userspace_addr))
		return -EINVAL;
	if (arg->gpa > LG_MAX_GPA || arg->size > LG_MAX_GPA - arg->gpa)
		return -EINVAL;
	if (arg->userspace_addr > user_end || arg->size > user_end - arg->userspace_addr)
		return -EINVAL;
	*slot = (struct lg_slot) {
		.gfn = arg->gpa >> PAGE_BITS, .frames = arg->size >> PAGE_BITS,
		.hva = arg->userspace_addr, .readonly = arg->flags & LG_MEM_READONLY,
	};
	return 0;
}

bool lg_slot_overlaps(const struct lg_slot *slots, unsigned int index, const struct lg_slot *slot)
{
	unsigned int i;

	if (!slot->frames)
		return false;
	for (i = 0; i < LG_MAX_SLOTS; i++)
		if (i != index && slots[i].frames &&
		    slot->gfn < slots[i].gfn + slots[i].frames &&
		    slots[i].gfn < slot->gfn + slot->frames)
			return true;
	return false;
}

/* -- interrupts, devices, batches ------------------------------------------------*/

bool lg_valid_irqfd(const struct lg_irqfd *irqfd)
{
	return !(irqfd->flags & ~LG_FD_UNBIND) && lg_valid_interrupt(irqfd->vector);
}

bool lg_valid_ioeventfd(const struct lg_ioeventfd *ioeventfd)
{
	return !(ioeventfd->flags & ~LG_FD_UNBIND) && ioeventfd->slot < LG_BUS_SLOTS;
}

bool lg_valid_bus_access(__u64 address, __u64 width)
{
	return address < LG_BUS_SLOTS * LG_BUS_SLOT_SIZE &&
	       (width == 1 || width == 2 || width == 4 || width == 8);
}

bool lg_valid_doorbell(__u64 slot, __u64 queue)
{
	return slot < LG_BUS_SLOTS && queue <= 0xffffffff;
}

bool lg_batchable(__u64 number)
{
	return (number >= LG_HC_LOAD_ROOT && number <= LG_HC_RELEASE_TABLE) ||
	       number == LG_HC_SET_TLS || number == LG_HC_SET_LDT || number == LG_HC_SET_CPUNODE;
}

__u32 lg_batch_count(const struct lg_vcpu_page *page)
{
	__u32 count = *(const volatile __u32 *)&page->batch_count;

	return count < LG_BATCH_MAX ? count : LG_BATCH_MAX;
}

struct lg_batch_entry lg_read_batch_entry(const struct lg_vcpu_page *page, __u32 index)
{
	const volatile struct lg_batch_entry *entry = &page->batch[index];

	return (struct lg_batch_entry) {
		.number = entry->number,
		.arg = { entry->arg[0], entry->arg[1], entry->arg[2] },
	};
}
