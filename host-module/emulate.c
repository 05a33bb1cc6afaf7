// SPDX-License-Identifier: GPL-2.0-only
/*
 * Privileged instructions that the guest kernel executes although a hypercall or
 * a paravirtual operation exists: early boot code, __read_cr4(), drivers probing
 * ports.  They raise #GP at CPL 3; a few simple ones are carried out here, all
 * others are the guest's #GP, for which its exception tables are prepared.
 *
 * Encodings: SDM vol. 2, appendix A.
 */
#include <linux/mm.h>
#include <asm/fpu/xcr.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>

#include "lg.h"

#define MAX_LENGTH	15

struct instruction {
	u8 byte[MAX_LENGTH];
	unsigned int length;		/* bytes fetched */
	unsigned int at;		/* next byte to look at */
	bool operand16, repeat;
	u8 rex;
};

static u64 *general_register(struct switcher_frame *frame, unsigned int number)
{
	u64 *const registers[16] = {
		&frame->rax, &frame->rcx, &frame->rdx, &frame->rbx,
		&frame->rsp, &frame->rbp, &frame->rsi, &frame->rdi,
		&frame->r8, &frame->r9, &frame->r10, &frame->r11,
		&frame->r12, &frame->r13, &frame->r14, &frame->r15,
	};

	return registers[number & 15];
}

static bool fetch(struct lg_vcpu *vcpu, struct instruction *insn)
{
	u64 rip = vcpu->sw->frame.rip;

	*insn = (struct instruction) { .length = MAX_LENGTH };
	if (!lg_read_guest_virtual(vcpu, rip, insn->byte, MAX_LENGTH))
		return true;
	/* The next page may not be there. */
	insn->length = min_t(u64, MAX_LENGTH, PAGE_SIZE - offset_in_page(rip));
	return !lg_read_guest_virtual(vcpu, rip, insn->byte, insn->length);
}

static int next_byte(struct instruction *insn)
{
	return insn->at < insn->length ? insn->byte[insn->at++] : -1;
}

static int skip_prefixes(struct instruction *insn)
{
	for (;;) {
		int byte = next_byte(insn);

		switch (byte) {
		case 0x66:
			insn->operand16 = true;
			break;
		case 0xf2: case 0xf3:
			insn->repeat = true;
			break;
		case 0x2e: case 0x36: case 0x3e: case 0x26: case 0x64: case 0x65: case 0x67:
			break;
		case 0x40 ... 0x4f:
			insn->rex = byte;
			return next_byte(insn);
		default:
			return byte;
		}
	}
}

/* Ports read as all ones, which is what an empty bus gives. */
static void read_port(struct switcher_frame *frame, unsigned int width)
{
	if (width == 1)
		frame->rax |= 0xff;
	else if (width == 2)
		frame->rax |= 0xffff;
	else
		frame->rax = 0xffffffff;
}

static bool read_msr(struct lg_vcpu *vcpu, u32 msr, u64 *value)
{
	switch (msr) {
	case MSR_EFER:
		*value = EFER_SCE | EFER_LME | EFER_LMA | EFER_NX;
		return true;
	case MSR_FS_BASE:
		*value = vcpu->sw->fs_base;
		return true;
	case MSR_GS_BASE:
		*value = vcpu->sw->gs_base;
		return true;
	case MSR_IA32_MISC_ENABLE:
	case MSR_IA32_UCODE_REV:
	case MSR_IA32_PLATFORM_ID:
		*value = 0;
		return true;
	default:
		return false;
	}
}

static bool write_msr(struct lg_vcpu *vcpu, u32 msr, u64 value)
{
	switch (msr) {
	case MSR_FS_BASE:
		if (!lg_canonical(value))
			return false;
		vcpu->sw->fs_base = value;
		return true;
	case MSR_GS_BASE:
		if (!lg_canonical(value))
			return false;
		vcpu->sw->gs_base = value;
		return true;
	case MSR_IA32_UCODE_REV:
		return true;
	default:
		return false;
	}
}

static bool move_from_cr(struct lg_vcpu *vcpu, unsigned int cr, u64 *value)
{
	switch (cr) {
	case 0:
		*value = X86_CR0_PE | X86_CR0_MP | X86_CR0_ET | X86_CR0_NE | X86_CR0_WP |
			 X86_CR0_AM | X86_CR0_PG;
		return true;
	case 3:
		*value = vcpu->root;
		return true;
	case 4:
		*value = X86_CR4_PAE | X86_CR4_PGE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT |
			 X86_CR4_FSGSBASE | X86_CR4_OSXSAVE;
		return true;
	default:
		return false;
	}
}

