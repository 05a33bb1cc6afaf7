/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The objects of the host module and who offers what.
 *
 *   /dev/lguest (main.c) --> struct lg_vm (vm.c) --> struct lg_vcpu (vcpu.c)
 *
 *   run.c        the run loop: deliver, enter, look why it left
 *   switch.c     the switcher's memory, and the world switch seen from C
 *   event.c      exceptions and interrupts into the guest
 *   hypercall.c  what the guest asks for
 *   emulate.c    privileged instructions that slipped through
 *   decode.c     which instruction that is
 *   arguments.c  which arguments of a guest or of the launcher are good
 *   memory.c     memory slots, and what shadow-mm needs of the kernel
 *   time.c       the time page and the timer
 *   irqfd.c      eventfds for interrupts and doorbells
 *   cpuid.c      what the guest may know of the CPU
 *   windows.c    where the host has mappings
 *
 * Locks, outermost first:
 *   lg_vcpu.lock   the vCPU's state; held by its thread during an ioctl
 *   lg_vm.lock     making vCPUs, binding eventfds
 *   lg_vm.mm_lock  slots and shadow_mm; also taken by the mmu notifier, so nothing
 *                  under it allocates, faults, or takes mmap_lock
 */
#ifndef LG_H
#define LG_H

#include <linux/atomic.h>
#include <linux/hrtimer.h>
#include <linux/kref.h>
#include <linux/mm_types.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/preempt.h>
#include <linux/smp.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <asm/fpu/api.h>
#include <asm/fpu/types.h>

#include "../include/lguest/guest_abi.h"
#include "../include/lguest/ioctl_abi.h"
#include "../shadow-mm/shadow_mm.h"
#include "../switcher/layout.h"
#include "arguments.h"

#define pr_lg(level, fmt, ...)	printk(level "lguest: " fmt, ##__VA_ARGS__)

/* The VM's own part of the switcher's address range. */
struct lg_tree {
	u64 *level4;			/* LA57 only */
	u64 *level3;
	u64 *level2;			/* of the vCPU part */
	u64 *level1[LG_MAX_VCPUS * (SWITCHER_VCPU_SIZE / PAGE_SIZE) / 512];
	u64 entry;			/* for the top-level table */
};

struct lg_vm {
	struct kref refs;
	struct mm_struct *mm;		/* grabbed: its page table stays until we go */
	struct mmu_notifier notifier;
	struct mutex lock;
	struct lg_tree tree;
	bool mapped;			/* tree is in mm's page table; under mm_lock */

	/* Under mm_lock. */
	struct mutex mm_lock;
	struct lg_slot slots[LG_MAX_SLOTS];
	struct shadow_mm *shadow;	/* made at the first run */
	u64 frames;			/* guest frames the shadow was made for */
	bool fallback_noted;		/* the log knows of the global-pages fallback */
	cpumask_var_t flush_cpus;
	struct shadow_page *reserve;	/* pages for shadow-mm */
	unsigned int reserved;

	atomic_t invalidations;		/* mmu notifier ranges in progress */

	struct lg_vcpu *vcpus[LG_MAX_VCPUS];	/* set once, under lock */

	/* The first reason to stop the guest wins. */
	atomic_t dead;
	char death[256];
	u64 death_rip, death_address;
	u32 death_vector, death_user_mode;

	u64 time_tsc, time_ns;		/* the guest's clock started here */

	spinlock_t eventfd_lock;
	struct list_head irqfds, ioeventfds;

	struct shadow_window windows[LG_MAX_WINDOWS];
	unsigned int window_count;
};

enum lg_vcpu_mode {
	LG_OUTSIDE,		/* in the host: will look at requests before it enters */
	LG_IN_GUEST,		/* needs an IPI to notice anything */
};

enum lg_completion { LG_COMPLETE_NOTHING, LG_COMPLETE_BUS_READ };

struct lg_vcpu {
	struct lg_vm *vm;
	unsigned int index;
	struct mutex lock;
	struct lg_run *run;
	struct switcher_vcpu *sw;	/* host's address of the switcher's vCPU */
	u64 sw_address;			/* and the switcher's */

	/* What other threads may touch. */
	int mode;			/* lg_vcpu_mode */
	int cpu;			/* -1: not loaded */
	unsigned long pending[4];	/* interrupts, by vector; atomic bit operations */
	wait_queue_head_t wait;
	bool kicked;			/* LG_HC_KICK */
	bool start_requested;
	struct lg_vcpu_start start;

	/* The vCPU thread's. */
	struct lg_vcpu_page *page;	/* pinned, NULL: none registered */
	struct page *page_pin;
	u64 page_gpa, time_page;
	u64 event_from_user, event_from_kernel;
	u64 root;			/* gpa of the guest's top table; LG_NO_GPA: none held */
	bool halted, down;
	u64 cr2;
	unsigned int pending_host;	/* SWITCHER_PENDING_* of the last leave */
	enum lg_completion completion;
	u64 tls[3], cpunode;
	unsigned int ldt_entries;
	struct page *ldt_pages[16];
	struct fpu_guest fpu;
	struct preempt_notifier preempt;
	unsigned long host_fs_base, host_gs_base;
	u16 host_ds, host_es, host_fs, host_gs;
	struct hrtimer timer;
	u64 timer_deadline;

	struct lg_stats stats;		/* approximate while it runs */
};

/* -- switch.c ------------------------------------------------------------------*/

