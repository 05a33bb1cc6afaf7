/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * State that no switch may touch: FPU, SSE, AVX, general registers, while the host
 * interrupts, preempts and moves the vCPU.  Payloads for tests in C++; they run until
 * bit 0 of D_ARGUMENT is set from outside.
 */
#include "payload.h"

	/* XMM or YMM registers and the x87 stack full of numbers. */
	.macro fill_vectors_ width
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	movabsq	$(0x0101010101010101 * (\n + 1)), %rax
	pushq	%rax
	notq	%rax
	pushq	%rax
	pushq	%rax
	notq	%rax
	pushq	%rax
	.if \width == 32
	vmovdqu	(%rsp), %ymm\n
	.else
	movdqu	(%rsp), %xmm\n
	.endif
	addq	$32, %rsp
	.endr
	.endm

	.macro check_vectors_ width
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	subq	$32, %rsp
	.if \width == 32
	vmovdqu	%ymm\n, (%rsp)
	.else
	movdqu	%xmm\n, (%rsp)
	.endif
	movabsq	$(0x0101010101010101 * (\n + 1)), %rax
	EXPECT(0(%rsp), %rax)
	.if \width == 32
	EXPECT(24(%rsp), %rax)
	.endif
	notq	%rax
	EXPECT(8(%rsp), %rax)
	.if \width == 32
	EXPECT(16(%rsp), %rax)
	.endif
	addq	$32, %rsp
	.endr
	.endm

	/* In user mode, with system calls between, until told to stop. */
	.macro vectors_ width
	ON_SYSCALL(3f)
	fninit
	pushq	$0x1f80
	ldmxcsr	(%rsp)
	popq	%rax
	fldpi
	ENTER_USER(1f)
1:	fill_vectors_ \width
2:	check_vectors_ \width
	syscall
	jmp	2b
3:	testl	$1, GS(D_ARGUMENT)
	jne	4f
	incq	VAR(0)
	testl	$15, VAR(0)			/* now and then through the host */
	jne	5f
	HYPERCALL(LG_HC_WALLCLOCK)
5:	movq	PAGE(user_rip), %rcx
	movq	%rcx, PAGE(user_rcx)
	GO_TO_USER
4:	check_vectors_ \width
	fldpi
	fcomip	%st(1), %st
	je	6f
	FAIL
6:	PASS
	.endm

CODE(keeps_sse_state)
	vectors_ 16

CODE(keeps_avx_state)
	vectors_ 32

/* All general registers, computing only: whatever interrupts, interrupts this. */
CODE(keeps_registers_while_computing)
	ON_SYSCALL(3f)
	ENTER_USER(1f)
1:	FILL_REGISTERS
	movl	$100, USER_DATA
2:	EXPECT_ALL_REGISTERS
	decl	USER_DATA
	jne	2b
	syscall
3:	testl	$1, GS(D_ARGUMENT)
	jne	4f
	incq	VAR(0)
	ENTER_USER(1b)
4:	TELL(VAR(0))
	PASS

/* System calls, returns by SYSRETQ and by IRETQ, hypercalls, exceptions, in turn. */
CODE(switches_all_the_time)
	ON_SYSCALL(3f)
	ON_USER(7f)
	ENTER_USER(1f)
1:	FILL_REGISTERS
	syscall				/* back by SYSRETQ */
	EXPECT_REGISTERS_OF_SYSCALL
	FILL_REGISTERS
	int3				/* back by IRETQ: RCX and R11 as well */
	EXPECT_ALL_REGISTERS
	jmp	1b
3:	testl	$1, GS(D_ARGUMENT)
	jne	6f
	incq	VAR(0)
	movq	PAGE(user_rip), %rcx
	movq	%rcx, PAGE(user_rcx)
	movq	PAGE(user_rflags), %rcx
	movq	%rcx, PAGE(user_r11)
	testl	$7, VAR(0)
	jne	5f
	movq	%rax, VAR(1)
	movl	$LG_HC_MAX + 1, %eax
	syscall
	EXPECT(%rax, $NR_ENOSYS)
	movq	VAR(1), %rax
