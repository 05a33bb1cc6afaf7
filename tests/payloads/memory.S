/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Address translation: what the guest's tables allow and deny, what a flush has to
 * make visible, accessed and dirty bits, two roots, and tables no sane kernel builds.
 */
#include "payload.h"

#define PF		14
#define GP		13

#define P		0x001
#define W		0x002
#define U		0x004
#define A		0x020
#define D		0x040
#define PS		0x080
#define USER_BITS	(P | W | U | A | D)

/* gva of the entry of PLAY's first page, at a level, into a register. */
#define PLAY_ENTRY(level, reg)	movq GS(D_PLAY_ENTRY + 8 * (level - 1)), reg
#define KPLAY_ENTRY(level, reg)	movq GS(D_KPLAY_ENTRY + 8 * (level - 1)), reg
#define LOAD_ROOT(from)		movq from, %rdi; HYPERCALL(LG_HC_LOAD_ROOT); EXPECT(%rax, $0)
#define FLUSH_ALL		HYPERCALL(LG_HC_FLUSH_ALL); EXPECT(%rax, $0)
#define FLUSH_PLAY		\
	xorl %edi, %edi; movl $PLAY, %esi; HYPERCALL(LG_HC_FLUSH_PAGE); EXPECT(%rax, $0)

	/* Into user mode for one instruction at label 1, which ends in an event. */
#define USER_ACCESS(code, ...)			\
	ON_USER(9f);				\
	ON_SYSCALL(8f);				\
	ENTER_USER(1f);				\
1:	__VA_ARGS__;				\
	syscall;				\
8:	FAIL;					\
9:	EXPECT_EVENT(PF, code);			\
	EXPECT_USER_RIP(1b);			\
	EXPECT(PAGE(event_address), $PLAY)

#define KERNEL_ACCESS(code, ...)		\
	ON_KERNEL(9f);				\
1:	__VA_ARGS__;				\
	FAIL;					\
9:	EXPECT_EVENT(PF, code);			\
	EXPECT_KERNEL_RIP(1b);			\
	EXPECT(PAGE(event_address), $PLAY)

/* -- what is denied ------------------------------------------------------------------------ */

PAYLOAD(supervisor_page_in_the_lower_half)
	PLAY_ENTRY(1, %rbx)
	andq	$~U, (%rbx)
	USER_ACCESS(5, movl PLAY, %eax)
	USER_ACCESS(7, movl %eax, PLAY)
	PASS

PAYLOAD(write_protected_page)
	PLAY_ENTRY(1, %rbx)
	andq	$~W, (%rbx)
	KERNEL_ACCESS(3, movl %eax, PLAY)
	USER_ACCESS(7, movl %eax, PLAY)
	movl	PLAY, %eax
	PASS

PAYLOAD(write_protection_at_each_level)
	.irp	level, 2, 3, 4
	FLUSH_ALL
	PLAY_ENTRY(\level, %rbx)
	andq	$~W, (%rbx)
	KERNEL_ACCESS(3, movl %eax, PLAY)
	orq	$W, (%rbx)
	movl	%eax, PLAY
	.endr
	PASS

PAYLOAD(user_bit_at_each_level)
	.irp	level, 1, 2, 3, 4
	PLAY_ENTRY(\level, %rbx)
	andq	$~U, (%rbx)
	FLUSH_ALL
	ON_KERNEL(9f)
1:	movl	PLAY, %eax		/* the lower half has no supervisor pages */
	FAIL
9:	EXPECT_EVENT(PF, 1)
	orq	$U, (%rbx)
	movl	PLAY, %eax
	.endr
	PASS

/* Level 3 and 4 entries cover the user's text as well. */
PAYLOAD(no_execute_at_two_levels)
	movb	$0xf4, PLAY			/* HLT, should it run */
	.irp	level, 1, 2
	PLAY_ENTRY(\level, %rbx)
	btsq	$63, (%rbx)
	FLUSH_ALL
	ON_USER(9f)
	ENTER_USER(1f)
1:	movl	$PLAY, %eax
	jmp	*%rax
