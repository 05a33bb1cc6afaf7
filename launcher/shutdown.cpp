// SPDX-License-Identifier: GPL-2.0-only
// Orderly shutdown, see shutdown.h.
#include "shutdown.h"

#include <algorithm>

namespace lguest {
namespace {

constexpr std::chrono::seconds answer_limit{1};

} // namespace

void Shutdown::begin(std::chrono::milliseconds grace)
{
	auto now = Clock::now();
	deadline_ = begun_ ? std::min(deadline_, now + grace) : now + grace;
	if (grace.count() == 0) {
		hooks_.force();
		return;
	}
	if (!begun_) {
		begun_ = true;
		since_ = now;
		hooks_.ask();
	}
	wait_until(taken_ ? deadline_ : std::min(deadline_, since_ + answer_limit));
}

void Shutdown::taken()
{
	if (!begun_ || taken_)
		return;
	taken_ = true;
	wait_until(deadline_);
}

void Shutdown::wait_until(Clock::time_point time)
{
	timer_.expires_at(time);
	timer_.async_wait([this](boost::system::error_code error) {
		if (!error)
			hooks_.force();
	});
}

} // namespace lguest
