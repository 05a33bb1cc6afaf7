/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Interrupts: held back while virtual IF is clear, delivered when it is set, by all
 * the ways that set it; the timer; HALT.
 */
#include "payload.h"

#define MY_VECTOR	0x77

#define EXPECT_INTERRUPT(vector)	EXPECT_EVENT(vector, 0)
#define SELF_IPI(vector)		\
	xorl %edi, %edi; movl $vector, %esi; HYPERCALL(LG_HC_IPI); EXPECT(%rax, $0)
#define ENABLE			movl $X86_IF, PAGE(irq_flags)
#define DISABLE			movl $0, PAGE(irq_flags)

/* -- pending, then delivered ------------------------------------------------------------------ */

PAYLOAD(interrupt_waits_while_disabled)
	SELF_IPI(MY_VECTOR)
	EXPECT32(PAGE(irq_pending), $1)
	EXPECT32(PAGE(event_busy), $0)
	EXPECT32(PAGE(irq_flags), $0)
	PASS

PAYLOAD(interrupt_arrives_by_irq_window)
	ON_KERNEL(9f)
	SELF_IPI(MY_VECTOR)
	ENABLE
	FILL_REGISTERS
	HYPERCALL(LG_HC_IRQ_WINDOW)
1:	FAIL
9:	EXPECT_INTERRUPT(MY_VECTOR)
	EXPECT_KERNEL_RIP(1b)
	EXPECT(%rax, $0)			/* the call's result */
	EXPECT_BITS(PAGE(kernel_rflags), $X86_IF)
	EXPECT32(PAGE(irq_pending), $0)
	PASS

PAYLOAD(interrupt_arrives_on_return_to_user)
	ON_USER(9f)
	ON_SYSCALL(8f)
	SELF_IPI(MY_VECTOR)
	ENTER_USER(1f)
1:	syscall
8:	FAIL
9:	EXPECT_INTERRUPT(MY_VECTOR)
	EXPECT_USER_RIP(1b)
	EXPECT_BITS(PAGE(user_rflags), $X86_IF)
	PASS

PAYLOAD(interrupt_arrives_while_enabled)
	ON_KERNEL(9f)
	ENABLE
	xorl	%edi, %edi
	movl	$MY_VECTOR, %esi
	HYPERCALL(LG_HC_IPI)
1:	FAIL
9:	EXPECT_INTERRUPT(MY_VECTOR)
	EXPECT_KERNEL_RIP(1b)
	PASS

/* Linux's enable: set, look, ask.  Then unwind the frame by IRETQ: the classic race
 * is an interrupt between the two, whose frame would overwrite ours. */
PAYLOAD(interrupt_between_enabling_and_iret)
	ON_KERNEL(9f)
	leaq	7f(%rip), %rbx
	movl	$USER_DS, %eax
	movq	%rsp, %rcx
	pushq	%rax
	pushq	%rcx
	pushq	$0x202
	pushq	$USER_CS
	pushq	%rbx
	SELF_IPI(MY_VECTOR)
	SELF_IPI(MY_VECTOR + 1)
	ENABLE
	EXPECT32(PAGE(irq_pending), $1)
	HYPERCALL(LG_HC_IRQ_WINDOW)
	movl	$1, %r12d		/* both were taken before this line */
	iretq
7:	EXPECT(%r13, $2)
	EXPECT(%r12, $1)
	PASS
	/* The handler keeps the interrupted context on the stack, as Linux does. */
9:	pushq	PAGE(kernel_rip)
	pushq	PAGE(kernel_rsp)
	incq	%r13
	movl	$0, PAGE(event_busy)
	HYPERCALL(LG_HC_NEXT_IRQ)	/* drain, still disabled */
	testq	%rax, %rax
	js	8f
	incq	%r13
8:	popq	%rcx
	popq	%rax
	ENABLE
	movq	%rcx, %rsp
	jmp	*%rax

PAYLOAD(next_irq_takes_the_highest_first)
	SELF_IPI(0x41)
	SELF_IPI(0xfe)
	SELF_IPI(0x80)
	HYPERCALL(LG_HC_NEXT_IRQ)
	EXPECT(%rax, $0xfe)
	EXPECT32(PAGE(irq_pending), $1)
	HYPERCALL(LG_HC_NEXT_IRQ)
	EXPECT(%rax, $0x80)
	HYPERCALL(LG_HC_NEXT_IRQ)
	EXPECT(%rax, $0x41)
	EXPECT32(PAGE(irq_pending), $0)
	HYPERCALL(LG_HC_NEXT_IRQ)
	EXPECT(%rax, $NR_EAGAIN)
	PASS

PAYLOAD(interrupts_of_one_vector_merge)
	SELF_IPI(MY_VECTOR)
	SELF_IPI(MY_VECTOR)
	HYPERCALL(LG_HC_NEXT_IRQ)
	EXPECT(%rax, $MY_VECTOR)
	HYPERCALL(LG_HC_NEXT_IRQ)
	EXPECT(%rax, $NR_EAGAIN)
	PASS

