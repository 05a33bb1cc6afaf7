/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * System calls, and the ways back to user mode: the short one (SYSRETQ), the one with
 * other RCX or R11 (IRETQ), the long one through the host, and all that may be wrong
 * with the frame.
 */
#include "payload.h"

#define CANONICAL_HOLE	0x0000800000000000
#define GP		13

/* -- into the kernel ---------------------------------------------------------------------- */

PAYLOAD(syscall_preserves_registers)
	ON_SYSCALL(9f)
	ENTER_USER(1f)
1:	FILL_REGISTERS
	syscall
2:	FAIL
9:	EXPECT_REGISTERS_OF_SYSCALL
	EXPECT_USER_RIP(2b)
	EXPECT(PAGE(user_rsp), $USER_STACK_TOP)
	EXPECT(%rsp, $USER_STACK_TOP)
	PASS

PAYLOAD(syscall_records_the_caller)
	ON_SYSCALL(9f)
	movl	$0x55, PAGE(event_vector)
	movq	$0x66, PAGE(event_error)
	ENTER_USER(1f)
1:	movl	$0x712340, %eax
	wrgsbase %rax
	std
	movl	$-1, %eax
	addl	$1, %eax			/* CF, ZF, AF, PF */
	movl	$1, %eax
	syscall
2:	FAIL
9:	rdgsbase %rbx
	EXPECT_USER_RIP(2b)
	EXPECT(PAGE(user_gs_base), $0x712340)
	EXPECT(PAGE(user_cs), $USER_CS)
	EXPECT(PAGE(user_ss), $USER_DS)
	EXPECT_BITS(PAGE(user_rflags), $(X86_IF | X86_DF | 0x55))
	EXPECT32(PAGE(irq_flags), $0)
	EXPECT32(PAGE(event_vector), $0x55)	/* untouched */
	EXPECT(PAGE(event_error), $0x66)
	subq	GS(D_DIRECT), %rbx
	EXPECT_WIDE(%rbx, $DATA)
	pushfq					/* entered with DF clear, hardware IF set */
	popq	%rax
	EXPECT_CLEAR(%rax, $X86_DF)
	EXPECT_BITS(%rax, $X86_IF)
	PASS

/* Round and round; the switcher never goes to the host but for its interrupts. */
CODE(null_syscalls)
	ON_SYSCALL(2f)
	movq	$100000, VAR(0)
	TELL($1)
	ENTER_USER(1f)
1:	FILL_REGISTERS
	syscall
	EXPECT_REGISTERS_OF_SYSCALL
	jmp	1b
2:	decq	VAR(0)
	je	3f
	movq	%rcx, VAR(1)
	movq	PAGE(user_rip), %rcx
	movq	%rcx, PAGE(user_rcx)
	movq	PAGE(user_rflags), %rcx
	movq	%rcx, PAGE(user_r11)
	GO_TO_USER
3:	TELL($2)
	PASS

/* -- back, well-formed --------------------------------------------------------------------- */

PAYLOAD(return_with_rcx_of_rip_preserves_registers)
	ON_SYSCALL(9f)
	USER_FRAME(1f)
	movq	%rax, PAGE(user_rcx)
	movq	$0x202, PAGE(user_r11)
	FILL_REGISTERS
	GO_TO_USER
1:	pushq	%rax
	leaq	1b(%rip), %rax
	EXPECT(%rcx, %rax)
	popq	%rax
	EXPECT(%r11, $0x202)
	EXPECT(%rsp, $USER_STACK_TOP)
	EXPECT_REGISTERS_OF_SYSCALL
	syscall
9:	PASS

PAYLOAD(return_with_other_rcx_and_r11)
	ON_SYSCALL(9f)
	USER_FRAME(1f)
	movabsq	$(0x1122334455660000 + .Lnumber_of_rcx), %rax
	movq	%rax, PAGE(user_rcx)
	movabsq	$(0x1122334455660000 + .Lnumber_of_r11), %rax
	movq	%rax, PAGE(user_r11)
	FILL_REGISTERS
	GO_TO_USER