9:	EXPECT_EVENT(PF, 0x15)
	EXPECT(PAGE(user_rip), $PLAY)
	btrq	$63, (%rbx)
	.endr
	PASS

/* -- what may be cached, and what must not --------------------------------------------------- */

/* More rights need no flush: the fault finds them. */
PAYLOAD(upgrade_without_flush)
	PLAY_ENTRY(1, %rbx)
	andq	$~(W | D), (%rbx)
	EXPECT(PLAY, $0)
	KERNEL_ACCESS(3, movl %eax, PLAY)
	orq	$W, (%rbx)
	movl	$5, PLAY
	EXPECT(PLAY, $5)
	PASS

/* As after fork: a handler copies the page, points the entry at the copy, and flushes. */
PAYLOAD(copy_on_write)
	movl	$5, PLAY
	PLAY_ENTRY(1, %rbx)
	andq	$~(W | D), (%rbx)
	FLUSH_PLAY
	KERNEL_ACCESS(3, movl $6, PLAY)
	movl	$5, GPA_FREE(%r15)
	movq	$(GPA_FREE | USER_BITS), (%rbx)
	FLUSH_PLAY
	movl	$6, PLAY
	EXPECT32(GPA_FREE(%r15), $6)
	EXPECT32(GPA_PLAY(%r15), $5)
	PASS

PAYLOAD(absent_becomes_present_without_flush)
	PLAY_ENTRY(1, %rbx)
	movq	$0, (%rbx)
	KERNEL_ACCESS(0, movl PLAY, %eax)
	movq	$(GPA_FREE | USER_BITS), (%rbx)
	movl	$7, PLAY
	EXPECT32(GPA_FREE(%r15), $7)
	PASS

	/* Cached as writable, made read-only, flushed by `flush`: the next write faults. */
#define DOWNGRADE(name, ...)			\
PAYLOAD(name);					\
	PLAY_ENTRY(1, %rbx);			\
	movl	$1, PLAY;			\
	andq	$~(W | D), (%rbx);		\
	xorl	%edi, %edi;			\
	__VA_ARGS__;				\
	EXPECT(%rax, $0);			\
	KERNEL_ACCESS(3, movl %eax, PLAY);	\
	movq	$0, (%rbx);			\
	xorl	%edi, %edi;			\
	__VA_ARGS__;				\
	KERNEL_ACCESS(0, movl PLAY, %eax);	\
	movl	$3, GPA_FREE(%r15);		\
	movq	$(GPA_FREE | USER_BITS), (%rbx);	\
	EXPECT32(PLAY, $3);			\
	movl	$4, GPA_FREE + 0x1000(%r15);	\
	movq	$(GPA_FREE + 0x1000 + USER_BITS), (%rbx); \
	xorl	%edi, %edi;			\
	__VA_ARGS__;				\
	EXPECT32(PLAY, $4);			\
	PASS

DOWNGRADE(flush_page, movl $PLAY, %esi; HYPERCALL(LG_HC_FLUSH_PAGE))
DOWNGRADE(flush_page_within_a_page, movl $(PLAY + 0xfff), %esi; HYPERCALL(LG_HC_FLUSH_PAGE))
DOWNGRADE(flush_page_of_named_root, movq GS(D_ROOT), %rdi; movl $PLAY, %esi; HYPERCALL(LG_HC_FLUSH_PAGE))
DOWNGRADE(flush_range, movl $PLAY, %esi; movl $(PLAY + 0x1000), %edx; HYPERCALL(LG_HC_FLUSH_RANGE))
DOWNGRADE(flush_wide_range, xorl %esi, %esi; movabsq $0x7fffffffffff, %rdx; HYPERCALL(LG_HC_FLUSH_RANGE))
DOWNGRADE(flush_mm, HYPERCALL(LG_HC_FLUSH_MM))
DOWNGRADE(flush_all, HYPERCALL(LG_HC_FLUSH_ALL))
DOWNGRADE(flush_by_loading_the_same_root, movq GS(D_ROOT), %rdi; HYPERCALL(LG_HC_LOAD_ROOT))
DOWNGRADE(flush_by_batch, movq $LG_HC_FLUSH_PAGE, PAGE(batch); movq $0, PAGE(batch + 8);
	movq $PLAY, PAGE(batch + 16); movl $1, PAGE(batch_count); movl $MEMORY_SIZE, %edi;
	HYPERCALL(LG_HC_WALLCLOCK); xorl %eax, %eax)
