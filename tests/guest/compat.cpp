/* SPDX-License-Identifier: GPL-2.0-only
 *
 * 32-bit system calls: int $0x80 executed by 64-bit code, and the 32-bit program compat32, run and traced from here.
 */
#include "test.hpp"

#include <libgen.h>
#include <sys/ptrace.h>
#include <sys/user.h>

using test::wait_for;

static long int80(long number, long a = 0, long b = 0, long c = 0)
{
	long result;
	asm volatile("int $0x80" : "=a"(result) : "0"(number), "b"(a), "c"(b), "d"(c) : "memory");
	return result;
}

static std::string compat32()
{
	char path[4096];
	path[std::max<ssize_t>(readlink("/proc/self/exe", path, sizeof path - 1), 0)] = 0;
	return std::string(dirname(path)) + "/compat32";
}

TEST("int $0x80 in 64-bit code: the 32-bit table, 32-bit arguments")
{
	EXPECT(int80(20) == getpid());
	EXPECT(int80(20 | 0x7700000000) == getpid());
	EXPECT(int80(64) == getppid());
	EXPECT(int(int80(9999)) == -ENOSYS);
	auto *text = static_cast<char *>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0));
	int ends[2];
	pipe(ends);
	strcpy(text, "hello");
	EXPECT(int80(4, ends[1], long(text) | 0x5500000000, 5) == 5);	/* the upper half is ignored */
	char back[5];
	EXPECT(read(ends[0], back, 5) == 5 && !memcmp(back, "hello", 5));
}

TEST("int $0x80 keeps the other registers")
{
	long bad, result = 20;
	asm volatile("push %%rbp\n"
		     "mov $1, %%ebx; mov $2, %%ecx; mov $3, %%edx; mov $4, %%esi; mov $5, %%edi; mov $6, %%ebp\n"
		     "mov $8, %%r8d; mov $9, %%r9d; mov $10, %%r10d; mov $11, %%r11d; mov $12, %%r12d; mov $15, %%r15d; not %%r15\n"
		     "int $0x80\n"
		     "dec %%rbx; sub $2, %%rcx; sub $3, %%rdx; sub $4, %%rsi; sub $5, %%rdi; sub $6, %%rbp\n"
		     "sub $8, %%r8; sub $9, %%r9; sub $10, %%r10; sub $11, %%r11; sub $12, %%r12; not %%r15; sub $15, %%r15\n"
		     "or %%rbx, %%rcx; or %%rdx, %%rcx; or %%rsi, %%rcx; or %%rdi, %%rcx; or %%rbp, %%rcx; or %%r8, %%rcx\n"
		     "or %%r9, %%rcx; or %%r10, %%rcx; or %%r11, %%rcx; or %%r12, %%rcx; or %%r15, %%rcx\n"
		     "pop %%rbp"
		     : "+a"(result), "=c"(bad) :: "rbx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r15", "cc", "memory");
	EXPECT(result == getpid() && bad == 0);
}

TEST("fork by int $0x80")
{
	for (int i = 0; i < 20; i++) {
		long pid = int80(2);
		if (pid == 0)
			_exit(i);
		EXPECT(wait_for(pid) == i);
	}
}

TEST("both kinds of system call, in turns")
{
	for (int i = 0; i < 5000; i++)
		REQUIRE(int80(20) == syscall(SYS_getpid));
}

TEST("a traced 32-bit program: its selectors, its registers, its steps")
{
	std::string path = compat32();
	if (access(path.c_str(), X_OK))
		SKIP("compat32 is not beside this program");
	pid_t pid = fork();
	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		_exit(execl(path.c_str(), "compat32", "again", nullptr));
	}
	int status;
	REQUIRE(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
	user_regs_struct r{};
	unsigned long last = 0;
	for (int i = 0; i < 50; i++) {
		REQUIRE(ptrace(PTRACE_GETREGS, pid, 0, &r) == 0);
		EXPECT(r.cs == 0x23 && r.ss == 0x2b && r.rip < 0x100000000 && r.rsp < 0x100000000 && r.rip != last);
		last = r.rip;
		ptrace(PTRACE_SINGLESTEP, pid, 0, 0);
		if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP)
			break;
	}
	if (WIFSTOPPED(status)) {
		ptrace(PTRACE_CONT, pid, 0, 0);
		status = wait_for(pid) << 8;
	}
	EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 55);
}
