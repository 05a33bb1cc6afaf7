/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The words payloads are written in.  A payload starts in kernel mode with a stack,
 * GS base at struct kernel_data, virtual interrupts off, R15 the direct map and all
 * other registers 0.  It ends with PASS, or at the first check that does not hold.
 *
 * Everything is position independent, for it runs at two addresses: the kernel's and
 * USER_TEXT.  README.md has an example.
 */
#ifndef PAYLOADS_PAYLOAD_H
#define PAYLOADS_PAYLOAD_H

#define __ASSEMBLY__
#include <lguest/guest_abi.h>
#include "layout.h"
#include "vcpu_page.h"

#define TEXT_OF(x)	TEXT_OF_(x)
#define TEXT_OF_(x)	#x

/* Fields of struct kernel_data and of the vCPU page. */
#define GS(offset)	%gs:(offset)
#define PAGE(field)	%gs:(0x1000 + VCPU_##field)
#define VAR(n)		%gs:(D_VARIABLE + 8 * (n))

#define X86_TF		0x100
#define X86_IF		0x200
#define X86_DF		0x400
#define X86_AC		0x40000

#define USER_CS		0x33
#define USER_DS		0x2b
#define USER32_CS	0x23

#define NR_ENOENT	-2
#define NR_EAGAIN	-11
#define NR_EINVAL	-22
#define NR_ENOSYS	-38

/* An entry of the table that run-payloads goes through. */
#define PAYLOAD(name)			payload_ name, "", 0, __FILE__
#define PAYLOAD_FLAGS(name, flags)	payload_ name, "", flags, __FILE__
/* The module has to stop this one, for a reason that contains `why`. */
#define KILLED(name, why)		payload_ name, why, 0, __FILE__
#define KILLED_FLAGS(name, why, flags)	payload_ name, why, flags, __FILE__
/* Code that a test in C++ starts. */
#define CODE(name)			code_ name

	.macro code_ name
	.section payload, "ax", @progbits
	.balign 64
	.globl \name
\name:
	.endm

	.macro payload_ name, why, flags, file
	.section payload_strings, "a", @progbits
.Lname_\name:	.asciz "\name"
.Lfile_\name:	.asciz "\file"
.Lwhy_\name:	.asciz "\why"
	.section payload_table, "aw", @progbits
	.quad	.Lname_\name, .Lfile_\name, .Lwhy_\name, \name
	.quad	\flags
	code_ \name
	.endm

/* -- hypercalls and the end ------------------------------------------------------ */

/* Arguments are in place.  Result in RAX, RCX and R11 are gone. */
#define HYPERCALL(number)	hypercall_ TEXT_OF(number)
	.macro hypercall_ number
	movl	$\number, %eax
	syscall
	.endm

#define PASS			pass_
	.macro pass_
	xorl	%edi, %edi
	HYPERCALL(LG_HC_SHUTDOWN)
	.endm

#define FAIL			fail_ TEXT_OF(__LINE__)
	.macro fail_ line
	movl	$\line, %edx
	jmp	report_failure
	.endm

/* Tell the C++ side a value, or that it is its turn.  Clobbers RAX, RCX, RDX, RSI, RDI, R11. */
#define TELL(value)		tell_ PORT_VALUE, TEXT_OF(value)
#define SYNC			tell_ PORT_SYNC, $0
	.macro tell_ port, value
	movq	\value, %rdx
	movl	$\port, %edi
	movl	$8, %esi
	HYPERCALL(LG_HC_BUS_WRITE)
	.endm

/* -- checks, in kernel and user mode; they change nothing but the status flags ------- */

#define EXPECT(found, expected)		expect_ cmpq, TEXT_OF(found), TEXT_OF(expected), je, __LINE__
#define EXPECT32(found, expected)	expect_ cmpl, TEXT_OF(found), TEXT_OF(expected), je, __LINE__
#define EXPECT_NOT(found, other)	expect_ cmpq, TEXT_OF(found), TEXT_OF(other), jne, __LINE__
/* All of these bits are set; none is. */
#define EXPECT_BITS(found, bits)	expect_bits_ TEXT_OF(found), TEXT_OF(bits), __LINE__
#define EXPECT_CLEAR(found, bits)	expect_ testq, TEXT_OF(found), TEXT_OF(bits), je, __LINE__

/* `expected` is a constant of 64 bits. */
#define EXPECT_WIDE(found, expected)	expect_wide_ TEXT_OF(found), TEXT_OF(expected), __LINE__
	.macro expect_wide_ found, expected, line
	pushq	%rax
	movabsq	\expected, %rax
	expect_	cmpq, "\found", %rax, je, \line
	popq	%rax
	.endm

	.macro expect_ compare, found, expected, jump, line
	\compare \expected, \found
	\jump	.Lok\@
	pushq	\found
	pushq	\expected
	popq	%r8
	popq	%r10
	fail_	\line
.Lok\@:
	.endm

	.macro expect_bits_ found, bits, line
	pushq	\found
	notq	(%rsp)
	testq	\bits, (%rsp)
	leaq	8(%rsp), %rsp
	je	.Lok\@
	movq	\found, %r10
	movq	\bits, %r8
	fail_	\line
