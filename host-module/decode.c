// SPDX-License-Identifier: GPL-2.0-only
/*
 * Decoding of the privileged instructions that are carried out.  Encodings: SDM
 * vol. 2, appendix A.
 */
#include "decode.h"

struct cursor {
	const __u8 *byte;
	unsigned int at, end;
	bool operand16, repeat;
	__u8 rex;
};

static int next_byte(struct cursor *cursor)
{
	return cursor->at < cursor->end ? cursor->byte[cursor->at++] : -1;
}

static int skip_prefixes(struct cursor *cursor)
{
	for (;;) {
		int byte = next_byte(cursor);

		switch (byte) {
		case 0x66:
			cursor->operand16 = true;
			break;
		case 0xf2: case 0xf3:
			cursor->repeat = true;
			break;
		case 0x2e: case 0x36: case 0x3e: case 0x26: case 0x64: case 0x65: case 0x67:
			break;
		case 0x40 ... 0x4f:
			cursor->rex = byte;
			return next_byte(cursor);
		default:
			return byte;
		}
	}
}

/* MOV to and from CR: no memory operand, whatever mod says. */
static bool move_cr(struct cursor *cursor, enum lg_operation operation, struct lg_instruction *insn)
{
	int modrm = next_byte(cursor);

	if (modrm < 0)
		return false;
	insn->operation = operation;
	insn->cr = (modrm >> 3 & 7) | (cursor->rex & 4 ? 8 : 0);
	insn->gpr = (modrm & 7) | (cursor->rex & 1 ? 8 : 0);
	return true;
}

static bool group_7(struct cursor *cursor, struct lg_instruction *insn)
{
	int modrm = next_byte(cursor);

	if (modrm == 0xd1) {
		insn->operation = LG_INSN_XSETBV;
		return true;
	}
	/* INVLPG of a plain (register): no SIB byte, no displacement. */
	insn->operation = LG_INSN_INVLPG;
	return modrm >= 0 && (modrm >> 3 & 7) == 7 && modrm >> 6 == 0 &&
	       (modrm & 7) != 4 && (modrm & 7) != 5;
}

static bool two_byte(struct cursor *cursor, struct lg_instruction *insn)
{
	switch (next_byte(cursor)) {
	case 0x01:
		return group_7(cursor, insn);
	case 0x06:	/* CLTS */
	case 0x08:	/* INVD */
	case 0x09:	/* WBINVD */
		insn->operation = LG_INSN_NOTHING;
		return true;
	case 0x20:
		return move_cr(cursor, LG_INSN_READ_CR, insn);
	case 0x22:
		return move_cr(cursor, LG_INSN_WRITE_CR, insn);
	case 0x30:
		insn->operation = LG_INSN_WRMSR;
		return true;
	case 0x32:
		insn->operation = LG_INSN_RDMSR;
		return true;
	default:
		return false;
	}
}

static bool one_byte(struct cursor *cursor, int opcode, struct lg_instruction *insn)
{
	switch (opcode) {
	case 0xe4: case 0xe5: case 0xec: case 0xed:
	case 0xe6: case 0xe7: case 0xee: case 0xef:
		insn->operation = opcode & 2 ? LG_INSN_OUT : LG_INSN_IN;
		insn->width = !(opcode & 1) ? 1 : cursor->operand16 ? 2 : 4;
		/* The port: DX, or a byte that follows. */
		return opcode & 8 || next_byte(cursor) >= 0;
	case 0xf4:
		insn->operation = LG_INSN_HLT;
		return true;
	case 0xfa:
		insn->operation = LG_INSN_CLI;
		return true;
	case 0xfb:
		insn->operation = LG_INSN_STI;
		return true;
	case 0x0f:
		return !cursor->repeat && two_byte(cursor, insn);
	default:
		return false;
	}
}

bool lg_decode(const __u8 *byte, unsigned int available, struct lg_instruction *insn)
{
	struct cursor cursor = {
		.byte = byte,
		.end = available < LG_INSTRUCTION_MAX ? available : LG_INSTRUCTION_MAX,
	};

	*insn = (struct lg_instruction) { .length = 0 };
	if (!one_byte(&cursor, skip_prefixes(&cursor), insn))
		return false;
	insn->length = cursor.at;
	return true;
}
