/* SPDX-License-Identifier: GPL-2.0-only
 *
 * Signals that processes send: delivery, masks, queues, alternate stacks, nesting, restarted system calls, and that every register is
 * as before when a handler returns. traps.cpp has those that the CPU causes.
 */
#include "test.hpp"

#include <setjmp.h>
#include <sys/signalfd.h>
#include <thread>
#include <ucontext.h>

using test::spawn, test::wait_for;

static volatile sig_atomic_t caught, order[8], depth;
static siginfo_t last;

static void handle(int number, void (*handler)(int, siginfo_t *, void *), int flags = 0)
{
	struct sigaction action{};
	action.sa_sigaction = handler;
	action.sa_flags = SA_SIGINFO | flags;
	sigaction(number, &action, nullptr);
}

static void count(int, siginfo_t *info, void *)
{
	last = *info;
	caught++;
}

TEST("raise, kill, and what siginfo says of the sender")
{
	handle(SIGUSR1, count);
	raise(SIGUSR1);
	EXPECT(caught == 1 && last.si_code == SI_TKILL && last.si_pid == getpid());
	kill(getpid(), SIGUSR1);
	EXPECT(caught == 2 && last.si_code == SI_USER);
	pid_t parent = getpid(), child = spawn([=] { return kill(parent, SIGUSR1); });
	EXPECT(wait_for(child) == 0);
	EXPECT(caught == 3 && last.si_pid == child);
}

TEST("5000 signals")
{
	handle(SIGUSR1, count);
	for (int i = 0; i < 5000; i++)
		raise(SIGUSR1);
	EXPECT(caught == 5000);
}

TEST("a blocked signal waits, and only once")
{
	handle(SIGUSR1, count);
	sigset_t set, pending;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, nullptr);
	raise(SIGUSR1), raise(SIGUSR1);
	sigpending(&pending);
	EXPECT(caught == 0 && sigismember(&pending, SIGUSR1));
	sigprocmask(SIG_UNBLOCK, &set, nullptr);
	EXPECT(caught == 1);
}

TEST("real-time signals queue, in order, with their values")
{
	static int values[20];
	handle(SIGRTMIN, [](int, siginfo_t *info, void *) { values[caught] = info->si_value.sival_int, caught++; });
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &set, nullptr);
	for (int i = 0; i < 20; i++)
		sigqueue(getpid(), SIGRTMIN, {.sival_int = i * 3});
	sigprocmask(SIG_UNBLOCK, &set, nullptr);
	EXPECT(caught == 20);
	for (int i = 0; i < 20; i++)
		EXPECT(values[i] == i * 3);
}

TEST("a handler runs on its alternate stack, another one on the ordinary")
{
	static char stack[64 * 1024];
	static volatile bool inside[2];
	stack_t alternate{};
	alternate.ss_sp = stack, alternate.ss_size = sizeof stack;
	sigaltstack(&alternate, nullptr);
	auto here = [](void *frame) { return frame >= stack && frame < stack + sizeof stack; };
	static auto is_here = here;
	handle(SIGUSR1, [](int, siginfo_t *, void *) { int local; inside[0] = is_here(&local); }, SA_ONSTACK);
	handle(SIGUSR2, [](int, siginfo_t *, void *) { int local; inside[1] = is_here(&local); });
	raise(SIGUSR1), raise(SIGUSR2);
	EXPECT(inside[0] && !inside[1]);
}

TEST("a stack overflow is caught on the alternate stack")
{
	static char stack[64 * 1024];
	static sigjmp_buf back;
	stack_t alternate{};
	alternate.ss_sp = stack, alternate.ss_size = sizeof stack;
	sigaltstack(&alternate, nullptr);
	handle(SIGSEGV, [](int, siginfo_t *, void *) { siglongjmp(back, 1); }, SA_ONSTACK);
	static int (*volatile deeper)(int) = [](int n) {
		volatile char room[8192];
		room[0] = n;
		int below = deeper(n + 1);
		return below + room[0];
	};
	for (volatile int i = 0; i < 3; i++)
		if (sigsetjmp(back, 1) == 0) {
			deeper(0);
			EXPECT(!"reached");
		}
}

