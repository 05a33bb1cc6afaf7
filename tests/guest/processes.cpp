/* SPDX-License-Identifier: GPL-2.0-only
 *
 * Processes: fork, vfork, clone, exec, wait, zombies, orphans; many of each. Every one of them makes, fills and throws away page
 * tables, which is what shadow paging has to follow.
 */
#include "test.hpp"

#include <sched.h>
#include <spawn.h>
#include <sys/resource.h>
#include <vector>

using test::spawn, test::wait_for;

extern char **environ;

/* exec: depth N      executes itself N times, then exits with 42
 * exec: echo A B     exits with 0 if it got exactly what the test passes */
int executed(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[0], "depth")) {
		int depth = atoi(argv[1]);
		if (depth == 0)
			return 42;
		std::string next = std::to_string(depth - 1);
		execl("/proc/self/exe", "processes", "exec:", "depth", next.c_str(), nullptr);
		return 1;
	}
	const char *variable = getenv("LGUEST_TEST");
	bool same = argc == 3 && !strcmp(argv[1], "one word") && !strcmp(argv[2], "") && variable && !strcmp(variable, "yes");
	return same ? 0 : 1;
}

static std::string state_of(pid_t pid)
{
	char path[64], line[256] = "";
	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	if (FILE *file = fopen(path, "r")) {
		fgets(line, sizeof line, file);
		fclose(file);
	}
	const char *end = strrchr(line, ')');
	return end ? std::string(1, end[2]) : "";
}

TEST("a child's exit status reaches its parent")
{
	for (int status : {0, 1, 7, 127, 128, 255})
		EXPECT(wait_for(spawn([=] { return status; })) == status);
}

TEST("a child's death by signal reaches its parent")
{
	EXPECT(wait_for(spawn([] { return raise(SIGTERM); })) == -SIGTERM);
	EXPECT(wait_for(spawn([] { abort(); return 0; })) == -SIGABRT);
}

TEST("200 forks, one after another")
{
	for (int i = 0; i < 200; i++)
		REQUIRE(wait_for(spawn([=] { return i; })) == i);
}

TEST("100 children at once")
{
	std::vector<pid_t> pids;
	for (int i = 0; i < 100; i++)
		pids.push_back(spawn([=] { test::sleep_ms(20); return i; }));
	for (int i = 0; i < 100; i++)
		EXPECT(wait_for(pids[i]) == i);
}

TEST("a chain of 30 generations")
{
	int depth = 0;
	while (depth < 30) {
		pid_t pid = fork();
		REQUIRE(pid >= 0);
		if (pid == 0) {
			depth++;
			continue;
		}
		int deepest = wait_for(pid);
		if (depth > 0)
			_exit(deepest);
		EXPECT(deepest == 30);
		return;
	}
	_exit(depth);
}

