/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which arguments of a guest's or the launcher's are good: arguments in, a verdict
 * or the decoded arguments out.  No state, and no header that user space lacks, so
 * that tests/ compiles the same source.  Whether a vCPU exists, memory is there or a
 * page can be pinned is for the callers to find out.
 */
#ifndef LG_ARGUMENTS_H
#define LG_ARGUMENTS_H

#include <linux/types.h>
#ifndef __KERNEL__
#include <stdbool.h>
#endif

#include "../include/lguest/guest_abi.h"
#include "../include/lguest/ioctl_abi.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LG_NO_GPA	(~0ULL)

/* The guest's page tables have four levels, whatever the host's have. */
static inline bool lg_canonical(__u64 address)
{
	return ((__s64)(address << 16) >> 16) == (__s64)address;
}

/* -- registers -------------------------------------------------------------------*/

/* LG_SET_REGS, but for what the callers have to look up: root, pages, TLS. */
bool lg_valid_regs(const struct lg_regs *regs);
bool lg_valid_registration(const struct lg_vcpu_registration *registration);
bool lg_valid_start(const struct lg_vcpu_start *start);
/* May user mode continue on these?  If its LDT or TLS has them: IRETQ will tell. */
bool lg_valid_user_selectors(__u64 cs, __u64 ss);
/* What the CPU gets when the guest wants these in user mode. */
__u64 lg_user_rflags(__u64 rflags);
/* May a guest have it in its TLS or LDT?  Makes it fit to be loaded. */
bool lg_sane_descriptor(__u64 *descriptor);
/* The root in a value for CR3. */
__u64 lg_root_of(__u64 cr3);
bool lg_valid_root(__u64 root);

/* -- memory slots ----------------------------------------------------------------*/

struct lg_slot {
	__u64 gfn, frames;
	unsigned long hva;
	bool readonly;
};

/* 0, or -EINVAL.  Launchers have the addresses below `user_end`. */
int lg_decode_slot(const struct lg_memory_slot *arg, __u64 user_end, struct lg_slot *slot);
/* Would `slot` as number `index` of the LG_MAX_SLOTS overlap another? */
bool lg_slot_overlaps(const struct lg_slot *slots, unsigned int index, const struct lg_slot *slot);

/* -- interrupts, devices, batches ------------------------------------------------*/

/* An interrupt, not an exception. */
static inline bool lg_valid_interrupt(__u64 vector)
{
	return vector >= 32 && vector <= 255;
}

bool lg_valid_irqfd(const struct lg_irqfd *irqfd);
bool lg_valid_ioeventfd(const struct lg_ioeventfd *ioeventfd);
bool lg_valid_bus_access(__u64 address, __u64 width);
bool lg_valid_doorbell(__u64 slot, __u64 queue);

/* The calls that may stand in a batch. */
bool lg_batchable(__u64 number);
/* The batch of a page to which other vCPUs may write meanwhile: each word is read
 * once.  index < lg_batch_count(). */
__u32 lg_batch_count(const struct lg_vcpu_page *page);
struct lg_batch_entry lg_read_batch_entry(const struct lg_vcpu_page *page, __u32 index);

#ifdef __cplusplus
}
#endif
#endif
