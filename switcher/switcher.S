/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The world switcher: the only code that runs on a guest's page tables.
 *
 * host-module/switch.c copies [switcher_start, switcher_end) to the start of the
 * switcher's address range (layout.h), where it is mapped both in the launcher's
 * page tables and in every shadow root.  It therefore runs at another address
 * than it was linked for: it reaches only itself, RIP-relative, and what layout.h
 * places in the same range.  No RET, no calls out, no tracing,
 * no exception table.  It lives in a data section, which keeps every tool that
 * patches or checks kernel text away from it.
 *
 *               host (C, CPL 0)                     guest (CPL 3)
 *                    |                                   ^
 *   1. enter:        +--> IDT GDT TR CR3 --> IRETQ ------+
 *   2. leave:        <--- CR3 GDT TR IDT <-- save -------+  any vector, SYSCALL
 *   3. direct:            SYSCALL <-> SYSRETQ, IRETQ        user <-> kernel view
 *   4. trouble:           NMI, #MC, #DB in here; IRETQ that faults
 *
 * State on every path in here: CPL 0, interrupts off, and
 *   guest's GS base active, our CPU area in KERNEL_GS_BASE ("GS guest"), or
 *   the other way round ("GS cpu").
 *
 * NMIs.  An NMI or #MC that arrives while this code runs uses our IDT between
 * the two LIDTs, and an IST stack of whatever TR says: the host's, or ours, both
 * mapped in both worlds.  Part 4 tells what it does in which range; in short:
 *   [enter_abortable, enter_end)    the guest frame is untouched: leave again
 *   [commit_*_start, commit_*_end)  a direct switch is decided and recorded:
 *                                   finish it on paper, then leave
 *   everywhere else                 note it in `pending` and return; all those
 *                                   ways end at the host, or at a commit that
 *                                   checks `pending` first
 */
#include <asm/segment.h>
#include "offsets.h"
#include "layout.h"

#define X86_EFLAGS_FIXED	0x002
#define X86_EFLAGS_TF		0x100
#define X86_EFLAGS_IF		0x200
/* What a direct return to user accepts: status flags, DF, AC, ID, and IF and bit
 * 1, which are forced on anyway.  TF, RF, NT, IOPL, VM take the slow way. */
#define RFLAGS_SIMPLE		0x240ed7

#define TSS_SELECTOR		(GDT_ENTRY_TSS * 8)
#define TSS_AVAILABLE		0x89	/* byte 5 of a TSS descriptor that is not busy */
#define TSS_RSP0		4

	/* Progbits but not executable: see the head of the file. */
	.section .rodata.switcher, "a", @progbits
	.balign 4096
	.globl switcher_start
switcher_start:

/* ------------------------------------------------------------------------
 * 1. Enter
 * ------------------------------------------------------------------------ */

/*
 * switcher_enter - run a vCPU until it leaves
 * Called from C through its switcher address.  RDI: struct switcher_cpu, RSI:
 * struct switcher_vcpu, both at switcher addresses.  Interrupts off, host's
 * stack, page tables and GS.  Returns to its caller from part 2 with the guest's
 * state in the vCPU.  DS, ES, FS and GS selectors must be null.
 */
	.globl switcher_enter
switcher_enter:
	endbr64
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	movq	%rsp, CPU_HOST_RSP(%rdi)
	.globl enter_abortable
enter_abortable:
	/* IDT first.  NMI now: our stub, on the host's NMI stack (the host's TR;
	 * both IDTs use the same IST numbers).  The other order would run the
	 * host's handler on our GDT, whose CPUNODE segment is the guest's. */
	lidt	CPU_GUEST_IDT(%rdi)
	lgdt	CPU_GUEST_GDT(%rdi)
	movb	$TSS_AVAILABLE, (SWITCHER_CPU_GDT + TSS_SELECTOR + 5)(%rdi)
	movl	$TSS_SELECTOR, %eax
	ltr	%ax
	/* NMI now: our stub, our stack. */
	leaq	(VCPU_FRAME + SWITCHER_FRAME_SIZE)(%rsi), %rax
	movq	%rax, (SWITCHER_CPU_TSS + TSS_RSP0)(%rdi)

	movl	VCPU_LDT(%rsi), %eax
	movzwl	CPU_HOST_LDT(%rdi), %ecx
	orl	%eax, %ecx
	jz	1f
	lldt	%ax