.Lok\@:
	.endm

/* -- events ---------------------------------------------------------------------------- */

/* Where the next events go.  The handler finds registers as they were. */
#define ON_KERNEL(label)	on_ D_ON_KERNEL, label
#define ON_USER(label)		on_ D_ON_USER, label
#define ON_SYSCALL(label)	on_ D_ON_SYSCALL, label
	.macro on_ slot, label
	pushq	%rax
	leaq	\label(%rip), %rax
	movq	%rax, %gs:\slot
	popq	%rax
	.endm

/* First lines of a handler: this event, with this error code, is what we wait for. */
#define EXPECT_EVENT(vector, error)	\
	EXPECT32(PAGE(event_vector), $vector); EXPECT(PAGE(event_error), $error); \
	EXPECT32(PAGE(event_busy), $1); EXPECT32(PAGE(irq_flags), $0); event_done_
	.macro event_done_
	movl	$0, PAGE(event_busy)
	.endm

/* The interrupted instruction was the one at `label`, in kernel or user mode. */
#define EXPECT_KERNEL_RIP(label)	expect_rip_ VCPU_kernel_rip, label, 0, __LINE__
#define EXPECT_USER_RIP(label)		expect_rip_ VCPU_user_rip, label, 1, __LINE__
	.macro expect_rip_ field, label, user, line
	pushq	%rax
	leaq	\label(%rip), %rax
	.if \user
	addq	%gs:D_USER_DELTA, %rax
	.endif
	expect_	cmpq, "%gs:(0x1000 + \field)", %rax, je, \line
	popq	%rax
	.endm

/* -- user mode ---------------------------------------------------------------------------- */

/* Go there by the short way: RCX and R11 as after a system call.  The stack is
 * USER_STACK_TOP, GS base 0.  Clobbers RAX, RCX, R11. */
#define ENTER_USER(label)		enter_user_ label, 0x202
#define ENTER_USER_FLAGS(label, flags)	enter_user_ label, flags
	.macro enter_user_ label, flags
	user_frame_ \label, \flags
	movq	%rax, PAGE(user_rcx)
	movq	$\flags, PAGE(user_r11)
	jmp	go_to_user
	.endm

/* The same without going: fills the frame.  RCX 0x11, R11 0x22.  RAX: user's RIP. */
#define USER_FRAME(label)		user_frame_ label, 0x202
	.macro user_frame_ label, flags
	leaq	\label(%rip), %rax
	addq	GS(D_USER_DELTA), %rax
	movq	%rax, PAGE(user_rip)
	movq	$USER_STACK_TOP, PAGE(user_rsp)
	movq	$\flags, PAGE(user_rflags)
	movq	$0x11, PAGE(user_rcx)
	movq	$0x22, PAGE(user_r11)
	movq	$0, PAGE(user_gs_base)
	movq	$USER_CS, PAGE(user_cs)
	movq	$USER_DS, PAGE(user_ss)
	.endm
#define GO_TO_USER		jmp go_to_user

/* Fill all general registers but RSP with numbers of their own, and check that they
 * still have them; RCX and R11 only if `all`. */
#define FILL_REGISTERS		fill_registers_
	.macro fill_registers_
	.irp	reg, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15
	movabsq	$(0x1122334455660000 + .Lnumber_of_\reg), %\reg
	.endr
	.endm
/* All but RCX and R11, which SYSCALL takes. */
#define EXPECT_REGISTERS_OF_SYSCALL	expect_registers_ 0, __LINE__
#define EXPECT_ALL_REGISTERS	expect_registers_ 1, __LINE__
	.macro expect_registers_ all, line
	pushq	%rax
	.irp	reg, rbx, rdx, rsi, rdi, rbp, r8, r9, r10, r12, r13, r14, r15
	expect_number_ \reg, \line
	.endr
	.if \all
	expect_number_ rcx, \line
	expect_number_ r11, \line
	.endif
	popq	%rax
	pushq	%rbx
	movabsq	$(0x1122334455660000 + .Lnumber_of_rax), %rbx
	expect_	cmpq, %rax, %rbx, je, \line
	popq	%rbx
	.endm
	.macro expect_number_ reg, line
	movabsq	$(0x1122334455660000 + .Lnumber_of_\reg), %rax
	expect_	cmpq, %\reg, %rax, je, \line
	.endm
	.set	.Lnumber_of_rax, 0xa1
	.set	.Lnumber_of_rbx, 0xb2
	.set	.Lnumber_of_rcx, 0xc3
	.set	.Lnumber_of_rdx, 0xd4
	.set	.Lnumber_of_rsi, 0xe5
	.set	.Lnumber_of_rdi, 0xf6
	.set	.Lnumber_of_rbp, 0x17
	.set	.Lnumber_of_r8, 0x28
	.set	.Lnumber_of_r9, 0x39
	.set	.Lnumber_of_r10, 0x4a
	.set	.Lnumber_of_r11, 0x5b
	.set	.Lnumber_of_r12, 0x6c
	.set	.Lnumber_of_r13, 0x7d
	.set	.Lnumber_of_r14, 0x8e
	.set	.Lnumber_of_r15, 0x9f

#endif
