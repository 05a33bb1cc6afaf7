// SPDX-License-Identifier: GPL-2.0-only
/*
 * The early console of an lguest guest: printk, from its first line, to the launcher
 * by hypercall.  "console=lg0" keeps it for good, beside or instead of a virtio
 * console; it has no tty and takes no input.
 */
#include <linux/console.h>
#include <linux/init.h>
#include <linux/string.h>

#include <asm/lguest.h>

/* In the kernel image, where its guest-physical address is known from the start.
 * Within a page, since its size and alignment are the same. */
static char text[2048] __aligned(2048);

static void lguest_console_write(struct console *con, const char *s, unsigned int count)
{
	while (count) {
		unsigned int n = min_t(unsigned int, count, sizeof(text));

		memcpy(text, s, n);
		lg_hypercall(LG_HC_CONSOLE, lg_gpa(text), n, 0);
		s += n;
		count -= n;
	}
}

void __init lguest_early_print(const char *s)
{
	lguest_console_write(NULL, s, strlen(s));
}

/* Gives way to the preferred console, or to lg0 if that is wanted at all. */
static struct console lguest_boot_console = {
	.name	= "lgboot",
	.write	= lguest_console_write,
	.flags	= CON_PRINTBUFFER | CON_BOOT | CON_ENABLED | CON_ANYTIME,
	.index	= -1,
};

/* Does not repeat what the boot console has said. */
static struct console lguest_console = {
	.name	= "lg",
	.write	= lguest_console_write,
	.flags	= CON_ANYTIME,
	.index	= -1,
};

static int __init lguest_console_init(void)
{
	if (!lguest_guest)
		return 0;

	register_console(&lguest_console);
	if (console_is_registered(&lguest_console) &&
	    console_is_registered(&lguest_boot_console))
		unregister_console(&lguest_boot_console);
	return 0;
}
console_initcall(lguest_console_init);

void __init lguest_init_console(void)
{
	register_console(&lguest_boot_console);

	/* So that there is a /dev/console with "console=lg0" alone; whatever the
	 * command line names comes later and is preferred. */
	add_preferred_console("ttynull", 0, NULL);
}
