/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How control enters and leaves an lguest guest kernel.  Neighbours: event.c
 * dispatches what the two event entries take; enlighten.c registers the entries.
 *
 *   1. Start of the first vCPU and of the others
 *   2. Entries: event from user, event from kernel, system call
 *   3. Returns: to user mode, and within kernel mode
 *   4. Hypercall, virtual interrupt flag and other short pv ops
 *
 * The host never touches the guest's stack.  It writes what happened into the
 * vCPU page, at a constant offset from GS base, sets event_busy and continues at
 * an entry.  While event_busy is set, no interrupt comes and a fault is fatal, so
 * the code up to where it is cleared has no alternative, no static branch and
 * nothing a tracer may patch.
 *
 * The hardware CS and SS are always the CPL 3 ones.  Everything in Linux tells
 * kernel from user by the CS in pt_regs, so the frames built here say __KERNEL_CS,
 * and the return path puts the real selectors in before its IRETQ.
 */
#include <linux/elfnote.h>
#include <linux/init.h>
#include <linux/linkage.h>
#include <linux/objtool.h>
#include <asm/asm-offsets.h>
#include <asm/asm.h>
#include <asm/errno.h>
#include <asm/frame.h>
#include <lguest/guest_abi.h>
#include <asm/nospec-branch.h>
#include <asm/page_types.h>
#include <asm/percpu.h>
#include <asm/processor-flags.h>
#include <asm/segment.h>
#include <asm/thread_info.h>
#include <asm/unwind_hints.h>
#include "../entry/calling.h"

/* Words below the interrupted RSP which a breakpoint handler may use. */
#define KERNEL_FRAME_GAP	(6 * 8)

/* A field of this CPU's vCPU page. */
#define PAGE(field)	PER_CPU_VAR(lguest_vcpu_page + LG_##field)

/*
 * 1. Start.
 *
 * lguest_start: the launcher's start-up tables are loaded, virtual interrupts are
 * off, RSI is the gva of boot_params.  There is no stack and no vCPU page yet: any
 * exception ends the guest.
 */
	__INIT
SYM_CODE_START(lguest_start)
	UNWIND_HINT_END_OF_STACK
	ANNOTATE_NOENDBR

	leaq	__top_init_kernel_stack(%rip), %rsp

	/* The boot CPU's per-CPU area is still the template in the image. */
	movq	__per_cpu_offset(%rip), %rax
	wrgsbase %rax

	movq	%rsi, %rdi
	call	lguest_start_kernel
SYM_CODE_END(lguest_start)
	__FINIT

	ELFNOTE(lguest, LG_NOTE_ABI_VERSION, .long LG_ABI_VERSION)
	ELFNOTE(lguest, LG_NOTE_ENTRY, .quad lguest_start)

.pushsection .text, "ax"
/* lguest_ap_start: another vCPU starts on its idle task's stack, GS base set, its
 * vCPU page not registered yet.  RDI is the CPU number. */
SYM_CODE_START(lguest_ap_start)
	UNWIND_HINT_END_OF_STACK
	ANNOTATE_NOENDBR
	xorl	%ebp, %ebp
	call	lguest_ap_main
SYM_CODE_END(lguest_ap_start)
.popsection

/*
 * 2. Entries.
 */
.pushsection .entry.text, "ax"

/*
 * lguest_event_from_user: an interrupt or exception interrupted user mode.  All
 * general registers, RSP included, are the user's; virtual interrupts are off.
 */
SYM_CODE_START(lguest_event_from_user)
	UNWIND_HINT_ENTRY
	ANNOTATE_NOENDBR

	movq	PER_CPU_VAR(pcpu_hot + X86_top_of_stack), %rsp
	pushq	PAGE(user_ss)
	pushq	PAGE(user_rsp)
	pushq	PAGE(user_rflags)
	pushq	PAGE(user_cs)
	pushq	PAGE(user_rip)
	pushq	PAGE(event_error)		/* pt_regs->orig_ax */
	PUSH_AND_CLEAR_REGS

	movq	%rsp, %rdi
	movl	PAGE(event_vector), %esi
	movl	$0, PAGE(event_busy)

	call	lguest_event
	jmp	lguest_return_to_user
SYM_CODE_END(lguest_event_from_user)

/*
 * lguest_event_from_kernel: one interrupted kernel mode.  All general registers
 * are those of the interrupted code, and there is no red zone below its RSP.
 */
SYM_CODE_START(lguest_event_from_kernel)
	UNWIND_HINT_ENTRY
	ANNOTATE_NOENDBR

	/*
	 * An interrupt that hits the return path below finds the pt_regs it was
	 * about to unwind still whole: take those, or a flood of interrupts would
	 * fill the stack with half unwound frames.  (An exception there is as
	 * fatal as it is on hardware, and gets a frame of its own.)
	 */
	cmpl	$NUM_EXCEPTION_VECTORS, PAGE(event_vector)
	jb	.Lnew_frame
	cmpq	$.Lreturn_begin, PAGE(kernel_rip)
	jb	.Lnew_frame
	cmpq	$.Lreturn_end, PAGE(kernel_rip)
	jae	.Lnew_frame

	cmpq	$.Lreturn_iret, PAGE(kernel_rip)
	jne	.Lold_frame
	subq	$(ORIG_RAX + 8), %rsp		/* undo the last step */