DOWNGRADE(flush_by_invlpg, movl $PLAY, %eax; invlpg (%rax); xorl %eax, %eax)
DOWNGRADE(flush_by_writing_cr3, movq %cr3, %rax; movq %rax, %cr3; xorl %eax, %eax)

/* Taking away a whole table, as munmap does. */
PAYLOAD(flush_after_unlinking_a_table)
	.irp	level, 2, 3, 4
	movl	$1, PLAY
	PLAY_ENTRY(\level, %rbx)
	movq	(%rbx), %r12
	movq	$0, (%rbx)
	FLUSH_PLAY
	KERNEL_ACCESS(0, movl PLAY, %eax)
	movq	%r12, (%rbx)
	movl	PLAY, %eax
	.endr
	PASS

/* Kernel addresses are flushed in all roots, whichever is named. */
PAYLOAD(flush_of_kernel_page_covers_other_root)
	KPLAY_ENTRY(1, %rbx)
	leaq	(%r15), %r14
	addq	$KPLAY, %r14
	movl	$1, (%r14)
	LOAD_ROOT(GS(D_OTHER_ROOT))
	EXPECT32((%r14), $1)
	movl	$2, GPA_FREE(%r15)
	movq	$(GPA_FREE | P | W | A | D), (%rbx)
	movq	GS(D_ROOT), %rdi
	movq	%r14, %rsi
	HYPERCALL(LG_HC_FLUSH_PAGE)
	EXPECT32((%r14), $2)
	LOAD_ROOT(GS(D_ROOT))
	EXPECT32((%r14), $2)
	PASS

/* Nonsense is carried out as the nothing it is. */
PAYLOAD(flush_arguments_at_extremes)
	movl	$1, PLAY
	.irp	call, LG_HC_FLUSH_PAGE, LG_HC_FLUSH_RANGE, LG_HC_FLUSH_MM, LG_HC_RELEASE_TABLE
	.irp	root, 0, 1, 0x5000, MEMORY_SIZE, 0x7ffffffffffff000, -1
	.irp	start, 0, 0x7fffffffffff, 0x800000000000, 0xffff7fffffffffff, -4096, -1
	movabsq	$\root, %rdi
	movabsq	$\start, %rsi
	movabsq	$0xffff800000001000, %rdx
	movl	$\call, %eax
	syscall
	movabsq	$\root, %rdi
	movabsq	$\start, %rsi
	xorl	%edx, %edx
	movl	$\call, %eax
	syscall
	.endr
	.endr
	.endr
	EXPECT32(PLAY, $1)
	PASS

/* -- accessed and dirty --------------------------------------------------------------------------- */

PAYLOAD(accessed_and_dirty_bits)
	.irp	level, 1, 2, 3, 4
	PLAY_ENTRY(\level, %rbx)
	andq	$~(A | D), (%rbx)
	.endr
	FLUSH_ALL
	EXPECT(PLAY, $0)
	.irp	level, 1, 2, 3, 4
	PLAY_ENTRY(\level, %rbx)
	EXPECT_BITS((%rbx), $A)
	EXPECT_CLEAR((%rbx), $D)
	.endr
	movl	$1, PLAY
	PLAY_ENTRY(1, %rbx)
	EXPECT_BITS((%rbx), $D)
	.irp	level, 2, 3, 4
	PLAY_ENTRY(\level, %rbx)
	EXPECT_CLEAR((%rbx), $D)
	.endr
	PASS

/* D is cleared and flushed: the next write sets it again (writeback's bookkeeping). */
PAYLOAD(dirty_bit_returns_after_flush)
	PLAY_ENTRY(1, %rbx)
	movl	$1, PLAY
	andq	$~D, (%rbx)
	FLUSH_PLAY
	movl	PLAY, %eax
	EXPECT_CLEAR((%rbx), $D)
	movl	$1, PLAY
	EXPECT_BITS((%rbx), $D)
	PASS

