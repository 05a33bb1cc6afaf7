/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The ABI between the launcher and the host module: the ioctls of /dev/lguest,
 * of a VM and of a vCPU, and the run page.
 *
 * Neighbours: host-module/ serves it, launcher/ uses it.  The model is KVM's:
 * /dev/lguest gives VM fds, a VM fd gives vCPU fds, each vCPU is driven by one
 * thread, and all belong to the process (the mm) that made the VM: from any
 * other an ioctl fails with EIO.  A process has at most one VM.
 *
 * Errors are errno values; those with a meaning of their own are named at the
 * ioctl.  All structs have the same layout everywhere (no 32-bit launcher).
 */
#ifndef LGUEST_IOCTL_ABI_H
#define LGUEST_IOCTL_ABI_H

#include <linux/types.h>
#include <linux/ioctl.h>

#define LG_IOCTL_VERSION	1

#define LG_IOC			0xB7

/* -- /dev/lguest ------------------------------------------------------------*/

/* Returns LG_IOCTL_VERSION. */
#define LG_GET_VERSION		_IO(LG_IOC, 0x00)
/* Returns a VM fd.  EBUSY: this process has a VM already.  EINTR: a signal came. */
#define LG_CREATE_VM		_IO(LG_IOC, 0x01)

/* The parts of the upper half of the address space (0xffff800000000000 up) in
 * which the host has mappings, sorted, not touching.  A guest that keeps out of
 * them runs without the global-pages fallback. */
#define LG_MAX_WINDOWS		64
struct lg_window {
	__u64 start;		/* inclusive, 2 MiB aligned */
	__u64 end;		/* exclusive; 0 for the end of the address space */
};
struct lg_host_windows {
	__u32 count;
	__u32 reserved;
	struct lg_window window[LG_MAX_WINDOWS];
};
#define LG_GET_HOST_WINDOWS	_IOR(LG_IOC, 0x02, struct lg_host_windows)

/* -- VM ---------------------------------------------------------------------*/

/* Give the guest memory: [gpa, gpa + size) is the launcher's memory at
 * userspace_addr.  All page aligned.  size 0 removes the slot.  Slots may not
 * overlap (EEXIST) nor exceed LG_MAX_GPA (EINVAL). */
#define LG_MAX_SLOTS		32
#define LG_MAX_GPA		(1ULL << 40)
#define LG_MEM_READONLY		(1u << 0)
struct lg_memory_slot {
	__u32 slot;
	__u32 flags;
	__u64 gpa;
	__u64 size;
	__u64 userspace_addr;
};
#define LG_SET_MEMORY_SLOT	_IOW(LG_IOC, 0x10, struct lg_memory_slot)

/* Argument: vCPU index 0..LG_MAX_VCPUS-1.  Returns a vCPU fd.  EEXIST. */
#define LG_MAX_VCPUS		64
#define LG_CREATE_VCPU		_IO(LG_IOC, 0x11)

/* Raise interrupt `vector` (32..255) on vCPU `vcpu`. */
struct lg_interrupt {
	__u32 vcpu;
	__u32 vector;
};
#define LG_INTERRUPT		_IOW(LG_IOC, 0x12, struct lg_interrupt)

/* Bind an eventfd to that; flags: LG_FD_UNBIND takes it off again. */
#define LG_FD_UNBIND		(1u << 0)
struct lg_irqfd {
	__s32 fd;
	__u32 flags;
	__u32 vcpu;
	__u32 vector;
};
#define LG_IRQFD		_IOW(LG_IOC, 0x13, struct lg_irqfd)

/* Signal an eventfd at LG_HC_DOORBELL(slot, queue) instead of an exit. */
struct lg_ioeventfd {
	__s32 fd;
	__u32 flags;
	__u32 slot;
	__u32 queue;
};
#define LG_IOEVENTFD		_IOW(LG_IOC, 0x14, struct lg_ioeventfd)