1:
	/* The global-pages fallback empties the TLB by itself. */
	movq	CPU_GUEST_CR4(%rdi), %rax
	cmpq	CPU_HOST_CR4(%rdi), %rax
	je	1f
	movq	%rax, %cr4
1:
	/* Selectors before bases, because loading one changes the base.  They may
	 * fault, still on the host's stack: part 4 turns that into EXIT_SEGMENT. */
	cmpq	$0, VCPU_DS(%rsi)
	je	enter_segments_end
enter_segments:
	movw	VCPU_DS(%rsi), %ds
	movw	VCPU_ES(%rsi), %es
	movw	VCPU_FS(%rsi), %fs
	movw	VCPU_GS(%rsi), %gs
enter_segments_end:
	movq	VCPU_FS_BASE(%rsi), %rax
	wrfsbase %rax
	wrgsbase %rdi
	swapgs
	movq	VCPU_GS_BASE(%rsi), %rax
	wrgsbase %rax

	movq	VCPU_KERNEL_CR3(%rsi), %rax
	cmpq	$0, VCPU_USER_MODE(%rsi)
	cmovneq	VCPU_USER_CR3(%rsi), %rax
	movq	%rax, %cr3
	/* NMI now: all it touches is in the switcher's slot, which did not change. */

	/* IRETQ pops a copy, so that a fault there pushes beside it and leaves
	 * the frame as it is. */
	movq	(VCPU_FRAME + FRAME_RIP)(%rsi), %rax
	movq	%rax, CPU_IRET_RIP(%rdi)
	movq	(VCPU_FRAME + FRAME_CS)(%rsi), %rax
	movq	%rax, CPU_IRET_CS(%rdi)
	movq	(VCPU_FRAME + FRAME_RFLAGS)(%rsi), %rax
	movq	%rax, CPU_IRET_RFLAGS(%rdi)
	movq	(VCPU_FRAME + FRAME_RSP)(%rsi), %rax
	movq	%rax, CPU_IRET_RSP(%rdi)
	movq	(VCPU_FRAME + FRAME_SS)(%rsi), %rax
	movq	%rax, CPU_IRET_SS(%rdi)
	leaq	CPU_IRET_RIP(%rdi), %rsp

	movq	(VCPU_FRAME + FRAME_R15)(%rsi), %r15
	movq	(VCPU_FRAME + FRAME_R14)(%rsi), %r14
	movq	(VCPU_FRAME + FRAME_R13)(%rsi), %r13
	movq	(VCPU_FRAME + FRAME_R12)(%rsi), %r12
	movq	(VCPU_FRAME + FRAME_RBP)(%rsi), %rbp
	movq	(VCPU_FRAME + FRAME_RBX)(%rsi), %rbx
	movq	(VCPU_FRAME + FRAME_R11)(%rsi), %r11
	movq	(VCPU_FRAME + FRAME_R10)(%rsi), %r10
	movq	(VCPU_FRAME + FRAME_R9)(%rsi), %r9
	movq	(VCPU_FRAME + FRAME_R8)(%rsi), %r8
	movq	(VCPU_FRAME + FRAME_RAX)(%rsi), %rax
	movq	(VCPU_FRAME + FRAME_RCX)(%rsi), %rcx
	movq	(VCPU_FRAME + FRAME_RDX)(%rsi), %rdx
	movq	(VCPU_FRAME + FRAME_RDI)(%rsi), %rdi
	movq	(VCPU_FRAME + FRAME_RSI)(%rsi), %rsi
