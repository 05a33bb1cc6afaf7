/* SPDX-License-Identifier: GPL-2.0-only
 *
 * Timers: never early, not absurdly late, in the right order and number.
 */
#include "test.hpp"

#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <vector>

using test::now_ns, test::spawn, test::wait_for;

constexpr int64_t ms = 1'000'000, late = 2000 * ms;	/* an emulated host on a busy machine */

static volatile int ticks;

TEST("nanosleep: 100 sleeps of 2 ms")
{
	int64_t begin = now_ns();
	for (int i = 0; i < 100; i++) {
		int64_t before = now_ns();
		timespec t{0, 2 * ms};
		EXPECT(nanosleep(&t, nullptr) == 0);
		EXPECT(now_ns() - before >= 2 * ms);
	}
	EXPECT(now_ns() - begin < 200 * ms + 5 * late);
}

TEST("sleeps from 50 us to 500 ms")
{
	for (int64_t length = 50'000; length < 500 * ms; length *= 3) {
		int64_t before = now_ns();
		timespec t{0, length};
		clock_nanosleep(CLOCK_MONOTONIC, 0, &t, nullptr);
		int64_t took = now_ns() - before;
		EXPECT(took >= length && took < length + late);
	}
}

TEST("a sleep until a moment, on two clocks")
{
	for (clockid_t clock : {CLOCK_MONOTONIC, CLOCK_REALTIME}) {
		int64_t end = now_ns(clock) + 100 * ms;
		timespec t{end / 1'000'000'000, end % 1'000'000'000};
		EXPECT(clock_nanosleep(clock, TIMER_ABSTIME, &t, nullptr) == 0);
		EXPECT(now_ns(clock) >= end && now_ns(clock) < end + late);
	}
}

TEST("time outs of poll, select and epoll")
{
	int ends[2];
	pipe(ends);
	int64_t begin = now_ns();
	pollfd one{ends[0], POLLIN, 0};
	EXPECT(poll(&one, 1, 50) == 0 && now_ns() - begin >= 50 * ms);
	begin = now_ns();
	fd_set set;
	FD_ZERO(&set);
	FD_SET(ends[0], &set);
	timeval limit{0, 50'000};
	EXPECT(select(ends[0] + 1, &set, nullptr, nullptr, &limit) == 0 && now_ns() - begin >= 50 * ms);
	int handle = epoll_create1(0);
	epoll_event event{EPOLLIN, {}};
	epoll_ctl(handle, EPOLL_CTL_ADD, ends[0], &event);
	begin = now_ns();
	EXPECT(epoll_wait(handle, &event, 1, 50) == 0);
	int64_t took = now_ns() - begin;
	EXPECT(took >= 49 * ms && took < late);
}

TEST("timerfd: once, and periodically")
{
	int handle = timerfd_create(CLOCK_MONOTONIC, 0);
	itimerspec once{{0, 0}, {0, 30 * ms}};
	int64_t begin = now_ns();
	timerfd_settime(handle, 0, &once, nullptr);
	uint64_t count;
	EXPECT(read(handle, &count, 8) == 8 && count == 1);
	EXPECT(now_ns() - begin >= 30 * ms);
	itimerspec often{{0, 10 * ms}, {0, 10 * ms}};
	begin = now_ns();
	timerfd_settime(handle, 0, &often, nullptr);
	uint64_t sum = 0;
	while (sum < 50 && read(handle, &count, 8) == 8)
		sum += count;
	int64_t took = now_ns() - begin;
	EXPECT(took >= 500 * ms && took < 500 * ms + late);
	EXPECT(sum <= uint64_t(took / (10 * ms)) + 1);
}

TEST("setitimer: real time goes on while the process computes")
{
	signal(SIGALRM, [](int) { ticks++; });
	itimerval often{{0, 10'000}, {0, 10'000}};
	setitimer(ITIMER_REAL, &often, nullptr);
	for (auto end = now_ns() + 500 * ms; now_ns() < end; )
		;
	EXPECT(ticks >= 10 && ticks <= 52);
	itimerval none{};
	setitimer(ITIMER_REAL, &none, nullptr);
	int now = ticks;
	test::sleep_ms(50);
	EXPECT(ticks == now);
}

TEST("setitimer: CPU time, of the process and with the kernel's")
{
	signal(SIGVTALRM, [](int) { ticks++; });
	signal(SIGPROF, [](int) { ticks++; });
	itimerval often{{0, 20'000}, {0, 20'000}};
	setitimer(ITIMER_VIRTUAL, &often, nullptr);
	setitimer(ITIMER_PROF, &often, nullptr);
	test::sleep_ms(100);
	EXPECT(ticks <= 2);
	for (auto end = now_ns() + 3000 * ms; now_ns() < end && ticks < 10; )
		;
	EXPECT(ticks >= 10);
}

TEST("POSIX timers: overruns are counted, one can be stopped")
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &set, nullptr);
	timer_t timer;
	sigevent event{};
	event.sigev_notify = SIGEV_SIGNAL, event.sigev_signo = SIGRTMIN;
	REQUIRE(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
	itimerspec often{{0, 5 * ms}, {0, 5 * ms}};
	timer_settime(timer, 0, &often, nullptr);
	test::sleep_ms(100);
	siginfo_t info;
	EXPECT(sigwaitinfo(&set, &info) == SIGRTMIN);
	EXPECT(timer_getoverrun(timer) >= 15);
	timer_delete(timer);
	timespec moment{0, 30 * ms};
	while (sigtimedwait(&set, nullptr, &moment) == SIGRTMIN)
		;
	EXPECT(errno == EAGAIN);
}

