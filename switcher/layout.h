/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What lies where in the switcher's part of the address space, and the three
 * structures the assembly works on.  offsets.c turns the fields into assembly
 * constants; host-module/switch.c builds all of it; switcher.S uses it.
 *
 *   SWITCHER base (PML4 or PML5 slot 256; the same address in the launcher's
 *   page tables and in every shadow root of the VM; supervisor only)
 *
 *   + 0                       text, a copy of switcher.S       read, execute
 *   + SWITCHER_IDT            IDT, one for all CPUs            read
 *   + SWITCHER_CPUS           64 KiB per host CPU:
 *         page 0              struct switcher_cpu              read, write
 *         page 1              GDT                              read, write
 *         page 2              TSS                              read, write
 *         pages 4..7          IST stacks: #DF, NMI, #DB, #MC   read, write
 *   + SWITCHER_VCPUS          256 KiB per vCPU of this VM:
 *         page 0              struct switcher_vcpu             read, write
 *         page 1              the vCPU page the guest shares   read, write
 *         pages 16..31        LDT                              read, write
 *
 * The CPU part is one tree shared by all VMs; the vCPU part belongs to one VM,
 * so that no VM's roots reach another VM's registers.
 */
#ifndef SWITCHER_LAYOUT_H
#define SWITCHER_LAYOUT_H

#define SWITCHER_TEXT_MAX	0x4000
#define SWITCHER_IDT		0x10000
#define SWITCHER_CPUS		0x1000000	/* 16 MiB */
#define SWITCHER_CPU_SHIFT	16
#define SWITCHER_CPU_SIZE	(1 << SWITCHER_CPU_SHIFT)
#define SWITCHER_VCPUS		0x40000000	/* 1 GiB: a level-3 entry of its own */
#define SWITCHER_VCPU_SHIFT	18
#define SWITCHER_VCPU_SIZE	(1 << SWITCHER_VCPU_SHIFT)

#define SWITCHER_CPU_GDT	0x1000
#define SWITCHER_CPU_TSS	0x2000
#define SWITCHER_CPU_IST	0x4000		/* stack n (0..3) ends at IST + (n + 1) * 4096 */
#define SWITCHER_VCPU_PAGE	0x1000
#define SWITCHER_VCPU_LDT	0x10000

/* Why the guest was left: 0..255 is the vector taken, and: */
#define SWITCHER_EXIT_SYSCALL	256	/* SYSCALL in user mode, not switched directly */
#define SWITCHER_EXIT_HYPERCALL	257	/* SYSCALL in kernel mode */
#define SWITCHER_EXIT_RETURN	258	/* return to user, not switched directly */
#define SWITCHER_EXIT_SYSCALL32	259	/* SYSCALL in compatibility mode (AMD) */
#define SWITCHER_EXIT_IRET	260	/* the guest's selectors or RIP made IRETQ fault */
#define SWITCHER_EXIT_SEGMENT	261	/* the saved selector `error` can no longer be loaded */
#define SWITCHER_EXIT_ABORT	262	/* NMI or #MC before the guest was entered */
#define SWITCHER_EXIT_BUG	263	/* a fault inside the switcher that cannot be */

/* Taken inside the switcher, for the host to handle. */
#define SWITCHER_PENDING_NMI	1
#define SWITCHER_PENDING_MC	2

#define SWITCHER_FRAME_SIZE	(22 * 8)

#ifndef __ASSEMBLY__
#include <linux/types.h>

/* The order of hardware's pushes, then ours: the stack a vCPU leaves on. */
struct switcher_frame {
	__u64 r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8;
	__u64 rax, rcx, rdx, rsi, rdi;
	__u64 vector;		/* or SWITCHER_EXIT_* */
	__u64 error;
	__u64 rip, cs, rflags, rsp, ss;
};

struct switcher_table {		/* operand of LGDT, LIDT */
	__u16 limit;
	__u64 base;
} __attribute__((packed));

/* Per host CPU.  Only its own CPU touches it, interrupts off. */
struct switcher_cpu {
	/* Hot in direct switches. */
	__u64 self;			/* our address */
	__u64 vcpu;			/* switcher_vcpu that is running, or runs next */
	__u64 scratch_rsp;		/* the guest's RSP while SYSCALL has no stack */
	__u64 scratch_rcx, scratch_r11;	/* as they shall be on a direct return to user */
	__u64 pending;			/* PENDING_*: taken inside the switcher, for the host */

	/* Written before each enter. */
	__u64 host_cr3;			/* with NOFLUSH if the host uses PCIDs */
	__u64 host_cr4, guest_cr4;	/* equal unless the VM needs CR4.PGE off */
	__u64 host_gs_base;
	__u64 host_rsp;

	/* Constant on a CPU. */
	__u64 host_tss_descriptor;	/* address of its byte 5 in the writable GDT */
	struct switcher_table host_idt;
	struct switcher_table host_gdt_writable, host_gdt;
	struct switcher_table guest_idt, guest_gdt;
	__u16 host_ldt;

	/* A stack for what goes wrong at IRETQ, and the frame IRETQ pops, which is
	 * at the same time the record of where a direct return was going. */
	__u8 iret_stack[512] __attribute__((aligned(16)));
	__u64 iret_padding;		/* IRETQ faults push below a 16-byte boundary */
	__u64 iret_rip, iret_cs, iret_rflags, iret_rsp, iret_ss;
};

/* Per vCPU.  Belongs to the vCPU's thread, and to the switcher while it runs. */
struct switcher_vcpu {
	__u64 user_mode;		/* 1: user view */
	__u64 direct;			/* direct switches allowed */
	__u64 page;			/* the vCPU page, at its switcher address */
	__u64 kernel_cr3, user_cr3;
	__u64 kernel_gs_base;
	__u64 syscall_from_user, return_to_user;
	__u64 pending;			/* mirrors switcher_cpu.pending, where direct switches look */

	__u64 fs_base, gs_base;		/* the guest's, while it does not run */
	__u16 ds, es, fs, gs;
	__u64 ldt;			/* selector: the LDT's, or 0 */

	__u64 padding[16];		/* room for a push or two below the frame */
	struct switcher_frame frame __attribute__((aligned(16)));
};

/* RSP0 is the end of the frame, and hardware aligns it down to 16. */
_Static_assert(sizeof(struct switcher_frame) == SWITCHER_FRAME_SIZE, "22 words");
_Static_assert(SWITCHER_FRAME_SIZE % 16 == 0, "RSP0 is aligned");
_Static_assert(sizeof(struct switcher_cpu) <= 4096, "fits its page");
_Static_assert(sizeof(struct switcher_vcpu) <= 4096, "fits its page");

#endif /* !__ASSEMBLY__ */
#endif
