/* SPDX-License-Identifier: GPL-2.0-only
 *
 * The frame of the programs that run inside a Linux guest. TEST(name) { ... } registers a case; main() runs each case in a child
 * of its own, in a process group of its own and with a time limit, so that one which crashes or hangs fails alone. Each prints
 * `ok N - program: name` or `not ok ...`, after it what EXPECT and REQUIRE found.
 * `program WORD` runs only the cases whose name holds WORD. Works natively too.
 */
#pragma once

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <poll.h>
#include <string>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

namespace test {

constexpr int limit_ms = 90'000;
constexpr int status_failed = 1, status_skipped = 77;

struct Case {
	const char *name;
	void (*body)();
	Case *next = nullptr;
	inline static Case *first = nullptr;
	inline static Case **last = &first;
	Case(const char *n, void (*b)()) : name(n), body(b) { *last = this, last = &next; }
};

inline int failures;	/* of the case that runs, in its own process */

inline bool report(bool good, const char *file, int line, const char *what)
{
	if (!good) {
		int error = errno;
		const char *base = strrchr(file, '/');
		printf("# %s:%d: %s (errno %d)\n", base ? base + 1 : file, line, what, error);
		failures++;
	}
	return good;
}

[[noreturn]] inline void leave(int status) { _exit(status); }

/* Milliseconds on a clock that the case itself does not test. */
inline int64_t now_ns(clockid_t clock = CLOCK_MONOTONIC)
{
	timespec t;
	clock_gettime(clock, &t);
	return t.tv_sec * 1'000'000'000ll + t.tv_nsec;
}

inline void sleep_ms(int ms)
{
	timespec t{ms / 1000, ms % 1000 * 1'000'000l};
	while (nanosleep(&t, &t) && errno == EINTR)
		;
}

/* fork(), with body in the child, which exits with what it returns. */
template <class Body> pid_t spawn(Body body)
{
	pid_t pid = fork();
	if (pid == 0) {
		failures = 0;
		int status = body();
		_exit(failures ? status_failed : status);
	}
	return pid;
}

/* The status with which pid exited, or -signal. */
inline int wait_for(pid_t pid)
{
	int status;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1000;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

inline bool in_lguest()
{
	utsname name;
	return uname(&name) == 0 && strstr(name.release, "lguest");
}

inline int run_case(const Case &c)
{
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		setpgid(0, 0);
		c.body();
		_exit(failures ? status_failed : 0);
	}
	setpgid(pid, pid);
	int handle = syscall(SYS_pidfd_open, pid, 0);
	pollfd ended{handle, POLLIN, 0};
	bool late = poll(&ended, 1, limit_ms) == 0;
	close(handle);
	if (late) {
		printf("# still running after %d s\n", limit_ms / 1000);
		kill(pid, SIGKILL);
	}
	int status = wait_for(pid);
	kill(-pid, SIGKILL);	/* what it left behind */
	if (status < 0 && !late)
		printf("# killed by signal %d\n", -status);
	return status;
}

}

/* What a program does when it executes itself: main() passes on `program exec: ...`. */
__attribute__((weak)) int executed(int argc, char **argv);

#define TEST_JOIN2(a, b) a##b
#define TEST_JOIN(a, b) TEST_JOIN2(a, b)
#define TEST_NAMED(id, name)				\
	static void id();				\
	static test::Case TEST_JOIN(id, _case){name, id};	\
	static void id()
#define TEST(name) TEST_NAMED(TEST_JOIN(test_at_, __LINE__), name)

#define EXPECT(condition) test::report((condition), __FILE__, __LINE__, #condition)
#define REQUIRE(condition)				\
	do {						\
		if (!EXPECT(condition))			\
			test::leave(test::status_failed);	\
	} while (0)
#define SKIP(why)					\
	do {						\
		printf("# skipped: %s\n", why);		\
		test::leave(test::status_skipped);	\
	} while (0)

int main(int argc, char **argv)
{
	setvbuf(stdout, nullptr, _IONBF, 0);
	if (argc > 1 && !strcmp(argv[1], "exec:") && executed)
		return executed(argc - 2, argv + 2);

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	const char *base = strrchr(argv[0], '/'), *program = base ? base + 1 : argv[0];
	int number = 0, failed = 0;
	for (auto *c = test::Case::first; c; c = c->next) {
		if (argc > 1 && !strstr(c->name, argv[1]))
			continue;
		int status = test::run_case(*c);
		bool good = status == 0 || status == test::status_skipped;
		printf("%sok %d - %s: %s%s\n", good ? "" : "not ", ++number, program, c->name,
		       status == test::status_skipped ? " # SKIP" : "");
		failed |= !good;
		while (waitpid(-1, nullptr, WNOHANG) > 0)
			;
	}
	return failed;
}
