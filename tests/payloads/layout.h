/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a payload finds when it starts: where things lie in guest-physical and
 * guest-virtual memory, and the page its GS base points at.  Read by the
 * payloads (payload.h) and by the program that builds their guests (guest.cpp).
 */
#ifndef PAYLOADS_LAYOUT_H
#define PAYLOADS_LAYOUT_H

/* Guest-physical.  All memory is also mapped at `direct`, for the kernel. */
#define MEMORY_SIZE	0x1000000	/* 16 MiB */
#define GPA_VCPU_PAGE	0x1000
#define GPA_DATA	0x2000		/* struct kernel_data; the vCPU page follows it in gva */
#define GPA_STACK	0x3000		/* four pages */
#define GPA_USER_STACK	0x8000		/* one page */
#define GPA_USER_DATA	0x9000		/* two pages */
#define GPA_SCRATCH	0x10000		/* 16 pages: registrations, CPUID results, LDTs, ... */
#define GPA_PLAY	0x20000		/* 16 pages behind PLAY and KPLAY */
#define GPA_TABLES	0x100000	/* page tables, from here on */
#define GPA_TEXT	0x200000	/* all payloads */
#define GPA_FREE	0x400000	/* nothing is here */

/* Guest-virtual, user mode. */
#define USER_TEXT	0x400000
#define USER_STACK	0x700000
#define USER_STACK_TOP	(USER_STACK + 0x1000)
#define USER_DATA	0x710000
#define PLAY		0x800000	/* 16 pages U=1, W=1, with tables of their own from level 3 down */

/* Guest-virtual, kernel mode, relative to `direct`. */
#define KPLAY		0x40000000	/* 16 pages, tables of their own from level 2 down */
#define DATA		0x80000000	/* struct kernel_data, */
#define VCPU_PAGE	0x80001000	/* and the vCPU page after it */

/* struct kernel_data, at GS base in kernel mode. */
#define D_DIRECT	0x00
#define D_USER_DELTA	0x08
#define D_ON_KERNEL	0x10
#define D_ON_USER	0x18
#define D_ON_SYSCALL	0x20
#define D_PLAY_ENTRY	0x28		/* of levels 1 to 4: 0x28, 0x30, 0x38, 0x40 */
#define D_KPLAY_ENTRY	0x48		/* likewise */
#define D_ROOT		0x68
#define D_OTHER_ROOT	0x70
#define D_ARGUMENT	0x78
#define D_VARIABLE	0x100		/* the payload's own */

/* Bus addresses at which the program listens. */
#define PORT_FAIL	0x1f000		/* a check failed: RDX line, R10 found, R8 expected */
#define PORT_EVENT	0x1f008		/* an event nobody expected; the vCPU page tells */
#define PORT_VALUE	0x1f010		/* a value for the C++ side of a test */
#define PORT_SYNC	0x1f018		/* "do what we agreed on now" */

/* RAX of a failing check in user mode. */
#define USER_FAIL	-1

/* How a payload of the table starts. */
#define F_UNREGISTERED	1		/* without vCPU page */

#ifndef __ASSEMBLY__
#include <cstddef>
#include <cstdint>

struct kernel_data {
	std::uint64_t direct;		/* gva of the map of all memory */
	std::uint64_t user_delta;	/* added to a kernel text address: where users see it */
	std::uint64_t on_kernel, on_user, on_syscall;	/* where the entry points jump */
	std::uint64_t play_entry[4];	/* gva of the page-table entries of PLAY */
	std::uint64_t kplay_entry[4];
	std::uint64_t root, other_root;	/* gpa; the same tables but for the lower half */
	std::uint64_t argument;		/* from the C++ side of a test */
};

static_assert(offsetof(kernel_data, on_kernel) == D_ON_KERNEL);
static_assert(offsetof(kernel_data, play_entry) == D_PLAY_ENTRY);
static_assert(offsetof(kernel_data, kplay_entry) == D_KPLAY_ENTRY);
static_assert(offsetof(kernel_data, argument) == D_ARGUMENT);
#endif
#endif
