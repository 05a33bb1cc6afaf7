/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The privileged instructions that are carried out for a guest kernel, taken apart.
 * As arguments.h, this knows nothing of the kernel or of a vCPU: emulate.c fetches the
 * bytes and does what the instruction says.
 */
#ifndef LG_DECODE_H
#define LG_DECODE_H

#include <linux/types.h>
#ifndef __KERNEL__
#include <stdbool.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define LG_INSTRUCTION_MAX	15	/* bytes */

enum lg_operation {
	LG_INSN_IN,
	LG_INSN_OUT,
	LG_INSN_HLT,
	LG_INSN_CLI,
	LG_INSN_STI,
	LG_INSN_INVLPG,
	LG_INSN_READ_CR,
	LG_INSN_WRITE_CR,
	LG_INSN_RDMSR,
	LG_INSN_WRMSR,
	LG_INSN_XSETBV,
	LG_INSN_NOTHING,	/* CLTS, INVD, WBINVD: nothing to do here */
};

struct lg_instruction {
	enum lg_operation operation;
	unsigned int length;	/* 1..LG_INSTRUCTION_MAX */
	unsigned int width;	/* IN, OUT: 1, 2 or 4 bytes */
	unsigned int cr, gpr;	/* READ_CR, WRITE_CR: register numbers, 0..15 */
};

/* The instruction at byte[0].  False: it is none of these, or does not end within the
 * `available` bytes. */
bool lg_decode(const __u8 *byte, unsigned int available, struct lg_instruction *insn);

#ifdef __cplusplus
}
#endif
#endif
