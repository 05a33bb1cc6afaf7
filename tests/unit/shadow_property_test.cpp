/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Random operations against the reference "legal TLB".
 *
 * A failure prints seed and script, shrunk.  To see it again:
 *     SHADOW_SEED=<seed> SHADOW_RUNS=1 <this test>      prints each operation too
 * SHADOW_OPERATIONS=<n> : how many operations in all (10^6).
 */
#include "shadow_script.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>

using namespace shadow_test;

namespace
{

u64 environment(const char *name, u64 otherwise)
{
	const char *text = std::getenv(name);

	return text ? std::strtoull(text, nullptr, 0) : otherwise;
}

std::vector<Operation> make_script(u64 seed, std::size_t count)
{
	std::mt19937_64 random(seed);
	std::vector<Operation> script(count);

	/* Most seeds work on few addresses of one half, so that histories get deep. */
	u32 mask = seed % 4 == 0 ? 0xfff : seed % 4 == 1 ? 0xe07 : seed % 4 == 2 ? 0x249 : 0x3c3;

	for (Operation &o : script) {
		u64 r = random(), s = random();

		o.kind = r & 255;
		o.a = r >> 8 & 255;
		o.b = r >> 16 & 255;
		o.c = r >> 24 & 255;
		o.x = static_cast<u32>((s & ~0xfffull) | (s & mask));
	}
	return script;
}

/* Leave out ever smaller parts as long as it still fails. */
std::vector<Operation> shrink(std::vector<Operation> script, const ScriptOptions &options)
{
	for (std::size_t part = script.size() / 2; part; part /= 2) {
		for (std::size_t at = 0; at + part <= script.size();) {
			std::vector<Operation> less = script;

			less.erase(less.begin() + static_cast<long>(at),
				   less.begin() + static_cast<long>(at + part));
			if (!run_script(less.data(), less.size(), options).empty())
				script = less;
			else
				at += part;
		}
	}
	return script;
}

void run_seeds(u64 operations, std::size_t length, ScriptOptions options)
{
	u64 seed = environment("SHADOW_SEED", std::random_device{}());
	u64 runs = environment("SHADOW_RUNS", operations / length + 1);
	ScriptFigures f{};
	auto start = std::chrono::steady_clock::now();

	std::printf("SHADOW_SEED=%llu, %llu runs of %zu operations\n",
		    static_cast<unsigned long long>(seed), static_cast<unsigned long long>(runs), length);
	for (u64 run = 0; run < runs; run++, seed++) {
		std::vector<Operation> script = make_script(seed, length);

		/* Every second seed: a host window; some: a tight budget. */
		options.windows = seed & 8;
		options.max_tables = seed & 16 ? 8 : seed & 32 ? 16 : 120;

		std::string failure = run_script(script.data(), script.size(), options, &f);

		if (failure.empty())
			continue;
		script = shrink(script, options);
		options.trace = true;
		std::string again = run_script(script.data(), script.size(), options);

		FAIL() << "SHADOW_SEED=" << seed << " levels " << options.host_levels << ": " << failure
		       << "\nshrunk to " << script.size() << " operations (traced above): " << again;
	}
	std::chrono::duration<double> t = std::chrono::steady_clock::now() - start;

	std::printf("%.0f operations/s; %llu touches: %llu worked, %llu injected, %llu stopped; "
		    "%llu faults, %llu fills, %llu evictions, %llu TLB flushes\n",
		    static_cast<double>(runs * length) / t.count(), f.touches, f.worked, f.injected,
		    f.stopped, f.calls, f.fills, f.evictions, f.tlb_flushes);
}

} // namespace

TEST(ShadowProperty, FourLevels)
{
	run_seeds(environment("SHADOW_OPERATIONS", 1000000) / 2, 400, {.host_levels = 4, .check_every = 64});
}

TEST(ShadowProperty, FiveLevels)
{
	run_seeds(environment("SHADOW_OPERATIONS", 1000000) / 2, 400, {.host_levels = 5, .check_every = 64});
}

TEST(ShadowProperty, LongHistories)
{
	run_seeds(environment("SHADOW_OPERATIONS", 1000000) / 10, 4000,
		  {.host_levels = 4, .check_every = 64});
}

TEST(ShadowProperty, EveryStepChecked)
{
	for (unsigned levels : {4u, 5u})
		run_seeds(environment("SHADOW_OPERATIONS", 1000000) / 200, 100,
			  {.host_levels = levels, .check_every = 1});
}
