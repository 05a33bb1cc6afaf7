/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * libFuzzer target for shadow-mm: the input's first byte chooses the machine, the rest
 * is a script (tests/unit/shadow_script.hpp).  A broken rule aborts, with the trace of
 * the whole script printed.
 */
#include "../unit/shadow_script.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

using namespace shadow_test;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size)
{
	if (size < 1 + sizeof(Operation))
		return 0;

	std::vector<Operation> script((size - 1) / sizeof(Operation));

	std::memcpy(script.data(), data + 1, script.size() * sizeof(Operation));

	ScriptOptions options;

	options.host_levels = data[0] & 1 ? 5 : 4;
	options.windows = data[0] & 2;
	options.max_tables = data[0] & 4 ? 8 : data[0] & 8 ? 16 : 120;
	options.check_every = 16;

	std::string failure = run_script(script.data(), script.size(), options);

	if (!failure.empty()) {
		options.trace = true;
		run_script(script.data(), script.size(), options);
		std::fprintf(stderr, "%s\n", failure.c_str());
		std::abort();
	}
	return 0;
}