/* Entries near the one asked for may get A, never D. */
PAYLOAD(dirty_is_never_set_speculatively)
	PLAY_ENTRY(1, %rbx)
	.irp	page, 0, 1, 2, 3, 4, 5, 6, 7
	andq	$~(A | D), 8 * \page(%rbx)
	.endr
	FLUSH_ALL
	movl	$1, PLAY + 0x3000
	EXPECT_BITS(24(%rbx), $D)
	.irp	page, 0, 1, 2, 4, 5, 6, 7
	EXPECT_CLEAR(8 * \page(%rbx), $D)
	.endr
	PASS

/* A fault that is denied leaves no trace in the entry. */
PAYLOAD(denied_write_sets_no_dirty_bit)
	PLAY_ENTRY(1, %rbx)
	andq	$~(W | A | D), (%rbx)
	FLUSH_ALL
	KERNEL_ACCESS(3, movl %eax, PLAY)
	EXPECT_CLEAR((%rbx), $D)
	PASS

/* -- large pages --------------------------------------------------------------------------------- */

PAYLOAD(two_megabyte_page)
	PLAY_ENTRY(2, %rbx)
	movl	$0x11, GPA_FREE(%r15)
	movl	$0x22, GPA_FREE + 0x1ff000(%r15)
	movq	$(GPA_FREE + P + W + U + PS), (%rbx)
	FLUSH_ALL
	EXPECT32(PLAY, $0x11)
	EXPECT32(PLAY + 0x1ff000, $0x22)
	EXPECT_BITS((%rbx), $A)
	EXPECT_CLEAR((%rbx), $D)
	movl	$0x33, PLAY + 0x100000
	EXPECT32(GPA_FREE + 0x100000(%r15), $0x33)
	EXPECT_BITS((%rbx), $D)
	andq	$~(W | D), (%rbx)
	FLUSH_PLAY
	KERNEL_ACCESS(3, movl %eax, PLAY)
	PASS

PAYLOAD(one_gigabyte_page)
	KPLAY_ENTRY(3, %rbx)
	movq	$(P + W + PS), (%rbx)
	FLUSH_ALL
	movq	%r15, %r14
	addq	$KPLAY, %r14
	movl	$0x44, GPA_FREE(%r15)
	EXPECT32(GPA_FREE(%r14), $0x44)
	movl	$0x55, GPA_FREE + 0x5000(%r14)
	EXPECT32(GPA_FREE + 0x5000(%r15), $0x55)
	EXPECT_BITS((%rbx), $(A | D))
	PASS

/* -- two roots ------------------------------------------------------------------------------------- */

PAYLOAD(roots_are_apart_below_and_one_above)
	movl	$1, PLAY
	movl	$2, GPA_PLAY + 0x1000(%r15)
	LOAD_ROOT(GS(D_OTHER_ROOT))
	KERNEL_ACCESS(0, movl PLAY, %eax)
	movq	$0x66, USER_DATA		/* both have that */
	EXPECT(GPA_USER_DATA(%r15), $0x66)
	LOAD_ROOT(GS(D_ROOT))
	EXPECT32(PLAY, $1)
	PASS

PAYLOAD(user_mode_follows_the_root)
	ON_USER(9f)
	LOAD_ROOT(GS(D_OTHER_ROOT))
	ENTER_USER(1f)
1:	movl	PLAY, %eax
	FAIL
9:	EXPECT_EVENT(PF, 4)
	LOAD_ROOT(GS(D_ROOT))
	ON_SYSCALL(8f)
	movl	$3, PLAY
	ENTER_USER(2f)
2:	EXPECT32(PLAY, $3)
	syscall
8:	PASS

PAYLOAD(a_thousand_root_switches)
	movl	$1000, %r12d
	movl	$1, PLAY
1:	LOAD_ROOT(GS(D_OTHER_ROOT))
	movq	$1, USER_DATA
	LOAD_ROOT(GS(D_ROOT))
	EXPECT32(PLAY, $1)
	decl	%r12d
	jne	1b
	PASS

