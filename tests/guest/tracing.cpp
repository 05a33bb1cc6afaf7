/* SPDX-License-Identifier: GPL-2.0-only
 *
 * ptrace, as debuggers use it: memory, registers, breakpoints, single steps, system calls; and its relatives process_vm_readv,
 * /proc/PID/mem and seccomp.
 */
#include "test.hpp"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>

using test::wait_for;

static volatile long watched = 0x1122334455667788;

extern "C" __attribute__((noinline)) long target(long x)
{
	asm volatile("");
	return x * 3 + 1;
}

/* A child that waits to be traced, then runs body. */
template <class Body> static pid_t tracee(Body body, long options = 0)
{
	pid_t pid = fork();
	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		_exit(body());
	}
	int status;
	REQUIRE(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_EXITKILL | options);
	return pid;
}

static user_regs_struct registers(pid_t pid)
{
	user_regs_struct r{};
	EXPECT(ptrace(PTRACE_GETREGS, pid, 0, &r) == 0);
	return r;
}

/* Lets pid run by request until it stops: the signal it stopped with, -1 when it is gone. */
static int resume(pid_t pid, __ptrace_request request, int signal = 0)
{
	int status;
	if (ptrace(request, pid, 0, signal) || waitpid(pid, &status, 0) != pid)
		return -2;
	return WIFSTOPPED(status) ? WSTOPSIG(status) : -1;
}

TEST("read and write a tracee's memory")
{
	pid_t pid = tracee([] { return watched == 77 ? 5 : 6; });
	EXPECT(ptrace(PTRACE_PEEKDATA, pid, &watched, 0) == 0x1122334455667788);
	EXPECT(ptrace(PTRACE_POKEDATA, pid, &watched, 77) == 0);
	EXPECT(watched == 0x1122334455667788);
	EXPECT(ptrace(PTRACE_PEEKDATA, pid, 8, 0) == -1 && errno == EIO);
	ptrace(PTRACE_CONT, pid, 0, 0);
	EXPECT(wait_for(pid) == 5);
}

TEST("a breakpoint written into the text, hit, and taken away")
{
	pid_t pid = tracee([] { return int(target(5)); });
	auto text = reinterpret_cast<unsigned long>(&target);
	long original = ptrace(PTRACE_PEEKTEXT, pid, text, 0);
	EXPECT(ptrace(PTRACE_POKETEXT, pid, text, (original & ~0xffl) | 0xcc) == 0);
	EXPECT(*(long *)text == original);
	EXPECT(resume(pid, PTRACE_CONT) == SIGTRAP);
	auto r = registers(pid);
	EXPECT(r.rip == text + 1 && r.rdi == 5);
	r.rip = text, r.rdi = 7;
	EXPECT(ptrace(PTRACE_SETREGS, pid, 0, &r) == 0);
	EXPECT(ptrace(PTRACE_POKETEXT, pid, text, original) == 0);
	ptrace(PTRACE_CONT, pid, 0, 0);
	EXPECT(wait_for(pid) == 22);
}

TEST("3000 single steps, each moves on")
{
	pid_t pid = tracee([] {
		long sum = 0;
		asm volatile("mov $1000, %%ecx\n1: add %%rcx, %0; dec %%ecx; jnz 1b" : "+r"(sum) :: "rcx", "cc");
		return sum == 500500 ? 3 : 4;
	});
	unsigned long before = 0;
	for (int i = 0; i < 3000; i++) {
		REQUIRE(resume(pid, PTRACE_SINGLESTEP) == SIGTRAP);
		auto r = registers(pid);
		EXPECT(r.rip != before);
		before = r.rip;
	}
	ptrace(PTRACE_CONT, pid, 0, 0);
	EXPECT(wait_for(pid) == 3);
}