static void flush_all(struct lg_vcpu *vcpu)
{
	mutex_lock(&vcpu->vm->mm_lock);
	shadow_flush_all(vcpu->vm->shadow);
	mutex_unlock(&vcpu->vm->mm_lock);
}

static bool move_to_cr(struct lg_vcpu *vcpu, unsigned int cr, u64 value)
{
	switch (cr) {
	case 0:
		return true;
	case 3:
		flush_all(vcpu);
		return !lg_load_root(vcpu, value & PAGE_MASK & ~(1ULL << 63));
	case 4:
		/* Changing PGE flushes everything; the rest changes nothing here. */
		flush_all(vcpu);
		return true;
	default:
		return false;
	}
}

static bool two_byte(struct lg_vcpu *vcpu, struct instruction *insn)
{
	struct switcher_frame *frame = &vcpu->sw->frame;
	int opcode = next_byte(insn), modrm;
	u64 value;

	switch (opcode) {
	case 0x06:	/* CLTS */
	case 0x08:	/* INVD */
	case 0x09:	/* WBINVD */
		return true;
	case 0x01:
		modrm = next_byte(insn);
		if (modrm == 0xd1) {	/* XSETBV: the guest lives with the host's XCR0 */
			value = (u32)frame->rax | frame->rdx << 32;
			return frame->rcx == 0 && !(value & ~xgetbv(0)) && (value & 1);
		}
		/* INVLPG: any memory operand; flushing all is always right. */
		if (modrm >= 0 && (modrm >> 3 & 7) == 7 && modrm >> 6 == 0 &&
		    (modrm & 7) != 4 && (modrm & 7) != 5) {
			flush_all(vcpu);
			return true;
		}
		return false;
	case 0x20:	/* MOV from CR */
	case 0x22:	/* MOV to CR */
		modrm = next_byte(insn);
		if (modrm < 0)
			return false;
		{
			unsigned int cr = (modrm >> 3 & 7) | (insn->rex & 4 ? 8 : 0);
			u64 *reg = general_register(frame, (modrm & 7) | (insn->rex & 1 ? 8 : 0));

			return opcode == 0x20 ? move_from_cr(vcpu, cr, reg)
					      : move_to_cr(vcpu, cr, *reg);
		}
	case 0x30:	/* WRMSR */
		return write_msr(vcpu, frame->rcx, (u32)frame->rax | frame->rdx << 32);
	case 0x32:	/* RDMSR */
		if (!read_msr(vcpu, frame->rcx, &value))
			return false;
		frame->rax = (u32)value;
		frame->rdx = value >> 32;
		return true;
	default:
		return false;
	}
}

bool lg_emulate(struct lg_vcpu *vcpu)
{
	struct switcher_frame *frame = &vcpu->sw->frame;
	struct instruction insn;
	unsigned int width;
	bool done;
	int opcode;

	if (!fetch(vcpu, &insn))
		return false;
	opcode = skip_prefixes(&insn);
	width = insn.operand16 ? 2 : 4;
	switch (opcode) {
	case 0xe4: case 0xe5:	/* IN imm8 */
	case 0xec: case 0xed:	/* IN DX */
		if (opcode < 0xe8)
			next_byte(&insn);
		read_port(frame, opcode & 1 ? width : 1);
		done = true;
		break;
	case 0xe6: case 0xe7:	/* OUT imm8 */
		next_byte(&insn);
		fallthrough;
	case 0xee: case 0xef:	/* OUT DX */
		done = true;
		break;
	case 0xf4:		/* HLT */
		vcpu->halted = true;
		done = true;
		break;
	case 0xfa:		/* CLI */
		done = vcpu->page != NULL;
		if (done)
			vcpu->page->irq_flags = 0;
		break;
	case 0xfb:		/* STI */
		done = vcpu->page != NULL;
		if (done)
			vcpu->page->irq_flags = X86_EFLAGS_IF;
		break;
	case 0x0f:
		done = !insn.repeat && two_byte(vcpu, &insn);
		break;
	default:
		done = false;
	}
	if (!done)
		return false;
	frame->rip += insn.at;
	vcpu->stats.instructions_emulated++;
	return true;
}
