/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Hypercalls: numbers and arguments nobody should use, the batch ring, the vCPU page
 * registered badly and moved, devices, CPUID.
 */
#include "payload.h"

/* -- numbers ------------------------------------------------------------------------------- */

PAYLOAD(unknown_hypercalls)
	.irp	number, 0, LG_HC_MAX + 1, 1000, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000001, 0x8000000000000000, -2
	movabsq	$\number, %rax
	syscall
	EXPECT(%rax, $NR_ENOSYS)
	.endr
	PASS

PAYLOAD(hypercalls_preserve_registers)
	FILL_REGISTERS
	movq	$LG_HC_MAX + 1, %rax
	syscall
	movabsq	$0x11223344556600a1, %rcx
	EXPECT(%rax, $NR_ENOSYS)
	xchgq	%rax, %rcx
	EXPECT_REGISTERS_OF_SYSCALL
	PASS

/* Everything but what ends the guest or blocks, with each argument at its extremes.
 * Nothing is expected of the results; the host must not mind. */
PAYLOAD(hypercall_arguments_at_extremes)
	.irp	number, LG_HC_REGISTER_VCPU, LG_HC_VCPU_UP, LG_HC_SET_TIME_PAGE, LG_HC_WALLCLOCK, LG_HC_KICK, LG_HC_FLUSH_PAGE, LG_HC_FLUSH_RANGE, LG_HC_RELEASE_TABLE, LG_HC_SET_TLS, LG_HC_SET_LDT, LG_HC_SET_CPUNODE, LG_HC_CPUID
	.irp	value, 0, 1, 0xfff, 0xffffff, MEMORY_SIZE, 0xffffffff, 0x7fffffffffffffff, 0x8000000000000000, -4096, -8, -1
	movabsq	$\value, %rdi
	movq	%rdi, %rsi
	movq	%rdi, %rdx
	movq	%rdi, %r10
	movq	%rdi, %r8
	movl	$\number, %eax
	syscall
	xorl	%esi, %esi
	movl	$\number, %eax
	syscall
	movq	%rdi, %rsi
	xorl	%edi, %edi
	movl	$\number, %eax
	syscall
	.endr
	.endr
	movl	PLAY, %eax			/* flushed, but all there */
	PASS

/* -- batch ---------------------------------------------------------------------------------------- */

PAYLOAD(batch_runs_in_order_before_anything_else)
	movq	GS(D_OTHER_ROOT), %rax
	movq	$LG_HC_LOAD_ROOT, PAGE(batch)
	movq	%rax, PAGE(batch + 8)
	movq	GS(D_ROOT), %rax
	movq	$LG_HC_LOAD_ROOT, PAGE(batch + 32)
	movq	%rax, PAGE(batch + 40)
	movq	$LG_HC_SET_TLS, PAGE(batch + 64)
	movq	$77, PAGE(batch + 72)		/* fails, and nobody hears of it */
	movl	$3, PAGE(batch_count)
	HYPERCALL(LG_HC_WALLCLOCK)
	EXPECT32(PAGE(batch_count), $0)
	movq	%cr3, %rax
	EXPECT(%rax, GS(D_ROOT))
	PASS

/* No more than there is room for is ever run. */
PAYLOAD(batch_count_of_all_ones)
	leaq	GPA_VCPU_PAGE + VCPU_batch(%r15), %rdi
	movl	$64, %ecx
1:	movq	$LG_HC_FLUSH_PAGE, (%rdi)
	addq	$32, %rdi
	decl	%ecx
	jne	1b
	movl	$0xffffffff, PAGE(batch_count)
	HYPERCALL(LG_HC_WALLCLOCK)
	EXPECT32(PAGE(batch_count), $0)
	PASS

KILLED(batch_with_a_call_that_may_not_be_in_one, "in a batch")
	movq	$LG_HC_HALT, PAGE(batch)
	movl	$1, PAGE(batch_count)
	HYPERCALL(LG_HC_WALLCLOCK)
	FAIL

KILLED(batch_with_an_unknown_number, "in a batch")
	movq	$-1, PAGE(batch)
	movl	$1, PAGE(batch_count)
	HYPERCALL(LG_HC_WALLCLOCK)
	FAIL

KILLED(batch_count_beyond_what_was_filled, "hypercall 0 in a batch")
	movq	$LG_HC_FLUSH_MM, PAGE(batch)
	movl	$2, PAGE(batch_count)
	HYPERCALL(LG_HC_WALLCLOCK)
	FAIL

/* A batch runs before a system call's direct return, too. */
PAYLOAD(batch_runs_before_returning_to_user)
	ON_SYSCALL(9f)
	ON_USER(8f)
	movl	$1, PLAY
	movq	GS(D_PLAY_ENTRY), %rbx
	movq	$0, (%rbx)
	movq	$LG_HC_FLUSH_PAGE, PAGE(batch)
	movq	$PLAY, PAGE(batch + 16)
	movl	$1, PAGE(batch_count)
	ENTER_USER(1f)