TEST("a single step over a system call is one step")
{
	pid_t pid = tracee([] {
		long id;
		asm volatile("ud2; syscall; nop; xchg %%ax, %%ax; ud2" : "=a"(id) : "0"(SYS_getppid) : "rcx", "r11", "cc", "memory");
		return id == getppid() ? 8 : 9;
	});
	EXPECT(resume(pid, PTRACE_CONT) == SIGILL);
	auto r = registers(pid);
	r.rip += 2;
	ptrace(PTRACE_SETREGS, pid, 0, &r);
	static const int lengths[] = {2, 1, 2};
	for (int length : lengths) {
		EXPECT(resume(pid, PTRACE_SINGLESTEP) == SIGTRAP);
		auto now = registers(pid);
		EXPECT(now.rip == r.rip + length);
		EXPECT(!(now.eflags & 0x100));
		r = now;
	}
	EXPECT(resume(pid, PTRACE_CONT) == SIGILL);
	r = registers(pid);
	r.rip += 2;
	ptrace(PTRACE_SETREGS, pid, 0, &r);
	ptrace(PTRACE_CONT, pid, 0, 0);
	EXPECT(wait_for(pid) == 8);
}

TEST("system calls are seen at entry and exit, and can be changed")
{
	pid_t pid = tracee([] { return syscall(SYS_getppid) == 4242 && syscall(SYS_getuid, 1, 2, 3) == -1 && errno == ENOSYS ? 1 : 2; },
			   PTRACE_O_TRACESYSGOOD);
	int calls = 0;
	for (;;) {
		int stop = resume(pid, PTRACE_SYSCALL);
		if (stop == -1)
			break;
		REQUIRE(stop == (SIGTRAP | 0x80));
		auto entry = registers(pid);
		EXPECT(long(entry.rax) == -ENOSYS);
		if (entry.orig_rax == SYS_getuid) {
			EXPECT(entry.rdi == 1 && entry.rsi == 2 && entry.rdx == 3);
			entry.orig_rax = -1;			/* suppressed */
			ptrace(PTRACE_SETREGS, pid, 0, &entry);
		}
		calls++;
		if (resume(pid, PTRACE_SYSCALL) == -1)
			break;
		auto leave = registers(pid);
		if (leave.orig_rax == SYS_getppid) {
			EXPECT(leave.rax == (unsigned long)getpid());
			leave.rax = 4242;
			ptrace(PTRACE_SETREGS, pid, 0, &leave);
		}
	}
	EXPECT(calls >= 3);
	EXPECT(kill(pid, 0) == -1);
}

TEST("all registers read and written, FPU included")
{
	pid_t pid = tracee([] {
		unsigned long r15, xmm;
		asm volatile("mov $0x1515, %%r15d; movq %%r15, %%xmm9; ud2; mov %%r15, %0; movq %%xmm9, %1"
			     : "=r"(r15), "=r"(xmm) :: "r15", "xmm9");
		return r15 == 0xfeed'0000'0001ul && xmm == 0xbeef'0000'0002ul ? 1 : 2;
	});
	EXPECT(resume(pid, PTRACE_CONT) == SIGILL);
	auto r = registers(pid);
	user_fpregs_struct f;
	EXPECT(r.r15 == 0x1515);
	EXPECT(ptrace(PTRACE_GETFPREGS, pid, 0, &f) == 0);
	auto *xmm9 = reinterpret_cast<unsigned long *>(f.xmm_space) + 18;
	EXPECT(*xmm9 == 0x1515);
	r.r15 = 0xfeed'0000'0001ul, r.rip += 2, *xmm9 = 0xbeef'0000'0002ul;
	EXPECT(ptrace(PTRACE_SETREGS, pid, 0, &r) == 0 && ptrace(PTRACE_SETFPREGS, pid, 0, &f) == 0);
	ptrace(PTRACE_CONT, pid, 0, 0);
	EXPECT(wait_for(pid) == 1);
}

TEST("bad registers are refused or kill only the tracee")
{
	pid_t pid = tracee([] { return 0; });
	auto r = registers(pid);
	auto cs = r;
	cs.cs = 0x10;
	EXPECT(ptrace(PTRACE_SETREGS, pid, 0, &cs) == -1 && errno == EIO);
	auto base = r;
	base.fs_base = 0xffff'8880'0000'0000;
	EXPECT(ptrace(PTRACE_SETREGS, pid, 0, &base) == -1 && errno == EIO);
	r.rip = 0x8000'0000'0000'0000;
	EXPECT(ptrace(PTRACE_SETREGS, pid, 0, &r) == 0);
	EXPECT(resume(pid, PTRACE_CONT) == SIGSEGV);
	ptrace(PTRACE_CONT, pid, 0, SIGSEGV);
	EXPECT(wait_for(pid) == -SIGSEGV);
}

