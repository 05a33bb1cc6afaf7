/* SPDX-License-Identifier: GPL-2.0-only
 *
 * The FPU's state is a thread's own: x87, SSE and AVX registers and their control words, held over context switches, page faults,
 * system calls and signals while others use different ones. The loops are assembly, so that the values stay in the registers.
 */
#include "test.hpp"

#include <cpuid.h>
#include <thread>
#include <vector>

using test::spawn, test::wait_for;

struct alignas(32) Pattern { uint64_t words[16][4]; };

static bool has_avx() { return __builtin_cpu_supports("avx2"); }

static Pattern pattern(uint64_t seed)
{
	Pattern p;
	for (int i = 0; i < 16; i++)
		for (int j = 0; j < 4; j++)
			p.words[i][j] = (seed * 0x9e3779b97f4a7c15 + i * 256 + j) ^ seed << 40;
	return p;
}

#define EACH(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11) f(12) f(13) f(14) f(15)
#define LOAD_SSE(n)  "movdqa " #n "*32(%[in]), %%xmm" #n "\n"
#define STORE_SSE(n) "movdqa %%xmm" #n ", " #n "*32(%[out])\n"
#define LOAD_AVX(n)  "vmovdqa " #n "*32(%[in]), %%ymm" #n "\n"
#define STORE_AVX(n) "vmovdqa %%ymm" #n ", " #n "*32(%[out])\n"
#define USED "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"

/* All registers loaded, then system call `call` made `calls` times and `spin` loop turns after each, then stored. */
static bool kept(const Pattern &in, long call, long calls, long spin)
{
	Pattern out = in;
	asm volatile(EACH(LOAD_SSE)
		"1: mov %[call], %%rax; xor %%edi, %%edi; xor %%esi, %%esi; syscall\n"
		"mov %[spin], %%rcx\n"
		"2: dec %%rcx; jns 2b\n"
		"decq %[calls]; jnz 1b\n"
		EACH(STORE_SSE)
		: [calls] "+r"(calls) : [in] "r"(&in), [out] "r"(&out), [call] "r"(call), [spin] "r"(spin)
		: "rax", "rcx", "rdi", "rsi", "r11", "cc", "memory", USED);
	for (int i = 0; i < 16; i++)
		if (memcmp(in.words[i], out.words[i], 16))
			return false;
	return true;
}

__attribute__((target("avx2"))) static bool kept_avx(const Pattern &in, long call, long calls, long spin)
{
	Pattern out;
	asm volatile(EACH(LOAD_AVX)
		"1: mov %[call], %%rax; xor %%edi, %%edi; xor %%esi, %%esi; syscall\n"
		"mov %[spin], %%rcx\n"
		"2: dec %%rcx; jns 2b\n"
		"decq %[calls]; jnz 1b\n"
		EACH(STORE_AVX) "vzeroupper\n"
		: [calls] "+r"(calls) : [in] "r"(&in), [out] "r"(&out), [call] "r"(call), [spin] "r"(spin)
		: "rax", "rcx", "rdi", "rsi", "r11", "cc", "memory", USED);
	return !memcmp(&in, &out, sizeof in);
}

static bool kept_any(bool avx, uint64_t seed, long call, long calls, long spin)
{
	return avx ? kept_avx(pattern(seed), call, calls, spin) : kept(pattern(seed), call, calls, spin);
}