1:	movl	PLAY, %eax
	syscall
9:	FAIL
8:	EXPECT_EVENT(14, 4)
	PASS

/* -- the vCPU page ------------------------------------------------------------------------------------ */

	/* A valid registration at GPA_SCRATCH.  Clobbers RAX, RBX. */
	.macro registration_
	leaq	GPA_SCRATCH(%r15), %rbx
	movq	$GPA_VCPU_PAGE, (%rbx)
	rdgsbase %rax
	movq	%rax, 8(%rbx)
	.irp	field, event_from_user, event_from_kernel, syscall_from_user, return_to_user
	leaq	\field(%rip), %rax
	addq	$8, %rbx
	movq	%rax, 8(%rbx)
	.endr
	leaq	GPA_SCRATCH(%r15), %rbx
	.endm
#define REGISTER	movl $GPA_SCRATCH, %edi; HYPERCALL(LG_HC_REGISTER_VCPU)

PAYLOAD_FLAGS(registration_is_checked, F_UNREGISTERED)
	.irp	page, 0x1008, 1, MEMORY_SIZE, 0x7ffffffffffff000, 0xfffffffffffff000
	registration_
	movabsq	$\page, %rax
	movq	%rax, (%rbx)
	REGISTER
	EXPECT(%rax, $NR_EINVAL)
	.endr
	.irp	field, 8, 16, 24, 32, 40
	registration_
	movabsq	$0x800000000000, %rax
	movq	%rax, \field(%rbx)
	REGISTER
	EXPECT(%rax, $NR_EINVAL)
	.endr
	.irp	gpa, MEMORY_SIZE, 0xfffff8, -8, 0x8000000000000000
	movabsq	$\gpa, %rdi
	HYPERCALL(LG_HC_REGISTER_VCPU)
	EXPECT(%rax, $NR_EINVAL)
	.endr
	registration_
	REGISTER
	EXPECT(%rax, $0)
	ON_KERNEL(1f)
	ud2
1:	EXPECT_EVENT(6, 0)
	PASS

/* Its contents move along, and from then on the old page is memory like any other. */
PAYLOAD(vcpu_page_moves)
	movl	$0x99, PAGE(event_vector)
	registration_
	movq	$GPA_FREE, (%rbx)
	REGISTER
	EXPECT(%rax, $0)
	EXPECT32(GPA_FREE + VCPU_event_vector(%r15), $0x99)
	movq	$-1, GPA_VCPU_PAGE(%r15)		/* nobody looks there */
	xorl	%edi, %edi
	movl	$0x77, %esi
	HYPERCALL(LG_HC_IPI)
	EXPECT32(GPA_FREE + VCPU_irq_pending(%r15), $1)
	ON_KERNEL(1f)
	ud2
1:	EXPECT32(GPA_FREE + VCPU_event_vector(%r15), $6)
	EXPECT32(GPA_FREE + VCPU_event_busy(%r15), $1)
	PASS

PAYLOAD(vcpu_page_is_registered_a_thousand_times)
	movl	$1000, %r12d
1:	registration_
	testl	$1, %r12d
	jnz	2f
	movq	$GPA_FREE, (%rbx)
2:	REGISTER
	EXPECT(%rax, $0)
	decl	%r12d
	jne	1b
	ON_KERNEL(3f)
	ud2
3:	EXPECT_EVENT(6, 0)
	PASS

/* Entry points are the guest's to choose badly: what comes of it is an exception. */
KILLED(entry_point_that_is_not_mapped, "while another event was being taken")
	registration_
	movq	$0x12345, 24(%rbx)
	REGISTER
	ud2

/* The vCPU page unmapped from the guest's own tables is none of the host's concern. */
PAYLOAD(vcpu_page_need_not_be_mapped)
	ON_KERNEL(9f)
	movq	GS(D_DIRECT), %rbx
	movabsq	$VCPU_PAGE, %rax
	addq	%rax, %rbx
	movq	$GPA_VCPU_PAGE + VCPU_event_vector, %rbp
	addq	%r15, %rbp
	ud2
9:	EXPECT32((%rbp), $6)
	PASS

/* -- devices and CPUID ----------------------------------------------------------------------------------- */

PAYLOAD(bus_accesses_are_checked)
	.irp	call, LG_HC_BUS_READ, LG_HC_BUS_WRITE
	.irp	width, 0, 3, 5, 16, 0x100000001, -1
	movl	$PORT_SYNC, %edi
	movabsq	$\width, %rsi
	HYPERCALL(\call)
	EXPECT(%rax, $NR_EINVAL)
	.endr
	.irp	address, 0x20000, 0xffffffff, 0x100000000, -1
	movabsq	$\address, %rdi
	movl	$4, %esi
	HYPERCALL(\call)
	EXPECT(%rax, $NR_EINVAL)
	.endr
	.endr
	.irp	slot, 32, 0xffffffff, -1
	movabsq	$\slot, %rdi
	xorl	%esi, %esi
	HYPERCALL(LG_HC_DOORBELL)
	EXPECT(%rax, $NR_EINVAL)
	.endr
	PASS

