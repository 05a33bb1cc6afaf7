/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Privileged instructions.  In user mode each is #GP.  In kernel mode some are carried
 * out by the host (host-module/emulate.c), and all others are #GP as well.
 */
#include "payload.h"

#define GP	13
#define MSR_EFER	0xc0000080
#define MSR_LSTAR	0xc0000082
#define MSR_FS_BASE	0xc0000100
#define MSR_GS_BASE	0xc0000101
#define MSR_SPEC_CTRL	0x48
#define MSR_APIC_BASE	0x1b

	/* Where the host has XSAVE off, it is off for guests: XSETBV is #UD. */
	.macro needs_xsave_
	movl	$1, %eax
	cpuid
	btl	$27, %ecx			/* OSXSAVE */
	jc	.Lhas_xsave\@
	PASS
.Lhas_xsave\@:
	.endm
#define NEEDS_XSAVE	needs_xsave_

	/* #GP in user mode, RIP at the instruction; registers of use: RAX 0, RCX 0, RDX 0. */
#define USER_FAULTS(name, ...)			\
PAYLOAD(user_##name);				\
	ON_USER(9f);				\
	ON_SYSCALL(8f);				\
	xorl	%edx, %edx;			\
	ENTER_USER(2f);				\
2:	xorl	%eax, %eax;			\
	xorl	%ecx, %ecx;			\
1:	__VA_ARGS__;				\
	syscall;				\
8:	FAIL;					\
9:	EXPECT_EVENT(GP, 0);			\
	EXPECT_USER_RIP(1b);			\
	PASS

USER_FAULTS(in, inb %dx, %al)
USER_FAULTS(in_immediate, inl $0x80, %eax)
USER_FAULTS(out, outb %al, %dx)
USER_FAULTS(out_word, outw %ax, $0x80)
USER_FAULTS(hlt, hlt)
USER_FAULTS(cli, cli)
USER_FAULTS(sti, sti)
USER_FAULTS(lgdt, lgdt USER_DATA)
USER_FAULTS(lidt, lidt USER_DATA)
USER_FAULTS(lldt, lldt %ax)
USER_FAULTS(ltr, ltr %ax)
USER_FAULTS(rdmsr, rdmsr)
USER_FAULTS(wrmsr, wrmsr)
USER_FAULTS(read_cr0, movq %cr0, %rax)
USER_FAULTS(read_cr3, movq %cr3, %rax)
USER_FAULTS(write_cr3, movq %rax, %cr3)
USER_FAULTS(write_cr4, movq %rax, %cr4)
USER_FAULTS(write_cr8, movq %rax, %cr8)
USER_FAULTS(read_dr7, movq %dr7, %rax)
USER_FAULTS(write_dr7, movq %rax, %dr7)
USER_FAULTS(invlpg, invlpg (%rax))
USER_FAULTS(wbinvd, wbinvd)
USER_FAULTS(invd, invd)
USER_FAULTS(clts, clts)
USER_FAULTS(swapgs, swapgs)
USER_FAULTS(sysretq, sysretq)
USER_FAULTS(lmsw, lmsw %ax)

	/* #GP in kernel mode, too. */
#define KERNEL_FAULTS(name, ...)		\
PAYLOAD(kernel_##name);				\
	ON_KERNEL(9f);				\
	xorl	%edx, %edx;			\
1:	__VA_ARGS__;				\
	FAIL;					\
9:	EXPECT_EVENT(GP, 0);			\
	PASS

KERNEL_FAULTS(lgdt, lgdt USER_DATA)
KERNEL_FAULTS(lidt, lidt USER_DATA)
KERNEL_FAULTS(lldt, lldt %ax)
KERNEL_FAULTS(ltr, ltr %ax)
KERNEL_FAULTS(swapgs, swapgs)
KERNEL_FAULTS(sysretq, sysretq)
KERNEL_FAULTS(lmsw, lmsw %ax)
KERNEL_FAULTS(read_dr7, movq %dr7, %rax)
KERNEL_FAULTS(write_dr7, movq %rax, %dr7)
KERNEL_FAULTS(write_cr8, movq %rax, %cr8)
KERNEL_FAULTS(write_cr2, movq %rax, %cr2)
KERNEL_FAULTS(string_in, insb)
KERNEL_FAULTS(rdmsr_unknown, movl $0x12345, %ecx; rdmsr)
KERNEL_FAULTS(rdmsr_spec_ctrl, movl $MSR_SPEC_CTRL, %ecx; rdmsr)
KERNEL_FAULTS(rdmsr_lstar, movl $MSR_LSTAR, %ecx; rdmsr)
KERNEL_FAULTS(rdmsr_apic_base, movl $MSR_APIC_BASE, %ecx; rdmsr)
KERNEL_FAULTS(wrmsr_lstar, movl $MSR_LSTAR, %ecx; wrmsr)
KERNEL_FAULTS(wrmsr_spec_ctrl, movl $MSR_SPEC_CTRL, %ecx; wrmsr)
KERNEL_FAULTS(wrmsr_efer, movl $MSR_EFER, %ecx; wrmsr)
KERNEL_FAULTS(wrmsr_noncanonical_fs_base, movl $MSR_FS_BASE, %ecx; movl $0x8000, %edx; wrmsr)
KERNEL_FAULTS(wrmsr_noncanonical_gs_base, movl $MSR_GS_BASE, %ecx; movl $0x8000, %edx; wrmsr)
KERNEL_FAULTS(xsetbv_of_nothing, NEEDS_XSAVE; xorl %ecx, %ecx; xorl %eax, %eax; xsetbv)
KERNEL_FAULTS(xsetbv_of_everything, NEEDS_XSAVE; xorl %ecx, %ecx; movl $-1, %eax; movl %eax, %edx; xsetbv)
KERNEL_FAULTS(xsetbv_of_another_register, NEEDS_XSAVE; movl $1, %ecx; movl $7, %eax; xsetbv)

PAYLOAD(kernel_far_return_to_kernel_cs)
	ON_KERNEL(9f)
	pushq	$0x10
	pushq	$0
	lretq
	FAIL
9:	EXPECT_EVENT(GP, 0x10)
	PASS

PAYLOAD(kernel_iret_to_kernel_cs)
	ON_KERNEL(9f)
	movq	%rsp, %rax
	pushq	$0x18
	pushq	%rax
	pushq	$0x202
	pushq	$0x10
	pushq	$0
	iretq
	FAIL
9:	EXPECT_EVENT(GP, 0x10)
	PASS

PAYLOAD(kernel_in_reads_all_ones)
	movq	$0x1122334455667788, %rbx
	movq	%rbx, %rax
	movl	$0x3fd, %edx
	inb	%dx, %al
	EXPECT_WIDE(%rax, $0x11223344556677ff)
	movq	%rbx, %rax
	inw	%dx, %ax
	EXPECT_WIDE(%rax, $0x112233445566ffff)
	movq	%rbx, %rax
	inl	%dx, %eax
	EXPECT_WIDE(%rax, $0xffffffff)
	movq	%rbx, %rax
	inb	$0x70, %al
	EXPECT_WIDE(%rax, $0x11223344556677ff)
	PASS

PAYLOAD(kernel_out_goes_nowhere)
	FILL_REGISTERS
	outb	%al, %dx
	outw	%ax, %dx
	outl	%eax, %dx
	outb	%al, $0x80
	EXPECT_ALL_REGISTERS
	PASS

PAYLOAD(kernel_cli_and_sti)
	sti
	EXPECT32(PAGE(irq_flags), $X86_IF)
	cli
	EXPECT32(PAGE(irq_flags), $0)
	PASS

/* STI; HLT: the interrupt that was waiting ends it. */
PAYLOAD(kernel_sti_hlt)
	ON_KERNEL(9f)
	xorl	%edi, %edi
	movl	$0x77, %esi
	HYPERCALL(LG_HC_IPI)
	sti
	hlt
	FAIL
9:	EXPECT_EVENT(0x77, 0)
	PASS

PAYLOAD(kernel_reads_control_registers)
	movq	%cr0, %rax
	EXPECT_BITS(%rax, $1)
	btq	$31, %rax
	jc	1f
	FAIL
1:	movq	%cr3, %r14			/* REX.B: the register is one of the upper eight */
	movq	GS(D_ROOT), %rbx
	EXPECT(%r14, %rbx)
	movq	%cr4, %r9
	EXPECT_BITS(%r9, $0x20)			/* PAE */
	PASS

PAYLOAD(kernel_writes_cr3)
	movq	GS(D_OTHER_ROOT), %r12
	movq	%r12, %cr3
	ON_KERNEL(9f)
	movl	PLAY, %eax			/* not there */
	FAIL
9:	EXPECT_EVENT(14, 0)
	movq	%cr3, %rax
	EXPECT(%rax, %r12)
	PASS

PAYLOAD(kernel_writes_bad_cr3)
	.irp	value, MEMORY_SIZE, 0x7ffffffffffff000
	ON_KERNEL(9f)
	movabsq	$\value, %rax
	movq	%rax, %cr3
	FAIL
9:	EXPECT_EVENT(GP, 0)
	.endr
	movq	%cr3, %rax
	EXPECT(%rax, GS(D_ROOT))
	PASS

PAYLOAD(kernel_fs_and_gs_base_msrs)
	movl	$MSR_FS_BASE, %ecx
	movl	$0x12345678, %eax
	movl	$0xffff9abc, %edx
	wrmsr
	rdfsbase %rbx
	EXPECT_WIDE(%rbx, $0xffff9abc12345678)
	xorl	%eax, %eax
	xorl	%edx, %edx
	rdmsr
	EXPECT(%rax, $0x12345678)
	EXPECT_WIDE(%rdx, $0xffff9abc)
	rdgsbase %rbx
	movl	$MSR_GS_BASE, %ecx
	rdmsr
	shlq	$32, %rdx
	orq	%rdx, %rax
	EXPECT(%rax, %rbx)
	PASS

PAYLOAD(kernel_efer_is_that_of_long_mode)
	movl	$MSR_EFER, %ecx
	rdmsr
	EXPECT(%rax, $0xd01)
	EXPECT(%rdx, $0)
	PASS

PAYLOAD(kernel_cache_and_task_switch_instructions_do_nothing)
	FILL_REGISTERS
	wbinvd
	clts
	EXPECT_ALL_REGISTERS
	PASS

/* What XGETBV says may be set again, and nothing changes. */
PAYLOAD(user_xsetbv)
	NEEDS_XSAVE
	ON_USER(9f)
	ENTER_USER(1f)
1:	xorl	%ecx, %ecx
	xgetbv
2:	xsetbv
	FAIL
9:	EXPECT_EVENT(GP, 0)
	EXPECT_USER_RIP(2b)
	PASS

PAYLOAD(kernel_xsetbv_of_what_is)
	NEEDS_XSAVE
	xorl	%ecx, %ecx
	xgetbv
	xsetbv
	movl	%eax, %ebx
	xgetbv
	EXPECT(%rax, %rbx)
	PASS

/* Prefixes, as many as fit, and more than fit. */
PAYLOAD(kernel_prefixed_instructions)
	movl	$0x3fd, %edx
	xorl	%eax, %eax
	.byte	0x2e, 0x65, 0x66, 0x67, 0x66, 0x48, 0xed	/* IN eAX, DX */
	ON_KERNEL(9f)
	.fill	15, 1, 0x66
	inb	%dx, %al				/* 16 bytes: too long */
	FAIL
9:	EXPECT_EVENT(GP, 0)
	PASS

/* The last byte of a page, with nothing behind it. */
PAYLOAD(kernel_instruction_at_the_end_of_a_page)
	movq	%r15, %rbx
	addq	$KPLAY, %rbx
	movq	GS(D_KPLAY_ENTRY), %rax
	movq	$0, 8(%rax)				/* the second page */
	HYPERCALL(LG_HC_FLUSH_ALL)
	movb	$0xec, 0xfff(%rbx)			/* IN AL, DX; then #PF on the next page */
	ON_KERNEL(9f)
	xorl	%eax, %eax
	leaq	0xfff(%rbx), %rsi
	jmp	*%rsi
9:	EXPECT_EVENT(14, 0x10)
	EXPECT(%rax, $0xff)
	leaq	0x1000(%rbx), %rcx
	EXPECT(PAGE(event_address), %rcx)
	movb	$0x0f, 0xfff(%rbx)			/* half an instruction */
	ON_KERNEL(8f)
	leaq	0xfff(%rbx), %rsi
	jmp	*%rsi
8:	EXPECT_EVENT(14, 0x10)
	PASS

/* Without UMIP these do not trap; then they may tell no more than what is fixed. */
PAYLOAD(sgdt_shows_only_the_switcher)
	ON_KERNEL(9f)
	subq	$16, %rsp
	sgdt	(%rsp)
	movq	2(%rsp), %rax
	shrq	$56, %rax
	cmpq	$0xff, %rax				/* 0xffff8... or 0xff000... */
	je	1f
	FAIL
1:	movzwl	(%rsp), %eax
	EXPECT(%rax, $127)
	PASS
9:	EXPECT_EVENT(GP, 0)
	PASS

/* POPF and PUSHF change no virtual IF and no IOPL. */
PAYLOAD(popf_cannot_disable_interrupts)
	movl	$X86_IF, PAGE(irq_flags)
	pushq	$0x3002
	popfq
	pushfq
	popq	%rax
	EXPECT_BITS(%rax, $X86_IF)
	EXPECT_CLEAR(%rax, $0x3000)
	EXPECT32(PAGE(irq_flags), $X86_IF)
	PASS

	.section .note.GNU-stack, "", @progbits
