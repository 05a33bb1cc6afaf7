/* SPDX-License-Identifier: GPL-2.0-only
 *
 * Clocks read through the vDSO: never backwards, one with the system call's, and cheaper than it.
 */
#include "test.hpp"

#include <algorithm>
#include <atomic>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/time.h>
#include <thread>
#include <vector>

using test::now_ns, test::spawn, test::wait_for;

static int64_t by_syscall(clockid_t clock)
{
	timespec t;
	syscall(SYS_clock_gettime, clock, &t);
	return t.tv_sec * 1'000'000'000ll + t.tv_nsec;
}

TEST("the vDSO is there")
{
	EXPECT(getauxval(AT_SYSINFO_EHDR) != 0);
	EXPECT(!memcmp(reinterpret_cast<void *>(getauxval(AT_SYSINFO_EHDR)), "\177ELF", 4));
}

TEST("the monotonic clocks never go backwards")
{
	for (clockid_t clock : {CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_BOOTTIME, CLOCK_MONOTONIC_COARSE}) {
		int64_t last = 0, backwards = 0;
		for (auto end = now_ns() + 300'000'000; now_ns() < end; ) {
			int64_t now = now_ns(clock);
			backwards += now < last;
			last = now;
		}
		EXPECT(backwards == 0);
	}
}

TEST("not even from one thread to another, or from one process to another")
{
	auto *latest = static_cast<std::atomic<int64_t> *>(
		mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	auto read = [=] {
		long backwards = 0;
		for (auto end = now_ns() + 700'000'000; now_ns() < end; ) {
			int64_t before = latest->load(), now = now_ns();
			backwards += now < before;
			while (before < now && !latest->compare_exchange_weak(before, now))
				;
		}
		return int(std::min(backwards, 100l));
	};
	std::vector<pid_t> pids;
	for (int i = 0; i < 3; i++)
		pids.push_back(spawn(read));
	std::atomic<int> backwards = 0;
	std::vector<std::thread> threads;
	for (int i = 0; i < 3; i++)
		threads.emplace_back([&] { backwards += read(); });
	for (auto &thread : threads)
		thread.join();
	EXPECT(backwards == 0);
	for (auto pid : pids)
		EXPECT(wait_for(pid) == 0);
}

TEST("the vDSO and the system call agree")
{
	for (clockid_t clock : {CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME, CLOCK_MONOTONIC_RAW}) {
		int wrong = 0;
		for (int i = 0; i < 2000; i++) {
			int64_t before = by_syscall(clock), middle = now_ns(clock), after = by_syscall(clock);
			wrong += middle < before || middle > after;
		}
		EXPECT(wrong == 0);
	}
}

TEST("the vDSO is faster than the system call")
{
	int64_t fast = INT64_MAX, slow = INT64_MAX;
	timespec t;
	for (int round = 0; round < 10; round++) {
		int64_t begin = now_ns();
		for (int i = 0; i < 1000; i++)
			clock_gettime(CLOCK_MONOTONIC, &t);
		int64_t middle = now_ns();
		for (int i = 0; i < 1000; i++)
			by_syscall(CLOCK_MONOTONIC);
		fast = std::min(fast, middle - begin), slow = std::min(slow, now_ns() - middle);
	}
	printf("# %lld ns against %lld ns\n", (long long)fast / 1000, (long long)slow / 1000);
	EXPECT(fast < slow);
}

TEST("real time is of this age, and goes on as monotonic time does")
{
	EXPECT(now_ns(CLOCK_REALTIME) > 1'700'000'000ll * 1'000'000'000);
	int64_t offset = now_ns(CLOCK_REALTIME) - now_ns();
	test::sleep_ms(300);
	EXPECT(std::abs(now_ns(CLOCK_REALTIME) - now_ns() - offset) < 50'000'000);
	timeval tv;
	gettimeofday(&tv, nullptr);
	EXPECT(std::abs(tv.tv_sec * 1'000'000'000ll - now_ns(CLOCK_REALTIME)) < 3'000'000'000);
	EXPECT(std::abs(time(nullptr) - tv.tv_sec) <= 2);
}

TEST("time passes at the TSC's pace")
{
	auto rate = [] {
		uint64_t tsc = __builtin_ia32_rdtsc();
		int64_t begin = now_ns();
		test::sleep_ms(200);
		return double(__builtin_ia32_rdtsc() - tsc) / (now_ns() - begin);
	};
	double first = rate(), second = rate();
	EXPECT(first > 0.1 && first < 20);
	EXPECT(second / first > 0.9 && second / first < 1.1);
}

TEST("CPU clocks count work and not sleep")
{
	int64_t process = now_ns(CLOCK_PROCESS_CPUTIME_ID), thread = now_ns(CLOCK_THREAD_CPUTIME_ID);
	test::sleep_ms(200);
	EXPECT(now_ns(CLOCK_PROCESS_CPUTIME_ID) - process < 100'000'000);
	for (auto end = now_ns() + 300'000'000; now_ns() < end; )
		;
	int64_t worked = now_ns(CLOCK_THREAD_CPUTIME_ID) - thread;
	EXPECT(worked > 30'000'000 && worked < 600'000'000);
}

TEST("getcpu: the vDSO and the system call agree")
{
	for (int i = 0; i < 500; i++) {
		unsigned before, after, fast, node;
		syscall(SYS_getcpu, &before, &node, nullptr);
		getcpu(&fast, &node);
		syscall(SYS_getcpu, &after, &node, nullptr);
		if (before == after)
			REQUIRE(fast == before);
		REQUIRE(fast < 1024);
	}
}
