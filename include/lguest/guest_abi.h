/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The ABI between the guest kernel and the host module: the vCPU page both
 * sides share, the hypercalls, and what the guest finds when it starts.
 *
 * Neighbours: guest-paravirt/ (the guest's side), switcher/ and host-module/
 * (the host's side), launcher/ (which writes struct lg_boot_info).  Compiles as
 * C in either kernel, as C++ in user space, and its constants in assembly.
 *
 * A guest always runs at CPL 3, its kernel too.  "Kernel mode" and "user mode"
 * below are virtual: which of the two shadow roots (kernel view, user view) is
 * loaded.  Only the switcher changes it.
 */
#ifndef LGUEST_GUEST_ABI_H
#define LGUEST_GUEST_ABI_H

#define LG_ABI_VERSION		1

/*
 * Hypercall: SYSCALL executed in kernel mode at any address but the one
 * registered as return_to_user.
 *   in:  RAX number; RDI, RSI, RDX, R10, R8 arguments
 *   out: RAX result, negative errno on error; RCX and R11 clobbered
 * Everything else is preserved.  Before the vCPU page is registered hypercalls
 * work, and no event can be delivered: an exception then stops the guest.
 *
 * Addresses called "gpa" are guest-physical, "gva" guest-virtual.  A gpa which
 * is to hold a page must be 4 KiB aligned.
 */

/* -- life of the vCPU and of the guest ---------------------------------- */

/* Register the vCPU page and everything entered through it.
 * RDI: gpa of struct lg_vcpu_registration, which must not cross a page.  The
 * contents of a page registered before are copied to the new one, so a vCPU may
 * move its page with virtual interrupts off.  -EINVAL: unaligned or outside
 * memory, an entry point or GS base that is not canonical. */
#define LG_HC_REGISTER_VCPU	1
/* Block until an interrupt is pending; returns with virtual IF as it was set:
 * HALT enables virtual interrupts and blocks in one step, like STI; HLT. */
#define LG_HC_HALT		2
/* The guest ends.  SHUTDOWN: RDI exit status 0..255.  PANIC: RDI gpa of text,
 * RSI its length (at most 2048).  None of them returns. */
#define LG_HC_SHUTDOWN		3
#define LG_HC_REBOOT		4
#define LG_HC_PANIC		5
/* Start another vCPU: RDI its index, RSI gpa of struct lg_vcpu_start.
 * -ENOENT: no such vCPU, -EBUSY: it runs already. */
#define LG_HC_VCPU_UP		6
/* This vCPU stops until LG_HC_VCPU_UP; does not return. */
#define LG_HC_VCPU_DOWN		7

/* -- interrupts and time -------------------------------------------------- */

/* Deliver what is pending now, virtual IF having just been set.  Called when
 * the guest sets irq_flags and finds irq_pending. */
#define LG_HC_IRQ_WINDOW	8
/* Take the highest pending interrupt without an event: returns its vector, or
 * -EAGAIN when none is left (then irq_pending is 0).  For the loop at the end of
 * an interrupt, before its frame is unwound. */
#define LG_HC_NEXT_IRQ		9
/* Send interrupt RSI (32..255) to vCPU RDI; RDI -1: to all others. */
#define LG_HC_IPI		10
/* One-shot timer: RDI the absolute time in ns on the clock of the time page
 * (0 cancels).  It raises LG_VECTOR_TIMER.  A past time fires at once. */
#define LG_HC_SET_TIMER		11
/* RDI: gpa of a page for struct pvclock_vcpu_time_info at offset 0. */
#define LG_HC_SET_TIME_PAGE	12
/* Returns the wall clock, ns since 1970, at the moment of the call. */
#define LG_HC_WALLCLOCK		13
/* Paravirtual spinlocks: PARK blocks until a KICK (RDI: vCPU) or an interrupt. */
#define LG_HC_PARK		14
#define LG_HC_KICK		15

/* -- memory ----------------------------------------------------------------
 * The shadow page tables behave as a TLB.  A flush is complete when the call
 * returns, on every vCPU of the guest.  "root" is the gpa of a top-level table.
 * Flushing an address in the upper half covers all roots. */

/* Load RDI as CR3 (gpa of the root; low 12 bits ignored; bit 63 as in CR3:
 * translations of this root need not be flushed).  -EINVAL: outside memory. */
#define LG_HC_LOAD_ROOT		16
/* Flush one page: RDI root (or 0: the current one), RSI gva. */
#define LG_HC_FLUSH_PAGE	17
/* Flush [RSI, RDX): RDI root (or 0: the current one). */
#define LG_HC_FLUSH_RANGE	18
/* Flush the whole lower half of root RDI (0: the current one). */
#define LG_HC_FLUSH_MM		19
/* Flush everything of this guest, global entries included. */
#define LG_HC_FLUSH_ALL		20
/* A hint: frame RDI is no longer a page table. */
#define LG_HC_RELEASE_TABLE	21

/* -- segments ---------------------------------------------------------------*/

/* The segments a guest finds: 64-bit code, 32-bit code and data, all flat, and three
 * for TLS.  The numbers are Linux's, for the host's STAR has them too. */
#define LG_USER32_CS		0x23
#define LG_USER_DS		0x2b
#define LG_USER_CS		0x33
#define LG_TLS_SELECTOR(index)	((12 + (index)) * 8 + 3)

/* RDI: TLS index 0..2, RSI: descriptor.  Only code and data segments of DPL 3
 * and the empty descriptor are accepted, else -EINVAL. */
#define LG_HC_SET_TLS		22
/* RDI: gva of the LDT's descriptors, RSI: number of them (0: no LDT; at most
 * 8192).  The host copies them; the same rules hold as for TLS, entries that
 * break them are copied as empty. */
#define LG_HC_SET_LDT		23
/* RDI: what LSL of the CPUNODE segment shall report (cpu | node << 12). */
#define LG_HC_SET_CPUNODE	24

/* -- what hardware would answer ---------------------------------------------*/

/* RDI: leaf, RSI: subleaf, RDX: gpa of u32[4] for EAX, EBX, ECX, EDX. */
#define LG_HC_CPUID		25

/* -- devices ------------------------------------------------------------------
 * The bus is LG_BUS_SLOTS register windows of LG_BUS_SLOT_SIZE bytes, each laid
 * out as virtio-mmio's (virtio 1.2, 4.2.2).  A bus address is slot * size +
 * offset.  An empty slot reads as zeros.  Slot n interrupts with vector
 * LG_VECTOR_BUS + n. */

/* RDI: bus address, RSI: width 1, 2, 4 or 8.  Returns the value. */
#define LG_HC_BUS_READ		26
/* RDI: bus address, RSI: width, RDX: value. */
#define LG_HC_BUS_WRITE		27
/* RDI: bus slot, RSI: queue index.  Same as writing QueueNotify, but may be
 * served by an ioeventfd without leaving the kernel. */
#define LG_HC_DOORBELL		28
/* Early console: RDI gpa of text, RSI length (at most 2048). */
#define LG_HC_CONSOLE		29

#define LG_HC_MAX		29

#define LG_BUS_SLOTS		32
#define LG_BUS_SLOT_SIZE	0x1000

/* In a window, beside virtio-mmio's registers: the gpa of a 4-byte word in the guest's
 * memory, or 0 for none, as after a reset.  The device sets its InterruptStatus bits in
 * there too before it interrupts, the driver takes them from there by an exchange with
 * 0, and needs neither InterruptStatus nor InterruptACK, each an exit to the launcher.
 * An interrupt without a bit means used buffers: that is all that a device served by
 * another process than the launcher says.  The write of HIGH takes effect. */
#define LG_BUS_STATUS_WORD_LOW	0x0e0
#define LG_BUS_STATUS_WORD_HIGH	0x0e4

/* Interrupt vectors with a meaning on this ABI.  Others (32..255) are the
 * guest's to use for IPIs. */
#define LG_VECTOR_BUS		0x40	/* + slot */
#define LG_VECTOR_SHUTDOWN	0x60	/* vCPU 0 only: please power off, see LG_BUS_SHUTDOWN_TAKEN */
#define LG_VECTOR_TIMER		0xec	/* Linux's LOCAL_TIMER_VECTOR */
#define LG_VECTOR_RESUMED	0xf0	/* this vCPU was stopped for a while; above the timer's, so seen first */

/* The last register of the bus, at an offset which no device has.  A guest that powers
 * off because of LG_VECTOR_SHUTDOWN writes here first, 4 bytes, any value: the host then
 * gives it time to do so.  One that does not is ended. */
#define LG_BUS_SHUTDOWN_TAKEN	(LG_BUS_SLOTS * LG_BUS_SLOT_SIZE - 4)

/* In bzImage and vmlinux: ELF notes with name "lguest".  */
#define LG_NOTE_ABI_VERSION	1	/* u32: LG_ABI_VERSION */
#define LG_NOTE_ENTRY		2	/* u64: virtual address of the 64-bit entry */

/* boot_params.hdr.hardware_subarch; hardware_subarch_data is the gpa of
 * struct lg_boot_info. */
#define LG_HARDWARE_SUBARCH	1

/* What the guest may not touch: slots of the top-level table that belong to the
 * switcher.  Guest entries there are ignored. */
#define LG_HYPERVISOR_SLOT	256

#ifndef __ASSEMBLY__

#ifdef __KERNEL__
#include <linux/types.h>
#include <linux/build_bug.h>
#include <linux/stddef.h>
#define LG_ASSERT(e)		static_assert(e, #e)
#else
#include <linux/types.h>
#include <stddef.h>
#ifdef __cplusplus
#define LG_ASSERT(e)		static_assert(e, #e)
#else
#define LG_ASSERT(e)		_Static_assert(e, #e)
#endif
#endif

/*
 * An entry in the batch ring of the vCPU page: a hypercall of the memory or
 * segment groups whose result the guest does not need.  The host performs
 * batch[0..batch_count) in order before anything else whenever the vCPU leaves
 * to it, and clears batch_count.  The switcher's direct switches do not run a
 * batch: they leave to the host when batch_count is not zero.
 */
struct lg_batch_entry {
	__u64 number;
	__u64 arg[3];
};

#define LG_BATCH_MAX		64

/*
 * The vCPU page.  Written by both sides, so the host trusts nothing in it.
 *
 * Events never touch the guest's stack.  To deliver one the host (or the
 * switcher) writes the fields below, clears irq_flags, and continues at the
 * entry point in kernel mode with every general register, RSP and FS base as
 * they were.  RFLAGS is LG_ENTRY_RFLAGS, CS and SS are the 64-bit CPL 3 ones,
 * GS base is the registered kernel_gs_base.
 *
 *   event from user:   user_* describe what was interrupted, event_* say why
 *   event from kernel: kernel_* describe what was interrupted, event_* say why
 *   SYSCALL from user: user_* describe the caller; RCX and R11 are undefined;
 *                      event_* untouched
 *
 * event_busy is set with an event and cleared by the guest once it has copied
 * the fields.  Meanwhile no interrupt is delivered; an exception kills the guest.
 *
 * To return to user mode the guest fills user_*, loads all general registers
 * but RSP, RCX and R11, and executes the SYSCALL whose following address is
 * return_to_user.  That sets virtual IF.  To return within kernel mode it uses
 * IRETQ itself.
 */
struct lg_vcpu_page {
	__u32 irq_flags;	/* 0x00 virtual RFLAGS.IF: 0x200 enabled, 0 disabled */
	__u32 irq_pending;	/* 0x04 an interrupt waits for irq_flags */
	__u32 event_busy;	/* 0x08 */
	__u32 event_vector;	/* 0x0c 0..31 exception, 32..255 interrupt; 0x80 from user: int $0x80 */
	__u64 event_error;	/* 0x10 error code, else 0 */
	__u64 event_address;	/* 0x18 #PF: CR2; #DB: DR6 as the guest shall see it */

	__u64 kernel_rip;	/* 0x20 */
	__u64 kernel_rsp;	/* 0x28 */
	__u64 kernel_rflags;	/* 0x30 bit 9 is virtual IF */
	__u64 reserved0;	/* 0x38 */

	__u64 user_rip;		/* 0x40 */
	__u64 user_rsp;		/* 0x48 */
	__u64 user_rflags;	/* 0x50 */
	__u64 user_rcx;		/* 0x58 only read, on return to user */
	__u64 user_r11;		/* 0x60 only read, on return to user */
	__u64 user_gs_base;	/* 0x68 the inactive GS base while in kernel mode */
	__u64 user_cs;		/* 0x70 */
	__u64 user_ss;		/* 0x78 */

	__u32 batch_count;	/* 0x80 */
	__u32 reserved1;	/* 0x84 */
	__u64 reserved2[15];	/* 0x88 */

	struct lg_batch_entry batch[LG_BATCH_MAX];	/* 0x100 */

	__u8 reserved3[4096 - 0x100 - LG_BATCH_MAX * 32];
};

LG_ASSERT(sizeof(struct lg_vcpu_page) == 4096);
LG_ASSERT(offsetof(struct lg_vcpu_page, kernel_rip) == 0x20);
LG_ASSERT(offsetof(struct lg_vcpu_page, user_rip) == 0x40);
LG_ASSERT(offsetof(struct lg_vcpu_page, user_gs_base) == 0x68);
LG_ASSERT(offsetof(struct lg_vcpu_page, batch_count) == 0x80);
LG_ASSERT(offsetof(struct lg_vcpu_page, batch) == 0x100);

/* RFLAGS at an entry point: reserved bit 1 and hardware IF, nothing else. */
#define LG_ENTRY_RFLAGS		0x202

/* Argument of LG_HC_REGISTER_VCPU. */
struct lg_vcpu_registration {
	__u64 page;			/* gpa of the vCPU page */
	__u64 kernel_gs_base;
	__u64 event_from_user;		/* gva of the entry points */
	__u64 event_from_kernel;
	__u64 syscall_from_user;
	__u64 return_to_user;		/* gva right after that SYSCALL instruction */
};

/* Argument of LG_HC_VCPU_UP: how the new vCPU starts, in kernel mode. */
struct lg_vcpu_start {
	__u64 rip, rsp, cr3, gs_base;
	__u64 argument;			/* RDI */
};

/*
 * How the first vCPU starts: at the entry of the ELF note, virtual interrupts
 * off, RSI the gva of boot_params (the zero page) in the direct map, RSP invalid,
 * GS base 0, all else 0.  boot_params lies below 1 GiB and page_offset_base is a
 * multiple of 1 GiB, so RSI tells both.  CR3 holds tables the launcher built in
 * guest memory (inside [tables_start, tables_end), the root at tables_start), all
 * entries writable, executable and U=1:
 *   kernel image:  KERNEL_MAP (0xffffffff80000000) + x -> phys_base + x, at least
 *                  the image; unmoved, 1 GiB or as much as there is memory
 *   direct map:    page_offset_base + x -> x, all memory
 * both with 2 MiB pages.
 */
struct lg_boot_info {
	__u32 version;			/* LG_ABI_VERSION */
	__u32 vcpus;			/* vCPUs the guest may start, the first included */
	__u64 page_offset_base;		/* where the guest shall put its direct map, */
	__u64 vmalloc_base;		/* its vmalloc area, */
	__u64 vmemmap_base;		/* and its page structs */
	__u64 phys_base;		/* as Linux's: image load address - link address */
	__u64 text_offset;		/* how far relocations moved the image, virtually */
	__u64 modules_vaddr;		/* where modules go: [modules_vaddr, modules_end); */
	__u64 modules_end;		/* 0: where Linux puts them */
	__u64 fixmap_top;		/* top of fixmap, cpu_entry_area below; 0: as Linux */
	__u64 tables_start;		/* gpa of the start-up page tables, */
	__u64 tables_end;		/* free once the guest has its own */
};

#endif /* !__ASSEMBLY__ */
#endif