int lg_switcher_init(void);
void lg_switcher_exit(void);
/* Build the VM's tree and put it into the current mm.  -EBUSY: there is one. */
int lg_tree_init(struct lg_vm *vm);
/* Take the tree out of the mm and every TLB.  Idempotent; under mm_lock. */
void lg_tree_unmap(struct lg_vm *vm);
void lg_tree_free(struct lg_vm *vm);
/* Map the pages of a vCPU; sets sw and sw_address. */
int lg_switcher_add_vcpu(struct lg_vcpu *vcpu);
void lg_switcher_free_vcpu(struct lg_vcpu *vcpu);
/* Let the switcher see another vCPU page (NULL: none). */
void lg_switcher_set_page(struct lg_vcpu *vcpu, struct page *page);
int lg_switcher_set_ldt(struct lg_vcpu *vcpu, const u64 *descriptors, unsigned int count);
/* Tie the vCPU to this CPU and undo it: MSRs, GDT.  Preemption off. */
void lg_switcher_load(struct lg_vcpu *vcpu);
void lg_switcher_put(struct lg_vcpu *vcpu);
/* Rewrite the descriptors of the vCPU on the CPU it is loaded on. */
void lg_switcher_load_descriptors(struct lg_vcpu *vcpu);
/* The world switch.  Interrupts off; the vCPU's frame says why it came back. */
void lg_switch(struct lg_vcpu *vcpu, bool pge_off);
/* Let the host handle what ended the guest's turn.  Interrupts off. */
void lg_reraise_interrupt(unsigned int vector);
void lg_reraise_nmi(void);
void lg_reraise_machine_check(void);

/* -- vm.c, vcpu.c, run.c -----------------------------------------------------------*/

int lg_vm_create(void);
void lg_vm_put(struct lg_vm *vm);
/* Stop the guest.  The first reason given is the one the launcher sees.  `vcpu`,
 * which may be NULL, tells where. */
void lg_kill(struct lg_vm *vm, struct lg_vcpu *vcpu, const char *format, ...)
	__printf(3, 4);
int lg_vcpu_create(struct lg_vm *vm, unsigned long index);
void lg_vcpu_free(struct lg_vcpu *vcpu);
/* Make the vCPU look at its pending state soon.  Any context. */
void lg_vcpu_kick(struct lg_vcpu *vcpu);
/* Make interrupt `vector` pending.  Any context. */
void lg_vcpu_interrupt(struct lg_vcpu *vcpu, unsigned int vector);
int lg_vcpu_run(struct lg_vcpu *vcpu);
/* Outcome of handling an exit: go on, or return to the launcher. */
enum lg_next { LG_CONTINUE, LG_TO_LAUNCHER };

/* -- event.c ---------------------------------------------------------------------*/

void lg_inject(struct lg_vcpu *vcpu, unsigned int vector, u64 error, u64 address);
/* Deliver the highest pending interrupt if the guest takes it now. */
void lg_deliver_interrupt(struct lg_vcpu *vcpu);
bool lg_interrupt_pending(const struct lg_vcpu *vcpu);
/* Highest pending vector, taken off; -1: none. */
int lg_take_interrupt(struct lg_vcpu *vcpu);
/* Enter user mode with what the vCPU page says, all of it checked. */
void lg_return_to_user(struct lg_vcpu *vcpu);

/* -- hypercall.c, emulate.c -----------------------------------------------------------*/

enum lg_next lg_hypercall(struct lg_vcpu *vcpu);
/* Do the batch in the vCPU page, if there is one. */
void lg_run_batch(struct lg_vcpu *vcpu);
int lg_load_root(struct lg_vcpu *vcpu, u64 root);
/* The instruction at RIP raised #GP in kernel mode.  False: it has to be injected. */
bool lg_emulate(struct lg_vcpu *vcpu);
enum lg_next lg_halt(struct lg_vcpu *vcpu);

/* -- memory.c --------------------------------------------------------------------------*/

int lg_set_slot(struct lg_vm *vm, const struct lg_memory_slot *slot);
int lg_memory_init(struct lg_vm *vm);
/* Make the shadow page tables; the slots are known now.  Under vm->lock. */
int lg_memory_start(struct lg_vm *vm);
void lg_memory_free(struct lg_vm *vm);
/* The guest's memory for the host's own use, in the launcher's context; may
 * sleep.  -EFAULT: outside memory, or read-only when writing. */
int lg_read_guest(struct lg_vm *vm, u64 gpa, void *to, unsigned int length);
int lg_write_guest(struct lg_vm *vm, u64 gpa, const void *from, unsigned int length);
int lg_read_guest_virtual(struct lg_vcpu *vcpu, u64 gva, void *to, unsigned int length);
struct page *lg_pin_guest_page(struct lg_vm *vm, u64 gpa);
/* Do what a shadow_result asks for outside mm_lock; 0: call shadow-mm again. */
int lg_satisfy(struct lg_vm *vm, const struct shadow_result *result);
void lg_flush_guest_tlbs(struct lg_vm *vm);

/* -- time.c, irqfd.c, cpuid.c, windows.c -------------------------------------------------*/

void lg_time_init(struct lg_vm *vm);
u64 lg_time_now(const struct lg_vm *vm);
int lg_set_time_page(struct lg_vcpu *vcpu, u64 gpa);
void lg_timer_init(struct lg_vcpu *vcpu);
void lg_set_timer(struct lg_vcpu *vcpu, u64 deadline);

int lg_irqfd(struct lg_vm *vm, const struct lg_irqfd *irqfd);
int lg_ioeventfd(struct lg_vm *vm, const struct lg_ioeventfd *ioeventfd);
/* True: an eventfd took the doorbell. */
bool lg_doorbell(struct lg_vm *vm, u32 slot, u32 queue);
void lg_eventfds_free(struct lg_vm *vm);

void lg_cpuid(const struct lg_vcpu *vcpu, u32 leaf, u32 subleaf, u32 out[4]);

void lg_find_host_windows(struct lg_host_windows *windows);

#endif