5:	GO_TO_USER
7:	movq	%rcx, PAGE(user_rcx)
	movq	%r11, PAGE(user_r11)
	movl	$0, PAGE(event_busy)
	incq	VAR(2)
	GO_TO_USER
6:	TELL(VAR(0))
	TELL(VAR(2))
	PASS

/* Spin with interrupts off, in kernel mode. */
CODE(spins_in_the_kernel)
	SYNC
1:	jmp	1b

CODE(spins_in_user_mode)
	SYNC
	ENTER_USER(1f)
1:	jmp	1b

/* Read PLAY until it is 0, having been 1: memory that is taken away meanwhile. */
CODE(waits_for_memory_to_be_zero)
	movl	$1, PLAY
	SYNC
1:	cmpl	$0, PLAY
	jne	1b
	movl	$2, PLAY
	EXPECT32(GPA_PLAY(%r15), $2)
	PASS

/* Write PLAY's pages over and over. */
CODE(writes_all_the_time)
	SYNC
1:	movl	$PLAY, %edi
	movl	$16, %ecx
2:	incq	(%rdi)
	addq	$0x1000, %rdi
	decl	%ecx
	jne	2b
	testl	$1, GS(D_ARGUMENT)
	je	1b
	PASS

/* Touch a page that is in no slot, once the test has taken it away. */
CODE(reads_free_memory)
	movl	GPA_FREE(%r15), %eax
	SYNC
	movl	GPA_FREE(%r15), %eax
	TELL(%rax)
	PASS

/* PLAY's first page: tell what is there, then write to it. */
CODE(writes_free_memory)
	TELL(PLAY)
	movq	$1, PLAY
	TELL(PLAY)
	PASS

	/* struct lg_vcpu_start at GPA_SCRATCH, then up with vCPU 1.  Its RDI is R15. */
	.macro start_vcpu_1_ entry
	leaq	GPA_SCRATCH(%r15), %rbx
	leaq	\entry(%rip), %rax
	movq	%rax, (%rbx)
	leaq	GPA_STACK + 0x1000(%r15), %rax
	movq	%rax, 8(%rbx)
	movq	GS(D_ROOT), %rax
	movq	%rax, 16(%rbx)
	rdgsbase %rax
	movq	%rax, 24(%rbx)
	movq	%r15, 32(%rbx)
	movl	$1, %edi
	movl	$GPA_SCRATCH, %esi
	HYPERCALL(LG_HC_VCPU_UP)
	EXPECT(%rax, $0)
	.endm

/* vCPU 0 lets PLAY be one frame and then another, each newer than the last, flushes, and
 * says which number is to be seen there at least.  vCPU 1 looks: anything older comes
 * out of a TLB that the flush did not reach. */
#define TURNS	1000
CODE(flushes_while_another_vcpu_reads)
	movq	$0, GPA_PLAY(%r15)
	movq	$0, VAR(0)
	start_vcpu_1_ 5f
	movl	$1, %r12d
	movq	GS(D_PLAY_ENTRY), %rbx
1:	movl	%r12d, %eax
	andl	$1, %eax
	shll	$12, %eax
	addl	$GPA_FREE, %eax
	movq	%r12, (%r15, %rax)
	orl	$0x67, %eax
	movq	%rax, (%rbx)
	xorl	%edi, %edi
	movl	$PLAY, %esi
	HYPERCALL(LG_HC_FLUSH_PAGE)
	movq	%r12, VAR(0)
	incl	%r12d
	cmpl	$TURNS, %r12d
	jbe	1b
2:	cmpq	$0, VAR(1)			/* the other has seen the last one */
	je	2b
	PASS
5:	movq	VAR(0), %rcx
	movq	PLAY, %rax
	cmpq	%rcx, %rax
	jae	6f
	EXPECT(%rax, %rcx)
