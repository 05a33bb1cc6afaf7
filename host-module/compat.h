/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Every difference between the host kernels we build for (6.1, 6.12) that the
 * module meets, and nothing else.
 */
#ifndef LG_COMPAT_H
#define LG_COMPAT_H

#include <linux/version.h>

#ifndef __ASSEMBLY__
#include <linux/eventfd.h>
#include <linux/file.h>
#if __has_include(<asm/gsseg.h>)	/* load_gs_index() where no PARAVIRT_XXL is */
#include <asm/gsseg.h>
#endif

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
#define lg_eventfd_signal(ctx)	eventfd_signal(ctx)
#else
#define lg_eventfd_signal(ctx)	eventfd_signal(ctx, 1)
#endif

#ifndef fd_file			/* 6.10 */
#define fd_file(f)	((f).file)
#endif
#endif

/* The NMI entry that does not expect to be on the IST stack. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 9, 0)
#define LG_HOST_NMI_ENTRY	asm_exc_nmi_kvm_vmx
#else
#define LG_HOST_NMI_ENTRY	asm_exc_nmi_noist
#endif

#endif
