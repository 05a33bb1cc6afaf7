/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Segments: thread-local ones, the LDT, 32-bit code, and what of them is refused.
 */
#include "payload.h"

#define GP		13
#define NP		11
#define DESCRIPTORS	GPA_SCRATCH

/* Base USER_DATA, limit 0xfff: 32-bit data, DPL 3. */
#define DATA32		0x0040f30000000000 + ((USER_DATA & 0xffffff) << 16) + 0xfff
#define DATA32_AT(base)	(0x0040f30000000000 + (((base) & 0xffffff) << 16) + 0xfff)
/* Flat 32-bit code, DPL 3. */
#define CODE32_FLAT	0x00cffb000000ffff
#define CODE64_FLAT	0x00affb000000ffff
#define DATA_DPL0	0x00cf93000000ffff
#define CALL_GATE	0x0000ec0000330000
#define TSS_DESCRIPTOR	0x0000890000000067

#define SET_TLS(index, descriptor)	\
	movl $index, %edi; movabsq $(descriptor), %rsi; HYPERCALL(LG_HC_SET_TLS)
#define SET_LDT(count)		\
	leaq DESCRIPTORS(%r15), %rdi; movl $count, %esi; HYPERCALL(LG_HC_SET_LDT)
#define LDT_ENTRY(index, descriptor)	\
	movabsq $(descriptor), %rax; movq %rax, DESCRIPTORS + 8 * index(%r15)

#define TLS(index)	((12 + index) * 8 + 3)
#define LDT(index)	(index * 8 + 7)

PAYLOAD(tls_segment_in_user_mode)
	ON_SYSCALL(9f)
	movl	$0x1234567, USER_DATA + 0x10
	SET_TLS(1, DATA32)
	EXPECT(%rax, $0)
	ENTER_USER(1f)
1:	movl	$TLS(1), %eax
	movl	%eax, %fs
	EXPECT32(%fs:0x10, $0x1234567)
	movl	%eax, %gs
	EXPECT32(%gs:0x10, $0x1234567)
	rdfsbase %rbx
	EXPECT(%rbx, $USER_DATA)
	syscall
9:	EXPECT(PAGE(user_gs_base), $USER_DATA)
	PASS

/* The selector stays loaded across exits to the host. */
PAYLOAD(tls_selector_survives_exits)
	ON_USER(8f)
	ON_SYSCALL(9f)
	movl	$0x77, USER_DATA + 0x10
	SET_TLS(0, DATA32)
	ENTER_USER(1f)
1:	movl	$TLS(0), %eax
	movl	%eax, %fs
	movl	%eax, %es
	ud2
	FAIL
8:	EXPECT_EVENT(6, 0)
	HYPERCALL(LG_HC_WALLCLOCK)
	ENTER_USER(2f)
2:	movl	%fs, %eax
	EXPECT(%rax, $TLS(0))
	movl	%es, %eax
	EXPECT(%rax, $TLS(0))
	EXPECT32(%fs:0x10, $0x77)
	syscall
9:	PASS

/* Its descriptor is taken away while it is loaded: as if it were null from then on. */
PAYLOAD(tls_selector_that_becomes_invalid)
	ON_USER(8f)
	ON_SYSCALL(9f)
	SET_TLS(0, DATA32)
	ENTER_USER(1f)
1:	movl	$TLS(0), %eax
	movl	%eax, %fs
	ud2
8:	EXPECT_EVENT(6, 0)
	SET_TLS(0, 0)
	EXPECT(%rax, $0)
	ENTER_USER(2f)
2:	movl	%fs, %eax
	movl	%eax, %ebx
	syscall
9:	EXPECT(%rbx, $0)
	PASS

/* Only that one is lost, whatever its RPL. */
PAYLOAD(other_selectors_stay_when_one_becomes_invalid)
	ON_USER(8f)
	ON_SYSCALL(9f)
	SET_TLS(0, DATA32)
	SET_TLS(1, DATA32)
	ENTER_USER(1f)
1:	movl	$USER_DS, %eax
	movl	%eax, %ds
	movl	$TLS(1), %eax
	movl	%eax, %es
	movl	$TLS(0), %eax
	movl	%eax, %fs
	movl	$(TLS(0) - 3), %eax
	movl	%eax, %gs
	ud2
8:	EXPECT_EVENT(6, 0)
	SET_TLS(0, 0)
	EXPECT(%rax, $0)
	ENTER_USER(2f)
2:	movl	%ds, %ebx
	movl	%es, %ebp
	movl	%fs, %r12d
	movl	%gs, %r13d
	syscall
9:	EXPECT(%rbx, $USER_DS)
	EXPECT(%rbp, $TLS(1))
	EXPECT(%r12, $0)
	EXPECT(%r13, $0)
	PASS

