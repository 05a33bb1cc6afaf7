/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Offsets of struct lg_vcpu_page for assembly; guest.cpp proves them against
 * guest_abi.h.
 */
#ifndef PAYLOADS_VCPU_PAGE_H
#define PAYLOADS_VCPU_PAGE_H

#define VCPU_irq_flags		0x00
#define VCPU_irq_pending	0x04
#define VCPU_event_busy		0x08
#define VCPU_event_vector	0x0c
#define VCPU_event_error	0x10
#define VCPU_event_address	0x18
#define VCPU_kernel_rip		0x20
#define VCPU_kernel_rsp		0x28
#define VCPU_kernel_rflags	0x30
#define VCPU_user_rip		0x40
#define VCPU_user_rsp		0x48
#define VCPU_user_rflags	0x50
#define VCPU_user_rcx		0x58
#define VCPU_user_r11		0x60
#define VCPU_user_gs_base	0x68
#define VCPU_user_cs		0x70
#define VCPU_user_ss		0x78
#define VCPU_batch_count	0x80
#define VCPU_batch		0x100

#endif
