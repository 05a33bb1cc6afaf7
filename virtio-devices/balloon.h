// SPDX-License-Identifier: GPL-2.0-only
// The virtio balloon (virtio 1.2, section 5.5): the guest gives pages it does without,
// and the host has their memory until the guest uses them again.
//
// Behind a RegisterFile; the other side is a BalloonHost (launcher/balloon_host.cpp), which
// gives the pages back to the host.
//
//     queue 0: inflate    numbers of pages the guest gives
//     queue 1: deflate    numbers of pages it takes back
//     queue 2: stats      what it says of its memory; one chain, which we keep until
//                         we want to know again
//     queue 3: reporting  free pages, as buffers: given until the guest allocates them
//
// A page that was given stays mapped and reads as zeros once it is used again, so
// deflating takes no work.  A guest that gives what it still needs harms itself only.
#pragma once

#include "device.h"

#include <linux/virtio_balloon.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

namespace lguest {

// Called with the device's lock held, on the event loop's thread; must not call back.
class BalloonHost {
public:
	// Give the memory of these pages, which are the guest's, back to the host.
	virtual void release(std::span<std::byte> pages) = 0;
	// What the guest says of its memory; tags and values are guest-controlled.
	virtual void take_stats(std::span<const virtio_balloon_stat> stats) = 0;

protected:
	~BalloonHost() = default;
};

class Balloon final : public Device {
public:
	static constexpr unsigned inflate_queue = 0;
	static constexpr unsigned deflate_queue = 1;
	static constexpr std::uint64_t page_size = 1ull << VIRTIO_BALLOON_PFN_SHIFT;

	struct Offer {
		bool deflate_on_oom = false;	// the guest may take pages back before it kills
		bool reporting = false;		// it may report free pages
	};

	Balloon(const GuestMemory &memory, BalloonHost &host, Offer offer);

	std::uint32_t id() const override;
	std::uint64_t features() const override;
	std::span<const std::uint16_t> queue_sizes() const override;
	std::uint64_t read_config(std::uint64_t offset, unsigned width) override;
	void write_config(std::uint64_t offset, unsigned width, std::uint64_t value) override;
	void activate(std::uint64_t features) override;
	void process(Transport &transport, unsigned queue) override;
	void reset() override;

	// The number of pages the guest is to give.  Needs no lock: a driver reads it when it
	// starts, and one that runs has to be told with Transport::config_changed().
	void set_target(std::uint32_t pages) { target_ = pages; }
	// The number it has given, as it says.  Needs no lock.
	std::uint32_t actual() const { return actual_; }

	// Ask for what BalloonHost::take_stats() gets, unless the last answer is still to come.
	void request_stats(Transport &transport);

private:
	static constexpr std::array<std::uint16_t, 4> sizes_{128, 128, 16, 128};
	static constexpr unsigned no_queue = ~0u;

	void collect_numbers(const DescriptorChain &chain);
	void collect_buffers(const DescriptorChain &chain);
	void release_collected();
	void read_stats(Transport &transport);

	const GuestMemory &memory_;
	BalloonHost &host_;
	const Offer offer_;
	std::atomic<std::uint32_t> target_ = 0;
	std::atomic<std::uint32_t> actual_ = 0;		// guest-controlled
	std::uint32_t poison_ = 0;			// guest-controlled; what its free pages hold
	unsigned stats_queue_ = no_queue;
	unsigned reporting_queue_ = no_queue;
	std::optional<DescriptorChain> stats_chain_;	// what request_stats() gives back
	std::vector<std::span<std::byte>> collected_;	// empty between calls
};

} // namespace lguest
