/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What all payloads share: the entry points registered for them, the way to user
 * mode, and the reports of failures.
 */
#include "payload.h"

CODE(event_from_kernel)
	jmp	*GS(D_ON_KERNEL)

CODE(event_from_user)
	jmp	*GS(D_ON_USER)

CODE(syscall_from_user)
	cmpq	$USER_FAIL, %rax
	je	report_from_kernel
	jmp	*GS(D_ON_SYSCALL)

/* The frame is in the vCPU page. */
CODE(go_to_user)
	syscall
	.globl return_to_user
return_to_user:
	ud2

/* RDX: line, R10: found, R8: expected.  In either mode. */
CODE(report_failure)
	leaq	report_failure(%rip), %rax
	testq	%rax, %rax
	js	report_from_kernel
	movq	$USER_FAIL, %rax
	syscall
	ud2
report_from_kernel:
	movl	$PORT_FAIL, %edi
	movl	$8, %esi
	HYPERCALL(LG_HC_BUS_WRITE)
	ud2

/* An event or a system call that the payload did not announce. */
CODE(unexpected_kernel)
	xorl	%edx, %edx
	jmp	1f
CODE(unexpected_user)
	movl	$1, %edx
	jmp	1f
CODE(unexpected_syscall)
	movl	$2, %edx
1:	movl	$PORT_EVENT, %edi
	movl	$8, %esi
	HYPERCALL(LG_HC_BUS_WRITE)
	ud2

	.section .note.GNU-stack, "", @progbits
