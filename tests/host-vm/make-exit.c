// SPDX-License-Identifier: GPL-2.0-only
//
// A function for GNU make, which by itself exits with 2 whatever a recipe's status was: $(exit-with FILE) ends make
// with the number written in FILE. So `make run CMD='exit 7'` exits with 7. Loaded by the Makefile.

#include <gnumake.h>
#include <stdio.h>
#include <stdlib.h>

int plugin_is_GPL_compatible;

static char *exit_with(const char *name, unsigned int count, char **arguments)
{
	int status = 2;
	FILE *file = fopen(arguments[0], "r");

	(void)name;
	(void)count;
	if (!file || fscanf(file, "%d", &status) != 1)
		status = 2;
	if (file)
		fclose(file);
	remove(arguments[0]);
	exit(status);
}

int make_exit_gmk_setup(void)
{
	gmk_add_function("exit-with", exit_with, 1, 1, GMK_FUNC_DEFAULT);
	return 1;
}
