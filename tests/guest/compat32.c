/* SPDX-License-Identifier: GPL-2.0-only
 *
 * A 32-bit program without a C library, on int $0x80 and on the vDSO's __kernel_vsyscall: memory, fork and exec, signals in both frame
 * formats, TLS, faults. It prints the same lines as the others do; its cases share one process.
 */

typedef unsigned int u32;
typedef unsigned long long u64;

static long call6(long n, long a, long b, long c, long d, long e, long f)
{
	long result;
	/* EBX and EBP carry arguments and are the compiler's too. */
	asm volatile("push %%ebp; mov %7, %%ebp; int $0x80; pop %%ebp"
		     : "=a"(result) : "0"(n), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e), "m"(f) : "memory");
	return result;
}
#define call(n, a, b, c, d, e) call6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define call3(n, a, b, c) call(n, a, b, c, 0, 0)

enum { nr_exit = 1, nr_fork, nr_read, nr_write, nr_execve = 11, nr_getpid = 20, nr_kill = 37, nr_pipe = 42, nr_brk = 45,
       nr_sigaction = 67, nr_munmap = 91, nr_wait4 = 114, nr_mprotect = 125, nr_yield = 158, nr_rt_sigaction = 174, nr_mmap2 = 192,
       nr_set_thread_area = 243, nr_clock_gettime = 265, nr_clock_gettime64 = 403 };

void *memset(void *to, int value, unsigned length)
{
	for (char *p = to; length--; )
		*p++ = value;
	return to;
}

static unsigned length(const char *text)
{
	unsigned n = 0;
	while (text[n])
		n++;
	return n;
}

static void print(const char *text) { call3(nr_write, 1, text, length(text)); }

static void print_number(unsigned n)
{
	char digits[12], *p = digits + 11;
	*p = 0;
	do
		*--p = '0' + n % 10;
	while (n /= 10);
	print(p);
}

static int number, failed;

static void result(int good, const char *name)
{
	print(good ? "ok " : "not ok ");
	print_number(++number);
	print(" - compat32: ");
	print(name);
	print("\n");
	failed |= !good;
}

/* -- signals: the kernel's sigaction, with a restorer of our own, or the vDSO's if there is none ---------- */

struct action { void (*handler)(int); unsigned long flags; void (*restorer)(void); u32 mask[2]; };
enum { with_restorer = 0x04000000, with_info = 4, no_defer = 0x40000000 };

void restore(void);
void rt_restore(void);
asm("restore: pop %eax; mov $119, %eax; int $0x80");
asm("rt_restore: mov $173, %eax; int $0x80");

static volatile int caught;
static void count(int signal) { caught += signal; }

/* In the old frame a struct sigcontext follows the signal's number on the stack; nothing tells the compiler. */
#define CONTEXT(signal) ({ u32 *c = (u32 *)(&signal + 1); asm volatile("" : "+r"(c) :: "memory"); (volatile u32 *)c; })
enum { eip = 14, eflags = 16 };

/* Skips the faulting instruction, three bytes long. */
static void skip(int signal)
{
	caught++;
	CONTEXT(signal)[eip] += 3;
}

static void set(int signal, void (*handler)(int), unsigned long flags)
{
	struct action action = {handler, flags, flags & with_info ? rt_restore : restore, {0, 0}};
	call(nr_rt_sigaction, signal, &action, 0, 8, 0);
}

/* -- cases ----------------------------------------------------------------------------------------------- */

static int wait_for(long pid)
{
	int status = -1;
	call(nr_wait4, pid, &status, 0, 0, 0);
	return status;
}

static int memory_works(void)
{
	char *pages = (char *)call6(nr_mmap2, 0, 64 * 4096, 3, 0x22, -1, 0);
	if ((u32)pages >= 0xfffff000u)
		return 0;
	for (int i = 0; i < 64; i++)
		pages[i * 4096] = i;
	long pid = call3(nr_fork, 0, 0, 0);
	for (int i = 0; i < 64; i++)
		if (pages[i * 4096] != i)
			return 0;
		else
			pages[i * 4096] = pid ? 1 : 2;
	if (!pid)
		call3(nr_exit, pages[0] == 2 && pages[63 * 4096] == 2 ? 5 : 6, 0, 0);
	int good = wait_for(pid) == 5 << 8 && pages[4096] == 1;
	return good && call3(nr_munmap, pages, 64 * 4096, 0) == 0;
}

static int heap_works(void)
{
	char *end = (char *)call3(nr_brk, 0, 0, 0);
	if ((char *)call3(nr_brk, end + 100000, 0, 0) != end + 100000)
		return 0;
	memset(end, 7, 100000);
	return end[99999] == 7 && (char *)call3(nr_brk, end, 0, 0) == end;
}

static int pipe_works(void)
{
	int ends[2];
	char byte = 0;
	if (call3(nr_pipe, ends, 0, 0))
		return 0;
	long pid = call3(nr_fork, 0, 0, 0);
	if (!pid) {
		call3(nr_write, ends[1], "x", 1);
		call3(nr_exit, 0, 0, 0);
	}
	return call3(nr_read, ends[0], &byte, 1) == 1 && byte == 'x' && wait_for(pid) == 0;
}