.Lold_frame:
	UNWIND_HINT_REGS
	movq	$__KERNEL_CS, CS(%rsp)
	movq	$__KERNEL_DS, SS(%rsp)
	CLEAR_REGS
	jmp	.Lkernel_event

.Lnew_frame:
	UNWIND_HINT_ENTRY
	/* Room for int3_emulate_push(): a handler may push on the interrupted stack. */
	subq	$KERNEL_FRAME_GAP, %rsp
	pushq	$__KERNEL_DS
	pushq	PAGE(kernel_rsp)
	pushq	PAGE(kernel_rflags)		/* IF in it is the virtual one */
	pushq	$__KERNEL_CS
	pushq	PAGE(kernel_rip)
	pushq	PAGE(event_error)		/* pt_regs->orig_ax */
	PUSH_AND_CLEAR_REGS

.Lkernel_event:
	movq	%rsp, %rdi
	movl	PAGE(event_vector), %esi
	movl	$0, PAGE(event_busy)

	call	lguest_event
	jmp	lguest_return_to_kernel
SYM_CODE_END(lguest_event_from_kernel)

/*
 * lguest_syscall_from_user: SYSCALL in user mode.  RCX and R11 hold nothing, RSP is
 * still the user's, virtual interrupts are off.
 */
SYM_CODE_START(lguest_syscall_from_user)
	UNWIND_HINT_ENTRY
	ANNOTATE_NOENDBR

	movq	PER_CPU_VAR(pcpu_hot + X86_top_of_stack), %rsp
	movq	PAGE(user_rip), %rcx		/* as SYSCALL left them; */
	movq	PAGE(user_rflags), %r11		/* the switcher's SYSRET did not */
	pushq	$__USER_DS
	pushq	PAGE(user_rsp)
	pushq	%r11
	pushq	$__USER_CS
	pushq	%rcx
	pushq	%rax				/* pt_regs->orig_ax */
	PUSH_AND_CLEAR_REGS rax=$-ENOSYS

	movq	%rsp, %rdi
	movslq	%eax, %rsi			/* system call numbers are ints */
	call	do_syscall_64
	/* Its result, whether SYSRET would do, is the host's to find out. */
SYM_INNER_LABEL(lguest_syscall_done, SYM_L_LOCAL)
	jmp	lguest_return_to_user
SYM_CODE_END(lguest_syscall_from_user)

/*
 * 3. Returns.
 *
 * lguest_return_to_user: RSP points at pt_regs, virtual interrupts are off and
 * stay so until the host or the switcher has taken over.  Everything that is not
 * in a general register goes through the page.
 */
SYM_CODE_START(lguest_return_to_user)
	UNWIND_HINT_REGS
	ANNOTATE_NOENDBR

	movq	RIP(%rsp), %rax
	movq	RSP(%rsp), %rcx
	movq	EFLAGS(%rsp), %rdx
	movq	%rax, PAGE(user_rip)
	movq	%rcx, PAGE(user_rsp)
	movq	%rdx, PAGE(user_rflags)
	movq	CS(%rsp), %rax
	movq	SS(%rsp), %rcx
	movq	%rax, PAGE(user_cs)
	movq	%rcx, PAGE(user_ss)
	movq	RCX(%rsp), %rax
	movq	R11(%rsp), %rcx
	movq	%rax, PAGE(user_rcx)
	movq	%rcx, PAGE(user_r11)

	movq	R15(%rsp), %r15
	movq	R14(%rsp), %r14
	movq	R13(%rsp), %r13
	movq	R12(%rsp), %r12
	movq	RBP(%rsp), %rbp
	movq	RBX(%rsp), %rbx
	movq	R10(%rsp), %r10
	movq	R9(%rsp), %r9
	movq	R8(%rsp), %r8
	movq	RDX(%rsp), %rdx
	movq	RSI(%rsp), %rsi
	movq	RDI(%rsp), %rdi
	movq	RAX(%rsp), %rax
	UNWIND_HINT_END_OF_STACK
	syscall
SYM_INNER_LABEL(lguest_return_to_user_end, SYM_L_GLOBAL)
	ANNOTATE_NOENDBR
	int3					/* never comes back */
SYM_CODE_END(lguest_return_to_user)

/*
 * lguest_return_to_kernel: RSP points at pt_regs, virtual interrupts are off.
 *
 * IRETQ at CPL 3 leaves hardware's IF alone, so the virtual one is set first, and
 * from there on an interrupt may come at any instruction, lguest's classic race.
 * That is why nothing between .Lreturn_begin and .Lreturn_end changes the frame:
 * lguest_event_from_kernel starts over with it.
 */