/* Each of them by itself. */
PAYLOAD(several_selectors_become_invalid)
	ON_USER(8f)
	ON_SYSCALL(9f)
	SET_TLS(0, DATA32)
	SET_TLS(1, DATA32)
	LDT_ENTRY(0, DATA32)
	SET_LDT(1)
	ENTER_USER(1f)
1:	movl	$LDT(0), %eax
	movl	%eax, %ds
	movl	$TLS(1), %eax
	movl	%eax, %es
	movl	$TLS(0), %eax
	movl	%eax, %fs
	ud2
8:	EXPECT_EVENT(6, 0)
	movl	$3, PAGE(batch_count)			/* all at once */
	movq	$LG_HC_SET_TLS, PAGE(batch)
	movq	$0, PAGE(batch + 8)
	movq	$0, PAGE(batch + 16)
	movq	$LG_HC_SET_TLS, PAGE(batch + 32)
	movq	$1, PAGE(batch + 40)
	movq	$0, PAGE(batch + 48)
	movq	$LG_HC_SET_LDT, PAGE(batch + 64)
	movq	$0, PAGE(batch + 80)
	ENTER_USER(2f)
2:	movl	%ds, %ebx
	movl	%es, %ebp
	movl	%fs, %r12d
	syscall
9:	EXPECT(%rbx, $0)
	EXPECT(%rbp, $0)
	EXPECT(%r12, $0)
	PASS

PAYLOAD(tls_refuses_what_is_not_for_users)
	.irp	descriptor, DATA_DPL0, CALL_GATE, TSS_DESCRIPTOR, CODE64_FLAT, 0x00affb0000000000, 0x0000e20000000000, 1, 0xffffffffffffffff
	SET_TLS(0, \descriptor)
	EXPECT(%rax, $NR_EINVAL)
	.endr
	.irp	index, 3, 4, 0x7fffffff, 0xffffffff
	SET_TLS(\index, DATA32)
	EXPECT(%rax, $NR_EINVAL)
	.endr
	movq	$-1, %rdi
	movabsq	$(DATA32), %rsi
	HYPERCALL(LG_HC_SET_TLS)
	EXPECT(%rax, $NR_EINVAL)
	PASS

PAYLOAD(empty_tls_faults)
	ON_USER(9f)
	ENTER_USER(1f)
1:	movl	$TLS(2), %eax
2:	movl	%eax, %fs
	FAIL
9:	EXPECT_EVENT(GP, 0x70)
	EXPECT_USER_RIP(2b)
	PASS

PAYLOAD(ldt_segment_in_user_mode)
	ON_SYSCALL(9f)
	movl	$0x99, USER_DATA + 0x18
	LDT_ENTRY(0, 0)
	LDT_ENTRY(1, DATA32)
	SET_LDT(2)
	EXPECT(%rax, $0)
	ENTER_USER(1f)
1:	movl	$LDT(1), %eax
	movl	%eax, %fs
	EXPECT32(%fs:0x18, $0x99)
	syscall
9:	PASS

PAYLOAD(ldt_entries_beyond_its_end_and_empty_ones)
	ON_USER(9f)
	LDT_ENTRY(0, 0)
	LDT_ENTRY(1, DATA32)
	LDT_ENTRY(2, DATA32)
	SET_LDT(2)
	ENTER_USER(1f)
1:	movl	$LDT(2), %eax			/* beyond */
2:	movl	%eax, %fs
	FAIL
9:	EXPECT_EVENT(GP, 0x14)
	EXPECT_USER_RIP(2b)
	ON_USER(9f)
	ENTER_USER(1f)
1:	movl	$LDT(0), %eax			/* empty */
2:	movl	%eax, %fs
	FAIL
9:	EXPECT_EVENT(GP, 0x4)
	EXPECT_USER_RIP(2b)
	PASS

PAYLOAD(ldt_drops_what_is_not_for_users)
	.irp	descriptor, DATA_DPL0, CALL_GATE, TSS_DESCRIPTOR, CODE64_FLAT
	LDT_ENTRY(0, DATA32)
	LDT_ENTRY(1, \descriptor)
	SET_LDT(2)
	EXPECT(%rax, $0)
	ON_USER(9f)
	ON_SYSCALL(8f)
	ENTER_USER(1f)
1:	movl	$LDT(0), %eax
	movl	%eax, %es
	movl	$LDT(1), %eax
2:	movl	%eax, %fs
8:	FAIL
9:	EXPECT_EVENT(GP, 0xc)
	EXPECT_USER_RIP(2b)
	.endr
	PASS

PAYLOAD(ldt_that_goes_away_while_in_use)
	ON_USER(8f)
	ON_SYSCALL(9f)
	LDT_ENTRY(0, DATA32)
	SET_LDT(1)
	ENTER_USER(1f)
1:	movl	$LDT(0), %eax
	movl	%eax, %fs
	movl	%eax, %ds
	ud2
8:	EXPECT_EVENT(6, 0)
	SET_LDT(0)
	EXPECT(%rax, $0)
	ENTER_USER(2f)
