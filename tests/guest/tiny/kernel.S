/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The smallest guest: it powers off at once with status 7 (kernel `off`), or sleeps for ever (`sleep`). For tests of
 * what the launcher does before and after a guest. kernel.ld says where it lies.
 */
#define __ASSEMBLY__
#include <lguest/guest_abi.h>

#define STATUS	7

.macro	note type, value:vararg
	.long	2f - 1f, 4f - 3f, \type
1:	.asciz	"lguest"
2:	.balign	4
3:	\value
4:	.balign	4
.endm

	.section .note.lguest, "a", @note
	note	LG_NOTE_ABI_VERSION, .long LG_ABI_VERSION
	note	LG_NOTE_ENTRY, .quad start

	.text
	.globl	start
/* Entered by the host, in kernel mode, without a stack that matters. */
start:
#ifdef SLEEP
1:	movl	$LG_HC_HALT, %eax
	syscall
	jmp	1b
#else
	movl	$LG_HC_SHUTDOWN, %eax
	movl	$STATUS, %edi
	syscall
	ud2
#endif