SYM_CODE_START_LOCAL(lguest_return_to_kernel)
	UNWIND_HINT_REGS
	testl	$X86_EFLAGS_IF, EFLAGS(%rsp)
	movq	$__USER_CS, CS(%rsp)
	movq	$__USER_DS, SS(%rsp)
	jz	.Lrestore
	movl	$X86_EFLAGS_IF, PAGE(irq_flags)
.Lreturn_begin:
	cmpl	$0, PAGE(irq_pending)
	je	.Lrestore
	/* It came while interrupts were off: have it delivered, at the next
	 * instruction.  The registers this clobbers are not restored yet. */
	movl	$LG_HC_IRQ_WINDOW, %eax
	syscall
	UNWIND_HINT_REGS
.Lrestore:
	movq	R15(%rsp), %r15
	movq	R14(%rsp), %r14
	movq	R13(%rsp), %r13
	movq	R12(%rsp), %r12
	movq	RBP(%rsp), %rbp
	movq	RBX(%rsp), %rbx
	movq	R11(%rsp), %r11
	movq	R10(%rsp), %r10
	movq	R9(%rsp), %r9
	movq	R8(%rsp), %r8
	movq	RAX(%rsp), %rax
	movq	RCX(%rsp), %rcx
	movq	RDX(%rsp), %rdx
	movq	RSI(%rsp), %rsi
	movq	RDI(%rsp), %rdi
	addq	$(ORIG_RAX + 8), %rsp
	UNWIND_HINT_IRET_REGS
.Lreturn_iret:
	iretq
.Lreturn_end:
	int3
SYM_CODE_END(lguest_return_to_kernel)
.popsection

/*
 * 4. Short operations.
 */
.pushsection .noinstr.text, "ax"

/* lguest_hypercall: see lg_hypercall().  RAX number and result, RDI, RSI, RDX, R10,
 * R8 arguments; clobbers RCX and R11. */
SYM_FUNC_START(lguest_hypercall)
	ANNOTATE_NOENDBR
	UNWIND_HINT_SAVE
	syscall
	UNWIND_HINT_RESTORE
	RET
SYM_FUNC_END(lguest_hypercall)

/* The three below keep all registers but RAX.  Bits other than IF in what save_fl
 * returns mean nothing. */
SYM_FUNC_START(lguest_save_fl)
	ANNOTATE_NOENDBR
	movl	PAGE(irq_flags), %eax
	RET
SYM_FUNC_END(lguest_save_fl)

SYM_FUNC_START(lguest_irq_disable)
	ANNOTATE_NOENDBR
	movl	$0, PAGE(irq_flags)
	RET
SYM_FUNC_END(lguest_irq_disable)

/* If an interrupt comes between the store and the test, irq_pending is either 0
 * again, or another one waits.  If the task moves to another CPU there, that CPU's
 * page is the one to look at. */
SYM_FUNC_START(lguest_irq_enable)
	ANNOTATE_NOENDBR
	movl	$X86_EFLAGS_IF, PAGE(irq_flags)
	cmpl	$0, PAGE(irq_pending)
	jne	1f
	RET
1:	pushq	%rcx
	pushq	%r11
	movl	$LG_HC_IRQ_WINDOW, %eax
	UNWIND_HINT_SAVE
	syscall
	UNWIND_HINT_RESTORE
	popq	%r11
	popq	%rcx
	RET
SYM_FUNC_END(lguest_irq_enable)

/* Valid from a page fault until the next one, which is how CR2 works too. */
SYM_FUNC_START(lguest_read_cr2)
	ANNOTATE_NOENDBR
	movq	PAGE(event_address), %rax
	RET
SYM_FUNC_END(lguest_read_cr2)

/*
 * asm_lguest_load_gs_index: load a user's GS selector.  EDI: the selector; virtual
 * interrupts off.
 *
 * There is no SWAPGS: loading the selector changes the active base, which is then
 * read, kept as the user's, and replaced by the kernel's.  If the load faults, the
 * fault is delivered with the kernel's base, still in force, and a null selector
 * is loaded instead.
 */
SYM_FUNC_START(asm_lguest_load_gs_index)
	ANNOTATE_NOENDBR
	rdgsbase %rax
	xorl	%edx, %edx
	testl	$0xfffc, %edi
	jz	2f
1:	movl	%edi, %gs
	rdgsbase %rdx
	jmp	3f
2:	/* Some CPUs keep the base when a null selector is loaded: it is 0. */
	movl	%edi, %gs
3:	wrgsbase %rax
	movq	%rdx, PAGE(user_gs_base)
	RET
4:	xorl	%edi, %edi
	xorl	%edx, %edx
	jmp	2b
	_ASM_EXTABLE(1b, 4b)
SYM_FUNC_END(asm_lguest_load_gs_index)
.popsection
