/* SPDX-License-Identifier: GPL-2.0-only
 *
 * Memory as shadow page tables may get it wrong: mappings that change under use, copy on write among many processes, page tables that
 * move, pages that come back empty, and the kernel's own accesses to user memory. Everything read is checked against a pattern.
 */
#include "test.hpp"

#include <sched.h>
#include <setjmp.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <vector>

using test::spawn, test::wait_for;

constexpr size_t page = 4096;

static char *map(size_t length, int protection = PROT_READ | PROT_WRITE, int flags = MAP_PRIVATE | MAP_ANONYMOUS)
{
	void *memory = mmap(nullptr, length, protection, flags, -1, 0);
	REQUIRE(memory != MAP_FAILED);
	return static_cast<char *>(memory);
}

static uint64_t &word(char *memory, size_t n) { return *reinterpret_cast<uint64_t *>(memory + n * page + n * 8 % page); }

static void fill(char *memory, size_t pages, uint64_t seed)
{
	for (size_t i = 0; i < pages; i++)
		word(memory, i) = seed << 32 | i;
}

static size_t wrong(char *memory, size_t pages, uint64_t seed)
{
	size_t count = 0;
	for (size_t i = 0; i < pages; i++)
		count += word(memory, i) != (seed << 32 | i);
	return count;
}

static sigjmp_buf back;
static void arm()
{
	for (int number : {SIGSEGV, SIGBUS}) {
		struct sigaction action{};
		action.sa_handler = [](int) { siglongjmp(back, 1); };
		action.sa_flags = SA_NODEFER;
		sigaction(number, &action, nullptr);
	}
}
static bool readable(const volatile char *address)
{
	arm();
	if (sigsetjmp(back, 0))
		return false;
	(void)*address;
	return true;
}
static bool writable(volatile char *address)
{
	arm();
	if (sigsetjmp(back, 0))
		return false;
	*address = *address;
	return true;
}

TEST("fresh memory is zero, and keeps what is written")
{
	char *memory = map(2000 * page);
	for (size_t i = 0; i < 2000; i += 3)
		EXPECT(word(memory, i) == 0);
	fill(memory, 2000, 1);
	EXPECT(wrong(memory, 2000, 1) == 0);
}