/* Eight processes, and eight threads, which switch often by sched_yield, and then by the timer alone. */
static void among_processes(bool avx)
{
	std::vector<pid_t> pids;
	for (int i = 1; i <= 8; i++)
		pids.push_back(spawn([=] {
			bool good = kept_any(avx, i, SYS_sched_yield, 300, 10);
			return good && kept_any(avx, i + 100, SYS_getppid, 20, 200'000) ? 0 : 1;
		}));
	for (auto pid : pids)
		EXPECT(wait_for(pid) == 0);
}

static void among_threads(bool avx)
{
	std::vector<std::thread> threads;
	std::vector<int> good(8);
	for (int i = 0; i < 8; i++)
		threads.emplace_back([=, &good] {
			good[i] = kept_any(avx, i + 1, SYS_sched_yield, 300, 10) && kept_any(avx, i + 100, SYS_getppid, 20, 200'000);
		});
	for (auto &thread : threads)
		thread.join();
	for (int one : good)
		EXPECT(one);
}

TEST("SSE among 8 processes") { among_processes(false); }
TEST("SSE among 8 threads") { among_threads(false); }

TEST("AVX among 8 processes, some of which use SSE alone")
{
	if (!has_avx())
		SKIP("no AVX2");
	pid_t other = spawn([] { return kept_any(false, 99, SYS_sched_yield, 1000, 10) ? 0 : 1; });
	among_processes(true);
	EXPECT(wait_for(other) == 0);
}

TEST("AVX among 8 threads")
{
	if (!has_avx())
		SKIP("no AVX2");
	among_threads(true);
}

TEST("registers survive a handler that uses them all")
{
	static bool avx;
	avx = has_avx();
	static volatile long ticks;
	signal(SIGALRM, [](int) {
		kept_any(avx, 12345, SYS_getppid, 1, 1);
		ticks++;
	});
	timer_t timer;
	sigevent event{};
	event.sigev_notify = SIGEV_SIGNAL, event.sigev_signo = SIGALRM;
	timer_create(CLOCK_MONOTONIC, &event, &timer);
	itimerspec often{{0, 5'000'000}, {0, 5'000'000}};
	timer_settime(timer, 0, &often, nullptr);
	for (int i = 0; i < 1000 && ticks < 50; i++)
		REQUIRE(kept_any(avx, i, SYS_getppid, 10, 20'000));
	EXPECT(ticks >= 10);
}

TEST("registers survive page faults")
{
	auto *memory = static_cast<char *>(mmap(nullptr, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	Pattern in = pattern(7), out;
	char *page = memory;
	asm volatile(EACH(LOAD_SSE)
		"1: movb $1, (%[page]); add $4096, %[page]; cmp %[end], %[page]; jne 1b\n"
		EACH(STORE_SSE)
		: [page] "+r"(page) : [in] "r"(&in), [out] "r"(&out), [end] "r"(memory + (1 << 20)) : "cc", "memory", USED);
	for (int i = 0; i < 16; i++)
		EXPECT(!memcmp(in.words[i], out.words[i], 16));
}

TEST("a child inherits the registers, exec clears the control words")
{
	Pattern in = pattern(3), out;
	unsigned mxcsr = 0x7f80, after;		/* round to zero */
	long pid;
	asm volatile("ldmxcsr %[mxcsr]\n" EACH(LOAD_SSE) "mov %[fork], %%eax; syscall\n" EACH(STORE_SSE) "stmxcsr %[after]"
		: "=&a"(pid), [after] "=m"(after) : [in] "r"(&in), [out] "r"(&out), [mxcsr] "m"(mxcsr), [fork] "i"(SYS_fork)
		: "rcx", "r11", "memory", USED);
	bool same = after == mxcsr;
	for (int i = 0; i < 16; i++)
		same &= !memcmp(in.words[i], out.words[i], 16);
	EXPECT(same);
	if (pid == 0)
		_exit(same ? 0 : 1);
	EXPECT(wait_for(pid) == 0);
}

/* Each of several processes has its own rounding mode, in both units, and its own value on the x87 stack. */
TEST("x87 stack and control words among processes")
{
	std::vector<pid_t> pids;
	for (int i = 0; i < 4; i++)
		pids.push_back(spawn([=] {
			unsigned short control = 0x37f & ~0xc00;
			control |= i << 10;
			unsigned mxcsr = 0x1f80 | i << 13;
			asm volatile("fldcw %0; ldmxcsr %1" :: "m"(control), "m"(mxcsr));
			double value = 1.25 + i, result;
			unsigned short control_after;
			unsigned mxcsr_after;
			long turns = 200;
			asm volatile("fldl %[value]\n"
				"1: mov %[yield], %%eax; syscall; mov $20000, %%ecx\n 2: dec %%ecx; jnz 2b\n dec %[turns]; jnz 1b\n"
				"fstpl %[result]; fstcw %[control]; stmxcsr %[mxcsr]"
				: [turns] "+r"(turns), [result] "=m"(result), [control] "=m"(control_after), [mxcsr] "=m"(mxcsr_after)
				: [value] "m"(value), [yield] "i"(SYS_sched_yield) : "rax", "rcx", "r11", "cc", "memory");
			return result == value && control_after == control && mxcsr_after == mxcsr ? 0 : 1;
		}));
	for (auto pid : pids)
		EXPECT(wait_for(pid) == 0);
}

TEST("XGETBV agrees with CPUID on what is enabled")
{
	unsigned a, b, c, d, low, high;
	__cpuid(1, a, b, c, d);
	if (!(c & bit_OSXSAVE))
		SKIP("no XSAVE");
	asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	EXPECT((low & 3) == 3);
	EXPECT(!(c & bit_AVX) || (low & 4));
	unsigned enabled, size;
	__cpuid_count(0xd, 0, enabled, size, c, d);
	EXPECT((low & ~enabled) == 0);
	EXPECT(size >= 576);
}
