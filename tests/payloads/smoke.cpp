/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The C++ side of smoke.S: how a guest ends, seen through the ioctls.
 */
#include "guest.hpp"
#include "runner.hpp"

extern "C" const char smoke[];

using namespace payloads;

TEST(smoke_computes_tells_and_shuts_down)
{
	Guest guest;
	Exit exit = guest.start_at(smoke).unregistered().run();

	EXPECT_EQ(guest.told().at(0), 55);
	EXPECT_EQ(exit.reason, LG_EXIT_SHUTDOWN);
	EXPECT_EQ(exit.status, 42);
}