enter_iretq:
	iretq
enter_end:

/* ------------------------------------------------------------------------
 * 2. Leave
 * ------------------------------------------------------------------------ */

	/* The rest of a struct switcher_frame, above `vector` everything is there. */
	.macro PUSH_REGISTERS
	pushq	%rdi
	pushq	%rsi
	pushq	%rdx
	pushq	%rcx
	pushq	%rax
	pushq	%r8
	pushq	%r9
	pushq	%r10
	pushq	%r11
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	.endm

	.macro POP_REGISTERS
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	popq	%r11
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rax
	popq	%rcx
	popq	%rdx
	popq	%rsi
	popq	%rdi
	.endm

/*
 * leave_vector - every vector but those on IST stacks comes here
 * From the guest: RSP0 made the vCPU's frame the stack; the stub pushed error
 * code and vector; "GS guest".  From inside the switcher: some stack of ours or
 * of the host.
 */
leave_vector:
	testb	$3, (FRAME_CS - FRAME_VECTOR)(%rsp)
	jz	fault_in_switcher
	PUSH_REGISTERS

/* RSP: the vCPU's frame, complete; "GS guest"; all registers free. */
leave_saved:
	leaq	-VCPU_FRAME(%rsp), %rsi
	rdfsbase %rax
	movq	%rax, VCPU_FS_BASE(%rsi)
	rdgsbase %rax
	movq	%rax, VCPU_GS_BASE(%rsi)
	movw	%ds, VCPU_DS(%rsi)
	movw	%es, VCPU_ES(%rsi)
	movw	%fs, VCPU_FS(%rsi)
	movw	%gs, VCPU_GS(%rsi)
	swapgs
	movq	%gs:CPU_SELF, %rdi
	cmpq	$0, VCPU_DS(%rsi)
	je	leave_restore

/* Null selectors while the host runs: it would reload them from its own GDT. */
leave_null_segments:
	xorl	%eax, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %fs
	movl	%eax, %gs

/*
 * leave_restore - back to the host
 * RDI: our CPU area.  Needs nothing else, and may be run again from its start:
 * also the end of an enter that was broken off.
 */
leave_restore:
	movq	CPU_HOST_CR3(%rdi), %rax
	movq	%rax, %cr3
	/* NMI now: as before, the slot is the same here. */
	movq	CPU_HOST_CR4(%rdi), %rax
	cmpq	CPU_GUEST_CR4(%rdi), %rax
	je	1f
	movq	%rax, %cr4
1:
	movq	CPU_HOST_GS_BASE(%rdi), %rax
	wrgsbase %rax
	/* LTR writes the busy bit, and the GDT the host runs on is read-only: do
	 * it by the writable one.  NMI now: our stub; while TR is ours our stack,
	 * then the host's. */
	lgdt	CPU_HOST_GDT_WRITABLE(%rdi)
	movq	CPU_HOST_TSS_DESCRIPTOR(%rdi), %rax
	movb	$TSS_AVAILABLE, (%rax)
	movl	$TSS_SELECTOR, %eax
	ltr	%ax
	lldt	CPU_HOST_LDT(%rdi)
	lgdt	CPU_HOST_GDT(%rdi)
	/* A vector left SS null.  Linux wants __KERNEL_DS: SYSRET on AMD does not
	 * repair the attributes. */
	movl	$__KERNEL_DS, %eax
	movl	%eax, %ss
	lidt	CPU_HOST_IDT(%rdi)
	/* NMI now: the host's, on the host's stacks. */
	movq	CPU_HOST_RSP(%rdi), %rsp
	pushq	$X86_EFLAGS_FIXED	/* the guest's DF and AC */
	popfq
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	/* A far return, because no predictor the guest could have trained decides
	 * where that goes.  The caller cleans the predictors next. */
	popq	%rax
	pushq	$__KERNEL_CS
	pushq	%rax
	lretq
	int3

