/* SPDX-License-Identifier: GPL-2.0-only
 *
 * Signals that the CPU causes, and what siginfo and the saved context say of them: page faults, division, illegal and privileged
 * instructions, breakpoints, single steps, non-canonical addresses.
 */
#include "test.hpp"

#include <setjmp.h>
#include <ucontext.h>

using test::spawn, test::wait_for;

static sigjmp_buf back;
static siginfo_t info;
static ucontext_t context;

static void note(int, siginfo_t *i, void *c)
{
	info = *i;
	context = *static_cast<ucontext_t *>(c);
	siglongjmp(back, 1);
}

static void handle(int number, void (*handler)(int, siginfo_t *, void *) = note)
{
	struct sigaction action{};
	action.sa_sigaction = handler;
	action.sa_flags = SA_SIGINFO | SA_NODEFER;
	sigaction(number, &action, nullptr);
}

/* Runs body; the signal that ended it, 0 if none. */
template <class Body> static int signal_of(Body body)
{
	for (int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP})
		handle(number);
	info = {};
	if (sigsetjmp(back, 1))
		return info.si_signo;
	body();
	return 0;
}

static char *pages(int protection, size_t length = 4096)
{
	return static_cast<char *>(mmap(nullptr, length, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

static long error_code() { return context.uc_mcontext.gregs[REG_ERR]; }
static char *cr2() { return reinterpret_cast<char *>(context.uc_mcontext.gregs[REG_CR2]); }
static long trap_number() { return context.uc_mcontext.gregs[REG_TRAPNO]; }

TEST("a read of nothing: SEGV_MAPERR with its address")
{
	char *page = pages(PROT_READ);
	munmap(page, 4096);
	EXPECT(signal_of([=] { (void)*(volatile char *)(page + 123); }) == SIGSEGV);
	EXPECT(info.si_code == SEGV_MAPERR && info.si_addr == page + 123);
	EXPECT(cr2() == page + 123 && trap_number() == 14 && error_code() == 4);
	EXPECT(signal_of([] { *(volatile char *)nullptr = 1; }) == SIGSEGV);
	EXPECT(info.si_code == SEGV_MAPERR && info.si_addr == nullptr && error_code() == 6);
}

TEST("a write to a read-only page: SEGV_ACCERR")
{
	char *page = pages(PROT_READ);
	(void)*(volatile char *)page;
	EXPECT(signal_of([=] { *(volatile char *)(page + 8) = 1; }) == SIGSEGV);
	EXPECT(info.si_code == SEGV_ACCERR && info.si_addr == page + 8 && error_code() == 7);
}

TEST("execution of data: SEGV_ACCERR")
{
	char *page = pages(PROT_READ | PROT_WRITE);
	*page = char(0xc3);
	EXPECT(signal_of([=] { reinterpret_cast<void (*)()>(page)(); }) == SIGSEGV);
	EXPECT(info.si_code == SEGV_ACCERR && info.si_addr == page && (error_code() & 0x14) == 0x14);
}

TEST("the kernel's half: SEGV_MAPERR for read, write and jump")
{
	for (unsigned long address : {0xffffffff81000000ul, 0xffff888000000000ul, 0xffff800000000000ul, 0xffffffffff600000ul,
				      0xff00000000000000ul | 0xff8000000000ul, 0xfffffffffffff000ul}) {
		auto *there = reinterpret_cast<volatile char *>(address);
		if (address != 0xffffffffff600000ul) {		/* vsyscall */
			EXPECT(signal_of([=] { (void)*there; }) == SIGSEGV);
			EXPECT(info.si_addr == there || info.si_code == SI_KERNEL);
			EXPECT(signal_of([=] { reinterpret_cast<void (*)()>(address)(); }) == SIGSEGV);
		}
		EXPECT(signal_of([=] { *there = 1; }) == SIGSEGV);
	}
}

TEST("a non-canonical address: SIGSEGV without an address")
{
	auto *nowhere = reinterpret_cast<volatile char *>(0x0100'0000'0000'0000);
	EXPECT(signal_of([=] { *nowhere = 1; }) == SIGSEGV);
	EXPECT(info.si_code == SI_KERNEL && info.si_addr == nullptr && trap_number() == 13);
	EXPECT(signal_of([=] { asm volatile("jmp *%0" :: "r"(nowhere)); }) == SIGSEGV);
	EXPECT(wait_for(spawn([=] {
		signal(SIGSEGV, SIG_DFL);
		asm volatile("mov %0, %%rsp; push %%rax" :: "r"(nowhere));
		return 0;
	})) < 0);
}

TEST("a system call just below the end of the canonical half")
{
	auto *last = static_cast<char *>(mmap(reinterpret_cast<void *>(0x7ffffffff000), 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
					      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	EXPECT(last == MAP_FAILED && errno == ENOMEM);		/* Linux keeps that page empty, for SYSRET's sake */
	auto *top = static_cast<char *>(mmap(reinterpret_cast<void *>(0x7fffffffe000), 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
					     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
	if (top == MAP_FAILED)
		SKIP("the stack is there");
	memcpy(top + 4094, "\x0f\x05", 2);
	EXPECT(signal_of([=] { asm volatile("jmp *%0" :: "r"(top + 4094), "a"(SYS_getpid) : "rcx", "r11", "memory"); }) == SIGSEGV);
	EXPECT(context.uc_mcontext.gregs[REG_RIP] == 0x7ffffffff000 && context.uc_mcontext.gregs[REG_RAX] == getpid());
}

TEST("mprotect in a handler lets a faulting write go on")
{
	static char *page;
	static volatile int faults;
	page = pages(PROT_NONE, 64 * 4096);
	handle(SIGSEGV, [](int, siginfo_t *i, void *) {
		faults++;
		mprotect(page + ((char *)i->si_addr - page) / 4096 * 4096, 4096, PROT_READ | PROT_WRITE);
	});
	for (int round = 0; round < 10; round++) {
		for (int i = 0; i < 64; i++)
			((volatile char *)page)[i * 4096 + i] = i + round;
		for (int i = 0; i < 64; i++)
			EXPECT(page[i * 4096 + i] == char(i + round));
		mprotect(page, 64 * 4096, round % 2 ? PROT_READ : PROT_NONE);
	}
	EXPECT(faults == 640);
}

TEST("a write beyond the end of a mapped file: SIGBUS")
{
	int file = memfd_create("short", 0);
	ftruncate(file, 4096);
	auto *map = static_cast<char *>(mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0));
	map[0] = 1;
	EXPECT(signal_of([=] { ((volatile char *)map)[4096] = 1; }) == SIGBUS);
	EXPECT(info.si_code == BUS_ADRERR && info.si_addr == map + 4096);
	ftruncate(file, 0);
	EXPECT(signal_of([=] { ((volatile char *)map)[0] = 1; }) == SIGBUS);
}

TEST("integer division by zero, and its overflow: SIGFPE")
{
	EXPECT(signal_of([] { asm volatile("xor %%edx, %%edx; div %0" :: "r"(0), "a"(1) : "rdx"); }) == SIGFPE);
	EXPECT(info.si_code == FPE_INTDIV && info.si_addr == (void *)context.uc_mcontext.gregs[REG_RIP]);
	EXPECT(signal_of([] { asm volatile("cqo; idiv %0" :: "r"(-1l), "a"(INT64_MIN) : "rdx"); }) == SIGFPE);
}

TEST("x87 exception: SIGFPE with its cause")
{
	EXPECT(signal_of([] {
		unsigned short control = 0x37f & ~4;
		asm volatile("fldcw %0; fldz; fld1; fdivp; fwait" :: "m"(control));
	}) == SIGFPE);
	EXPECT(info.si_code == FPE_FLTDIV && trap_number() == 16);
}

TEST("SSE exception: SIGFPE with its cause")
{
	unsigned mxcsr = 0x1f80 & ~0x200, after = 0;
	double one = 1;
	int signal = signal_of([&] {
		asm volatile("ldmxcsr %1; pxor %%xmm0, %%xmm0; movsd %2, %%xmm1; divsd %%xmm0, %%xmm1; stmxcsr %0"
			     : "=m"(after) : "m"(mxcsr), "m"(one) : "xmm0", "xmm1");
	});
	if (signal == 0 && (after & 4))
		SKIP("this CPU notes it and raises nothing, as QEMU's does");
	EXPECT(signal == SIGFPE && info.si_code == FPE_FLTDIV && trap_number() == 19);
}

TEST("an illegal instruction: SIGILL at its address")
{
	EXPECT(signal_of([] { asm volatile("ud2"); }) == SIGILL);
	EXPECT(info.si_code == ILL_ILLOPN && info.si_addr == (void *)context.uc_mcontext.gregs[REG_RIP]);
	EXPECT(*(unsigned short *)info.si_addr == 0x0b0f);
}

TEST("int3: SIGTRAP behind it")
{
	EXPECT(signal_of([] { asm volatile("int3"); }) == SIGTRAP);
	EXPECT(info.si_code == SI_KERNEL);
	EXPECT(((unsigned char *)context.uc_mcontext.gregs[REG_RIP])[-1] == 0xcc);
}

TEST("icebp: SIGTRAP")
{
	int signal = signal_of([] { asm volatile(".byte 0xf1"); });
	if (signal != SIGTRAP)
		SKIP("this CPU does not know it, as QEMU's does not");
	EXPECT(trap_number() == 1);
}

TEST("software interrupts that are not the user's: SIGSEGV")
{
	EXPECT(signal_of([] { asm volatile("int $0x81"); }) == SIGSEGV);
	EXPECT(signal_of([] { asm volatile("int $0x20"); }) == SIGSEGV);
	EXPECT(signal_of([] { asm volatile("int $0x2"); }) == SIGSEGV);
	EXPECT(signal_of([] { asm volatile("int $0xe"); }) == SIGSEGV);
	EXPECT(signal_of([] { asm volatile("int $0xff"); }) == SIGSEGV);
}

#define PRIVILEGED(text)							\
	EXPECT(signal_of([=] { asm volatile(text :: "r"(room), "a"(0), "c"(0xc0000080), "d"(0) : "memory"); }) == SIGSEGV);	\
	EXPECT(trap_number() == 13)

TEST("privileged instructions: SIGSEGV")
{
	static long room[2];
	PRIVILEGED("hlt");
	PRIVILEGED("cli");
	PRIVILEGED("sti");
	PRIVILEGED("in $0x80, %%al");
	PRIVILEGED("out %%al, $0x80");
	PRIVILEGED("lgdt (%0)");
	PRIVILEGED("lidt (%0)");
	PRIVILEGED("ltr %%ax");
	PRIVILEGED("lldt %%ax");
	PRIVILEGED("mov %%cr0, %%rax");
	PRIVILEGED("mov %%rax, %%cr3");
	PRIVILEGED("mov %%cr4, %%rax");
	PRIVILEGED("rdmsr");
	PRIVILEGED("wrmsr");
	PRIVILEGED("invlpg (%0)");
	PRIVILEGED("wbinvd");
	PRIVILEGED("clts");
	PRIVILEGED("swapgs");
	PRIVILEGED("xor %%ecx, %%ecx; xsetbv");
}

TEST("selectors that are not the user's: SIGSEGV")
{
	for (int selector : {0x08, 0x10, 0x18, 0x40, 0x7fb, 0xfff8, 0xffff})
		EXPECT(signal_of([=] { asm volatile("mov %0, %%ds" :: "r"(selector)); }) == SIGSEGV);
	EXPECT(signal_of([] { asm volatile("mov %0, %%ss" :: "r"(0)); }) == SIGSEGV);
	EXPECT(signal_of([] { asm volatile("push $0x10; push $0; lretq"); }) == SIGSEGV);
}

/* TF: a trap after each instruction, until the handler clears it. */
static volatile int steps;
static void step(int, siginfo_t *, void *c)
{
	auto *registers = static_cast<ucontext_t *>(c)->uc_mcontext.gregs;
	steps++;
	if (steps == 1000)
		registers[REG_EFL] &= ~0x100;
}

TEST("TF: a trap after each instruction")
{
	handle(SIGTRAP, step);
	long sum;
	asm volatile("xor %0, %0; pushf; orl $0x100, (%%rsp); popf\n"
		     "nop; nop; inc %0; inc %0\n"
		     "pushf; andl $~0x100, (%%rsp); popf"
		     : "=&r"(sum) :: "cc", "memory");
	EXPECT(sum == 2);
	EXPECT(steps == 7);
}

TEST("TF across a system call")
{
	handle(SIGTRAP, step);
	long pid;
	asm volatile("pushf; orl $0x100, (%%rsp); popf\n"
		     "mov %1, %%eax; syscall; nop; mov %%rax, %0\n"
		     "pushf; andl $~0x100, (%%rsp); popf"
		     : "=&r"(pid) : "i"(SYS_getpid) : "rax", "rcx", "r11", "cc", "memory");
	EXPECT(pid == getpid());
	EXPECT(steps == 6 || steps == 7);
	steps = 0;
	asm volatile("pushf; orl $0x100, (%%rsp); popf\n"
		     "mov %1, %%eax; int $0x80; nop; mov %%rax, %0\n"
		     "pushf; andl $~0x100, (%%rsp); popf"
		     : "=&r"(pid) : "i"(20) : "rax", "r8", "r9", "r10", "r11", "cc", "memory");
	EXPECT(pid == getpid());
	EXPECT(steps == 6 || steps == 7);
}

TEST("a trap every instruction for 1000 instructions")
{
	handle(SIGTRAP, step);
	long sum = 0;
	asm volatile("mov $2000, %%ecx; pushf; orl $0x100, (%%rsp); popf\n1: inc %0; dec %%ecx; jnz 1b" : "+r"(sum) :: "rcx", "cc", "memory");
	EXPECT(steps == 1000 && sum == 2000);
}

TEST("AC and DF set by the user do not reach the kernel or a handler")
{
	static volatile long flags;
	handle(SIGUSR1, [](int, siginfo_t *, void *) { long f; asm volatile("pushf; pop %0" : "=r"(f)); flags = f; });
	long result;
	asm volatile("pushf; orl $0x40400, (%%rsp); popf; syscall; pushf; andl $~0x40400, (%%rsp); popf"
		     : "=a"(result) : "0"(SYS_tgkill), "D"(getpid()), "S"(gettid()), "d"(SIGUSR1) : "rcx", "r11", "cc", "memory");
	EXPECT(result == 0);
	EXPECT(!(flags & 0x400));
	pid_t pid = fork();	/* with much copying inside */
	EXPECT(wait_for(pid ? pid : (_exit(0), 0)) == 0);
}

TEST("an unhandled fault in a handler ends the process")
{
	EXPECT(wait_for(spawn([] {
		handle(SIGSEGV, [](int, siginfo_t *, void *) { signal(SIGSEGV, SIG_DFL); *(volatile char *)nullptr = 0; });
		*(volatile char *)nullptr = 0;
		return 0;
	})) == -SIGSEGV);
}

TEST("2000 faults one after another")
{
	int good = 0;
	char *page = pages(PROT_READ);
	for (int i = 0; i < 2000; i++)
		good += signal_of([=] { *(volatile char *)page = 1; }) == SIGSEGV;
	EXPECT(good == 2000);
}