1:	EXPECT_ALL_REGISTERS
	EXPECT(%rsp, $USER_STACK_TOP)
	syscall
9:	PASS

PAYLOAD(return_with_other_r11_only)
	ON_SYSCALL(9f)
	USER_FRAME(1f)
	movq	%rax, PAGE(user_rcx)
	movq	$0x1234, PAGE(user_r11)
	GO_TO_USER
1:	EXPECT(%r11, $0x1234)
	leaq	1b(%rip), %rax
	EXPECT(%rcx, %rax)
	syscall
9:	PASS

/* The long way, forced by an empty batch entry, gives the same. */
PAYLOAD(return_through_the_host_preserves_registers)
	ON_SYSCALL(9f)
	USER_FRAME(1f)
	movabsq	$(0x1122334455660000 + .Lnumber_of_rcx), %rax
	movq	%rax, PAGE(user_rcx)
	movabsq	$(0x1122334455660000 + .Lnumber_of_r11), %rax
	movq	%rax, PAGE(user_r11)
	movq	$LG_HC_FLUSH_ALL, PAGE(batch)
	movl	$1, PAGE(batch_count)
	FILL_REGISTERS
	GO_TO_USER
1:	EXPECT_ALL_REGISTERS
	EXPECT(%rsp, $USER_STACK_TOP)
	syscall
9:	EXPECT32(PAGE(batch_count), $0)
	PASS

PAYLOAD(return_sets_gs_base_and_virtual_if)
	ON_SYSCALL(9f)
	USER_FRAME(1f)
	movq	$0x712000, PAGE(user_gs_base)
	EXPECT32(PAGE(irq_flags), $0)
	GO_TO_USER
1:	rdgsbase %rax
	EXPECT(%rax, $0x712000)
	syscall
9:	EXPECT(%rax, $0x712000)
	PASS

/* Upper-half GS bases are canonical; Linux lets arch_prctl() set none, WRGSBASE does. */
PAYLOAD(return_with_upper_half_gs_base)
	ON_SYSCALL(9f)
	USER_FRAME(1f)
	movq	$-4096, PAGE(user_gs_base)
	GO_TO_USER
1:	rdgsbase %rax
	EXPECT(%rax, $-4096)
	syscall
9:	EXPECT(PAGE(user_gs_base), $-4096)
	PASS

/* Flags a kernel may ask for: direction, status, AC, ID, carry all the way. */
PAYLOAD(return_restores_flags)
	ON_SYSCALL(9f)
	USER_FRAME(1f)
	movq	$0x240ed7, PAGE(user_rflags)
	GO_TO_USER
1:	pushfq
	popq	%rax
	EXPECT(%rax, $0x240ed7)
	cld
	syscall
9:	PASS

/* IOPL, NT, VM, VIF, VIP and what is reserved do not get through; IF cannot be off. */
PAYLOAD(return_filters_flags)
	ON_SYSCALL(9f)
	USER_FRAME(1f)
	movq	$-1, PAGE(user_rflags)
	andq	$~(X86_TF | X86_AC), PAGE(user_rflags)
	GO_TO_USER
1:	pushfq
	popq	%rax
	EXPECT_CLEAR(%rax, $0x1a7100)
	EXPECT_BITS(%rax, $X86_IF)
	cld
	syscall
9:	USER_FRAME(2f)
	ON_SYSCALL(8f)
	movq	$0, PAGE(user_rflags)
	GO_TO_USER
2:	pushfq
	popq	%rax
	EXPECT(%rax, $0x202)
	syscall
8:	PASS

/* A non-canonical RSP is the user's own business, on every path. */
PAYLOAD(return_with_noncanonical_rsp)
	ON_SYSCALL(9f)
	movq	%rsp, VAR(0)
	movabsq	$CANONICAL_HOLE, %rbx
	USER_FRAME(1f)
	movq	%rbx, PAGE(user_rsp)
	GO_TO_USER			/* IRETQ */
1:	cmpq	%rbx, %rsp
	jne	2f
	syscall
