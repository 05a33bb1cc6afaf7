/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The first things that have to work: a few instructions, a hypercall, the end.
 */
#include "payload.h"

/* Ten instructions and out: the sum of 1 to 10, then exit status 42. */
CODE(smoke)
	xorl	%edx, %edx
	movl	$10, %ecx
1:	addq	%rcx, %rdx
	loop	1b
	movl	$PORT_VALUE, %edi
	movl	$8, %esi
	HYPERCALL(LG_HC_BUS_WRITE)
	movl	$42, %edi
	HYPERCALL(LG_HC_SHUTDOWN)

PAYLOAD_FLAGS(starts_without_a_vcpu_page, F_UNREGISTERED)
	EXPECT(%rax, $0)
	EXPECT(%r15, GS(D_DIRECT))
	PASS

/* Before there is one, a return to user mode has nothing to return by. */
KILLED_FLAGS(returns_without_a_vcpu_page, "no vCPU page is registered", F_UNREGISTERED)
	leaq	return_to_user(%rip), %rax
	subq	$2, %rax		/* the SYSCALL */
	jmp	*%rax

/* Register by hypercall, as a kernel does, and take an exception. */
PAYLOAD_FLAGS(registers_its_vcpu_page, F_UNREGISTERED)
	leaq	GPA_SCRATCH(%r15), %rbx
	movq	$GPA_VCPU_PAGE, (%rbx)
	rdgsbase %rax
	movq	%rax, 8(%rbx)
	leaq	event_from_user(%rip), %rax
	movq	%rax, 16(%rbx)
	leaq	event_from_kernel(%rip), %rax
	movq	%rax, 24(%rbx)
	leaq	syscall_from_user(%rip), %rax
	movq	%rax, 32(%rbx)
	leaq	return_to_user(%rip), %rax
	movq	%rax, 40(%rbx)
	movl	$GPA_SCRATCH, %edi
	HYPERCALL(LG_HC_REGISTER_VCPU)
	EXPECT(%rax, $0)
	ON_KERNEL(1f)
	ud2
1:	EXPECT_EVENT(6, 0)
	PASS

PAYLOAD(goes_to_user_and_back)
	ON_SYSCALL(2f)
	ENTER_USER(1f)
1:	movl	$7, %eax
	syscall
2:	EXPECT(%rax, $7)
	PASS

	.section .note.GNU-stack, "", @progbits
