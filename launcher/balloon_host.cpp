// SPDX-License-Identifier: GPL-2.0-only
// The guest's balloon in the launcher, see balloon_host.h.
#include "balloon_host.h"

#include "balloon.h"
#include "device_slot.h"

#include <boost/asio/steady_timer.hpp>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fcntl.h>

namespace lguest {
namespace {

// By tag, VIRTIO_BALLOON_S_*; the last ones are newer than our headers.
constexpr std::array stat_names{
	"swap-in", "swap-out", "major-faults", "minor-faults", "free-memory", "total-memory", "available-memory",
	"disk-caches", "hugetlb-allocations", "hugetlb-failures", "oom-kills", "alloc-stalls", "async-scans",
	"direct-scans", "async-reclaims", "direct-reclaims"};

class BalloonAttachment final : public Attachment, private BalloonControl, private BalloonHost {
public:
	BalloonAttachment(const MachineParts &machine, const BalloonOptions &options)
		: ram_{machine.ram}, device_{machine.memory, *this, {options.deflate_on_oom, options.free_page_reporting}},
		  slot_{machine.loop, machine.memory, device_, machine.bus, machine.vm, name_},
		  period_{options.stats}, timer_{machine.loop}
	{
		device_.set_target(to_pages(options.size));
		if (options.stats)
			ask_in_time();
	}

	const std::string &name() const override { return name_; }
	BalloonControl *balloon() override { return this; }

private:
	std::uint32_t to_pages(std::uint64_t bytes) const
	{
		return static_cast<std::uint32_t>(std::min<std::uint64_t>(bytes, ram_.bytes().size()) / Balloon::page_size);
	}

	void set_size(std::uint64_t bytes_to_take) override
	{
		device_.set_target(to_pages(bytes_to_take));
		slot_.registers().with_device([](Transport &transport) { transport.config_changed(); });
	}
	std::uint64_t actual() const override
	{
		return std::min<std::uint64_t>(device_.actual() * Balloon::page_size, ram_.bytes().size());
	}
	std::map<std::string, std::uint64_t> stats() override
	{
		ask();
		return stats_;
	}

	void ask()
	{
		slot_.registers().with_device([this](Transport &transport) { device_.request_stats(transport); });
	}
	void ask_in_time()
	{
		timer_.expires_after(period_);
		timer_.async_wait([this](boost::system::error_code error) {
			if (error)
				return;
			ask();
			ask_in_time();
		});
	}

	// The module and every other process that maps the memory lose the pages by this too.
	void release(std::span<std::byte> pages) override
	{
		auto offset = pages.data() - ram_.bytes().data();	// the memfd is the memory from gpa 0 on
		if (fallocate(ram_.fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset,
			      static_cast<off_t>(pages.size())) == 0 || warned_)
			return;
		warned_ = true;
		spdlog::warn("{}: cannot give the guest's memory back: {}", name_, std::strerror(errno));
	}
	void take_stats(std::span<const virtio_balloon_stat> stats) override
	{
		stats_.clear();
		for (const virtio_balloon_stat &stat : stats)
			if (stat.tag < stat_names.size())
				stats_[stat_names[stat.tag]] = stat.val;
		spdlog::debug("{}: {} MiB taken; the guest says: {} MiB of {} free", name_, actual() >> 20,
			      stats_["free-memory"] >> 20, stats_["total-memory"] >> 20);
	}

	std::string name_ = "balloon";
	const GuestRam &ram_;
	Balloon device_;
	DeviceSlot slot_;
	std::chrono::seconds period_;
	boost::asio::steady_timer timer_;
	std::map<std::string, std::uint64_t> stats_;
	bool warned_ = false;
};

} // namespace

std::unique_ptr<Attachment> attach_balloon(const MachineParts &machine, const BalloonOptions &options)
{
	return std::make_unique<BalloonAttachment>(machine, options);
}

} // namespace lguest