6:	cmpq	$TURNS, %rcx
	jb	5b
	movq	$1, VAR(1)
	PASS

/* vCPU 1 counts to a thousand in memory, in kernel mode, without a vCPU page. */
CODE(starts_another_vcpu)
	start_vcpu_1_ 1f
	movl	$1, %edi
	movl	$GPA_SCRATCH, %esi
	HYPERCALL(LG_HC_VCPU_UP)
	EXPECT(%rax, $-16)			/* EBUSY: it runs */
	movq	$1, VAR(1)
2:	cmpl	$1000, GPA_PLAY(%r15)
	jne	2b
	TELL(GPA_PLAY(%r15))
	PASS
1:	EXPECT(%rdi, GS(D_DIRECT))
	EXPECT(%r15, $0)
4:	cmpq	$0, VAR(1)
	je	4b
3:	lock incl GPA_PLAY(%rdi)
	cmpl	$1000, GPA_PLAY(%rdi)
	jne	3b
	HYPERCALL(LG_HC_VCPU_DOWN)
	FAIL

/* Writes to an address that the launcher watches. */
CODE(writes_to_argument)
	movq	GS(D_ARGUMENT), %rbx
	movl	$100, %ecx
1:	movl	%ecx, (%rbx)
	loop	1b
	ON_SYSCALL(3f)
	ENTER_USER(2f)
2:	movl	$7, (%rbx)
	syscall
3:	PASS

CODE(halts_for_ever)
	SYNC
	HYPERCALL(LG_HC_HALT)
	FAIL

CODE(stops_its_vcpu)
	SYNC
	HYPERCALL(LG_HC_VCPU_DOWN)
	FAIL

/* A user program's protection keys end at its border, where the CPU has them. */
PAYLOAD(protection_keys_of_a_user_program)
	ON_SYSCALL(8f)
	ON_USER(7f)
	ENTER_USER(1f)
1:	xorl	%ecx, %ecx
	xorl	%edx, %edx
	movl	$0x55555554, %eax
	wrpkru				/* #UD where the host has none */
	movl	$0x77, USER_DATA
	movl	$0x55555555, %eax		/* not even a stack */
	xorl	%ecx, %ecx
	wrpkru
	syscall
8:	movl	$0x78, PLAY
	EXPECT32(PLAY, $0x78)
	EXPECT32(USER_DATA, $0x77)
	ON_SYSCALL(9f)
	ENTER_USER(2f)
2:	movl	USER_DATA, %ebx
	syscall
9:	EXPECT(%rbx, $0x77)
	PASS
7:	EXPECT_EVENT(6, 0)
	PASS

/* What it has in registers and memory when it says SYNC, it has in another VM. */
CODE(moves_to_another_vm)
	ON_SYSCALL(2f)
	movabsq	$0x0040f371000000ff, %rsi	/* base USER_DATA, 32-bit data */
	xorl	%edi, %edi
	HYPERCALL(LG_HC_SET_TLS)
	EXPECT(%rax, $0)
	movl	$1, %edi			/* a timer in the past: pending */
	HYPERCALL(LG_HC_SET_TIMER)
	movl	$0x123, USER_DATA
	movl	$0x712000, %eax
	wrfsbase %rax
	movabsq	$0x1122334455660000, %rbx
	movq	%rsp, VAR(0)
	SYNC
	EXPECT_WIDE(%rbx, $0x1122334455660000)
	EXPECT(%rsp, VAR(0))
	rdfsbase %rax
	EXPECT(%rax, $0x712000)
	HYPERCALL(LG_HC_NEXT_IRQ)
	EXPECT(%rax, $LG_VECTOR_TIMER)
	ENTER_USER(1f)
1:	movl	$0x63, %eax
	movl	%eax, %gs
	EXPECT32(%gs:0, $0x123)
	syscall
2:	PASS

CODE(just_passes)
	PASS

	.section .note.GNU-stack, "", @progbits