PAYLOAD(interrupt_waits_while_an_event_is_being_taken)
	ON_KERNEL(9f)
	ud2
9:	movl	$X86_IF, PAGE(irq_flags)	/* a guest that forgets itself */
	SELF_IPI(MY_VECTOR)
	EXPECT32(PAGE(event_vector), $6)
	EXPECT32(PAGE(irq_pending), $1)
	ON_KERNEL(8f)
	movl	$0, PAGE(event_busy)
	HYPERCALL(LG_HC_IRQ_WINDOW)
	FAIL
8:	EXPECT_INTERRUPT(MY_VECTOR)
	PASS

PAYLOAD(exception_handler_keeps_interrupts_off)
	ON_KERNEL(9f)
	ENABLE
	ud2
9:	EXPECT_BITS(PAGE(kernel_rflags), $X86_IF)
	EXPECT_EVENT(6, 0)
	SELF_IPI(MY_VECTOR)
	EXPECT32(PAGE(irq_pending), $1)
	PASS

PAYLOAD(ipi_to_nobody_and_bad_vectors)
	movl	$1, %edi
	movl	$MY_VECTOR, %esi
	HYPERCALL(LG_HC_IPI)
	EXPECT(%rax, $NR_ENOENT)
	movl	$64, %edi
	HYPERCALL(LG_HC_IPI)
	EXPECT(%rax, $NR_ENOENT)
	movabsq	$0x100000000, %rdi
	HYPERCALL(LG_HC_IPI)
	EXPECT(%rax, $NR_ENOENT)
	movq	$-1, %rdi			/* all others: none */
	HYPERCALL(LG_HC_IPI)
	EXPECT(%rax, $0)
	EXPECT32(PAGE(irq_pending), $0)
	.irp	vector, 0, 13, 31, 256, 0x7fffffff, -1
	xorl	%edi, %edi
	movq	$\vector, %rsi
	HYPERCALL(LG_HC_IPI)
	EXPECT(%rax, $NR_EINVAL)
	.endr
	PASS

/* A kernel that says IF is set by other bits has it clear. */
PAYLOAD(irq_flags_is_bit_9_alone)
	movl	$~X86_IF, PAGE(irq_flags)
	SELF_IPI(MY_VECTOR)
	HYPERCALL(LG_HC_IRQ_WINDOW)
	EXPECT32(PAGE(irq_pending), $1)
	PASS

/* -- halt and timer ---------------------------------------------------------------------------- */

/* Nanoseconds of the time page's clock, in RAX.  Clobbers RCX, RDX, RSI. */
CODE(read_clock)
	leaq	GPA_SCRATCH(%r15), %rsi
	lfence
	rdtsc
	shlq	$32, %rdx
	orq	%rdx, %rax
	subq	8(%rsi), %rax		/* tsc_timestamp */
	movb	28(%rsi), %cl		/* tsc_shift, never negative here */
	shlq	%cl, %rax
	movl	24(%rsi), %edx		/* tsc_to_system_mul */
	mulq	%rdx
	shrdq	$32, %rdx, %rax
	addq	16(%rsi), %rax		/* system_time */
	ret

#define SET_TIME_PAGE	\
	movl $GPA_SCRATCH, %edi; HYPERCALL(LG_HC_SET_TIME_PAGE); EXPECT(%rax, $0)
#define MILLISECOND	1000000

PAYLOAD(halt_wakes_by_timer)
	ON_KERNEL(9f)
	SET_TIME_PAGE
	call	read_clock
	leaq	20 * MILLISECOND(%rax), %rdi
	movq	%rdi, VAR(0)
	HYPERCALL(LG_HC_SET_TIMER)
	HYPERCALL(LG_HC_HALT)
1:	FAIL
9:	EXPECT_INTERRUPT(LG_VECTOR_TIMER)
	EXPECT_KERNEL_RIP(1b)
	call	read_clock
	subq	VAR(0), %rax
	shrq	$63, %rax
	EXPECT(%rax, $0)			/* not before its time */
	PASS

PAYLOAD(timer_interrupts_a_busy_user)
	ON_USER(9f)
	SET_TIME_PAGE
	call	read_clock
	leaq	20 * MILLISECOND(%rax), %rdi
	HYPERCALL(LG_HC_SET_TIMER)
	ENTER_USER(1f)
1:	jmp	1b
9:	EXPECT_INTERRUPT(LG_VECTOR_TIMER)
	EXPECT_USER_RIP(1b)
	PASS

PAYLOAD(timer_interrupts_a_busy_kernel)
	ON_KERNEL(9f)
	SET_TIME_PAGE
	call	read_clock
	leaq	20 * MILLISECOND(%rax), %rdi
	HYPERCALL(LG_HC_SET_TIMER)
	ENABLE
1:	jmp	1b
9:	EXPECT_INTERRUPT(LG_VECTOR_TIMER)
	EXPECT_KERNEL_RIP(1b)
	PASS