/* ------------------------------------------------------------------------
 * 3. SYSCALL, and the direct switches
 * ------------------------------------------------------------------------ */

/*
 * switcher_syscall - LSTAR while a vCPU is loaded
 * "GS guest"; RSP the guest's, so no stack; RCX the guest's RIP, R11 its RFLAGS.
 * RSP, RCX and R11 are the only registers free to use.
 */
	.balign 64
	.globl switcher_syscall
switcher_syscall:
	endbr64
	swapgs
	movq	%rsp, %gs:CPU_SCRATCH_RSP
	movq	%gs:CPU_VCPU, %rsp
	cmpq	$0, VCPU_USER_MODE(%rsp)
	je	syscall_in_kernel
	cmpq	$0, VCPU_DIRECT(%rsp)
	je	syscall_leave

	/* User to kernel: record the caller in the vCPU page. */
	movq	VCPU_PAGE(%rsp), %rsp
	movq	%rcx, PAGE_USER_RIP(%rsp)
	movq	%r11, PAGE_USER_RFLAGS(%rsp)
	movq	%gs:CPU_SCRATCH_RSP, %rcx
	movq	%rcx, PAGE_USER_RSP(%rsp)
	movq	$__USER_CS, PAGE_USER_CS(%rsp)
	movq	$__USER_DS, PAGE_USER_SS(%rsp)
	movl	$0, PAGE_IRQ_FLAGS(%rsp)
	movq	%gs:CPU_VCPU, %r11
	swapgs
	rdgsbase %rcx
	movq	%rcx, PAGE_USER_GS_BASE(%rsp)
	movq	VCPU_KERNEL_GS_BASE(%r11), %rcx		/* canonical: checked when set */
	wrgsbase %rcx
	movq	$0, VCPU_USER_MODE(%r11)
	movq	VCPU_KERNEL_CR3(%r11), %rcx
	movq	%rcx, %cr3
	/* NMI now: noted, and seen by the next line. */
	cmpq	$0, VCPU_PENDING(%r11)
	jne	syscall_commit_leave
commit_syscall_start:
	movq	VCPU_SYSCALL_FROM_USER(%r11), %rcx	/* canonical: checked when set */
	movq	PAGE_USER_RSP(%rsp), %rsp
	movl	$(X86_EFLAGS_FIXED | X86_EFLAGS_IF), %r11d
	sysretq
commit_syscall_end:

/* Something is pending: the switch is made, leave as if the guest had just been
 * entered.  R11: vCPU; RSP: vCPU page; "GS guest". */
syscall_commit_leave:
	movq	PAGE_USER_RSP(%rsp), %rcx
	leaq	(VCPU_FRAME + SWITCHER_FRAME_SIZE)(%r11), %rsp
	pushq	$__USER_DS
	pushq	%rcx
	pushq	$(X86_EFLAGS_FIXED | X86_EFLAGS_IF)
	pushq	$__USER_CS
	pushq	VCPU_SYSCALL_FROM_USER(%r11)
	pushq	$0
	pushq	$SWITCHER_EXIT_ABORT
	PUSH_REGISTERS
	jmp	leave_saved

/* "GS cpu"; RSP: vCPU; RCX, R11 as SYSCALL left them. */
syscall_leave:
	leaq	(VCPU_FRAME + SWITCHER_FRAME_SIZE)(%rsp), %rsp
	pushq	$__USER_DS
	pushq	%gs:CPU_SCRATCH_RSP
	pushq	%r11
	pushq	$__USER_CS
	pushq	%rcx
	pushq	$0
	pushq	$SWITCHER_EXIT_SYSCALL
	swapgs
	PUSH_REGISTERS
	jmp	leave_saved

