/* SPDX-License-Identifier: GPL-2.0-only
 *
 * Segments: FS and GS bases, TLS entries (set_thread_area) and LDT entries (modify_ldt) in DS, ES, FS and GS, kept over context
 * switches; and 32-bit code segments entered by a far call from 64-bit code.
 */
#include "test.hpp"

#include <asm/prctl.h>
#include <setjmp.h>
#include <sys/auxv.h>
#include <sys/time.h>
#include <thread>
#include <vector>

using test::spawn, test::wait_for;

/* asm/ldt.h's struct user_desc, by its own bits */
struct user_desc {
	unsigned entry_number, base_addr, limit;
	unsigned seg_32bit : 1, contents : 2, read_exec_only : 1, limit_in_pages : 1, seg_not_present : 1, useable : 1, lm : 1;
};

/* Memory below 4 GiB: segments reach no further, and the 32-bit system calls neither. */
template <class T> static T *low(int protection = PROT_READ | PROT_WRITE)
{
	size_t length = (sizeof(T) + 0xffff) & ~0xffffull;
	void *memory = mmap(nullptr, length, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	REQUIRE(memory != MAP_FAILED);
	return static_cast<T *>(memory);
}

static long int80(long number, long a = 0, long b = 0)
{
	long result;
	asm volatile("int $0x80" : "=a"(result) : "0"(number), "b"(a), "c"(b) : "r8", "r9", "r10", "r11", "memory");
	return int(result);
}

static user_desc data_segment(unsigned entry, const void *base, unsigned limit)
{
	return {.entry_number = entry, .base_addr = unsigned(uintptr_t(base)), .limit = limit, .seg_32bit = 1, .contents = 0,
		.read_exec_only = 0, .limit_in_pages = 0, .seg_not_present = 0, .useable = 1, .lm = 0};
}

/* A TLS entry for base; its selector. */
static int tls_selector(const void *base, unsigned limit = 4095)
{
	auto *descriptor = low<user_desc>();
	*descriptor = data_segment(-1, base, limit);
	REQUIRE(int80(243, long(descriptor)) == 0);
	return descriptor->entry_number << 3 | 3;
}

static int ldt_selector(unsigned entry, user_desc descriptor)
{
	descriptor.entry_number = entry;
	REQUIRE(syscall(SYS_modify_ldt, 0x11, &descriptor, sizeof descriptor) == 0);	/* an error is zero-extended, as of a 32-bit call */
	return entry << 3 | 7;
}

static int load_from_gs(int selector, long offset = 0)
{
	int value;
	asm volatile("mov %1, %%gs; movl %%gs:(%2), %0" : "=r"(value) : "r"(selector), "r"(offset));
	return value;
}

static int gs_value(long offset = 0)
{
	int value;
	asm volatile("movl %%gs:(%1), %0" : "=r"(value) : "r"(offset));
	return value;
}

static sigjmp_buf back;
template <class Body> static bool faults(Body body)
{
	struct sigaction action{};
	action.sa_handler = [](int) { siglongjmp(back, 1); };
	action.sa_flags = SA_NODEFER;
	sigaction(SIGSEGV, &action, nullptr);
	if (sigsetjmp(back, 0))
		return true;
	body();
	return false;
}

static bool has_fsgsbase() { return getauxval(AT_HWCAP2) & 2; }

TEST("arch_prctl: GS base set, read, used; bad ones refused")
{
	static int words[2] = {17, 18};
	unsigned long base = 0;
	EXPECT(syscall(SYS_arch_prctl, ARCH_SET_GS, words) == 0);
	EXPECT(gs_value(4) == 18);
	EXPECT(syscall(SYS_arch_prctl, ARCH_GET_GS, &base) == 0 && base == (unsigned long)words);
	EXPECT(syscall(SYS_arch_prctl, ARCH_GET_FS, &base) == 0 && base != 0);
	EXPECT(syscall(SYS_arch_prctl, ARCH_SET_GS, 0xffff'8880'0000'0000) == -1);
	EXPECT(syscall(SYS_arch_prctl, ARCH_SET_GS, 0x8000'0000'0000'0000) == -1);
}

TEST("WRFSBASE and WRGSBASE, where the CPU has them")
{
	if (!has_fsgsbase())
		SKIP("not offered");
	static int words[2] = {21, 22};
	unsigned long base, read;
	asm volatile("wrgsbase %1; rdgsbase %0" : "=r"(base) : "r"(words));
	EXPECT(base == (unsigned long)words && gs_value(4) == 22);
	sched_yield();
	EXPECT(syscall(SYS_arch_prctl, ARCH_GET_GS, &base) == 0 && base == (unsigned long)words);
	asm volatile("rdfsbase %0" : "=r"(read));
	EXPECT(syscall(SYS_arch_prctl, ARCH_GET_FS, &base) == 0 && base == read);
}

/* Bases anywhere in the address space, kernel half included: with FSGSBASE a user may write those, and must not disturb anyone. */
TEST("GS bases of 8 processes that switch, any canonical value")
{
	std::vector<pid_t> pids;
	for (unsigned long i = 0; i < 8; i++)
		pids.push_back(spawn([=] {
			unsigned long mine = has_fsgsbase() && i % 2 ? 0xffff'ffff'8000'0000 + i * 4096 : 0x10000 * (i + 1), base = 0;
			if (has_fsgsbase())
				asm volatile("wrgsbase %0" :: "r"(mine));
			else
				syscall(SYS_arch_prctl, ARCH_SET_GS, mine);
			for (int n = 0; n < 300; n++) {
				sched_yield();
				if (n % 30 == 0)
					for (volatile long spin = 0; spin < 100'000; spin++)
						;
				syscall(SYS_arch_prctl, ARCH_GET_GS, &base);
				if (base != mine)
					return 1;
			}
			return 0;
		}));
	for (auto pid : pids)
		EXPECT(wait_for(pid) == 0);
}

TEST("set_thread_area: a TLS segment in GS")
{
	auto *words = low<int[1024]>();
	(*words)[0] = 31, (*words)[1] = 32;
	int selector = tls_selector(words);
	EXPECT(load_from_gs(selector) == 31);
	EXPECT(gs_value(4) == 32);
}

TEST("set_thread_area gives three entries, and not a fourth")
{
	auto *descriptor = low<user_desc>();
	int seen[3];
	for (int &entry : seen) {
		*descriptor = data_segment(-1, nullptr, 4095);
		REQUIRE(int80(243, long(descriptor)) == 0);
		entry = descriptor->entry_number;
	}
	EXPECT(seen[1] == seen[0] + 1 && seen[2] == seen[1] + 1);
	*descriptor = data_segment(-1, nullptr, 4095);
	EXPECT(int80(243, long(descriptor)) == -ESRCH);
	*descriptor = data_segment(seen[1], nullptr, 100);
	EXPECT(int80(244, long(descriptor)) == 0 && descriptor->limit == 4095);
}

TEST("TLS segments of 6 processes that switch")
{
	std::vector<pid_t> pids;
	for (int i = 0; i < 6; i++)
		pids.push_back(spawn([=] {
			auto *words = low<int[1024]>();
			(*words)[0] = 1000 + i;
			int selector = tls_selector(words), now;
			load_from_gs(selector);
			for (int n = 0; n < 200; n++) {
				sched_yield();
				if (n % 20 == 0)
					for (volatile long spin = 0; spin < 100'000; spin++)
						;
				asm volatile("mov %%gs, %0" : "=r"(now));
				if (now != selector || gs_value() != 1000 + i)
					return 1;
			}
			return 0;
		}));
	for (auto pid : pids)
		EXPECT(wait_for(pid) == 0);
}

TEST("each thread has its own TLS entries")
{
	std::vector<std::thread> threads;
	std::vector<int> good(4);
	for (int i = 0; i < 4; i++)
		threads.emplace_back([=, &good] {
			auto *words = low<int[1024]>();
			(*words)[0] = 50 + i;
			load_from_gs(tls_selector(words));
			bool same = true;
			for (int n = 0; n < 100; n++)
				sched_yield(), same &= gs_value() == 50 + i;
			good[i] = same;
		});
	for (auto &thread : threads)
		thread.join();
	for (int one : good)
		EXPECT(one);
}

TEST("selectors in DS and ES stay over context switches and signals")
{
	signal(SIGUSR1, [](int) {});
	std::vector<pid_t> pids;
	for (int i = 0; i < 4; i++)
		pids.push_back(spawn([=] {
			auto *words = low<int[1024]>();
			int selector = i % 2 ? tls_selector(words) : ldt_selector(3, data_segment(0, words, 4095));
			asm volatile("mov %0, %%ds; mov %0, %%es" :: "r"(selector));
			bool good = true;
			for (int n = 0; n < 100; n++) {
				sched_yield();
				if (n % 10 == 0)
					raise(SIGUSR1);
				int ds, es;
				asm volatile("mov %%ds, %0; mov %%es, %1" : "=r"(ds), "=r"(es));
				good &= ds == selector && es == selector;
			}
			asm volatile("mov %0, %%ds; mov %0, %%es" :: "r"(0));
			return good ? 0 : 1;
		}));
	for (auto pid : pids)
		EXPECT(wait_for(pid) == 0);
}

TEST("modify_ldt: write, read back, use, clear")
{
	auto *words = low<int[1024]>();
	(*words)[5] = 77;
	int selector = ldt_selector(2, data_segment(0, words, 4095));
	EXPECT(load_from_gs(selector, 20) == 77);
	unsigned long entries[16] = {};
	EXPECT(syscall(SYS_modify_ldt, 0, entries, sizeof entries) >= 24);
	EXPECT(entries[2] != 0 && entries[1] == 0);
	asm volatile("mov %0, %%gs" :: "r"(0));
	user_desc empty{};
	empty.entry_number = 2, empty.read_exec_only = 1, empty.seg_not_present = 1;
	EXPECT(syscall(SYS_modify_ldt, 1, &empty, sizeof empty) == 0);
	EXPECT(faults([=] { load_from_gs(selector); }));
}

TEST("a TLS and an LDT segment that is not there cannot be loaded")
{
	EXPECT(faults([] { load_from_gs(13 << 3 | 3); }));
	EXPECT(faults([] { load_from_gs(40 << 3 | 7); }));
	auto descriptor = data_segment(0, nullptr, 4095);
	descriptor.seg_not_present = 1;
	int selector = ldt_selector(1, descriptor);
	struct sigaction action{};
	action.sa_handler = [](int) { siglongjmp(back, 2); };
	action.sa_flags = SA_NODEFER;
	sigaction(SIGBUS, &action, nullptr);
	EXPECT(faults([=] { load_from_gs(selector); }));
}

TEST("an LDT is the process's own: fork copies it, exec drops it")
{
	auto *words = low<int[1024]>();
	(*words)[0] = 5;
	int selector = ldt_selector(0, data_segment(0, words, 4095));
	EXPECT(load_from_gs(selector) == 5);
	EXPECT(wait_for(spawn([=] {
		(*words)[0] = 6;
		EXPECT(load_from_gs(selector) == 6);
		ldt_selector(0, data_segment(0, *words + 8, 4095));
		(*words)[8] = 7;
		EXPECT(load_from_gs(selector) == 7);
		sched_yield();
		return 0;
	})) == 0);
	EXPECT(gs_value() == 5 && load_from_gs(selector) == 5);
}

TEST("8000 LDT entries")
{
	auto *words = low<int[8192]>();
	for (int i = 0; i < 8000; i += 37) {
		(*words)[i] = i;
		REQUIRE(load_from_gs(ldt_selector(i, data_segment(0, *words + i, 3))) == i);
	}
	EXPECT(wait_for(spawn([=] { return load_from_gs((37 * 100) << 3 | 7) == 3700 ? 0 : 1; })) == 0);
}

TEST("entries that would harm the kernel are refused")
{
	auto descriptor = data_segment(0, nullptr, 0xfffff);
	EXPECT(int(syscall(SYS_modify_ldt, 0x11, &descriptor, 4)) == -EINVAL);
	descriptor.entry_number = 8192;
	EXPECT(int(syscall(SYS_modify_ldt, 0x11, &descriptor, sizeof descriptor)) == -EINVAL);
	auto *area = low<user_desc>();
	for (unsigned entry : {0u, 1u, 2u, 4u, 5u, 6u, 11u, 15u}) {
		*area = data_segment(entry, nullptr, 4095);
		EXPECT(int80(243, long(area)) == -EINVAL);
	}
}

/*
 * 32-bit code, copied below 4 GiB and entered by a far call on a stack there: adds EBX, calls getppid by int $0x80, adds DS:[esi], and
 * returns far. On the way it is interrupted and faults a page in.
 */
asm(".pushsection .rodata\n"
    "code32: .byte 0xb8; .long 64\n"		/* mov $64, %eax (getppid) */
    ".byte 0xcd, 0x80\n"			/* int $0x80 */
    ".byte 0xb9; .long 200000\n"		/* mov $200000, %ecx */
    ".byte 0x49, 0x75, 0xfd\n"			/* 1: dec %ecx; jnz 1b   (0x49 is a REX prefix in 64-bit code) */
    ".byte 0x01, 0xd8\n"			/* add %ebx, %eax */
    ".byte 0x03, 0x06\n"			/* add (%esi), %eax */
    ".byte 0xcb\n"				/* lret */
    "code32_end:\n"
    ".popsection");
extern "C" const char code32[], code32_end[];

struct Compat { char code[4096], stack[16384]; int fresh[4096]; struct { unsigned offset; unsigned short selector; } far; };

static long far_call(Compat *compat, unsigned short selector, unsigned offset, int add)
{
	compat->far.offset = offset, compat->far.selector = selector;
	long result;
	asm volatile("mov %%rsp, %%r12\n"
		     "mov %[stack], %%rsp\n"
		     "push %%r12\n"
		     "mov %[ds], %%ds\n"
		     "lcall *(%[far])\n"
		     "pop %%rsp\n"
		     : "=a"(result), "+b"(add)
		     : [stack] "r"(compat->stack + sizeof compat->stack), [far] "r"(&compat->far), [ds] "r"(0x2b), "S"(compat->fresh + 2000)
		     : "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "cc", "memory");
	return int(result);
}

TEST("a far call into 32-bit code, its system call, its page fault, and back")
{
	auto *compat = low<Compat>(PROT_READ | PROT_WRITE | PROT_EXEC);
	memcpy(compat->code, code32, code32_end - code32);
	for (int i = 0; i < 20; i++) {
		madvise(compat->fresh, sizeof compat->fresh, MADV_DONTNEED);
		EXPECT(far_call(compat, 0x23, unsigned(long(compat->code)), 1000) == getppid() + 1000);
	}
}

TEST("a far call into a 32-bit LDT segment with a base")
{
	auto *compat = low<Compat>(PROT_READ | PROT_WRITE | PROT_EXEC);
	memcpy(compat->code + 64, code32, code32_end - code32);
	auto descriptor = data_segment(0, compat->code, 4095);
	descriptor.contents = 2;		/* code */
	int selector = ldt_selector(4, descriptor);
	EXPECT(far_call(compat, selector, 64, 5) == getppid() + 5);
	signal(SIGALRM, [](int) {});
	itimerval often{{0, 2000}, {0, 2000}};
	syscall(SYS_setitimer, 0, &often, nullptr);
	for (int i = 0; i < 50; i++)
		EXPECT(far_call(compat, selector, 64, i) == getppid() + i);
}
