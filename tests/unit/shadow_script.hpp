/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Operations for a Machine, decoded from bytes: eight per operation, so that any
 * input is a script and any part of a script is one.  Shared by the property test,
 * which makes them up and shrinks them, and the fuzzer.
 */
#ifndef SHADOW_SCRIPT_HPP
#define SHADOW_SCRIPT_HPP

#include "shadow_machine.hpp"

#include <cstddef>

namespace shadow_test
{

struct Operation {
	u8 kind, a, b, c;
	u32 x;
};
static_assert(sizeof(Operation) == 8);

struct ScriptOptions {
	unsigned host_levels = 4;
	unsigned check_every = 32;	/* shadow_check() and all addresses */
	bool windows = false;
	bool trace = false;		/* print each operation */
	u64 max_tables = 40;
};

/* How much of it did anything. */
struct ScriptFigures {
	u64 touches, worked, injected, stopped, calls, fills, evictions, tlb_flushes;
};

/* Run it; empty, or what went wrong and at which operation. */
std::string run_script(const Operation *operations, std::size_t count,
		       const ScriptOptions &options, ScriptFigures *figures = nullptr);

} // namespace shadow_test

#endif