PAYLOAD(load_root_with_noflush_bit)
	movq	GS(D_OTHER_ROOT), %rdi
	btsq	$63, %rdi
	orq	$0x123, %rdi			/* a PCID: ignored */
	HYPERCALL(LG_HC_LOAD_ROOT)
	EXPECT(%rax, $0)
	KERNEL_ACCESS(0, movl PLAY, %eax)
	PASS

#define LOAD_ROOT_NOFLUSH(from)	movq from, %rdi; btsq $63, %rdi; HYPERCALL(LG_HC_LOAD_ROOT); EXPECT(%rax, $0)

	/* The root that is not loaded is flushed, and comes back without a flush of its
	 * own, as PCIDs allow: nothing old is left in it. */
#define FLUSHED_FROM_AFAR(name, ...)		\
PAYLOAD(name);					\
	movl	$1, PLAY;			\
	movl	$2, GPA_FREE(%r15);		\
	LOAD_ROOT_NOFLUSH(GS(D_OTHER_ROOT));	\
	PLAY_ENTRY(1, %rbx);			\
	movq	$(GPA_FREE | USER_BITS), (%rbx);	\
	movq	GS(D_ROOT), %rdi;		\
	__VA_ARGS__;				\
	EXPECT(%rax, $0);			\
	LOAD_ROOT_NOFLUSH(GS(D_ROOT));		\
	EXPECT32(PLAY, $2);			\
	PASS

FLUSHED_FROM_AFAR(flush_page_of_a_root_not_loaded, movl $PLAY, %esi; HYPERCALL(LG_HC_FLUSH_PAGE))
FLUSHED_FROM_AFAR(flush_range_of_a_root_not_loaded, movl $PLAY, %esi; movl $(PLAY + 0x2000), %edx;
	HYPERCALL(LG_HC_FLUSH_RANGE))
FLUSHED_FROM_AFAR(flush_mm_of_a_root_not_loaded, HYPERCALL(LG_HC_FLUSH_MM))
FLUSHED_FROM_AFAR(flush_all_roots_loaded_or_not, HYPERCALL(LG_HC_FLUSH_ALL))

/* A kernel page changes while another root is loaded; flushed once, it has changed for all. */
PAYLOAD(kernel_page_changed_under_another_root)
	KPLAY_ENTRY(1, %rbx)
	movq	%r15, %r14
	addq	$KPLAY, %r14
	movl	$1, (%r14)
	movl	$2, GPA_FREE(%r15)
	LOAD_ROOT_NOFLUSH(GS(D_OTHER_ROOT))
	EXPECT32((%r14), $1)
	movq	$(GPA_FREE | P | W | A | D), (%rbx)
	xorl	%edi, %edi
	movq	%r14, %rsi
	leaq	0x1000(%r14), %rdx
	HYPERCALL(LG_HC_FLUSH_RANGE)
	EXPECT32((%r14), $2)
	LOAD_ROOT_NOFLUSH(GS(D_ROOT))
	EXPECT32((%r14), $2)
	PASS

/* A whole table of the kernel half is exchanged, as vmalloc does with huge pages. */
PAYLOAD(kernel_table_exchanged_under_another_root)
	KPLAY_ENTRY(2, %rbx)
	movq	%r15, %r14
	addq	$KPLAY, %r14
	movl	$1, (%r14)
	movl	$2, GPA_FREE(%r15)
	LOAD_ROOT_NOFLUSH(GS(D_OTHER_ROOT))
	movq	(%rbx), %r12
	movq	$(GPA_FREE | P | W | PS), (%rbx)
	xorl	%edi, %edi
	movq	%r14, %rsi
	HYPERCALL(LG_HC_FLUSH_PAGE)
	LOAD_ROOT_NOFLUSH(GS(D_ROOT))
	EXPECT32((%r14), $2)
	movq	%r12, (%rbx)
	xorl	%edi, %edi
	movq	%r14, %rsi
	leaq	0x200000(%r14), %rdx
	HYPERCALL(LG_HC_FLUSH_RANGE)
	EXPECT32((%r14), $1)
	LOAD_ROOT_NOFLUSH(GS(D_OTHER_ROOT))
	EXPECT32((%r14), $1)
	PASS