TEST("handlers nest: one signal inside another, and inside itself")
{
	handle(SIGUSR1, [](int, siginfo_t *, void *) {
		order[caught] = 1, caught++;
		raise(SIGUSR2);
		order[caught] = 3, caught++;
	});
	handle(SIGUSR2, [](int, siginfo_t *, void *) { order[caught] = 2, caught++; });
	raise(SIGUSR1);
	EXPECT(caught == 3 && order[0] == 1 && order[1] == 2 && order[2] == 3);
	handle(SIGUSR1, [](int, siginfo_t *, void *) {
		depth++;
		if (depth < 50)
			raise(SIGUSR1);
	}, SA_NODEFER);
	raise(SIGUSR1);
	EXPECT(depth == 50);
}

TEST("a handler interrupts a system call, or lets it go on")
{
	handle(SIGALRM, count);
	int ends[2];
	pipe(ends);
	char byte;
	alarm(1);
	EXPECT(read(ends[0], &byte, 1) == -1 && errno == EINTR);
	handle(SIGALRM, [](int, siginfo_t *, void *) { caught++; }, SA_RESTART);
	static int write_end;
	write_end = ends[1];
	std::thread writer([] { test::sleep_ms(1500); write(write_end, "x", 1); });
	alarm(1);
	EXPECT(read(ends[0], &byte, 1) == 1 && byte == 'x');
	writer.join();
	EXPECT(caught == 2);
}

