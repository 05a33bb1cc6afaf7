// SPDX-License-Identifier: GPL-2.0-only
/*
 * Privileged instructions that the guest kernel executes although a hypercall or
 * a paravirtual operation exists: early boot code, __read_cr4(), drivers probing
 * ports.  They raise #GP at CPL 3; a few simple ones are carried out here, all
 * others are the guest's #GP, for which its exception tables are prepared.
 */
#include <linux/mm.h>
#include <asm/fpu/xcr.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>

#include "lg.h"
#include "decode.h"

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

static bool fetch(struct lg_vcpu *vcpu, struct lg_instruction *insn)
{
	u8 byte[LG_INSTRUCTION_MAX];
	unsigned int length = sizeof(byte);
	u64 rip = vcpu->sw->frame.rip;

	if (lg_read_guest_virtual(vcpu, rip, byte, length)) {
		/* The next page may not be there. */
		length = min_t(u64, length, PAGE_SIZE - offset_in_page(rip));
		if (lg_read_guest_virtual(vcpu, rip, byte, length))
			return false;
	}
	return lg_decode(byte, length, insn);
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
		return !lg_load_root(vcpu, lg_root_of(value));
	case 4:
		/* Changing PGE flushes everything; the rest changes nothing here. */
		flush_all(vcpu);
		return true;
	default:
		return false;
	}
}

static bool execute(struct lg_vcpu *vcpu, const struct lg_instruction *insn)
{
	struct switcher_frame *frame = &vcpu->sw->frame;
	u64 value = (u32)frame->rax | frame->rdx << 32;

	switch (insn->operation) {
	case LG_INSN_IN:
		read_port(frame, insn->width);
		return true;
	case LG_INSN_OUT:
	case LG_INSN_NOTHING:
		return true;
	case LG_INSN_HLT:
		vcpu->halted = true;
		return true;
	case LG_INSN_CLI:
	case LG_INSN_STI:
		if (!vcpu->page)
			return false;
		vcpu->page->irq_flags = insn->operation == LG_INSN_STI ? X86_EFLAGS_IF : 0;
		return true;
	case LG_INSN_INVLPG:
		flush_all(vcpu);	/* always right, whatever the address */
		return true;
	case LG_INSN_READ_CR:
		return move_from_cr(vcpu, insn->cr, general_register(frame, insn->gpr));
	case LG_INSN_WRITE_CR:
		return move_to_cr(vcpu, insn->cr, *general_register(frame, insn->gpr));
	case LG_INSN_RDMSR:
		if (!read_msr(vcpu, frame->rcx, &value))
			return false;
		frame->rax = (u32)value;
		frame->rdx = value >> 32;
		return true;
	case LG_INSN_WRMSR:
		return write_msr(vcpu, frame->rcx, value);
	case LG_INSN_XSETBV:		/* the guest lives with the host's XCR0 */
		return frame->rcx == 0 && !(value & ~xgetbv(0)) && (value & 1);
	}
	return false;
}

bool lg_emulate(struct lg_vcpu *vcpu)
{
	struct lg_instruction insn;

	if (!fetch(vcpu, &insn) || !execute(vcpu, &insn))
		return false;
	vcpu->sw->frame.rip += insn.length;
	vcpu->stats.instructions_emulated++;
	return true;
}
