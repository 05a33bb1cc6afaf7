// SPDX-License-Identifier: GPL-2.0-only
/*
 * Generates offsets.h, the assembly's view of layout.h and of the vCPU page.
 * Never linked; the host module's Kbuild compiles it to text.
 */
#define COMPILE_OFFSETS
#include <linux/kbuild.h>
#include <linux/types.h>
#include <linux/stddef.h>
#include "layout.h"
#include "../include/lguest/guest_abi.h"

int main(void)
{
	OFFSET(CPU_SELF, switcher_cpu, self);
	OFFSET(CPU_VCPU, switcher_cpu, vcpu);
	OFFSET(CPU_SCRATCH_RSP, switcher_cpu, scratch_rsp);
	OFFSET(CPU_SCRATCH_RCX, switcher_cpu, scratch_rcx);
	OFFSET(CPU_SCRATCH_R11, switcher_cpu, scratch_r11);
	OFFSET(CPU_PENDING, switcher_cpu, pending);
	OFFSET(CPU_HOST_CR3, switcher_cpu, host_cr3);
	OFFSET(CPU_HOST_CR4, switcher_cpu, host_cr4);
	OFFSET(CPU_GUEST_CR4, switcher_cpu, guest_cr4);
	OFFSET(CPU_HOST_GS_BASE, switcher_cpu, host_gs_base);
	OFFSET(CPU_HOST_RSP, switcher_cpu, host_rsp);
	OFFSET(CPU_HOST_TSS_DESCRIPTOR, switcher_cpu, host_tss_descriptor);
	OFFSET(CPU_HOST_IDT, switcher_cpu, host_idt);
	OFFSET(CPU_HOST_GDT_WRITABLE, switcher_cpu, host_gdt_writable);
	OFFSET(CPU_HOST_GDT, switcher_cpu, host_gdt);
	OFFSET(CPU_GUEST_IDT, switcher_cpu, guest_idt);
	OFFSET(CPU_GUEST_GDT, switcher_cpu, guest_gdt);
	OFFSET(CPU_HOST_LDT, switcher_cpu, host_ldt);
	OFFSET(CPU_IRET_RIP, switcher_cpu, iret_rip);
	OFFSET(CPU_IRET_CS, switcher_cpu, iret_cs);
	OFFSET(CPU_IRET_RFLAGS, switcher_cpu, iret_rflags);
	OFFSET(CPU_IRET_RSP, switcher_cpu, iret_rsp);
	OFFSET(CPU_IRET_SS, switcher_cpu, iret_ss);
	BLANK();
	OFFSET(VCPU_USER_MODE, switcher_vcpu, user_mode);
	OFFSET(VCPU_DIRECT, switcher_vcpu, direct);
	OFFSET(VCPU_PAGE, switcher_vcpu, page);
	OFFSET(VCPU_KERNEL_CR3, switcher_vcpu, kernel_cr3);
	OFFSET(VCPU_USER_CR3, switcher_vcpu, user_cr3);
	OFFSET(VCPU_KERNEL_GS_BASE, switcher_vcpu, kernel_gs_base);
	OFFSET(VCPU_SYSCALL_FROM_USER, switcher_vcpu, syscall_from_user);
	OFFSET(VCPU_RETURN_TO_USER, switcher_vcpu, return_to_user);
	OFFSET(VCPU_PENDING, switcher_vcpu, pending);
	OFFSET(VCPU_FS_BASE, switcher_vcpu, fs_base);
	OFFSET(VCPU_GS_BASE, switcher_vcpu, gs_base);
	OFFSET(VCPU_DS, switcher_vcpu, ds);
	OFFSET(VCPU_ES, switcher_vcpu, es);
	OFFSET(VCPU_FS, switcher_vcpu, fs);
	OFFSET(VCPU_GS, switcher_vcpu, gs);
	OFFSET(VCPU_LDT, switcher_vcpu, ldt);
	OFFSET(VCPU_FRAME, switcher_vcpu, frame);
	BLANK();
	OFFSET(FRAME_R15, switcher_frame, r15);
	OFFSET(FRAME_R14, switcher_frame, r14);
	OFFSET(FRAME_R13, switcher_frame, r13);
	OFFSET(FRAME_R12, switcher_frame, r12);
	OFFSET(FRAME_RBP, switcher_frame, rbp);
	OFFSET(FRAME_RBX, switcher_frame, rbx);
	OFFSET(FRAME_R11, switcher_frame, r11);
	OFFSET(FRAME_R10, switcher_frame, r10);
	OFFSET(FRAME_R9, switcher_frame, r9);
	OFFSET(FRAME_R8, switcher_frame, r8);
	OFFSET(FRAME_RAX, switcher_frame, rax);
	OFFSET(FRAME_RCX, switcher_frame, rcx);
	OFFSET(FRAME_RDX, switcher_frame, rdx);
	OFFSET(FRAME_RSI, switcher_frame, rsi);
	OFFSET(FRAME_RDI, switcher_frame, rdi);
	OFFSET(FRAME_VECTOR, switcher_frame, vector);
	OFFSET(FRAME_ERROR, switcher_frame, error);
	OFFSET(FRAME_RIP, switcher_frame, rip);
	OFFSET(FRAME_CS, switcher_frame, cs);
	OFFSET(FRAME_RFLAGS, switcher_frame, rflags);
	OFFSET(FRAME_RSP, switcher_frame, rsp);
	OFFSET(FRAME_SS, switcher_frame, ss);
	BLANK();
	OFFSET(PAGE_IRQ_FLAGS, lg_vcpu_page, irq_flags);
	OFFSET(PAGE_IRQ_PENDING, lg_vcpu_page, irq_pending);
	OFFSET(PAGE_USER_RIP, lg_vcpu_page, user_rip);
	OFFSET(PAGE_USER_RSP, lg_vcpu_page, user_rsp);
	OFFSET(PAGE_USER_RFLAGS, lg_vcpu_page, user_rflags);
	OFFSET(PAGE_USER_RCX, lg_vcpu_page, user_rcx);
	OFFSET(PAGE_USER_R11, lg_vcpu_page, user_r11);
	OFFSET(PAGE_USER_GS_BASE, lg_vcpu_page, user_gs_base);
	OFFSET(PAGE_USER_CS, lg_vcpu_page, user_cs);
	OFFSET(PAGE_USER_SS, lg_vcpu_page, user_ss);
	OFFSET(PAGE_BATCH_COUNT, lg_vcpu_page, batch_count);
	return 0;
}