2:	ud2
9:	movq	VAR(0), %rsp
	EXPECT(PAGE(user_rsp), %rbx)
	USER_FRAME(1b)
	movq	%rax, PAGE(user_rcx)
	movq	$0x202, PAGE(user_r11)
	movq	%rbx, PAGE(user_rsp)
	ON_SYSCALL(8f)
	GO_TO_USER			/* SYSRETQ */
8:	movq	VAR(0), %rsp
	EXPECT(PAGE(user_rsp), %rbx)
	movl	$1, PAGE(batch_count)
	movq	$LG_HC_FLUSH_ALL, PAGE(batch)
	USER_FRAME(1b)
	movq	%rbx, PAGE(user_rsp)
	ON_SYSCALL(7f)
	GO_TO_USER			/* by way of the host */
7:	movq	VAR(0), %rsp
	EXPECT(PAGE(user_rsp), %rbx)
	PASS

/* -- back, ill-formed: #GP of the user program, error code 0, host alive ------------------------ */

#define BAD_RETURN(name, ...)						\
PAYLOAD(name);								\
	ON_USER(9f);							\
	ON_SYSCALL(8f);							\
	movq	%rsp, VAR(0);						\
	USER_FRAME(2f);							\
	__VA_ARGS__;							\
	GO_TO_USER;							\
2:	syscall;							\
8:	FAIL;								\
9:	movq	VAR(0), %rsp;						\
	EXPECT_EVENT(GP, 0);						\
	PASS

BAD_RETURN(return_to_noncanonical_rip, movabsq $CANONICAL_HOLE, %rax; movq %rax, PAGE(user_rip))
/* The frame of a SYSRETQ: on Intel it would fault at CPL 0. */
BAD_RETURN(return_to_noncanonical_rip_as_if_by_sysret, movabsq $CANONICAL_HOLE, %rax;
	movq %rax, PAGE(user_rip); movq %rax, PAGE(user_rcx); movq $0x202, PAGE(user_r11))
BAD_RETURN(return_to_noncanonical_rip_far_up, movabsq $0x8000000000000000, %rax; movq %rax, PAGE(user_rip))
BAD_RETURN(return_to_noncanonical_rip_through_the_host, movabsq $0x00ff000000000000, %rax;
	movq %rax, PAGE(user_rip); movq $LG_HC_FLUSH_ALL, PAGE(batch); movl $1, PAGE(batch_count))
BAD_RETURN(return_with_noncanonical_gs_base, movabsq $CANONICAL_HOLE, %rax; movq %rax, PAGE(user_gs_base))
BAD_RETURN(return_with_noncanonical_gs_base_through_the_host, movabsq $0x7fff000000000000, %rax;
	movq %rax, PAGE(user_gs_base); movq $LG_HC_FLUSH_ALL, PAGE(batch); movl $1, PAGE(batch_count))
BAD_RETURN(return_with_null_cs, movq $0, PAGE(user_cs))
BAD_RETURN(return_with_null_ss, movq $0, PAGE(user_ss))
BAD_RETURN(return_with_kernel_cs, movq $0x10, PAGE(user_cs))
BAD_RETURN(return_with_kernel_ss, movq $0x18, PAGE(user_ss))
BAD_RETURN(return_with_cs_of_rpl_0, movq $0x30, PAGE(user_cs))
BAD_RETURN(return_with_tss_as_cs, movq $0x43, PAGE(user_cs))
BAD_RETURN(return_with_data_as_cs, movq $0x2b, PAGE(user_cs))
BAD_RETURN(return_with_64_bits_of_cs, movq $-1, PAGE(user_cs))
BAD_RETURN(return_with_selector_beyond_gdt, movq $0xfffb, PAGE(user_cs))

/* A system call by the last two bytes of the lower half: the address to return to is not
 * canonical, and SYSRETQ there would fault at CPL 0 on the user's stack. */