TEST("fork, exec and exit are announced")
{
	pid_t pid = tracee([] {
		pid_t child = fork();
		if (child == 0)
			_exit(execl("/proc/self/exe", "tracing", "no such case", nullptr));
		return wait_for(child);
	}, PTRACE_O_TRACEFORK | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT);
	int forks = 0, execs = 0, exits = 0, status;
	ptrace(PTRACE_CONT, pid, 0, 0);
	for (pid_t who; (who = waitpid(-1, &status, __WALL)) > 0; ) {
		if (!WIFSTOPPED(status)) {
			EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
			continue;
		}
		int event = status >> 16, signal = event ? 0 : WSTOPSIG(status);
		forks += event == PTRACE_EVENT_FORK, execs += event == PTRACE_EVENT_EXEC, exits += event == PTRACE_EVENT_EXIT;
		ptrace(PTRACE_CONT, who, 0, signal == SIGSTOP || signal == SIGTRAP ? 0 : signal);
	}
	EXPECT(forks == 1 && execs == 1 && exits == 2);
}

TEST("a hardware watchpoint")
{
	pid_t pid = tracee([] { target(1), watched = 9, target(2); return 0; });
	auto debug = [](int n) { return offsetof(struct user, u_debugreg) + n * sizeof(long); };
	if (ptrace(PTRACE_POKEUSER, pid, debug(0), &watched) || ptrace(PTRACE_POKEUSER, pid, debug(7), 1 | 1 << 16 | 2 << 18)) {
		kill(pid, SIGKILL);
		SKIP("not available");
	}
	int stop = resume(pid, PTRACE_CONT);
	if (stop == -1 && test::in_lguest())
		SKIP("a guest's debug registers are memory");
	EXPECT(stop == SIGTRAP);
	EXPECT(ptrace(PTRACE_PEEKDATA, pid, &watched, 0) == 9);
	EXPECT(ptrace(PTRACE_PEEKUSER, pid, debug(6), 0) & 1);
	kill(pid, SIGKILL);
}

TEST("process_vm_readv and /proc/PID/mem")
{
	static char mine[100'000], theirs[100'000];
	memset(theirs, 'a', sizeof theirs);
	pid_t pid = tracee([] {
		for (size_t i = 0; i < sizeof theirs; i++)
			if (theirs[i] != (i < 50'000 ? 'b' : 'c'))
				return 1;
		return 0;
	});
	iovec local{mine, sizeof mine}, remote{theirs, sizeof theirs};
	EXPECT(process_vm_readv(pid, &local, 1, &remote, 1, 0) == sizeof mine);
	EXPECT(!memcmp(mine, theirs, sizeof mine));
	memset(mine, 'b', sizeof mine);
	EXPECT(process_vm_writev(pid, &local, 1, &remote, 1, 0) == sizeof mine);
	memset(mine, 'c', sizeof mine);
	std::string path = "/proc/" + std::to_string(pid) + "/mem";
	int file = open(path.c_str(), O_RDWR);
	EXPECT(pwrite(file, mine, 50'000, off_t(theirs + 50'000)) == 50'000);
	EXPECT(theirs[0] == 'a' && theirs[99'999] == 'a');
	ptrace(PTRACE_CONT, pid, 0, 0);
	EXPECT(wait_for(pid) == 0);
}

TEST("a seccomp filter answers a system call")
{
	EXPECT(wait_for(test::spawn([] {
		sock_filter code[] = {
			BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
			BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
			BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 99),
			BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		};
		sock_fprog program{4, code};
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		EXPECT(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
		EXPECT(syscall(SYS_getppid) == -1 && errno == 99);
		return getpid() > 0 ? 0 : 1;
	})) == 0);
}
