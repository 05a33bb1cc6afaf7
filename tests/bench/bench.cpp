/* SPDX-License-Identifier: GPL-2.0-only
 *
 * The operations that are measured, the same program natively and in a guest. It serves: a line `NAME COUNT` on stdin does operation
 * NAME so many times and answers `NAME COUNT NANOSECONDS`; `list` answers with all names and usual counts. What prepares an operation is
 * not in its time.
 */
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <initializer_list>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

constexpr size_t page = 4096;

int64_t now()
{
	timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1'000'000'000ll + t.tv_nsec;
}

template <class Body> int64_t time_of(Body body)
{
	int64_t begin = now();
	body();
	return now() - begin;
}

template <class Body> int64_t repeat(long count, Body body)
{
	return time_of([&] {
		for (long i = 0; i < count; i++)
			body();
	});
}

char *map(size_t length)
{
	void *memory = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		abort();
	madvise(memory, length, MADV_NOHUGEPAGE);
	return static_cast<char *>(memory);
}

void touch(char *memory, long pages)
{
	for (volatile char *p = memory; pages--; p += page)
		*p = 1;
}

int64_t nothing(long) { return 0; }

int64_t null_syscall(long count)
{
	return repeat(count, [] { syscall(SYS_getppid); });
}

int64_t read_clock(long count)
{
	return repeat(count, [] { timespec t; clock_gettime(CLOCK_MONOTONIC, &t); });
}

int64_t fresh_page(long count)
{
	char *memory = map(count * page);
	int64_t time = time_of([=] { touch(memory, count); });
	munmap(memory, count * page);
	return time;
}

int64_t mprotect_pair(long count)
{
	static char *memory = map(page);
	touch(memory, 1);
	return repeat(count, [] {
		mprotect(memory, page, PROT_READ);
		mprotect(memory, page, PROT_READ | PROT_WRITE);
	});
}

int64_t fault_handler(long count)
{
	static char *memory = map(page);
	touch(memory, 1);
	struct sigaction action{};
	action.sa_handler = [](int) { mprotect(memory, page, PROT_READ | PROT_WRITE); };
	sigaction(SIGSEGV, &action, nullptr);
	int64_t time = repeat(count, [] {
		mprotect(memory, page, PROT_READ);
		touch(memory, 1);
	});
	signal(SIGSEGV, SIG_DFL);
	return time;
}

int64_t copy_on_write(long count)
{
	char *memory = map(count * page);
	touch(memory, count);
	int ends[2];
	if (pipe(ends))
		abort();
	pid_t pid = fork();
	if (pid == 0) {
		char byte;
		close(ends[1]);
		_exit(read(ends[0], &byte, 1));
	}
	int64_t time = time_of([=] { touch(memory, count); });
	close(ends[0]), close(ends[1]);
	waitpid(pid, nullptr, 0);
	munmap(memory, count * page);
	return time;
}

int64_t fork_exit(long count)
{
	return repeat(count, [] {
		pid_t pid = fork();
		if (pid == 0)
			_exit(0);
		waitpid(pid, nullptr, 0);
	});
}

int64_t fork_exec(long count)
{
	return repeat(count, [] {
		pid_t pid = fork();
		if (pid == 0) {
			execl("/proc/self/exe", "bench", "exit", nullptr);
			_exit(1);
		}
		waitpid(pid, nullptr, 0);
	});
}

/* There and back again between two processes on one CPU. */
int64_t ping_pong(long count)
{
	int there[2], here[2];
	if (pipe(there) || pipe(here))
		abort();
	cpu_set_t all, one;
	sched_getaffinity(0, sizeof all, &all);
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	sched_setaffinity(0, sizeof one, &one);
	pid_t pid = fork();
	char byte = 0;
	if (pid == 0) {
		close(there[1]);
		while (read(there[0], &byte, 1) == 1 && write(here[1], &byte, 1) == 1)
			;
		_exit(0);
	}
	int64_t time = repeat(count, [&] {
		if (write(there[1], &byte, 1) != 1 || read(here[0], &byte, 1) != 1)
			abort();
	});
	for (int handle : {there[0], there[1], here[0], here[1]})
		close(handle);
	waitpid(pid, nullptr, 0);
	sched_setaffinity(0, sizeof all, &all);
	return time;
}

int64_t deliver_signal(long count)
{
	signal(SIGUSR1, [](int) {});
	pid_t process = getpid(), thread = gettid();
	return repeat(count, [=] { syscall(SYS_tgkill, process, thread, SIGUSR1); });
}

int64_t map_unmap(long count)
{
	return repeat(count, [] {
		char *memory = static_cast<char *>(mmap(nullptr, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
		touch(memory, 1);
		munmap(memory, 1 << 20);
	});
}

int64_t create_remove(long count)
{
	return repeat(count, [] {
		int file = open("/dev/shm/lguest-bench", O_CREAT | O_RDWR, 0600);
		if (file < 0 || close(file) || unlink("/dev/shm/lguest-bench"))
			abort();
	});
}

/* Operations on a clock of their own choice of length: what a second without work costs. */
int64_t idle_second(long count)
{
	return repeat(count, [] { timespec t{1, 0}; nanosleep(&t, nullptr); });
}

struct Operation {
	const char *name;
	int64_t (*run)(long count);
	long count;
	const char *what;
} const operations[] = {
	{"nothing", nothing, 1, "(the measurement itself)"},
	{"syscall", null_syscall, 20000, "null system call (getppid)"},
	{"clock", read_clock, 20000, "clock_gettime"},
	{"fresh", fresh_page, 1000, "first touch of an anonymous page"},
	{"mprotect", mprotect_pair, 500, "mprotect pair"},
	{"segv", fault_handler, 500, "SIGSEGV + mprotect in its handler"},
	{"cow", copy_on_write, 1000, "copy-on-write fault"},
	{"fork", fork_exit, 30, "fork + exit + wait"},
	{"exec", fork_exec, 20, "fork + exec + wait"},
	{"pipe", ping_pong, 500, "pipe ping-pong, one CPU"},
	{"signal", deliver_signal, 2000, "signal delivery"},
	{"mmap", map_unmap, 500, "mmap + touch + munmap 1 MiB"},
	{"tmpfs", create_remove, 300, "tmpfs create + remove"},
	{"idle", idle_second, 3, "a second of sleep"},
};

}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "exit"))
		return 0;
	setvbuf(stdout, nullptr, _IOLBF, 0);
	printf("ready\n");
	char name[32];
	long count;
	while (scanf("%31s", name) == 1) {
		if (!strcmp(name, "list")) {
			for (auto &operation : operations)
				printf("%s %ld %s\n", operation.name, operation.count, operation.what);
			printf("end\n");
			continue;
		}
		if (scanf("%ld", &count) != 1)
			return 2;
		for (auto &operation : operations)
			if (!strcmp(operation.name, name))
				printf("%s %ld %lld\n", name, count, (long long)operation.run(count));
	}
	return 0;
}