syscall_in_kernel:
	cmpq	VCPU_RETURN_TO_USER(%rsp), %rcx
	je	return_to_user
	leaq	(VCPU_FRAME + SWITCHER_FRAME_SIZE)(%rsp), %rsp
	pushq	$__USER_DS
	pushq	%gs:CPU_SCRATCH_RSP
	pushq	%r11
	pushq	$__USER_CS
	pushq	%rcx
	pushq	$0
	pushq	$SWITCHER_EXIT_HYPERCALL
	swapgs
	PUSH_REGISTERS
	jmp	leave_saved

/*
 * return_to_user - kernel to user, without the host if it is simple
 * "GS cpu"; RSP: vCPU.  RCX, R11 and the guest kernel's RSP are of no use any
 * more, so giving up half way costs nothing: the host starts from the vCPU page.
 * That page may change under us (another vCPU of the guest), so each field is
 * read once, checked in a register or in the CPU area, and used from there.
 */
return_to_user:
	cmpq	$0, VCPU_DIRECT(%rsp)
	je	return_leave
	movq	VCPU_PAGE(%rsp), %rsp
	cmpl	$0, PAGE_IRQ_PENDING(%rsp)	/* user mode enables interrupts */
	jne	return_leave
	cmpl	$0, PAGE_BATCH_COUNT(%rsp)
	jne	return_leave
	cmpq	$__USER_CS, PAGE_USER_CS(%rsp)	/* 32-bit and LDT code: slow */
	jne	return_leave
	cmpq	$__USER_DS, PAGE_USER_SS(%rsp)
	jne	return_leave
	movq	PAGE_USER_RIP(%rsp), %rcx
	movq	%rcx, %gs:CPU_IRET_RIP
	shrq	$47, %rcx			/* lower half, so canonical */
	jnz	return_leave
	movq	PAGE_USER_RFLAGS(%rsp), %rcx
	testq	$~RFLAGS_SIMPLE, %rcx
	jnz	return_leave
	orq	$(X86_EFLAGS_FIXED | X86_EFLAGS_IF), %rcx
	movq	%rcx, %gs:CPU_IRET_RFLAGS
	movq	PAGE_USER_RSP(%rsp), %rcx
	movq	%rcx, %gs:CPU_IRET_RSP
	movq	$__USER_CS, %gs:CPU_IRET_CS
	movq	$__USER_DS, %gs:CPU_IRET_SS
	movq	PAGE_USER_RCX(%rsp), %rcx
	movq	%rcx, %gs:CPU_SCRATCH_RCX
	movq	PAGE_USER_R11(%rsp), %rcx
	movq	%rcx, %gs:CPU_SCRATCH_R11
	movq	PAGE_USER_GS_BASE(%rsp), %rcx
	movq	%rcx, %r11
	sarq	$47, %r11			/* 0 or -1: canonical */
	incq	%r11
	cmpq	$1, %r11
	ja	return_leave

	movl	$X86_EFLAGS_IF, PAGE_IRQ_FLAGS(%rsp)
	movq	%gs:CPU_SELF, %rsp
	movq	CPU_VCPU(%rsp), %r11
	movq	$1, VCPU_USER_MODE(%r11)
	swapgs
	wrgsbase %rcx
	movq	VCPU_USER_CR3(%r11), %rcx
	movq	%rcx, %cr3
	/* NMI now: noted, and seen by the next line. */
	cmpq	$0, VCPU_PENDING(%r11)
	jne	return_commit_leave
commit_return_start:
	movq	CPU_SCRATCH_RCX(%rsp), %rcx
	cmpq	%rcx, CPU_IRET_RIP(%rsp)
	jne	1f
	movq	CPU_SCRATCH_R11(%rsp), %r11
	cmpq	%r11, CPU_IRET_RFLAGS(%rsp)
	jne	2f
	/* A system call returns: RCX and R11 are RIP and RFLAGS. */
	movq	CPU_IRET_RSP(%rsp), %rsp
	sysretq