TEST("memory is private after fork")
{
	std::vector<int> data(50'000, 1);
	pid_t pid = spawn([&] {
		for (auto &word : data)
			word = 2;
		return 0;
	});
	for (auto &word : data)
		EXPECT(word == 1), word = 3;
	EXPECT(wait_for(pid) == 0);
	for (auto word : data)
		REQUIRE(word == 3);
}

TEST("exec passes arguments and environment")
{
	pid_t pid = spawn([] {
		setenv("LGUEST_TEST", "yes", 1);
		return execl("/proc/self/exe", "processes", "exec:", "echo", "one word", "", nullptr);
	});
	EXPECT(wait_for(pid) == 0);
}

TEST("30 execs in a row of one process")
{
	EXPECT(wait_for(spawn([] { return execl("/proc/self/exe", "processes", "exec:", "depth", "30", nullptr); })) == 42);
}

TEST("50 times fork, exec and wait")
{
	for (int i = 0; i < 50; i++)
		REQUIRE(wait_for(spawn([] {
			return execl("/proc/self/exe", "processes", "exec:", "depth", "0", nullptr);
		})) == 42);
}

TEST("a large argument list")
{
	pid_t pid = spawn([] {
		std::vector<std::string> texts(2000, std::string(100, 'x'));
		std::vector<char *> arguments{strdup("processes"), strdup("exec:"), strdup("echo")};
		for (auto &text : texts)
			arguments.push_back(text.data());
		arguments.push_back(nullptr);
		execv("/proc/self/exe", arguments.data());
		return 2;
	});
	EXPECT(wait_for(pid) == 1);
}

TEST("a failed exec leaves the process as it was")
{
	char *arguments[] = {strdup("none"), nullptr};
	EXPECT(execv("/no/such/program", arguments) == -1 && errno == ENOENT);
	EXPECT(execv("/proc/self/maps", arguments) == -1 && errno == EACCES);
}

TEST("vfork borrows the parent's memory")
{
	static volatile int touched;
	pid_t pid = vfork();
	if (pid == 0) {
		touched = 1;
		_exit(5);
	}
	EXPECT(touched == 1);
	EXPECT(wait_for(pid) == 5);
}

TEST("posix_spawn")
{
	char *arguments[] = {strdup("processes"), strdup("exec:"), strdup("depth"), strdup("2"), nullptr};
	for (int i = 0; i < 10; i++) {
		pid_t pid;
		REQUIRE(posix_spawn(&pid, "/proc/self/exe", nullptr, nullptr, arguments, environ) == 0);
		EXPECT(wait_for(pid) == 42);
	}
}

TEST("clone with shared memory on a stack of its own")
{
	static volatile int sum;
	std::vector<char> stack(64 * 1024);
	for (int i = 0; i < 20; i++) {
		pid_t pid = clone([](void *n) { sum = sum + int(intptr_t(n)); return 3; }, stack.data() + stack.size(),
				  CLONE_VM | SIGCHLD, reinterpret_cast<void *>(intptr_t(i)));
		REQUIRE(pid > 0);
		EXPECT(wait_for(pid) == 3);
	}
	EXPECT(sum == 190);
}

TEST("a zombie stays until it is waited for")
{
	pid_t pid = spawn([] { return 9; });
	siginfo_t info{};
	REQUIRE(waitid(P_PID, pid, &info, WEXITED | WNOWAIT) == 0);
	EXPECT(info.si_code == CLD_EXITED && info.si_status == 9);
	EXPECT(state_of(pid) == "Z");
	EXPECT(wait_for(pid) == 9);
	EXPECT(state_of(pid).empty());
	EXPECT(kill(pid, 0) == -1 && errno == ESRCH);
}

TEST("an orphan goes to the next reaper")
{
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	int ends[2];
	REQUIRE(pipe(ends) == 0);
	pid_t parent = spawn([&] {
		spawn([&] {
			char byte;
			close(ends[1]);
			read(ends[0], &byte, 1);	/* until its grandparent closes the other end */
			return 11;
		});
		return 0;
	});
	EXPECT(wait_for(parent) == 0);
	close(ends[1]);
	int status = 0;
	EXPECT(wait(&status) > 0);
	EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 11);
}

TEST("stop, continue, and what wait says of it")
{
	pid_t pid = spawn([] { pause(); return 0; });
	int status;
	kill(pid, SIGSTOP);
	EXPECT(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	kill(pid, SIGCONT);
	EXPECT(waitpid(pid, &status, WCONTINUED) == pid && WIFCONTINUED(status));
	kill(pid, SIGKILL);
	EXPECT(wait_for(pid) == -SIGKILL);
}

TEST("CPU time of a child is accounted for")
{
	pid_t pid = spawn([] {
		for (auto end = test::now_ns(CLOCK_PROCESS_CPUTIME_ID) + 50'000'000; test::now_ns(CLOCK_PROCESS_CPUTIME_ID) < end; )
			;
		return 0;
	});
	rusage usage{};
	int status;
	REQUIRE(wait4(pid, &status, 0, &usage) == pid);
	long us = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1'000'000 + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
	EXPECT(us > 30'000 && us < 5'000'000);
}

TEST("user and PID namespaces")
{
	pid_t pid = spawn([] {
		if (unshare(CLONE_NEWUSER | CLONE_NEWPID))
			return 77;
		return wait_for(spawn([] { return getpid() == 1 ? 0 : 1; }));
	});
	int status = wait_for(pid);
	if (status == 77)
		SKIP("not allowed here");
	EXPECT(status == 0);
}