/* A process ends, and its root frame becomes that of another. */
PAYLOAD(root_frame_is_used_again)
	LOAD_ROOT(GS(D_OTHER_ROOT))
	movl	USER_DATA, %eax
	LOAD_ROOT(GS(D_ROOT))
	movq	GS(D_OTHER_ROOT), %rdi
	HYPERCALL(LG_HC_RELEASE_TABLE)
	movq	GS(D_OTHER_ROOT), %rbx
	addq	%r15, %rbx
	PLAY_ENTRY(4, %rax)
	movq	(%rax), %rax
	movq	%rax, (%rbx)			/* now with PLAY */
	movl	$3, PLAY
	LOAD_ROOT(GS(D_OTHER_ROOT))
	EXPECT32(PLAY, $3)
	PASS

/* Releasing what is in use, or no table at all, is only a hint. */
PAYLOAD(release_of_tables_in_use)
	movl	$4, PLAY
	movq	GS(D_ROOT), %rdi
	HYPERCALL(LG_HC_RELEASE_TABLE)
	.irp	level, 1, 2, 3, 4
	PLAY_ENTRY(\level, %rdi)
	subq	%r15, %rdi
	andq	$~0xfff, %rdi
	HYPERCALL(LG_HC_RELEASE_TABLE)
	.endr
	EXPECT32(PLAY, $4)
	PASS

PAYLOAD(load_root_outside_memory)
	.irp	root, MEMORY_SIZE, 0xfffffffff000, 0x10000000000, 0x7ffffffffffff000, -1
	movabsq	$\root, %rdi
	HYPERCALL(LG_HC_LOAD_ROOT)
	EXPECT(%rax, $NR_EINVAL)
	EXPECT(PLAY, $0)			/* still on the old one */
	.endr
	PASS

/* A root in which the running code is not: the fault cannot be taken. */
KILLED(load_root_of_zeros, "while another event was being taken")
	movl	$GPA_FREE, %edi
	HYPERCALL(LG_HC_LOAD_ROOT)
	FAIL

/* The same, of random bits. */
KILLED(load_root_of_text, "address")
	movl	$GPA_TEXT, %edi
	HYPERCALL(LG_HC_LOAD_ROOT)
	FAIL

/* -- tables no sane kernel builds --------------------------------------------------------------------- */

/* An entry that maps its own table: the table shows up in the address space. */
#define SELF_MAP(name, level, slot, gva)			\
PAYLOAD(name);							\
	PLAY_ENTRY(level, %rbx);				\
	andq	$~0xfff, %rbx;					\
	movq	%rbx, %r12;					\
	subq	%r15, %r12;		/* gpa of the table */	\
	orq	$USER_BITS, %r12;				\
	movq	%r12, 8 * slot(%rbx);				\
	FLUSH_ALL;						\
	movabsq	$gva, %r13;					\
	EXPECT(8 * slot(%r13), %r12);				\
	movq	$0x123000, 8 * 500(%r13);			\
	EXPECT(8 * 500(%rbx), $0x123000);			\
	movq	$0, 8 * slot(%r13);	/* pulls the rug from under itself */ \
	FLUSH_ALL;						\
	ON_KERNEL(9f);						\
	movq	(%r13), %rax;					\
	FAIL;							\
9:	EXPECT_EVENT(PF, 0);					\
	EXPECT(PAGE(event_address), %r13);			\
	PASS
SELF_MAP(level_1_table_maps_itself, 1, 7, PLAY + 0x7000)
SELF_MAP(level_2_table_maps_itself, 2, 4, 0x804000)
SELF_MAP(level_3_table_maps_itself, 3, 0, 0)
SELF_MAP(level_4_table_maps_itself, 4, 0, 0)
/* In another slot than the one that the rest of user space is in. */
SELF_MAP(level_4_table_maps_itself_elsewhere, 4, 255, 0x7fbfdfeff000)

