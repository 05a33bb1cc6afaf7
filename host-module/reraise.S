/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Call the host's own handler for an interrupt or NMI that ended a guest's turn,
 * as if it had arrived now: build the frame hardware would have, call the
 * handler; its IRET brings us back.  Called by switch.c, interrupts off.
 *
 * Not INT n: an NMI raised so would run on the IST stack, and the IRET of
 * something nested would free that stack too early.
 */
#include <linux/linkage.h>
#include <asm/nospec-branch.h>
#include <asm/segment.h>
#include "compat.h"

	/* RBP holds RSP because the handler's IRET restores it from the frame. */
	.macro HARDWARE_FRAME
	pushq	%rbp
	movq	%rsp, %rbp
	andq	$-16, %rsp
	pushq	$__KERNEL_DS
	pushq	%rbp
	pushfq
	pushq	$__KERNEL_CS
	.endm

	.macro UNWIND_FRAME
	movq	%rbp, %rsp
	popq	%rbp
	.endm

	.text

/* void lg_call_interrupt_entry(unsigned long entry) */
SYM_FUNC_START(lg_call_interrupt_entry)
	HARDWARE_FRAME
	CALL_NOSPEC rdi		/* pushes RIP, the last word of the frame */
	UNWIND_FRAME
	RET
SYM_FUNC_END(lg_call_interrupt_entry)

/* void lg_call_nmi_entry(void); NMIs are still blocked, the IRET unblocks them. */
SYM_FUNC_START(lg_call_nmi_entry)
	HARDWARE_FRAME
	call	LG_HOST_NMI_ENTRY
	UNWIND_FRAME
	RET
SYM_FUNC_END(lg_call_nmi_entry)

	.section .note.GNU-stack, "", @progbits
