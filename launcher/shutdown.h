// SPDX-License-Identifier: GPL-2.0-only
// How a guest that still runs is brought to its end: asked first, then made to.
//
//     idle --begin()--> asked --taken()--> shutting down --the guest ends
//                         |                     |
//                      1 second            grace period
//                         |                     |
//                         +-------> force <-----+
//
// A guest whose kernel does not even take the interrupt within a second is broken, or
// knows nothing of it, and is not worth the grace period.
//
// Threads: the event loop's.
#pragma once

#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <functional>

namespace lguest {

class Shutdown {
public:
	struct Hooks {
		std::function<void()> ask;
		std::function<void()> force;	// may be called again when it did not help
	};

	Shutdown(boost::asio::io_context &loop, Hooks hooks) : timer_{loop}, hooks_{std::move(hooks)} {}

	// Once more: a shorter grace period replaces the one that runs.
	void begin(std::chrono::milliseconds grace);
	// The guest is about it.
	void taken();

	bool begun() const { return begun_; }
	// Begun a moment ago: one who sends two signals at a time (timeout, for one, to a
	// process and its group) means one.
	bool just_begun() const { return begun_ && Clock::now() - since_ < std::chrono::milliseconds{300}; }

private:
	using Clock = std::chrono::steady_clock;
	void wait_until(Clock::time_point time);

	boost::asio::steady_timer timer_;
	Hooks hooks_;
	bool begun_ = false, taken_ = false;
	Clock::time_point since_, deadline_;
};

} // namespace lguest