2:	movl	%fs, %ebx
	movl	%ds, %ebp
	syscall
9:	EXPECT(%rbx, $0)
	EXPECT(%rbp, $0)
	PASS

PAYLOAD(ldt_arguments_at_extremes)
	SET_LDT(8193)
	EXPECT(%rax, $NR_EINVAL)
	movq	$-1, %rsi
	leaq	DESCRIPTORS(%r15), %rdi
	HYPERCALL(LG_HC_SET_LDT)
	EXPECT(%rax, $NR_EINVAL)
	.irp	address, 0, 0x800000000000, 0xffff800000000000, -8
	movabsq	$\address, %rdi
	movl	$512, %esi
	HYPERCALL(LG_HC_SET_LDT)
	EXPECT(%rax, $-14)
	.endr
	movq	%r15, %rdi			/* all there is room for */
	movl	$8192, %esi
	HYPERCALL(LG_HC_SET_LDT)
	EXPECT(%rax, $0)
	PASS

/* 32-bit code, through the long way; it comes back by int $0x80. */
PAYLOAD(compatibility_mode)
	ON_USER(9f)
	USER_FRAME(1f)
	movq	$USER32_CS, PAGE(user_cs)
	GO_TO_USER
	.code32
1:	movl	$0x600d, %eax
	movl	%cs, %ebx
	pushl	%ebx
	int	$0x80
2:	ud2
	.code64
9:	EXPECT(%rax, $0x600d)
	EXPECT(%rbx, $USER32_CS)
	movq	%rsp, %r14
	EXPECT(PAGE(user_cs), $USER32_CS)
	EXPECT(PAGE(user_rsp), $(USER_STACK_TOP - 4))
	EXPECT_EVENT(0x80, 0)
	EXPECT_USER_RIP(2b)
	PASS

/* The same on an LDT segment, and with a stack of its own. */
PAYLOAD(compatibility_mode_on_ldt_segments)
	ON_USER(9f)
	LDT_ENTRY(0, CODE32_FLAT)
	LDT_ENTRY(1, DATA32_AT(USER_STACK))
	SET_LDT(2)
	USER_FRAME(1f)
	movq	$LDT(0), PAGE(user_cs)
	movq	$LDT(1), PAGE(user_ss)
	movq	$0x1000, PAGE(user_rsp)
	GO_TO_USER
	.code32
1:	pushl	$0x321
	movl	%cs, %ebx
	int	$0x80
2:	ud2
	.code64
9:	movq	GS(D_DIRECT), %rsp
	addq	$(GPA_STACK + 0x4000), %rsp
	EXPECT(%rbx, $LDT(0))
	EXPECT(PAGE(user_cs), $LDT(0))
	EXPECT(PAGE(user_ss), $LDT(1))
	EXPECT(PAGE(user_rsp), $0xffc)
	EXPECT32(USER_STACK_TOP - 4, $0x321)
	EXPECT_EVENT(0x80, 0)
	EXPECT_USER_RIP(2b)
	movl	%cs, %eax			/* the kernel is on flat ones again */
	EXPECT(%rax, $USER_CS)
	movl	%ss, %eax
	EXPECT(%rax, $USER_DS)
	PASS

/* SYSENTER leads nowhere. */
PAYLOAD(sysenter_is_a_protection_fault)
	ON_USER(9f)
	USER_FRAME(1f)
	movq	$USER32_CS, PAGE(user_cs)
	GO_TO_USER
	.code32
1:	sysenter
	ud2
	.code64
9:	cmpl	$6, PAGE(event_vector)		/* #UD on AMD in long mode */
	je	1f
	EXPECT32(PAGE(event_vector), $GP)
1:	PASS

PAYLOAD(cpunode_limit)
	movl	$0x12345, %edi
	HYPERCALL(LG_HC_SET_CPUNODE)
	EXPECT(%rax, $0)
	ON_SYSCALL(9f)
	ENTER_USER(1f)
1:	movl	$0x7b, %eax
	lsll	%eax, %ebx
	jz	2f
	ud2
2:	syscall
9:	EXPECT(%rbx, $0x12345)
	PASS

/* FS base is the user's and the kernel's in common; GS bases are two. */
PAYLOAD(fs_base_passes_between_user_and_kernel)
	ON_SYSCALL(9f)
	movq	$-0x123000, %rax
	wrfsbase %rax
	HYPERCALL(LG_HC_WALLCLOCK)
	ENTER_USER(1f)
1:	rdfsbase %rbx
	EXPECT(%rbx, $-0x123000)
	movl	$0x345000, %eax
	wrfsbase %rax
	syscall
9:	HYPERCALL(LG_HC_WALLCLOCK)
	rdfsbase %rbx
	EXPECT(%rbx, $0x345000)
	PASS

	.section .note.GNU-stack, "", @progbits