/* For the test of the same name in C++. */
CODE(bus_values_pass_both_ways)
	movl	$0x3010, %edi
	movl	$4, %esi
	FILL_REGISTERS
	movl	$0x3010, %edi
	movl	$4, %esi
	HYPERCALL(LG_HC_BUS_READ)
	EXPECT_WIDE(%rax, $0xfedcba9876543210)
	movabsq	$0x11223344556600b2, %rax
	EXPECT(%rbx, %rax)
	movl	$0x3018, %edi
	movl	$8, %esi
	movabsq	$0x0123456789abcdef, %rdx
	HYPERCALL(LG_HC_BUS_WRITE)
	EXPECT(%rax, $0)
	movl	$3, %edi
	movl	$2, %esi
	HYPERCALL(LG_HC_DOORBELL)
	PASS

CODE(says_hello_and_panics)
	leaq	1f(%rip), %rdi
	subq	%r15, %rdi
	movl	$5, %esi
	HYPERCALL(LG_HC_CONSOLE)
	EXPECT(%rax, $0)
	movl	$MEMORY_SIZE, %edi
	HYPERCALL(LG_HC_CONSOLE)
	EXPECT(%rax, $NR_EINVAL)
	leaq	2f(%rip), %rdi
	subq	%r15, %rdi
	movq	$3, %rsi
	HYPERCALL(LG_HC_PANIC)
1:	.ascii	"hello"
2:	.ascii	"ouch"

/* Its doorbell comes back as its interrupt, and the launcher is asleep. */
CODE(rings_its_own_bell)
	movl	$3, %edi
	movl	$2, %esi
	HYPERCALL(LG_HC_DOORBELL)
	EXPECT(%rax, $0)
	HYPERCALL(LG_HC_NEXT_IRQ)
	EXPECT(%rax, $0x77)
	movl	$3, %edi
	movl	$1, %esi			/* another queue: the launcher's */
	HYPERCALL(LG_HC_DOORBELL)
	PASS

CODE(reboots)
	HYPERCALL(LG_HC_REBOOT)
	ud2

/* What the guest may not use is hidden: VMX, SVM, MONITOR, X2APIC, PCID without PGE. */
PAYLOAD(cpuid_is_filtered)
	movl	$1, %edi
	xorl	%esi, %esi
	movl	$GPA_SCRATCH, %edx
	HYPERCALL(LG_HC_CPUID)
	EXPECT(%rax, $0)
	movl	GPA_SCRATCH + 8(%r15), %ecx
	EXPECT_CLEAR(%rcx, $(1 << 5 | 1 << 3))
	movl	GPA_SCRATCH + 12(%r15), %edx
	EXPECT_BITS(%rdx, $(1 << 25 | 1 << 26))		/* SSE, SSE2 */
	movl	$0x40000000, %edi
	movl	$GPA_SCRATCH, %edx
	HYPERCALL(LG_HC_CPUID)
	EXPECT(%rax, $0)
	xorl	%edi, %edi
	movl	$MEMORY_SIZE, %edx
	HYPERCALL(LG_HC_CPUID)
	EXPECT(%rax, $NR_EINVAL)
	PASS

PAYLOAD(vcpu_up_of_nobody_and_of_itself)
	movl	$1, %edi
	movl	$GPA_SCRATCH, %esi
	HYPERCALL(LG_HC_VCPU_UP)
	EXPECT(%rax, $NR_ENOENT)
	movq	$-1, %rdi
	HYPERCALL(LG_HC_VCPU_UP)
	EXPECT(%rax, $NR_ENOENT)
	xorl	%edi, %edi
	movl	$GPA_SCRATCH, %esi
	HYPERCALL(LG_HC_VCPU_UP)
	EXPECT(%rax, $-16)			/* EBUSY */
	PASS

/* A kick that comes first is not lost. */
PAYLOAD(kick_before_park)
	xorl	%edi, %edi
	HYPERCALL(LG_HC_KICK)
	HYPERCALL(LG_HC_PARK)
	PASS

/* -- endurance ---------------------------------------------------------------------------------------------- */

/* For C++ tests: `argument` hypercalls, all registers checked after each. */
CODE(many_hypercalls)
	movq	%r15, VAR(1)
1:	FILL_REGISTERS
	movl	$LG_HC_MAX + 1, %eax
	syscall
	EXPECT(%rax, $NR_ENOSYS)
	movabsq	$0x11223344556600a1, %rax
	EXPECT_REGISTERS_OF_SYSCALL
	decq	GS(D_ARGUMENT)
	jne	1b
	PASS

	.section .note.GNU-stack, "", @progbits