TEST("munmap takes it away at once, and others stay")
{
	char *memory = map(64 * page);
	fill(memory, 64, 2);
	for (int i = 0; i < 64; i += 2) {
		munmap(memory + i * page, page);
		EXPECT(!readable(memory + i * page) && readable(memory + (i + 1) * page));
	}
	char *again = static_cast<char *>(mmap(memory, 64 * page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	for (int i = 0; i < 64; i++)
		EXPECT(word(again, i) == 0 && !writable(again + i * page));
}

TEST("mprotect: none, read, write, in any order, page by page")
{
	char *memory = map(16 * page);
	fill(memory, 16, 3);
	unsigned random = 1;
	int state[16];
	for (auto &s : state)
		s = PROT_READ | PROT_WRITE;
	for (int round = 0; round < 400; round++) {
		random = random * 1103515245 + 12345;
		int at = random >> 16 & 15, n = std::min(int(random >> 20 & 7) + 1, 16 - at);
		int protection = (const int[]){PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE}[(random >> 24) % 3];
		mprotect(memory + at * page, n * page, protection);
		for (int i = at; i < at + n; i++)
			state[i] = protection;
		int look = random >> 8 & 15;
		REQUIRE(readable(memory + look * page) == !!(state[look] & PROT_READ));
		REQUIRE(writable(memory + look * page) == !!(state[look] & PROT_WRITE));
	}
	mprotect(memory, 16 * page, PROT_READ);
	EXPECT(wrong(memory, 16, 3) == 0);
}

TEST("code is written, run, changed and run again")
{
	char *code = map(page);
	for (int i = 0; i < 100; i++) {
		unsigned char text[] = {0xb8, static_cast<unsigned char>(i), 0, 0, 0, 0xc3};	/* mov $i, %eax; ret */
		mprotect(code, page, PROT_READ | PROT_WRITE);
		memcpy(code, text, sizeof text);
		mprotect(code, page, PROT_READ | PROT_EXEC);
		REQUIRE(reinterpret_cast<int (*)()>(code)() == i);
	}
	mprotect(code, page, PROT_READ | PROT_WRITE | PROT_EXEC);
	for (int i = 0; i < 100; i++) {
		code[1] = i;
		REQUIRE(reinterpret_cast<int (*)()>(code)() == i);
	}
	mprotect(code, page, PROT_READ | PROT_WRITE);
	arm();
	if (sigsetjmp(back, 0) == 0) {
		reinterpret_cast<int (*)()>(code)();
		EXPECT(!"executed without permission");
	}
}

TEST("mremap: grow, shrink, move, and what was there faults")
{
	char *memory = map(8 * page);
	fill(memory, 8, 4);
	for (size_t size = 16; size <= 1024; size *= 2) {
		char *blocker = static_cast<char *>(mmap(memory + size / 2 * page, page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
		char *moved = static_cast<char *>(mremap(memory, size / 2 * page, size * page, MREMAP_MAYMOVE));
		REQUIRE(moved != MAP_FAILED);
		EXPECT(wrong(moved, size / 2, 4) == 0);
		if (moved != memory)
			EXPECT(!readable(memory));
		munmap(blocker, page);
		memory = moved;
		fill(memory, size, 4);
	}
	EXPECT(mremap(memory, 1024 * page, 4 * page, 0) == memory);
	EXPECT(wrong(memory, 4, 4) == 0 && !readable(memory + 4 * page));
}

/* Aligned so, Linux moves whole page tables from one place to the other. */
TEST("mremap moves page tables of 2 MiB")
{
	constexpr size_t size = 4 << 20;
	char *space = map(64 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
	char *base = reinterpret_cast<char *>((uintptr_t(space) + (2 << 20) - 1) & ~uintptr_t((2 << 20) - 1));
	mmap(base, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	fill(base, size / page, 5);
	char *at = base;
	for (int i = 1; i < 12; i++) {
		char *target = base + i % 6 * (8 << 20);
		REQUIRE(mremap(at, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, target) == target);
		EXPECT(!readable(at) && !readable(at + size - 1));
		at = target;
		REQUIRE(wrong(at, size / page, 5) == 0);
		word(at, i) = 5ull << 32 | i;
	}
}

TEST("madvise DONTNEED: empty again")
{
	char *memory = map(300 * page);
	for (int round = 0; round < 20; round++) {
		fill(memory, 300, round + 1);
		madvise(memory + 100 * page, 100 * page, MADV_DONTNEED);
		for (int i = 0; i < 300; i++)
			REQUIRE(word(memory, i) == (i >= 100 && i < 200 ? 0 : uint64_t(round + 1) << 32 | i));
	}
}

TEST("the zero page is read, then written")
{
	char *memory = map(200 * page);
	for (int i = 0; i < 200; i++)
		EXPECT(memory[i * page] == 0);
	for (int i = 0; i < 200; i += 2)
		memory[i * page] = i;
	for (int i = 0; i < 200; i++)
		EXPECT(memory[i * page] == (i % 2 ? 0 : char(i)));
}

TEST("copy on write: 20 children, each with its own")
{
	char *memory = map(100 * page);
	fill(memory, 100, 6);
	std::vector<pid_t> pids;
	for (int child = 0; child < 20; child++)
		pids.push_back(spawn([=] {
			size_t bad = wrong(memory, 100, 6);
			fill(memory, 50, 100 + child);
			sched_yield();
			bad += wrong(memory, 50, 100 + child);
			for (size_t i = 50; i < 100; i++)
				bad += word(memory, i) != (6ull << 32 | i);
			return bad ? 1 : 0;
		}));
	EXPECT(wrong(memory, 100, 6) == 0);
	for (auto pid : pids)
		EXPECT(wait_for(pid) == 0);
	EXPECT(wrong(memory, 100, 6) == 0);
}

TEST("copy on write: the parent writes first, over five generations")
{
	char *memory = map(40 * page);
	uint64_t generation = 1;
	fill(memory, 40, generation);
	while (generation < 6) {
		int ends[2];
		pipe(ends);
		pid_t pid = fork();
		if (pid == 0) {
			char go;
			read(ends[0], &go, 1);
			if (wrong(memory, 40, generation))
				_exit(100);
			fill(memory, 40, ++generation);
			continue;
		}
		fill(memory, 40, 99);
		write(ends[1], "g", 1);
		int status = wait_for(pid);
		if (generation > 1)
			_exit(status);
		EXPECT(status == 6);
		EXPECT(wrong(memory, 40, 99) == 0);
		return;
	}
	_exit(wrong(memory, 40, 6) ? 101 : 6);
}

TEST("the last owner of a shared page writes it in place")
{
	char *memory = map(50 * page);
	for (int round = 0; round < 30; round++) {
		fill(memory, 50, round);
		pid_t pid = spawn([] { return 0; });
		wait_for(pid);
		fill(memory, 50, round + 1000);
		REQUIRE(wrong(memory, 50, round + 1000) == 0);
	}
}

TEST("the kernel writes to pages that are copy on write, or not there yet")
{
	char *memory = map(100 * page), *source = map(100 * page);
	fill(memory, 100, 7), fill(source, 100, 8);
	int file = memfd_create("source", 0);
	EXPECT(write(file, source, 100 * page) == 100 * page);
	pid_t pid = spawn([=] {
		int bad = pread(file, memory, 100 * page, 0) != 100 * page || wrong(memory, 100, 8);
		char *fresh = map(100 * page);
		bad |= pread(file, fresh, 100 * page, 0) != 100 * page || wrong(fresh, 100, 8);
		return bad;
	});
	EXPECT(wait_for(pid) == 0);
	EXPECT(wrong(memory, 100, 7) == 0);
}

TEST("the kernel refuses bad addresses: EFAULT")
{
	char *memory = map(4 * page);
	munmap(memory + 2 * page, 2 * page);
	int ends[2], zero = open("/dev/zero", O_RDONLY);
	pipe(ends);
	EXPECT(write(ends[1], memory + 2 * page, 1) == -1 && errno == EFAULT);
	EXPECT(read(zero, memory + 2 * page, 10) == -1 && errno == EFAULT);
	mprotect(memory, page, PROT_READ);
	(void)*(volatile char *)memory;
	EXPECT(read(zero, memory, 1) == -1 && errno == EFAULT);
	mprotect(memory, page, PROT_NONE);
	EXPECT(write(ends[1], memory, 1) == -1 && errno == EFAULT);
	for (unsigned long kernel : {0xffffffff81000000ul, 0xffff888000000000ul, 0x8000000000000000ul, 0x7ffffffff000ul, 0xfffffffffffffffful}) {
		EXPECT(read(zero, reinterpret_cast<void *>(kernel), 1) == -1 && errno == EFAULT);
		EXPECT(write(ends[1], reinterpret_cast<void *>(kernel), 1) == -1 && errno == EFAULT);
	}
	EXPECT(uname(reinterpret_cast<struct utsname *>(8)) == -1 && errno == EFAULT);
}

TEST("ten processes remap, write and check for a while, all at once")
{
	std::vector<pid_t> pids;
	for (int child = 1; child <= 10; child++)
		pids.push_back(spawn([=] {
			constexpr size_t n = 128;
			char *memory = map(n * page);
			std::vector<uint64_t> expect(n);
			unsigned random = child;
			for (int step = 0; step < 1500; step++) {
				random = random * 1103515245 + 12345;
				size_t at = random >> 16 & (n - 1), length = std::min<size_t>((random >> 23 & 15) + 1, n - at);
				char *begin = memory + at * page;
				switch (random >> 27) {
				case 0: case 1: case 2:
					madvise(begin, length * page, MADV_DONTNEED);
					for (size_t i = at; i < at + length; i++)
						expect[i] = 0;
					break;
				case 3: case 4:
					mmap(begin, length * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
					for (size_t i = at; i < at + length; i++)
						expect[i] = 0;
					break;
				case 5: case 6: case 7:
					mprotect(begin, length * page, PROT_READ);
					mprotect(begin, length * page, PROT_READ | PROT_WRITE);
					break;
				case 8:
					if (step % 8 == 0 && wait_for(spawn([&] { return word(memory, at) == expect[at] ? 0 : 1; })))
						return 1;
					break;
				case 9:
					sched_yield();
					break;
				default:
					for (size_t i = at; i < at + length; i++)
						word(memory, i) = expect[i] = uint64_t(child) << 48 | uint64_t(step) << 16 | i;
				}
				size_t look = random >> 9 & (n - 1);
				if (word(memory, look) != expect[look])
					return 2;
			}
			for (size_t i = 0; i < n; i++)
				if (word(memory, i) != expect[i])
					return 3;
			return 0;
		}));
	for (auto pid : pids)
		EXPECT(wait_for(pid) == 0);
}

TEST("a sparse mapping of 1 TiB")
{
	constexpr size_t size = 1ull << 40;
	char *memory = map(size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
	for (size_t i = 0; i < 300; i++)
		*reinterpret_cast<size_t *>(memory + i * (size / 300) / 8 * 8) = i + 1;
	for (size_t i = 0; i < 300; i++)
		EXPECT(*reinterpret_cast<size_t *>(memory + i * (size / 300) / 8 * 8) == i + 1);
	EXPECT(wait_for(spawn([=] { return *reinterpret_cast<size_t *>(memory + 299 * (size / 300) / 8 * 8) == 300 ? 0 : 1; })) == 0);
	munmap(memory, size);
	EXPECT(!readable(memory));
}

TEST("64 MiB touched, then given back")
{
	char *memory = map(64 << 20);
	fill(memory, (64 << 20) / page, 9);
	EXPECT(wrong(memory, (64 << 20) / page, 9) == 0);
	munmap(memory, 64 << 20);
	for (int i = 0; i < 6; i++)
		EXPECT(wait_for(spawn([] { fill(map(64 << 20), (64 << 20) / page, 1); return 0; })) == 0);
}

TEST("huge pages, split and put together")
{
	char *space = map(16 << 20);
	char *base = reinterpret_cast<char *>((uintptr_t(space) + (2 << 20) - 1) & ~uintptr_t((2 << 20) - 1));
	if (madvise(base, 8 << 20, MADV_HUGEPAGE))
		SKIP("not in this kernel");
	fill(base, 2048, 10);
	EXPECT(wrong(base, 2048, 10) == 0);
	mprotect(base + 100 * page, page, PROT_READ);
	EXPECT(!writable(base + 100 * page) && writable(base + 101 * page));
	madvise(base + 600 * page, page, MADV_DONTNEED);
	EXPECT(word(base, 600) == 0 && word(base, 601) == (10ull << 32 | 601));
	EXPECT(wait_for(spawn([=] {
		mprotect(base, 8 << 20, PROT_READ | PROT_WRITE);
		fill(base, 2048, 11);
		return wrong(base, 2048, 11) ? 1 : 0;
	})) == 0);
	munmap(base + (4 << 20), 3 * page);
	EXPECT(!readable(base + (4 << 20)) && word(base, 1027) == (10ull << 32 | 1027));
	word(base, 600) = 10ull << 32 | 600;
	EXPECT(wrong(base, 1024, 10) == 0);
}

TEST("the stack grows by itself, to its limit")
{
	rlimit limit{4 << 20, 4 << 20};
	EXPECT(wait_for(spawn([&] {
		setrlimit(RLIMIT_STACK, &limit);
		static int (*volatile deeper)(int) = [](int n) {
			volatile char room[3000];
			room[0] = room[2999] = n;
			return n ? deeper(n - 1) + (room[2999] == char(n)) : 0;
		};
		return deeper(1000) == 1000 ? 0 : 1;
	})) == 0);
}

TEST("brk grows and shrinks, and comes back empty")
{
	EXPECT(wait_for(spawn([] {
		char *end = static_cast<char *>(sbrk(0));
		for (int i = 1; i < 30; i++) {
			if (brk(end + i * 10 * page))
				return 1;
			memset(end, i, i * 10 * page);
			brk(end);
			brk(end + 10 * page);
			for (size_t n = page; n < 10 * page; n += page)
				if (end[n + page - 1 - (uintptr_t(end) & (page - 1))] != 0)
					return 2;
			brk(end);
		}
		return 0;
	})) == 0);
}

TEST("shared memory: writes of one are seen by all")
{
	char *memory = map(64 * page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
	std::vector<pid_t> pids;
	for (int child = 0; child < 8; child++)
		pids.push_back(spawn([=] {
			for (int i = child; i < 64; i += 8)
				word(memory, i) = 12ull << 32 | i;
			return 0;
		}));
	for (auto pid : pids)
		EXPECT(wait_for(pid) == 0);
	EXPECT(wrong(memory, 64, 12) == 0);
}

TEST("one file mapped twice, shared and private, and truncated")
{
	int file = memfd_create("both", 0);
	ftruncate(file, 32 * page);
	auto at = [=](int flags) { return static_cast<char *>(mmap(nullptr, 32 * page, PROT_READ | PROT_WRITE, flags, file, 0)); };
	char *one = at(MAP_SHARED), *two = at(MAP_SHARED), *mine = at(MAP_PRIVATE);
	fill(one, 32, 13);
	EXPECT(wrong(two, 32, 13) == 0 && wrong(mine, 32, 13) == 0);
	fill(mine, 16, 14);
	EXPECT(wrong(one, 32, 13) == 0 && wrong(mine, 16, 14) == 0);
	uint64_t value = 0;
	pread(file, &value, 8, 5 * page + 40);
	EXPECT(value == (13ull << 32 | 5));
	pwrite(file, "\1\2\3\4\5\6\7\10", 8, 5 * page + 40);
	EXPECT(word(one, 5) == 0x0807060504030201 && word(two, 5) == word(one, 5));
	ftruncate(file, 8 * page);
	EXPECT(!readable(one + 8 * page) && !readable(two + 31 * page) && readable(one + 7 * page) && !readable(mine + 20 * page));
	ftruncate(file, 32 * page);
	EXPECT(word(one, 20) == 0 && word(two, 20) == 0);
}

TEST("mlock, mincore, and populate")
{
	char *memory = map(32 * page);
	unsigned char present[32];
	mincore(memory, 32 * page, present);
	EXPECT(!(present[0] & 1) && !(present[31] & 1));
	if (mlock(memory, 16 * page) == 0) {
		mincore(memory, 32 * page, present);
		EXPECT((present[0] & 1) && (present[15] & 1) && !(present[16] & 1));
		munlock(memory, 16 * page);
	}
	char *ready = map(32 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE);
	mincore(ready, 32 * page, present);
	EXPECT((present[0] & 1) && (present[31] & 1));
	rusage before, after;
	getrusage(RUSAGE_SELF, &before);
	fill(ready, 32, 15);
	getrusage(RUSAGE_SELF, &after);
	EXPECT(after.ru_minflt == before.ru_minflt);
}

/* The kernel's accessed and dirty bits are the shadow's to write back: soft-dirty and pagemap show what it knows. */
TEST("pagemap tells present pages from absent ones")
{
	char *memory = map(64 * page);
	for (int i = 0; i < 64; i += 2)
		memory[i * page] = 1;
	int file = open("/proc/self/pagemap", O_RDONLY);
	if (file < 0)
		SKIP("no pagemap");
	uint64_t entries[64];
	EXPECT(pread(file, entries, sizeof entries, uintptr_t(memory) / page * 8) == sizeof entries);
	for (int i = 0; i < 64; i++)
		EXPECT(entries[i] >> 63 == unsigned(i % 2 == 0));
}

TEST("500 mappings made and taken away in disorder")
{
	std::vector<char *> maps(500);
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < maps.size(); i++)
			maps[i] = map((i % 7 + 1) * page), fill(maps[i], i % 7 + 1, i);
		for (size_t i = 0; i < maps.size(); i++) {
			size_t n = i * 263 % maps.size();
			REQUIRE(wrong(maps[n], n % 7 + 1, n) == 0);
			munmap(maps[n], (n % 7 + 1) * page);
		}
	}
}
