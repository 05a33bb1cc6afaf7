// SPDX-License-Identifier: GPL-2.0-only
/*
 * A module for the guest's kernel that does what a broken kernel does; `how` says what: stack (overflow), spin (interrupts off),
 * tables (page tables overwritten), cr3 (a table outside memory), calls (hypercalls of random numbers and arguments), none.
 */
#include <linux/irqflags.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/random.h>
#include <linux/sched.h>
#include <linux/vmalloc.h>
#include <asm/special_insns.h>

static char *how = "none";
module_param(how, charp, 0);

/* Through a pointer, so that the compiler does not see where it leads. */
static int deeper(int n);
static int (*volatile go_deeper)(int) = deeper;

static int deeper(int n)
{
	volatile char room[512];

	room[0] = n;
	return go_deeper(n + 1) + room[0];
}

static void spin(void)
{
	local_irq_disable();
	for (;;)
		cpu_relax();
}

/* The upper half of this process's top-level table, then memory that no table maps yet. */
static void overwrite_tables(void)
{
	u64 *top = (u64 *)current->mm->pgd;

	for (int i = 256; i < 512; i++)
		top[i] = get_random_u64();
	for (;;) {
		char *fresh = vmalloc(1 << 20);

		if (fresh)
			memset(fresh, 1, 1 << 20);
		cond_resched();
	}
}

/* Random numbers, but not those that end the guest in an orderly way, or never return. */
static void call_at_random(void)
{
	for (int n = 0; n < 200000; n++) {
		register u64 r10 asm("r10") = get_random_u64(), r8 asm("r8") = get_random_u64();
		u64 number = get_random_u32() % 48, result;
		u64 a = get_random_u64() >> (get_random_u32() % 64), b = get_random_u64() >> (get_random_u32() % 64);

		if (number >= 3 && number <= 7)
			continue;
		asm volatile("syscall" : "=a"(result), "+r"(r10), "+r"(r8) : "0"(number), "D"(a), "S"(b), "d"(r10 >> 20)
			     : "rcx", "r11", "r9", "memory");
	}
}

static int __init misbehave_init(void)
{
	pr_info("misbehave: %s\n", how);
	if (!strcmp(how, "stack"))
		return go_deeper(0);
	if (!strcmp(how, "spin"))
		spin();
	if (!strcmp(how, "tables"))
		overwrite_tables();
	if (!strcmp(how, "cr3"))
		write_cr3(0x7ffffff000);
	if (!strcmp(how, "calls"))
		call_at_random();
	return 0;
}
module_init(misbehave_init);

static void __exit misbehave_exit(void)
{
}
module_exit(misbehave_exit);

MODULE_DESCRIPTION("lguest: a guest kernel that breaks");
MODULE_LICENSE("GPL");