static int tls_works(void)
{
	static u32 words[4] = {11, 22, 33, 44};
	struct { u32 entry, base, limit, flags; } descriptor = {-1, (u32)words, 15, 0x41};	/* 32-bit, useable */
	if (call3(nr_set_thread_area, &descriptor, 0, 0))
		return 0;
	u32 selector = descriptor.entry << 3 | 3, value, again;
	asm volatile("mov %1, %%gs; mov %%gs:8, %0" : "=r"(value) : "r"(selector));
	for (int i = 0; i < 20; i++)
		call3(nr_yield, 0, 0, 0);
	long pid = call3(nr_fork, 0, 0, 0);
	asm volatile("mov %%gs:12, %0" : "=r"(again));
	if (!pid)
		call3(nr_exit, again, 0, 0);
	return value == 33 && again == 44 && wait_for(pid) == 44 << 8;
}

static u32 auxiliary(u32 *stack, u32 type)
{
	u32 *p = stack + 1 + *stack + 1;
	while (*p++)
		;
	for (; *p; p += 2)
		if (*p == type)
			return p[1];
	return 0;
}

static int vsyscall_works(u32 entry, long pid)
{
	for (int i = 0; i < 100; i++) {
		long result;
		u32 ebx = 0x55aa, ecx = 0x1111, edx = 0x2222;
		asm volatile("call *%4" : "=a"(result), "+b"(ebx), "+c"(ecx), "+d"(edx) : "S"(entry), "0"(nr_getpid) : "memory");
		if (result != pid || ebx != 0x55aa || ecx != 0x1111 || edx != 0x2222)
			return 0;
	}
	return 1;
}

static int clock_goes_on(void)
{
	u64 last = 0;
	for (int i = 0; i < 200; i++) {
		struct { u64 seconds, nanoseconds; } now;
		if (call3(nr_clock_gettime64, 1, &now, 0))
			return 0;
		u64 ns = now.seconds * 1000000000ull + now.nanoseconds;
		if (ns < last)
			return 0;
		last = ns;
	}
	return 1;
}

static int exec_works(char *program)
{
	char *arguments[] = {program, "again", 0}, *environment[] = {0};
	long pid = call3(nr_fork, 0, 0, 0);
	if (!pid) {
		call3(nr_execve, "/proc/self/exe", arguments, environment);
		call3(nr_exit, 1, 0, 0);
	}
	return wait_for(pid) == 55 << 8;
}

/* EFLAGS.TF: each instruction traps, until the handler clears it. */
static void step(int signal)
{
	if (++caught == 500)
		CONTEXT(signal)[eflags] &= ~0x100;
}

static int run(u32 *stack)
{
	char **arguments = (char **)(stack + 1);
	if (*stack > 1 && arguments[1][0] == 'a')
		return 55;

	long pid = call3(nr_getpid, 0, 0, 0);
	result(pid > 0, "getpid by int $0x80");
	result(call3(999, 0, 0, 0) == -38, "a system call that is not there: ENOSYS");
	result(call3(nr_write, 1, 0xfffff000u, 4) == -14, "a bad address: EFAULT");
	result(memory_works(), "mmap, fork, copy on write");
	result(heap_works(), "brk");
	result(pipe_works(), "a pipe between two processes");
	result(exec_works(arguments[0]), "exec of a 32-bit program");
	result(clock_goes_on(), "the clock");

	set(10, count, with_restorer);
	call3(nr_kill, pid, 10, 0);
	result(caught == 10, "a signal, old frame");
	set(12, count, with_restorer | with_info);
	call3(nr_kill, pid, 12, 0);
	result(caught == 22, "a signal, new frame");
	set(10, count, 0);
	call3(nr_kill, pid, 10, 0);
	result(caught == 32, "a signal that returns through the vDSO");

	caught = 0;
	set(11, skip, with_restorer | no_defer);
	for (int i = 0; i < 50; i++)
		asm volatile("movl %%eax, (%0, %%eax)" :: "r"(4), "a"(0) : "memory");	/* 89 04 03: three bytes */
	result(caught == 50, "a fault's handler continues behind it");

	caught = 0;
	set(5, step, with_restorer);
	u32 sum = 0;
	asm volatile("mov $1000, %%ecx; pushf; orl $0x100, (%%esp); popf; 1: inc %0; dec %%ecx; jnz 1b" : "+r"(sum) :: "ecx", "memory", "cc");
	result(caught == 500 && sum == 1000, "single steps");

	result(tls_works(), "TLS by set_thread_area, in GS, over context switches");
	u32 entry = auxiliary(stack, 32);
	if (entry)
		result(vsyscall_works(entry, pid), "system calls through the vDSO");
	else
		result(1, "system calls through the vDSO # SKIP no vDSO");
	return failed;
}

__attribute__((used)) void start(u32 *stack)
{
	int status = run(stack);
	call3(nr_exit, status, 0, 0);
}

asm(".globl _start\n_start: mov %esp, %eax; and $-16, %esp; sub $12, %esp; push %eax; call start; hlt");