/* Counters of the VM, all vCPUs summed, monotonic. */
#define LG_COUNTERS(X)								\
	X(enters)		/* world switches into the guest */		\
	X(exit_hypercall)							\
	X(exit_page_fault)	/* #PF, shadow misses included */		\
	X(exit_exception)	/* other exceptions and int n */		\
	X(exit_interrupt)	/* host interrupts */				\
	X(exit_nmi)								\
	X(exit_return_to_user)	/* slow returns to user */			\
	X(exit_syscall)		/* slow system calls */				\
	X(exits_to_launcher)							\
	X(events_injected)							\
	X(interrupts_injected)							\
	X(halts)								\
	X(instructions_emulated)						\
	X(root_loads)								\
	X(shadow_fills)		/* misses answered */				\
	X(shadow_synced_entries)	/* leaf entries written by them */	\
	X(shadow_flushes)							\
	X(shadow_tables)	/* tables built */				\
	X(shadow_evictions)							\
	X(tlb_kicks)		/* other CPUs interrupted for a flush */	\
	X(global_pages_fallback)	/* enters with CR4.PGE toggled */
struct lg_stats {
#define X(name) __u64 name;
	LG_COUNTERS(X)
#undef X
};
#define LG_GET_STATS		_IOR(LG_IOC, 0x15, struct lg_stats)

/* -- vCPU -------------------------------------------------------------------*/

/* Registers, complete enough to save and restore a vCPU between two LG_RUN.
 * LG_SET_REGS checks canonical addresses and selectors (EINVAL). */
struct lg_regs {
	__u64 rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp;
	__u64 r8, r9, r10, r11, r12, r13, r14, r15;
	__u64 rip, rflags;
	__u64 cs, ss, ds, es, fs, gs;
	__u64 fs_base, gs_base;
	__u64 cr3;
	__u32 user_mode;		/* 1: the user view is loaded */
	__u32 halted;
	__u64 vcpu_page, time_page;	/* gpa, ~0: none registered */
	__u64 kernel_gs_base;
	__u64 event_from_user, event_from_kernel, syscall_from_user, return_to_user;
	__u64 tls[3];
	__u64 cpunode;
	__u64 timer_deadline;		/* 0: none */
	__u64 pending[4];		/* interrupts, one bit per vector */
};
#define LG_GET_REGS		_IOR(LG_IOC, 0x20, struct lg_regs)
#define LG_SET_REGS		_IOW(LG_IOC, 0x21, struct lg_regs)

/* Run until there is something for the launcher to do; see struct lg_run.
 * EINTR: a signal is pending, immediate_exit was set, or the thread has other work to
 * do on its way to user space (restartable sequences, for one): call again. */
#define LG_RUN			_IO(LG_IOC, 0x22)

/* The run page: mmap one page at offset 0 of the vCPU fd, shared. */
enum lg_exit_reason {
	LG_EXIT_NONE = 0,
	LG_EXIT_BUS_READ,	/* bus: fill in value, then LG_RUN again */
	LG_EXIT_BUS_WRITE,	/* bus */
	LG_EXIT_DOORBELL,	/* bus: slot and queue, no ioeventfd is bound */
	LG_EXIT_CONSOLE,	/* text */
	LG_EXIT_SHUTDOWN,	/* status */
	LG_EXIT_REBOOT,
	LG_EXIT_PANIC,		/* text */
	LG_EXIT_KILLED,		/* killed: the module stopped the guest */
	LG_EXIT_VCPU_DOWN,	/* this vCPU waits for LG_HC_VCPU_UP */
};

#define LG_TEXT_MAX		2048

struct lg_run {
	__u32 exit_reason;
	__u8 immediate_exit;	/* launcher: make LG_RUN return EINTR at once */
	__u8 reserved[3];
	union {
		struct {
			__u64 address;	/* on the bus; doorbell: slot */
			__u64 value;	/* doorbell: queue */
			__u32 width;	/* 1, 2, 4, 8 */
		} bus;
		struct {
			__u32 length;	/* at most LG_TEXT_MAX */
			char data[LG_TEXT_MAX];	/* guest-controlled bytes */
		} text;
		struct {
			__u32 status;
		} shutdown;
		struct {
			char reason[256];	/* NUL-terminated, one line */
			__u64 rip, address;
			__u32 vector, user_mode;
		} killed;
	} u;
};

#endif