PAYLOAD(syscall_at_the_end_of_the_lower_half)
	ON_SYSCALL(8f)
	ON_USER(9f)
	movw	$0x050f, PLAY + 0xffe
	/* Level 4: slot 255, and on to tables at GPA_FREE. */
	movq	GS(D_ROOT), %rbx
	addq	%r15, %rbx
	movq	$(GPA_FREE + 0x7), 8 * 255(%rbx)
	movq	$(GPA_FREE + 0x1000 + 0x7), GPA_FREE + 8 * 511(%r15)
	movq	$(GPA_FREE + 0x2000 + 0x7), GPA_FREE + 0x1000 + 8 * 511(%r15)
	movq	$(GPA_PLAY + 0x7), GPA_FREE + 0x2000 + 8 * 511(%r15)
	USER_FRAME(8f)
	movabsq	$(CANONICAL_HOLE - 2), %rax
	movq	%rax, PAGE(user_rip)
	movq	%rax, PAGE(user_rcx)
	movq	$0x202, PAGE(user_r11)
	movl	$0x5ca11, %eax
	GO_TO_USER
8:	EXPECT(%rax, $0x5ca11)
	movabsq	$CANONICAL_HOLE, %rbx
	EXPECT(PAGE(user_rip), %rbx)
	movq	%rbx, PAGE(user_rcx)		/* back as Linux would */
	movq	PAGE(user_rflags), %rax
	movq	%rax, PAGE(user_r11)
	GO_TO_USER
9:	EXPECT_EVENT(GP, 0)
	EXPECT(PAGE(user_rsp), $USER_STACK_TOP)
	PASS

/* Selectors only the CPU can judge: IRETQ itself faults, in the switcher. */
#define BAD_SELECTOR(name, error, ...)					\
PAYLOAD(name);								\
	ON_USER(9f);							\
	ON_SYSCALL(8f);							\
	USER_FRAME(2f);							\
	__VA_ARGS__;							\
	GO_TO_USER;							\
2:	syscall;							\
8:	FAIL;								\
9:	EXPECT_EVENT(GP, error);					\
	PASS
BAD_SELECTOR(return_with_cs_in_no_ldt, 0x4, movq $0x7, PAGE(user_cs))
BAD_SELECTOR(return_with_cs_beyond_ldt, 0xfffc, movq $0xffff, PAGE(user_cs))
BAD_SELECTOR(return_with_ss_in_no_ldt, 0x4, movq $0x7, PAGE(user_ss))
BAD_SELECTOR(return_with_empty_tls_as_ss, 0x60, movq $0x63, PAGE(user_ss))

PAYLOAD(return_goes_on_after_a_bad_one)
	ON_USER(3f)
	ON_SYSCALL(9f)
	USER_FRAME(2f)
	movq	$0, PAGE(user_cs)
	GO_TO_USER
3:	EXPECT_EVENT(GP, 0)
	ENTER_USER(2f)
2:	movl	%cs, %eax
	EXPECT(%rax, $USER_CS)
	syscall
9:	PASS

/* -- TF ---------------------------------------------------------------------------------------- */

/* Returned to with TF the long way: one instruction, then #DB; the frame is exact. */
PAYLOAD(return_with_tf_steps_once)
	ON_USER(3f)
	USER_FRAME(1f)
	movq	%rax, PAGE(user_rcx)
	movq	$(X86_IF | X86_TF | 2), PAGE(user_rflags)
	movq	$(X86_IF | X86_TF | 2), PAGE(user_r11)
	GO_TO_USER
1:	movl	$1, %ebx
2:	movl	$2, %ebx
	FAIL
3:	EXPECT_EVENT(1, 0)
	EXPECT_USER_RIP(2b)
	EXPECT(%rbx, $1)
	PASS

/* -- where a kernel has no business -------------------------------------------------------------- */

KILLED_FLAGS(user_mode_without_vcpu_page_cannot_be, "before a vCPU page was registered", F_UNREGISTERED)
	xorl	%eax, %eax
	movl	(%rax), %eax

/* Return to user while the page is busy: the frame is taken all the same. */
PAYLOAD(return_while_busy)
	ON_SYSCALL(9f)
	movl	$1, PAGE(event_busy)
	ENTER_USER(1f)
1:	syscall
9:	PASS

	.section .note.GNU-stack, "", @progbits