/* All 512 entries of a table point at it: everything is everywhere. */
PAYLOAD(table_full_of_itself)
	leaq	GPA_FREE(%r15), %rdi
	movl	$512, %ecx
	movq	$(GPA_FREE | USER_BITS), %rax
	rep stosq
	.irp	level, 4, 3, 2, 1
	PLAY_ENTRY(\level, %rbx)
	movq	$(GPA_FREE | USER_BITS), (%rbx)
	FLUSH_ALL
	.if \level == 4
	movl	$500, %r12d			/* more tables than the host keeps */
	.else
	movl	$50, %r12d
	.endif
	movabsq	$0x123456789ab, %r13
1:	imulq	$1664525, %r13, %r13
	incq	%r13
	movq	%r13, %rax
	shrq	$26, %rax			/* 38 bits: within 256 GiB */
	andq	$-8, %rax
	.if \level < 4
	andq	$(0x3fffffff & ~7), %rax
	.endif
	.if \level < 3
	andq	$(0x1fffff & ~7), %rax
	addq	$PLAY, %rax
	.endif
	.if \level == 1
	andq	$~0x1ff000, %rax
	.endif
	EXPECT((%rax), $(GPA_FREE | USER_BITS))
	decl	%r12d
	jne	1b
	.endr
	PASS

PAYLOAD(tables_point_at_the_vcpu_page)
	.irp	level, 1, 2, 3, 4
	PLAY_ENTRY(\level, %rbx)
	movq	(%rbx), %r12
	movq	$(GPA_VCPU_PAGE | USER_BITS), (%rbx)
	FLUSH_ALL
	ON_KERNEL(9f)
	movq	$0, PAGE(irq_flags)		/* entry 0 of that "table", */
	movq	$0, PAGE(kernel_rip)		/* and entry 4 */
	movq	PLAY, %rax			/* level 1: the vCPU page itself */
	jmp	8f
9:	movl	$0, PAGE(event_busy)
8:	movq	%r12, (%rbx)
	FLUSH_ALL
	.endr
	movl	PLAY, %eax
	PASS

/* A user that may write the vCPU page is a matter between it and its kernel. Not the batch's count: whenever the host looks
 * at it, which an interrupt may make it do at any moment, calls that do not exist end the guest. */
PAYLOAD(user_scribbles_over_the_vcpu_page)
	ON_SYSCALL(9f)
	PLAY_ENTRY(1, %rbx)
	movq	$(GPA_VCPU_PAGE | USER_BITS), (%rbx)
	FLUSH_ALL
	ENTER_USER(1f)
1:	movl	$PLAY, %edi
	movl	$VCPU_batch_count / 8, %ecx
	movq	$-1, %rax
	rep stosq
	movl	$PLAY + VCPU_batch_count + 8, %edi
	movl	$(4096 - VCPU_batch_count - 8) / 8, %ecx
	rep stosq
	xorl	%eax, %eax
	syscall
9:	PASS

