/* SPDX-License-Identifier: GPL-2.0-only
 *
 * Threads and futexes: mutexes, condition variables, robust and priority-inheriting ones, thread-local storage, and preemption of
 * a thread that never gives up the CPU by itself.
 */
#include "test.hpp"

#include <atomic>
#include <condition_variable>
#include <linux/futex.h>
#include <mutex>
#include <pthread.h>
#include <thread>
#include <vector>

using test::spawn, test::wait_for;

static long futex(std::atomic<int> *word, int operation, int value, const timespec *limit = nullptr)
{
	return syscall(SYS_futex, word, operation, value, limit, nullptr, 0);
}

TEST("8 threads count under one mutex")
{
	std::mutex mutex;
	long count = 0;
	std::vector<std::thread> threads;
	for (int i = 0; i < 8; i++)
		threads.emplace_back([&] {
			for (int n = 0; n < 20'000; n++) {
				std::lock_guard lock(mutex);
				count++;
			}
		});
	for (auto &thread : threads)
		thread.join();
	EXPECT(count == 160'000);
}

TEST("two threads take turns by a condition variable")
{
	std::mutex mutex;
	std::condition_variable changed;
	int turn = 0;
	auto play = [&](int me) {
		for (int i = 0; i < 1000; i++) {
			std::unique_lock lock(mutex);
			changed.wait(lock, [&] { return turn % 2 == me; });
			turn++;
			changed.notify_all();
		}
	};
	std::thread first(play, 0), second(play, 1);
	first.join(), second.join();
	EXPECT(turn == 2000);
}

TEST("300 threads, one after another")
{
	for (int i = 0; i < 300; i++) {
		int result = 0;
		std::thread([&] { result = i; }).join();
		REQUIRE(result == i);
	}
}

TEST("64 threads at once, each with its own thread-local data")
{
	static thread_local long mine;
	static thread_local char room[1000];
	std::atomic<int> wrong = 0;
	std::vector<std::thread> threads;
	for (int i = 0; i < 64; i++)
		threads.emplace_back([&, i] {
			mine = i;
			memset(room, i, sizeof room);
			errno = i;
			for (int n = 0; n < 20; n++) {
				std::this_thread::yield();
				wrong += mine != i || room[n * 50] != char(i) || errno != i;
			}
		});
	for (auto &thread : threads)
		thread.join();
	EXPECT(wrong == 0);
}

TEST("a spinning thread is preempted")
{
	std::atomic<bool> stop = false;
	std::atomic<long> laps = 0;
	std::thread spinner([&] {
		while (!stop)
			laps++;
	});
	auto begin = test::now_ns();
	test::sleep_ms(50);
	stop = true;
	spinner.join();
	EXPECT(laps > 0);
	EXPECT(test::now_ns() - begin < 5'000'000'000);
}

TEST("two spinning threads share the CPU")
{
	std::atomic<bool> stop = false;
	std::atomic<long> laps[2] = {};
	std::thread threads[] = {std::thread([&] { while (!stop) laps[0]++; }), std::thread([&] { while (!stop) laps[1]++; })};
	test::sleep_ms(400);
	stop = true;
	for (auto &thread : threads)
		thread.join();
	EXPECT(laps[0] > laps[1] / 20 && laps[1] > laps[0] / 20);
}

TEST("a robust mutex survives its owner")
{
	auto *mutex = static_cast<pthread_mutex_t *>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	pthread_mutexattr_t attributes;
	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
	pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(mutex, &attributes);
	for (int i = 0; i < 20; i++) {
		EXPECT(wait_for(spawn([&] { return pthread_mutex_lock(mutex); })) == 0);	/* dies with it */
		EXPECT(pthread_mutex_lock(mutex) == EOWNERDEAD);
		EXPECT(pthread_mutex_consistent(mutex) == 0);
		EXPECT(pthread_mutex_unlock(mutex) == 0);
	}
}

TEST("a priority-inheriting mutex")
{
	pthread_mutexattr_t attributes;
	pthread_mutexattr_init(&attributes);
	if (pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT))
		SKIP("not supported");
	pthread_mutex_t mutex;
	REQUIRE(pthread_mutex_init(&mutex, &attributes) == 0);
	long count = 0;
	std::vector<std::thread> threads;
	for (int i = 0; i < 4; i++)
		threads.emplace_back([&] {
			for (int n = 0; n < 500; n++) {
				pthread_mutex_lock(&mutex);
				count++;
				if (n % 50 == 0)
					std::this_thread::yield();
				pthread_mutex_unlock(&mutex);
			}
		});
	for (auto &thread : threads)
		thread.join();
	EXPECT(count == 2000);
}

TEST("a mutex between processes")
{
	struct Shared { pthread_mutex_t mutex; long count; };
	auto *shared = static_cast<Shared *>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	pthread_mutexattr_t attributes;
	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(&shared->mutex, &attributes);
	std::vector<pid_t> pids;
	for (int i = 0; i < 4; i++)
		pids.push_back(spawn([=] {
			for (int n = 0; n < 5000; n++) {
				pthread_mutex_lock(&shared->mutex);
				shared->count++;
				if (n % 100 == 0)
					sched_yield();
				pthread_mutex_unlock(&shared->mutex);
			}
			return 0;
		}));
	for (auto pid : pids)
		EXPECT(wait_for(pid) == 0);
	EXPECT(shared->count == 20'000);
}

TEST("futex: value changed, time out, wake")
{
	std::atomic<int> word = 1;
	EXPECT(futex(&word, FUTEX_WAIT_PRIVATE, 0) == -1 && errno == EAGAIN);
	timespec limit{0, 20'000'000};
	auto begin = test::now_ns();
	EXPECT(futex(&word, FUTEX_WAIT_PRIVATE, 1, &limit) == -1 && errno == ETIMEDOUT);
	EXPECT(test::now_ns() - begin >= 20'000'000);
	std::thread waker([&] {
		test::sleep_ms(20);
		word = 2;
		while (futex(&word, FUTEX_WAKE_PRIVATE, 1) != 1)
			std::this_thread::yield();
	});
	while (futex(&word, FUTEX_WAIT_PRIVATE, 1) && errno == EINTR)
		;
	EXPECT(word == 2);
	if (word == 2)
		word = 3;
	/* The waker may have come first; then nobody waits for it any more. */
	std::thread late([&] { timespec t{0, 200'000'000}; futex(&word, FUTEX_WAIT_PRIVATE, 3, &t); });
	waker.join(), late.join();
}

TEST("a barrier and a read-write lock among 10 threads")
{
	pthread_barrier_t barrier;
	pthread_barrier_init(&barrier, nullptr, 10);
	pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
	long value[2] = {};
	std::atomic<int> torn = 0, serial = 0;
	std::vector<std::thread> threads;
	for (int i = 0; i < 10; i++)
		threads.emplace_back([&, i] {
			for (int round = 0; round < 50; round++) {
				if (i < 2) {
					pthread_rwlock_wrlock(&lock);
					value[0]++;
					if (round % 8 == 0)
						std::this_thread::yield();
					value[1]++;
				} else {
					pthread_rwlock_rdlock(&lock);
					torn += value[0] != value[1];
				}
				pthread_rwlock_unlock(&lock);
				serial += pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD;
			}
		});
	for (auto &thread : threads)
		thread.join();
	EXPECT(value[0] == 100 && torn == 0 && serial == 50);
}

TEST("exit of the process ends its other threads")
{
	EXPECT(wait_for(spawn([] {
		for (int i = 0; i < 8; i++)
			std::thread([] { for (;;) pause(); }).detach();
		return 6;
	})) == 6);
}

TEST("fork in a process of many threads")
{
	std::atomic<bool> stop = false;
	std::vector<std::thread> threads;
	static std::atomic<long> cells[4][512];
	for (int i = 0; i < 4; i++)
		threads.emplace_back([&, i] {
			for (long n = 0; !stop; n++)
				cells[i][n % 512] = n;
		});
	for (int i = 0; i < 30; i++)
		EXPECT(wait_for(spawn([=] {
			for (auto &row : cells)
				for (auto &cell : row)
					cell = -1;
			return i;
		})) == i);
	stop = true;
	for (auto &thread : threads)
		thread.join();
	for (auto &row : cells)
		for (auto &cell : row)
			REQUIRE(cell >= 0);
}
