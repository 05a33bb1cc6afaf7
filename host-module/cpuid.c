// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPUID as the guest kernel shall see it: what works at CPL 3, or is made to work
 * by the shim, and nothing that needs a privileged register we do not give.
 * Everything is allowed by name; a feature not listed is hidden.
 */
#include <asm/cpufeature.h>
#include <asm/processor.h>
#include <asm/fpu/xcr.h>
#include <asm/fpu/xstate.h>

#include "lg.h"

#define BIT_OF(feature)		(1u << ((feature) & 31))
#define F(name)			BIT_OF(X86_FEATURE_##name)

/* State components beyond these need MSRs (XSS, XFD) or keys (PKRU). */
#define XCR0_ALLOWED		(XFEATURE_MASK_FP | XFEATURE_MASK_SSE | XFEATURE_MASK_YMM | \
				 XFEATURE_MASK_AVX512)

static const u32 leaf1_ecx =
	F(XMM3) | F(PCLMULQDQ) | F(SSSE3) | F(FMA) | F(CX16) | F(XMM4_1) | F(XMM4_2) |
	F(MOVBE) | F(POPCNT) | F(AES) | F(XSAVE) | F(OSXSAVE) | F(AVX) | F(F16C) | F(RDRAND);
static const u32 leaf1_edx =
	F(FPU) | F(DE) | F(PSE) | F(TSC) | F(MSR) | F(PAE) | F(CX8) | F(PGE) | F(CMOV) |
	F(CLFLUSH) | F(MMX) | F(FXSR) | F(XMM) | F(XMM2) | F(SELFSNOOP);
static const u32 leaf7_ebx =
	F(FSGSBASE) | F(BMI1) | F(AVX2) | F(BMI2) | F(ERMS) | F(AVX512F) | F(AVX512DQ) |
	F(RDSEED) | F(ADX) | F(AVX512IFMA) | F(CLFLUSHOPT) | F(CLWB) | F(AVX512PF) |
	F(AVX512ER) | F(AVX512CD) | F(SHA_NI) | F(AVX512BW) | F(AVX512VL);
static const u32 leaf7_ecx =
	F(AVX512VBMI) | F(AVX512_VBMI2) | F(GFNI) | F(VAES) | F(VPCLMULQDQ) | F(AVX512_VNNI) |
	F(AVX512_BITALG) | F(AVX512_VPOPCNTDQ) | F(MOVDIRI) | F(MOVDIR64B);
static const u32 leaf7_edx = F(FSRM) | F(AVX512_VP2INTERSECT) | F(MD_CLEAR) | F(SERIALIZE);
static const u32 leaf_d1_eax = F(XSAVEOPT) | F(XSAVEC) | F(XGETBV1);
static const u32 extended1_ecx = F(LAHF_LM) | F(ABM) | F(SSE4A) | F(MISALIGNSSE) | F(3DNOWPREFETCH);
static const u32 extended1_edx = F(SYSCALL) | F(NX) | F(FXSR_OPT) | F(RDTSCP) | F(LM);

/* Bytes of an XSAVE area (not compacted) for what we allow: leaf 0xd's EBX counts
 * whatever the host has enabled. */
static u32 xsave_size(u64 mask)
{
	u32 size = XSAVE_HDR_OFFSET + XSAVE_HDR_SIZE, eax, ebx, ecx, edx;
	unsigned int i;

	for (i = 2; i < 63; i++) {
		if (!(mask & BIT_ULL(i)))
			continue;
		cpuid_count(0xd, i, &eax, &ebx, &ecx, &edx);
		size = max(size, ebx + eax);
	}
	return size;
}

static void xsave_leaf(u32 subleaf, u32 out[4])
{
	u64 mask = boot_cpu_has(X86_FEATURE_OSXSAVE) ? xgetbv(XCR_XFEATURE_ENABLED_MASK) : 0;

	mask &= XCR0_ALLOWED;
	if (subleaf == 0) {
		out[0] = mask;
		out[1] = out[2] = xsave_size(mask);
		out[3] = mask >> 32;
	} else if (subleaf == 1) {
		out[0] &= leaf_d1_eax;
		out[1] = out[2] = out[3] = 0;
	} else if (subleaf >= 63 || !(mask & BIT_ULL(subleaf))) {
		memset(out, 0, 4 * sizeof(u32));
	}
}

void lg_cpuid(const struct lg_vcpu *vcpu, u32 leaf, u32 subleaf, u32 out[4])
{
	cpuid_count(leaf, subleaf, &out[0], &out[1], &out[2], &out[3]);
	switch (leaf) {
	case 0:
		out[0] = min_t(u32, out[0], 0xd);
		break;
	case 1:
		out[1] = (out[1] & 0x0000ff00) | vcpu->index << 24 | 1 << 16;
		out[2] = (out[2] & leaf1_ecx) | F(HYPERVISOR);
		/* Of the guest's own making: CR3's NOFLUSH bit tells us that a root is
		 * still good. */
		out[2] |= F(PCID);
		out[3] = (out[3] & leaf1_edx) | F(PGE);
		break;
	case 2:
		break;
	case 4:
		out[0] &= 0x3fff;	/* caches, shared with nobody */
		break;
	case 7:
		if (subleaf) {
			memset(out, 0, 4 * sizeof(u32));
			break;
		}
		out[0] = 0;
		out[1] &= leaf7_ebx;
		out[2] &= leaf7_ecx;
		out[3] &= leaf7_edx;
		break;
	case 0xd:
		xsave_leaf(subleaf, out);
		break;
	case 0x40000000:
		out[0] = 0x40000000;
		memcpy(&out[1], "LguestLguest", 12);
		break;
	case 0x80000000:
		out[0] = min_t(u32, out[0], 0x80000008);
		break;
	case 0x80000001:
		out[2] &= extended1_ecx;
		out[3] &= extended1_edx;
		break;
	case 0x80000002: case 0x80000003: case 0x80000004:	/* name */
	case 0x80000005: case 0x80000006:			/* caches */
		break;
	case 0x80000007:
		out[0] = out[1] = out[2] = 0;
		out[3] &= 1 << 8;	/* invariant TSC */
		break;
	case 0x80000008:
		out[1] = out[2] = out[3] = 0;
		break;
	default:
		memset(out, 0, 4 * sizeof(u32));
	}
}