/* irq_pending appears under a kernel that runs with interrupts off. */
PAYLOAD(timer_tells_a_busy_kernel_with_interrupts_off)
	SET_TIME_PAGE
	call	read_clock
	leaq	20 * MILLISECOND(%rax), %rdi
	HYPERCALL(LG_HC_SET_TIMER)
1:	cmpl	$0, PAGE(irq_pending)
	je	1b
	HYPERCALL(LG_HC_NEXT_IRQ)
	EXPECT(%rax, $LG_VECTOR_TIMER)
	PASS

PAYLOAD(timer_in_the_past_fires_at_once)
	movl	$1, %edi
	HYPERCALL(LG_HC_SET_TIMER)
	EXPECT(%rax, $0)
	HYPERCALL(LG_HC_NEXT_IRQ)
	EXPECT(%rax, $LG_VECTOR_TIMER)
	PASS

PAYLOAD(timer_can_be_cancelled)
	SET_TIME_PAGE
	call	read_clock
	leaq	300 * MILLISECOND(%rax), %rdi
	movq	%rdi, VAR(0)
	HYPERCALL(LG_HC_SET_TIMER)
	xorl	%edi, %edi
	HYPERCALL(LG_HC_SET_TIMER)
1:	call	read_clock
	subq	VAR(0), %rax
	js	1b
	cmpq	$(10 * MILLISECOND), %rax
	jb	1b
	HYPERCALL(LG_HC_NEXT_IRQ)
	EXPECT(%rax, $NR_EAGAIN)
	PASS

PAYLOAD(timer_of_absurd_deadlines)
	movq	$-1, %rdi
	HYPERCALL(LG_HC_SET_TIMER)
	EXPECT(%rax, $0)
	movabsq	$0x7fffffffffffffff, %rdi
	HYPERCALL(LG_HC_SET_TIMER)
	EXPECT(%rax, $0)
	movabsq	$0x8000000000000000, %rdi
	HYPERCALL(LG_HC_SET_TIMER)
	HYPERCALL(LG_HC_NEXT_IRQ)
	EXPECT(%rax, $NR_EAGAIN)
	PASS

PAYLOAD(halt_with_something_pending_does_not_block)
	ON_KERNEL(9f)
	SELF_IPI(MY_VECTOR)
	HYPERCALL(LG_HC_HALT)
	FAIL
9:	EXPECT_INTERRUPT(MY_VECTOR)
	EXPECT_BITS(PAGE(kernel_rflags), $X86_IF)
	PASS

/* HALT is woken by the launcher: see the test of the same name. */
CODE(halts_until_interrupted)
	ON_KERNEL(9f)
	SYNC
	HYPERCALL(LG_HC_HALT)
	FAIL
9:	EXPECT_INTERRUPT(MY_VECTOR)
	PASS

/* The clock goes forward, and its page is the guest's own business where it lies. */
PAYLOAD(time_page_is_checked)
	.irp	gpa, 8, MEMORY_SIZE, -4096, 0x7ffffffffffff000
	movabsq	$\gpa, %rdi
	HYPERCALL(LG_HC_SET_TIME_PAGE)
	EXPECT(%rax, $NR_EINVAL)
	.endr
	SET_TIME_PAGE
	movl	GPA_SCRATCH(%r15), %eax
	testl	$1, %eax			/* version: even */
	EXPECT_CLEAR(%rax, $1)
	call	read_clock
	movq	%rax, %rbx
	call	read_clock
	subq	%rbx, %rax
	shrq	$63, %rax
	EXPECT(%rax, $0)
	HYPERCALL(LG_HC_WALLCLOCK)
	shrq	$60, %rax			/* between 2006 and 2042 */
	EXPECT(%rax, $1)
	PASS

/* -- many -------------------------------------------------------------------------------------------- */

/* A user program that checks itself is interrupted 300 times, wherever it is. */
PAYLOAD(many_interrupts_preserve_user_registers)
	movq	$300, VAR(0)
	movq	%rsp, VAR(1)
	ON_USER(9f)
	SET_TIME_PAGE
	movl	$1, %edi
	HYPERCALL(LG_HC_SET_TIMER)
	ENTER_USER(1f)
1:	FILL_REGISTERS
2:	EXPECT_ALL_REGISTERS
	jmp	2b
	/* Keep what read_clock and hypercalls clobber. */
9:	movq	%rcx, PAGE(user_rcx)
	movq	%r11, PAGE(user_r11)
	movq	VAR(1), %rsp
	pushq	%rax
	pushq	%rdx
	pushq	%rdi
	pushq	%rsi
	pushq	%r15
	movq	GS(D_DIRECT), %r15
	EXPECT_INTERRUPT(LG_VECTOR_TIMER)
	decq	VAR(0)
	je	8f
	call	read_clock
	leaq	MILLISECOND / 10(%rax), %rdi
	HYPERCALL(LG_HC_SET_TIMER)
	popq	%r15
	popq	%rsi
	popq	%rdi
	popq	%rdx
	popq	%rax
	GO_TO_USER
8:	PASS

	.section .note.GNU-stack, "", @progbits