TEST("alarm ends a pause")
{
	signal(SIGALRM, [](int) { ticks++; });
	int64_t begin = now_ns();
	alarm(1);
	EXPECT(pause() == -1 && errno == EINTR && ticks == 1);
	EXPECT(now_ns() - begin >= 990 * ms && now_ns() - begin < 1000 * ms + late);
}

TEST("30 processes wake in the order of their times")
{
	int ends[2];
	pipe(ends);
	int64_t start = now_ns() + 500 * ms;
	std::vector<pid_t> pids;
	for (int i = 0; i < 30; i++)
		pids.push_back(spawn([=] {
			int64_t end = start + (i * 7 % 30) * 40 * ms;
			timespec t{end / 1'000'000'000, end % 1'000'000'000};
			clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, nullptr);
			char number = i * 7 % 30;
			return write(ends[1], &number, 1) == 1 ? 0 : 1;
		}));
	for (auto pid : pids)
		EXPECT(wait_for(pid) == 0);
	char numbers[30];
	EXPECT(read(ends[0], numbers, 30) == 30);
	int swapped = 0;		/* two that are late may run in any order */
	for (int i = 1; i < 30; i++)
		swapped += numbers[i] < numbers[i - 1];
	EXPECT(swapped <= 3);
}

TEST("many timers at once in one process")
{
	std::vector<int> handles;
	int64_t begin = now_ns();
	for (int i = 0; i < 200; i++) {
		handles.push_back(timerfd_create(CLOCK_MONOTONIC, 0));
		int64_t end = begin + (i % 20 + 1) * 20 * ms;
		itimerspec once{{0, 0}, {end / 1'000'000'000, end % 1'000'000'000}};
		timerfd_settime(handles[i], TFD_TIMER_ABSTIME, &once, nullptr);
	}
	for (int i = 0; i < 200; i++) {
		uint64_t count;
		REQUIRE(read(handles[i], &count, 8) == 8);
		EXPECT(count == 1 && now_ns() >= begin + (i % 20 + 1) * 20 * ms);
	}
	EXPECT(now_ns() < begin + 400 * ms + late);
}
