// SPDX-License-Identifier: GPL-2.0-only
// The guest's entropy device in the launcher, see rng.h.
#include "rng.h"

#include "device_slot.h"
#include "entropy.h"

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <sys/random.h>

#include <algorithm>
#include <chrono>

namespace lguest {
namespace {

using namespace std::chrono_literals;

constexpr auto refill_period = 100ms;
constexpr std::uint64_t refills_per_second = 1s / refill_period;

class Rng final : public Attachment, private EntropyHost {
public:
	Rng(const MachineParts &machine, const RngOptions &options)
		: allowance_{options.rate ? std::max<std::uint64_t>(options.rate / refills_per_second, 1) : Entropy::no_limit},
		  device_{*this, allowance_},
		  slot_{machine.loop, machine.memory, device_, machine.bus, machine.vm, name_}, timer_{machine.loop} {}

	const std::string &name() const override { return name_; }

private:
	// getrandom() of up to 256 bytes neither fails nor is interrupted once the kernel's
	// generator is seeded, which it is by the time there are guests.
	void fill(std::span<std::byte> buffer) override
	{
		while (!buffer.empty()) {
			ssize_t got = getrandom(buffer.data(), std::min<std::size_t>(buffer.size(), 256), 0);
			if (got > 0)
				buffer = buffer.subspan(static_cast<std::size_t>(got));
		}
	}

	// Also from a vCPU thread, when a driver starts while there is no allowance.
	void allowance_used() override
	{
		boost::asio::post(timer_.get_executor(), [this] { refill_in_time(); });
	}

	void refill_in_time()
	{
		timer_.expires_after(refill_period);
		timer_.async_wait([this](boost::system::error_code error) {
			if (!error)
				slot_.registers().with_device([this](Transport &transport) { device_.resume(transport, allowance_); });
		});
	}

	std::string name_ = "rng";
	std::uint64_t allowance_;
	Entropy device_;
	DeviceSlot slot_;
	boost::asio::steady_timer timer_;
};

} // namespace

std::unique_ptr<Attachment> attach_rng(const MachineParts &machine, const RngOptions &options)
{
	return std::make_unique<Rng>(machine, options);
}

} // namespace lguest
