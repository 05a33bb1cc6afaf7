/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Exceptions: each arrives with its vector, error code and address, and with the
 * interrupted RIP, RSP and RFLAGS, from kernel and from user mode.
 */
#include "payload.h"

#define DE	0
#define DB	1
#define BP	3
#define OF	4
#define UD	6
#define NP	11
#define SS	12
#define GP	13
#define PF	14
#define AC	17
#define XM	19


#define CANONICAL_HOLE	0x0000800000000000

/* #SS; QEMU's emulator raises #GP. */
#define EXPECT_STACK_FAULT						\
	cmpl	$SS, PAGE(event_vector); je 3f;			\
	EXPECT32(PAGE(event_vector), $GP);				\
3:	EXPECT(PAGE(event_error), $0);				\
	movl	$0, PAGE(event_busy)

#define EXPECT_EVENT_EITHER(vector, error, or)			\
	cmpq	$or, PAGE(event_error); je 3f;			\
	EXPECT(PAGE(event_error), $error);			\
3:	EXPECT32(PAGE(event_vector), $vector);			\
	movl	$0, PAGE(event_busy)

	/* A payload: `body`, whose label 1 is the culprit, raises vector in kernel
	 * mode, and RIP is `at`. */
#define RAISES(name, vector, error, at, ...)	RAISES_EITHER(name, vector, error, error, at, __VA_ARGS__)
#define RAISES_EITHER(name, vector, error, or, at, ...)		\
PAYLOAD(kernel_##name);						\
	ON_KERNEL(9f);						\
	movq	%rsp, VAR(0);					\
	__VA_ARGS__;						\
	FAIL;							\
9:	EXPECT_EVENT_EITHER(vector, error, or);			\
	EXPECT_KERNEL_RIP(at);					\
	movq	VAR(0), %rax;					\
	EXPECT(PAGE(kernel_rsp), %rax);				\
	EXPECT(%rsp, %rax);					\
	EXPECT_CLEAR(PAGE(kernel_rflags), $X86_IF);		\
	PASS;							\
PAYLOAD(user_##name);						\
	ON_USER(9f);						\
	ENTER_USER(8f);						\
8:	__VA_ARGS__;						\
	FAIL;							\
9:	EXPECT_EVENT_EITHER(vector, error, or);			\
	EXPECT_USER_RIP(at);					\
	EXPECT(PAGE(user_rsp), $USER_STACK_TOP);		\
	EXPECT(PAGE(user_cs), $USER_CS);			\
	EXPECT(PAGE(user_ss), $USER_DS);			\
	EXPECT_BITS(PAGE(user_rflags), $X86_IF);		\
	PASS

RAISES(divide_error, DE, 0, 1b, xorl %ecx, %ecx; 1: divl %ecx)
RAISES(breakpoint_int3, BP, 0, 1b, int3; 1:)
RAISES(breakpoint_int_3, BP, 0, 1b, .byte 0xcd, 3; 1:)
RAISES(overflow_int_4, OF, 0, 1b, int $4; 1:)
RAISES(undefined_opcode, UD, 0, 1b, 1: ud2)
/* QEMU's emulator (7.2) has n * 16 + 2 in long mode, hardware n * 8 + 2. */
RAISES_EITHER(int_0x20_is_a_protection_fault, GP, 0x20 * 8 + 2, 0x20 * 16 + 2, 1b, 1: int $0x20)
RAISES_EITHER(int_14_is_a_protection_fault, GP, 14 * 8 + 2, 14 * 16 + 2, 1b, 1: int $14)
RAISES_EITHER(int_2_is_a_protection_fault, GP, 2 * 8 + 2, 2 * 16 + 2, 1b, 1: int $2)
RAISES_EITHER(int_255_is_a_protection_fault, GP, 255 * 8 + 2, 255 * 16 + 2, 1b, 1: int $255)
RAISES(noncanonical_address, GP, 0, 1b, movabsq $CANONICAL_HOLE, %rax; 1: movq (%rax), %rcx)
RAISES(absent_segment_selector, GP, 0x58, 1b, movl $0x5b, %eax; 1: movl %eax, %fs)
RAISES(invalid_stack_segment, GP, 0x10, 1b, movl $0x10, %eax; 1: movl %eax, %ss)
RAISES(undefined_msr, GP, 0, 1b, movl $0x12345, %ecx; 1: rdmsr)

/* int $0x80 is a system call of user programs and nothing to a kernel. */
PAYLOAD(kernel_int_0x80_is_a_protection_fault)
	ON_KERNEL(9f)
	int	$0x80
	FAIL
9:	EXPECT_EVENT(GP, 0x80 * 8 + 2)
	PASS

PAYLOAD(user_int_0x80_is_an_event)
	ON_USER(9f)
	ENTER_USER(1f)
1:	FILL_REGISTERS
	int	$0x80
2:	FAIL
9:	EXPECT_ALL_REGISTERS
	EXPECT_EVENT(0x80, 0)
	EXPECT_USER_RIP(2b)
	PASS

/* -- single steps ----------------------------------------------------------------------- */

PAYLOAD(kernel_single_step)
	ON_KERNEL(9f)
	pushq	$(X86_IF | X86_TF | 2)
	popfq
	nop				/* the first instruction with TF set */
1:	FAIL
9:	EXPECT_EVENT(DB, 0)
	EXPECT_KERNEL_RIP(1b)
	EXPECT_WIDE(PAGE(event_address), $0xffff4ff0)
	EXPECT_BITS(PAGE(kernel_rflags), $X86_TF)
	pushfq				/* the handler itself is not stepped */
	popq	%rax
	EXPECT_CLEAR(%rax, $X86_TF)
	PASS

PAYLOAD(user_single_step)
	ON_USER(9f)
	USER_FRAME(1f)
	movq	$(X86_IF | X86_TF | 2), PAGE(user_rflags)
	GO_TO_USER
1:	nop
2:	FAIL
9:	EXPECT_EVENT(DB, 0)
	EXPECT_USER_RIP(2b)
	EXPECT_WIDE(PAGE(event_address), $0xffff4ff0)
	EXPECT_BITS(PAGE(user_rflags), $X86_TF)
	PASS

/* SYSCALL with TF: the system call is made, and its entry is not stepped. */
PAYLOAD(syscall_with_tf)
	ON_SYSCALL(9f)
	ON_USER(8f)
	USER_FRAME(1f)
	GO_TO_USER
1:	pushq	$(X86_IF | X86_TF | 2)
	popfq
	syscall
2:	FAIL
8:	FAIL
9:	EXPECT_USER_RIP(2b)
	EXPECT_BITS(PAGE(user_rflags), $X86_TF)
	pushfq
	popq	%rax
	EXPECT_CLEAR(%rax, $X86_TF)
	PASS

/* MOV SS holds back the #DB of TF over the next instruction, which is SYSCALL: then
 * it hits in the switcher.  Whatever the guest gets, the host stays. */
PAYLOAD(mov_ss_and_syscall_with_tf)
	ON_SYSCALL(9f)
	ON_USER(9f)
	USER_FRAME(1f)
	GO_TO_USER
1:	movl	%ss, %ebx
	pushq	$(X86_IF | X86_TF | 2)
	popfq
	movl	%ebx, %ss
	syscall
	FAIL
9:	PASS

/* -- page faults ------------------------------------------------------------------------- */

PAYLOAD(kernel_page_fault_on_nothing)
	ON_KERNEL(9f)
	movl	$0x1234, %eax
1:	movl	(%rax), %ecx
	FAIL
9:	EXPECT_EVENT(PF, 0)
	EXPECT_KERNEL_RIP(1b)
	EXPECT(PAGE(event_address), $0x1234)
	PASS

PAYLOAD(kernel_page_fault_writing)
	ON_KERNEL(9f)
	movl	$0x1234, %eax
1:	movl	%ecx, (%rax)
	FAIL
9:	EXPECT_EVENT(PF, 2)
	EXPECT_KERNEL_RIP(1b)
	EXPECT(PAGE(event_address), $0x1234)
	PASS

PAYLOAD(kernel_page_fault_fetching)
	ON_KERNEL(9f)
	movl	$0x1000, %eax
	jmp	*%rax
9:	EXPECT_EVENT(PF, 0x10)
	EXPECT(PAGE(kernel_rip), $0x1000)
	EXPECT(PAGE(event_address), $0x1000)
	PASS

PAYLOAD(user_page_fault_on_nothing)
	ON_USER(9f)
	ENTER_USER(1f)
1:	movl	0x1234, %ecx
	FAIL
9:	EXPECT_EVENT(PF, 4)
	EXPECT_USER_RIP(1b)
	EXPECT(PAGE(event_address), $0x1234)
	PASS

PAYLOAD(user_page_fault_writing_read_only_text)
	ON_USER(9f)
	ENTER_USER(1f)
1:	movl	%ecx, USER_TEXT
	FAIL
9:	EXPECT_EVENT(PF, 7)
	EXPECT_USER_RIP(1b)
	EXPECT(PAGE(event_address), $USER_TEXT)
	PASS

PAYLOAD(user_page_fault_fetching_no_execute)
	ON_USER(9f)
	ENTER_USER(1f)
1:	movl	$USER_DATA, %eax
	jmp	*%rax
9:	EXPECT_EVENT(PF, 0x15)
	EXPECT(PAGE(user_rip), $USER_DATA)
	EXPECT(PAGE(event_address), $USER_DATA)
	PASS

/* The upper half does not exist in the user view, yet the walk finds a kernel page. */
PAYLOAD(user_page_fault_on_kernel_page)
	ON_USER(9f)
	movq	%r15, %rbx
	ENTER_USER(1f)
1:	movl	(%rbx), %ecx
	FAIL
9:	EXPECT_EVENT(PF, 5)
	EXPECT_USER_RIP(1b)
	EXPECT(PAGE(event_address), %r15)
	PASS

/* SMEP: the kernel does not execute what belongs to users. */
PAYLOAD(kernel_executing_a_user_page_faults)
	ON_KERNEL(9f)
	movl	$USER_TEXT, %eax
	jmp	*%rax
9:	EXPECT_EVENT(PF, 0x11)
	EXPECT(PAGE(kernel_rip), $USER_TEXT)
	EXPECT(PAGE(event_address), $USER_TEXT)
	PASS

PAYLOAD(kernel_reads_and_writes_user_pages)
	movq	$0x77, USER_DATA
	EXPECT(USER_DATA, $0x77)
	EXPECT(GPA_USER_DATA(%r15), $0x77)
	PASS

/* -- stack segment, alignment, SIMD ---------------------------------------------------------- */

PAYLOAD(kernel_noncanonical_stack)
	ON_KERNEL(9f)
	movq	%rsp, %rbx
	movabsq	$CANONICAL_HOLE, %rsp
1:	popq	%rax
	FAIL
9:	movabsq	$CANONICAL_HOLE, %rax
	xchgq	%rbx, %rsp
	EXPECT(%rbx, %rax)		/* RSP was left alone */
	EXPECT_STACK_FAULT
	EXPECT_KERNEL_RIP(1b)
	EXPECT(PAGE(kernel_rsp), %rbx)
	PASS

PAYLOAD(user_noncanonical_stack)
	ON_USER(9f)
	movq	%rsp, VAR(0)
	ENTER_USER(1f)
1:	movabsq	$CANONICAL_HOLE, %rsp
2:	popq	%rax
	FAIL
9:	movq	%rsp, %rbx
	movq	VAR(0), %rsp
	EXPECT_STACK_FAULT
	EXPECT_USER_RIP(2b)
	EXPECT(PAGE(user_rsp), %rbx)
	PASS

/* AC belongs to the guest; a kernel that is entered has it off. */
PAYLOAD(user_alignment_check)
	ON_USER(9f)
	ON_SYSCALL(8f)
	USER_FRAME(1f)
	movq	$(X86_IF | X86_AC | 2), PAGE(user_rflags)
	GO_TO_USER
1:	movl	USER_DATA + 1, %eax
	movl	$0x600d, %eax		/* an emulator may not check */
	syscall
8:	EXPECT(%rax, $0x600d)
	PASS
9:	EXPECT_EVENT(AC, 0)
	EXPECT_USER_RIP(1b)
	movl	1(%r15), %eax
	PASS

PAYLOAD(user_simd_exception)
	ON_USER(9f)
	ON_SYSCALL(8f)
	ENTER_USER(1f)
1:	pushq	$0			/* MXCSR: nothing masked */
	ldmxcsr	(%rsp)
	xorps	%xmm0, %xmm0
2:	divss	%xmm0, %xmm0
	movl	$0x600d, %eax		/* an emulator may not raise it */
	syscall
8:	EXPECT(%rax, $0x600d)
	PASS
9:	EXPECT_EVENT(XM, 0)
	EXPECT_USER_RIP(2b)
	PASS

/* -- the interlock ------------------------------------------------------------------------------ */

KILLED(exception_while_busy, "while another event was being taken")
	ON_KERNEL(1f)
	ud2
1:	ud2				/* event_busy is still set */

KILLED_FLAGS(exception_before_registration, "before a vCPU page was registered", F_UNREGISTERED)
	ud2

/* As a kernel stack overflow does: the handler needs what it lacks. */
KILLED(handler_that_faults_at_once, "while another event was being taken")
	ON_KERNEL(1f)
	xorl	%esp, %esp
1:	pushq	%rax
	FAIL

/* Cleared in time, an event within an event is nothing special. */
PAYLOAD(exceptions_nest_once_the_page_is_free)
	ON_KERNEL(1f)
	ud2
1:	EXPECT_EVENT(UD, 0)
	ON_KERNEL(2f)
	int3
2:	EXPECT_EVENT(BP, 0)
	PASS

PAYLOAD(events_preserve_registers)
	ON_KERNEL(1f)
	FILL_REGISTERS
	ud2
1:	EXPECT_ALL_REGISTERS
	EXPECT_EVENT(UD, 0)
	ON_USER(3f)
	ENTER_USER(2f)
2:	FILL_REGISTERS
	ud2
3:	EXPECT_ALL_REGISTERS
	EXPECT_EVENT(UD, 0)
	PASS

	.section .note.GNU-stack, "", @progbits