1:	movq	CPU_SCRATCH_R11(%rsp), %r11
2:	addq	$CPU_IRET_RIP, %rsp
return_iretq:
	iretq
commit_return_end:

/* "GS cpu".  The guest stays in kernel mode, at its return_to_user. */
return_leave:
	movq	%gs:CPU_VCPU, %rsp
	movq	VCPU_RETURN_TO_USER(%rsp), %rcx
	leaq	(VCPU_FRAME + SWITCHER_FRAME_SIZE)(%rsp), %rsp
	pushq	$__USER_DS
	pushq	%gs:CPU_SCRATCH_RSP
	pushq	$(X86_EFLAGS_FIXED | X86_EFLAGS_IF)
	pushq	$__USER_CS
	pushq	%rcx
	pushq	$0
	pushq	$SWITCHER_EXIT_RETURN
	swapgs
	PUSH_REGISTERS
	jmp	leave_saved

/* Something is pending: the switch is made, leave with the user state it has.
 * RSP: CPU area; R11: vCPU; "GS guest". */
return_commit_leave:
	leaq	(VCPU_FRAME + FRAME_VECTOR)(%r11), %rsp
	movq	$SWITCHER_EXIT_ABORT, (%rsp)
	PUSH_REGISTERS
	swapgs
	movq	%gs:CPU_SELF, %rdi
	swapgs
	jmp	return_on_paper

/*
 * switcher_syscall32 - CSTAR while a vCPU is loaded
 * SYSCALL in compatibility mode, which only AMD has.  As switcher_syscall.
 */
	.balign 16
	.globl switcher_syscall32
switcher_syscall32:
	endbr64
	swapgs
	movq	%rsp, %gs:CPU_SCRATCH_RSP
	movq	%gs:CPU_VCPU, %rsp
	leaq	(VCPU_FRAME + SWITCHER_FRAME_SIZE)(%rsp), %rsp
	pushq	$__USER_DS
	pushq	%gs:CPU_SCRATCH_RSP
	pushq	%r11
	pushq	$__USER32_CS
	pushq	%rcx
	pushq	$0
	pushq	$SWITCHER_EXIT_SYSCALL32
	swapgs
	PUSH_REGISTERS
	jmp	leave_saved

/* ------------------------------------------------------------------------
 * 4. Trouble
 * ------------------------------------------------------------------------ */

/*
 * Put our CPU area into RDI, for code that was entered from anywhere in here and
 * has pushed a struct switcher_frame at RSP.  While our GDT is loaded its base
 * says it; when not (first lines of enter, last lines of leave), the interrupted
 * code had it in RDI.  Clobbers RAX, RCX.
 */
	.macro FIND_CPU
	subq	$16, %rsp
	sgdt	(%rsp)
	movq	2(%rsp), %rdi
	addq	$16, %rsp
	leaq	switcher_start(%rip), %rax
	movq	%rdi, %rcx
	xorq	%rax, %rcx
	shrq	$39, %rcx		/* same top-level slot? */
	jz	.Lfound\@
	movq	FRAME_RDI(%rsp), %rdi
.Lfound\@:
	andq	$-SWITCHER_CPU_SIZE, %rdi
	.endm

	/* Jump to \target if RAX, an offset from switcher_start, is in a range. */
	.macro IF_IN_RANGE start, end, target
	leaq	-(\start - switcher_start)(%rax), %rcx
	cmpq	$(\end - \start), %rcx
	jb	\target
	.endm

	/* Continue on the frame of the vCPU in RSI with a copy of the one at RSP.
	 * Clobbers RCX, RSI, RDI; DF clear. */
	.macro MOVE_FRAME
	leaq	VCPU_FRAME(%rsi), %rdi
	movq	%rsp, %rsi
	movq	%rdi, %rsp
	movl	$(SWITCHER_FRAME_SIZE / 8), %ecx
	rep movsq
	.endm