TEST("every register is as before after a handler")
{
	static volatile long ticks;
	handle(SIGALRM, [](int, siginfo_t *, void *) {
		ticks++;
		asm volatile("xor %%eax, %%eax; xor %%ecx, %%ecx; xor %%edx, %%edx; xor %%esi, %%esi; xor %%edi, %%edi; std; cld"
			     ::: "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11");
	});
	timer_t timer;
	sigevent event{};
	event.sigev_notify = SIGEV_SIGNAL, event.sigev_signo = SIGALRM;
	timer_create(CLOCK_MONOTONIC, &event, &timer);
	itimerspec often{{0, 3'000'000}, {0, 3'000'000}};
	timer_settime(timer, 0, &often, nullptr);
	long wrong = 0;
	auto end = test::now_ns() + 1'000'000'000;
	while (test::now_ns() < end) {
		long bad;
		asm volatile(
			"push %%rbp; sub $128, %%rsp\n"
			"mov $0x101, %%eax; mov $0x102, %%ebx; mov $0x104, %%edx; mov $0x105, %%esi; mov $0x106, %%edi\n"
			"mov $0x107, %%ebp; mov $0x108, %%r8d; mov $0x109, %%r9d; mov $0x10a, %%r10d; mov $0x10b, %%r11d\n"
			"mov $0x10c, %%r12d; mov $0x10d, %%r13d; mov $0x10e, %%r14d; mov $0x10f, %%r15d\n"
			"std; stc\n"
			"mov $20000, %%ecx\n"
			"1: lea -1(%%ecx), %%ecx; jrcxz 2f; jmp 1b\n"
			"2: setnc %%cl; movzbl %%cl, %%ecx; cld\n"
			"cmp $0x101, %%rax; jne 3f; cmp $0x102, %%rbx; jne 3f; cmp $0x104, %%rdx; jne 3f; cmp $0x105, %%rsi; jne 3f\n"
			"cmp $0x106, %%rdi; jne 3f; cmp $0x107, %%rbp; jne 3f; cmp $0x108, %%r8; jne 3f; cmp $0x109, %%r9; jne 3f\n"
			"cmp $0x10a, %%r10; jne 3f; cmp $0x10b, %%r11; jne 3f; cmp $0x10c, %%r12; jne 3f; cmp $0x10d, %%r13; jne 3f\n"
			"cmp $0x10e, %%r14; jne 3f; cmp $0x10f, %%r15; jne 3f; jmp 4f\n"
			"3: inc %%ecx\n"
			"4: add $128, %%rsp; pop %%rbp\n"
			: "=c"(bad) :: "rax", "rbx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "cc", "memory");
		wrong += bad;
	}
	EXPECT(wrong == 0);
	EXPECT(ticks > 10);
}

TEST("a handler changes the registers it returns to")
{
	handle(SIGUSR1, [](int, siginfo_t *, void *context) {
		auto *registers = static_cast<ucontext_t *>(context)->uc_mcontext.gregs;
		registers[REG_RAX] = 1234;
		registers[REG_R12] = 0x123456789abcdef0;
		registers[REG_RIP] += 2;	/* skip the ud2 */
	});
	long rax, r12;
	asm volatile("syscall; ud2; mov %%r12, %1" : "=a"(rax), "=r"(r12)
		     : "0"(SYS_tgkill), "D"(getpid()), "S"(gettid()), "d"(SIGUSR1) : "rcx", "r11", "r12", "memory");
	EXPECT(rax == 1234 && r12 == 0x123456789abcdef0);
}

TEST("a handler returns to a non-canonical address")
{
	handle(SIGUSR1, [](int, siginfo_t *, void *context) {
		static_cast<ucontext_t *>(context)->uc_mcontext.gregs[REG_RIP] = 0x8000'0000'0000'0000;
	});
	EXPECT(wait_for(spawn([] { return raise(SIGUSR1); })) == -SIGSEGV);
	handle(SIGUSR1, [](int, siginfo_t *, void *context) {
		static_cast<ucontext_t *>(context)->uc_mcontext.gregs[REG_RSP] = 0x8000'0000'0000'0000;
	});
	EXPECT(wait_for(spawn([] { return raise(SIGUSR1); })) < 0);	/* SIGSEGV or, from #SS, SIGBUS */
}

TEST("a handler cannot raise its privilege by the flags and segments it returns")
{
	static long flags;
	handle(SIGUSR1, [](int, siginfo_t *, void *context) {
		auto *registers = static_cast<ucontext_t *>(context)->uc_mcontext.gregs;
		registers[REG_EFL] |= 0x3000 | 0x20000;		/* IOPL 3, VM */
		registers[REG_EFL] &= ~0x200;			/* no interrupts */
	});
	raise(SIGUSR1);
	asm volatile("pushf; pop %0" : "=r"(flags));
	EXPECT((flags & 0x23200) == 0x200);
	handle(SIGUSR1, [](int, siginfo_t *, void *context) {
		auto &selectors = static_cast<ucontext_t *>(context)->uc_mcontext.gregs[REG_CSGSFS];
		selectors = (selectors & ~0xffffll) | 0x10;	/* CPL 0 */
	});
	EXPECT(wait_for(spawn([] { return raise(SIGUSR1); })) == -SIGSEGV);
}

TEST("signalfd and sigtimedwait")
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, nullptr);
	int handle = signalfd(-1, &set, 0);
	raise(SIGUSR1);
	signalfd_siginfo info;
	EXPECT(read(handle, &info, sizeof info) == sizeof info && info.ssi_signo == SIGUSR1);
	timespec limit{0, 20'000'000};
	EXPECT(sigtimedwait(&set, nullptr, &limit) == -1 && errno == EAGAIN);
	raise(SIGUSR1);
	EXPECT(sigtimedwait(&set, nullptr, &limit) == SIGUSR1);
}

TEST("a signal reaches the thread it was sent to")
{
	static thread_local volatile int mine;
	handle(SIGUSR1, [](int, siginfo_t *, void *) { mine++; });
	static int other;
	std::thread thread([] {
		while (mine < 10)
			std::this_thread::yield();
		other = mine;
	});
	for (int i = 0; i < 10; i++) {
		pthread_kill(thread.native_handle(), SIGUSR1);
		test::sleep_ms(5);
	}
	for (int i = 0; i < 1000 && !other; i++) {
		pthread_kill(thread.native_handle(), SIGUSR1);	/* two may have become one */
		test::sleep_ms(5);
	}
	thread.join();
	EXPECT(other >= 10 && mine == 0);
}

TEST("50 processes signal one parent")
{
	handle(SIGRTMIN + 1, count);
	for (int i = 0; i < 50; i++)
		spawn([] { return sigqueue(getppid(), SIGRTMIN + 1, {}); });
	while (wait(nullptr) > 0 || errno == EINTR)
		;
	EXPECT(caught == 50);
}