#define BEYOND(level, why)						\
KILLED(level_##level##_entry_##why, "is no memory of the guest");	\
	PLAY_ENTRY(level, %rbx);					\
	movabsq	$(BITS_##why | USER_BITS), %rax;			\
	movq	%rax, (%rbx);						\
	FLUSH_ALL;							\
	movl	PLAY, %eax;						\
	FAIL
#define BITS_beyond_memory	MEMORY_SIZE
#define BITS_with_all_bits	0xffffffffff000
BEYOND(1, beyond_memory)
BEYOND(2, beyond_memory)
BEYOND(3, beyond_memory)
BEYOND(4, beyond_memory)
BEYOND(1, with_all_bits)
BEYOND(2, with_all_bits)
BEYOND(3, with_all_bits)
BEYOND(4, with_all_bits)

/* Bits that must be zero: a reserved-bit fault, as on hardware. */
PAYLOAD(reserved_bits)
	.macro reserved_ level, bits
	PLAY_ENTRY(\level, %rbx)
	movq	(%rbx), %r12
	movq	$(\bits | P | W | U), (%rbx)
	FLUSH_ALL
	KERNEL_ACCESS(9, movl PLAY, %eax)
	KERNEL_ACCESS(11, movl %eax, PLAY)
	movq	%r12, (%rbx)
	FLUSH_ALL
	movl	PLAY, %eax
	.endm
	reserved_ 4, PS
	.irp	bit, 13, 14, 15, 16, 17, 18, 19, 20
	reserved_ 2, (PS | 1 << \bit)
	reserved_ 3, (PS | 1 << \bit)
	.endr
	.irp	bit, 21, 22, 23, 24, 25, 26, 27, 28, 29
	reserved_ 3, (PS | 1 << \bit)
	.endr
	PASS

/* A large entry whose pages lie partly beyond memory: those in it work. */
PAYLOAD(large_page_across_the_end_of_memory)
	KPLAY_ENTRY(3, %rbx)
	movq	$(P + W + PS), (%rbx)		/* 1 GiB of 16 MiB */
	FLUSH_ALL
	movq	%r15, %r14
	addq	$KPLAY, %r14
	movl	$1, MEMORY_SIZE - 4(%r14)
	EXPECT32(MEMORY_SIZE - 4(%r15), $1)
	PASS

KILLED(page_beyond_the_end_of_memory_within_a_large_page, "is no memory of the guest")
	KPLAY_ENTRY(3, %rbx)
	movq	$(P + W + PS), (%rbx)
	FLUSH_ALL
	movq	%r15, %r14
	addq	$KPLAY, %r14
	movl	MEMORY_SIZE(%r14), %eax
	FAIL

/* -- the switcher's addresses ------------------------------------------------------------------------- */

	/* Read, write, execute; from kernel and from user.  #PF where the address is
	 * canonical, else #GP; on a five-level host the module makes it so. */
	.macro hands_off_ address, vector, fault
	movabsq	$\address, %r14
	ON_KERNEL(91f)
	movq	(%r14), %rax
	FAIL
91:	EXPECT_EVENT(\vector, 0)
	ON_KERNEL(92f)
	movq	%rax, (%r14)
	FAIL
92:	EXPECT_EVENT(\vector, (2 * \fault))
	ON_KERNEL(93f)
	jmp	*%r14
93:	EXPECT_EVENT(\vector, (0x10 * \fault))
	ON_USER(95f)
	ENTER_USER(94f)
94:	movq	(%r14), %rax
	FAIL
95:	EXPECT_EVENT(\vector, (4 * \fault))
	ON_USER(97f)
	ENTER_USER(96f)
96:	movq	%rax, (%r14)
	FAIL
97:	EXPECT_EVENT(\vector, (6 * \fault))
	ON_USER(99f)
	ENTER_USER(98f)
98:	jmp	*%r14
99:	EXPECT_EVENT(\vector, (0x14 * \fault))
	.endm

PAYLOAD(switcher_of_a_four_level_host_is_out_of_reach)
	.irp	address, 0xffff800000000000, 0xffff800000010000, 0xffff800001000000, 0xffff800040000000, 0xffff807ffffffff8
	hands_off_ \address, PF, 1
	.endr
	PASS

PAYLOAD(switcher_of_a_five_level_host_is_out_of_reach)
	.irp	address, 0xff00000000000000, 0xff00000000010000, 0xff00000001000000, 0xff00000040000000
	hands_off_ \address, GP, 0
	.endr
	PASS

/* A guest's own entry in that slot is ignored. */
PAYLOAD(hypervisor_slot_of_the_guest_is_ignored)
	movq	GS(D_ROOT), %rax
	movq	%r15, %rbx
	addq	%rax, %rbx
	orq	$USER_BITS, %rax
	movq	%rax, 8 * LG_HYPERVISOR_SLOT(%rbx)
	FLUSH_ALL
	hands_off_ 0xffff800000000000, PF, 1
	hands_off_ 0xffff804000000000, PF, 1
	PASS

/* Nor does a host's kernel show: its text, its direct map, its fixmap, the vsyscall page. */
PAYLOAD(host_kernel_is_out_of_reach)
	.irp	address, 0xffffffff81000000, 0xffff888000000000, 0xffffffffff5fe000, 0xffffffffff600000, 0xfffffe0000000000
	hands_off_ \address, PF, 1
	.endr
	PASS

	.section .note.GNU-stack, "", @progbits