/*
 * ist_vector - NMI, #MC, #DB, #DF
 * On an IST stack, which is ours unless TR is the host's; error code and vector
 * pushed; GS unknown.
 */
ist_vector:
	PUSH_REGISTERS
	cld
	testb	$3, FRAME_CS(%rsp)
	jz	ist_in_switcher
	/* From the guest: our stack for sure.  Move over to the vCPU's frame. */
	movq	%rsp, %rdi
	andq	$-SWITCHER_CPU_SIZE, %rdi
	movq	CPU_VCPU(%rdi), %rsi
	MOVE_FRAME
	jmp	leave_saved

ist_in_switcher:
	FIND_CPU
	movq	FRAME_VECTOR(%rsp), %rdx
	cmpl	$1, %edx		/* MOV SS, then SYSCALL, with a breakpoint: */
	je	ist_resume		/* the guest's loss */
	cmpl	$8, %edx
	je	switcher_bug
	movl	$SWITCHER_PENDING_NMI, %ecx
	movl	$SWITCHER_PENDING_MC, %eax
	cmpl	$2, %edx
	cmovnel	%eax, %ecx
	movq	CPU_VCPU(%rdi), %rsi
	orq	%rcx, CPU_PENDING(%rdi)
	orq	%rcx, VCPU_PENDING(%rsi)

	leaq	switcher_start(%rip), %rcx
	movq	FRAME_RIP(%rsp), %rax
	subq	%rcx, %rax
	IF_IN_RANGE enter_abortable, enter_end, enter_abort
	IF_IN_RANGE commit_syscall_start, commit_syscall_end, syscall_commit_abort
	IF_IN_RANGE commit_return_start, commit_return_end, return_commit_abort
	/* This IRETQ lets NMIs in again before the host has seen this one.  A
	 * second one merges with it in `pending`, as it would in hardware. */
ist_resume:
	andl	$~X86_EFLAGS_TF, FRAME_RFLAGS(%rsp)
	POP_REGISTERS
	addq	$16, %rsp
	iretq

/* The guest frame was not touched, the host's stack neither.  RDI: CPU, RSI: vCPU. */
enter_abort:
	movq	$SWITCHER_EXIT_ABORT, (VCPU_FRAME + FRAME_VECTOR)(%rsi)
	jmp	leave_null_segments

/* "GS guest", kernel view; registers as the system call entry finds them, but for
 * those it does not promise.  RDI: CPU, RSI: vCPU, RSP: frame on our IST stack. */
syscall_commit_abort:
	movq	VCPU_SYSCALL_FROM_USER(%rsi), %rax
	movq	%rax, FRAME_RIP(%rsp)
	movq	VCPU_PAGE(%rsi), %rax
	movq	PAGE_USER_RSP(%rax), %rax
	movq	%rax, FRAME_RSP(%rsp)
	movq	$(X86_EFLAGS_FIXED | X86_EFLAGS_IF), FRAME_RFLAGS(%rsp)
	movq	$__USER_CS, FRAME_CS(%rsp)
	movq	$__USER_DS, FRAME_SS(%rsp)
	movq	$SWITCHER_EXIT_ABORT, FRAME_VECTOR(%rsp)
	MOVE_FRAME
	jmp	leave_saved

/* "GS guest", user view; RCX, R11 and the rest as recorded in the CPU area. */
return_commit_abort:
	movq	$SWITCHER_EXIT_ABORT, FRAME_VECTOR(%rsp)
	movq	%rdi, %rdx
	MOVE_FRAME
	movq	%rdx, %rdi
/* RDI: CPU, RSP: the vCPU's frame.  Finish the direct return in it. */
return_on_paper:
	movq	CPU_IRET_RIP(%rdi), %rax
	movq	%rax, FRAME_RIP(%rsp)
	movq	CPU_IRET_CS(%rdi), %rax
	movq	%rax, FRAME_CS(%rsp)
	movq	CPU_IRET_RFLAGS(%rdi), %rax
	movq	%rax, FRAME_RFLAGS(%rsp)
	movq	CPU_IRET_RSP(%rdi), %rax
	movq	%rax, FRAME_RSP(%rsp)
	movq	CPU_IRET_SS(%rdi), %rax
	movq	%rax, FRAME_SS(%rsp)
	movq	CPU_SCRATCH_RCX(%rdi), %rax
	movq	%rax, FRAME_RCX(%rsp)
	movq	CPU_SCRATCH_R11(%rdi), %rax
	movq	%rax, FRAME_R11(%rsp)
	jmp	leave_saved

/*
 * fault_in_switcher - an exception at CPL 0
 * Expected ones: a segment load in enter (host's stack), an IRETQ whose frame the
 * CPU does not take (iret_stack of the CPU area).  Anything else is our bug: the
 * guest is stopped, the host goes on.
 */
fault_in_switcher:
	PUSH_REGISTERS
	cld
	FIND_CPU
	movq	CPU_VCPU(%rdi), %rsi
	leaq	switcher_start(%rip), %rcx
	movq	FRAME_RIP(%rsp), %rax
	subq	%rcx, %rax
	IF_IN_RANGE enter_segments, enter_segments_end, enter_segment_fault
	cmpq	$(enter_iretq - switcher_start), %rax
	je	enter_iret_fault
	cmpq	$(return_iretq - switcher_start), %rax
	je	return_iret_fault

/* RDI: CPU; RSP: frame of the fault. */
switcher_bug:
	movq	CPU_VCPU(%rdi), %rsi
	movq	$SWITCHER_EXIT_BUG, (VCPU_FRAME + FRAME_VECTOR)(%rsi)
	movq	FRAME_VECTOR(%rsp), %rax
	movq	%rax, (VCPU_FRAME + FRAME_ERROR)(%rsi)
	leaq	switcher_start(%rip), %rcx
	movq	FRAME_RIP(%rsp), %rax
	subq	%rcx, %rax
	movq	%rax, (VCPU_FRAME + FRAME_RIP)(%rsi)
	jmp	leave_null_segments

/* The error code tells the selector. */
enter_segment_fault:
	movl	$SWITCHER_EXIT_SEGMENT, %edx
	jmp	1f
enter_iret_fault:
	movl	$SWITCHER_EXIT_IRET, %edx
1:	movq	%rdx, (VCPU_FRAME + FRAME_VECTOR)(%rsi)
	movq	FRAME_ERROR(%rsp), %rax
	movq	%rax, (VCPU_FRAME + FRAME_ERROR)(%rsi)
	jmp	leave_null_segments

return_iret_fault:
	movq	FRAME_ERROR(%rsp), %rdx
	movq	%rdi, %rbx
	MOVE_FRAME
	movq	%rbx, %rdi
	movq	%rdx, FRAME_ERROR(%rsp)
	movq	$SWITCHER_EXIT_IRET, FRAME_VECTOR(%rsp)
	jmp	return_on_paper

/*
 * The vector stubs, 16 bytes each.  The CPU pushes an error code for vectors 8,
 * 10 to 14, 17, 21, 29 and 30 (SDM vol. 3, 6.3.1); the stub makes up for others.
 */
	.balign 16
	.globl switcher_vectors
switcher_vectors:
	.set vector, 0
	.rept 256
	.balign 16
	endbr64
	.if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || \
	      vector == 21 || vector == 29 || vector == 30)
	pushq	$0
	.endif
	.byte	0x68		/* PUSH imm32, so that all stubs have one size */
	.long	vector
	.if vector == 1 || vector == 2 || vector == 8 || vector == 18
	jmp	ist_vector
	.else
	jmp	leave_vector
	.endif
	.set vector, vector + 1
	.endr
	.org	switcher_vectors + 256 * 16	/* an error if a stub is longer than 16 bytes */

	.globl switcher_end
switcher_end:
	.previous
