// SPDX-License-Identifier: GPL-2.0-only
// The virtio balloon, see balloon.h.
#include "balloon.h"

#include <linux/virtio_ids.h>

#include <utility>

namespace lguest {
namespace {

constexpr std::uint64_t bit(unsigned feature) { return 1ull << feature; }

// Releasing is a system call for each piece, so a driver that never stops gets little
// served in one call.  Of more page numbers in one chain (Linux sends 256) the rest stays
// with the guest, as the specification lets us do.
constexpr unsigned chains_per_call = 16;
constexpr unsigned numbers_per_chain = 4096;
constexpr unsigned stats_per_chain = 64;

} // namespace

Balloon::Balloon(const GuestMemory &memory, BalloonHost &host, Offer offer)
	: memory_{memory}, host_{host}, offer_{offer} {}

std::uint32_t Balloon::id() const { return VIRTIO_ID_BALLOON; }

std::uint64_t Balloon::features() const
{
	// With MUST_TELL_HOST a page is back only after we have seen so: one that we release
	// late is never one in use.
	std::uint64_t features = bit(VIRTIO_BALLOON_F_MUST_TELL_HOST) | bit(VIRTIO_BALLOON_F_STATS_VQ);
	if (offer_.deflate_on_oom)
		features |= bit(VIRTIO_BALLOON_F_DEFLATE_ON_OOM);
	if (offer_.reporting)
		features |= bit(VIRTIO_BALLOON_F_REPORTING) | bit(VIRTIO_BALLOON_F_PAGE_POISON);
	return features;
}

std::span<const std::uint16_t> Balloon::queue_sizes() const
{
	return std::span{sizes_}.first(offer_.reporting ? 4 : 3);
}

std::uint64_t Balloon::read_config(std::uint64_t offset, unsigned width)
{
	return config_bytes(virtio_balloon_config{target_, actual_, {}, poison_}, offset, width);
}

void Balloon::write_config(std::uint64_t offset, unsigned width, std::uint64_t value)
{
	if (width != 4)
		return;
	if (offset == offsetof(virtio_balloon_config, actual))
		actual_ = static_cast<std::uint32_t>(value);
	if (offset == offsetof(virtio_balloon_config, poison_val))
		poison_ = static_cast<std::uint32_t>(value);
}

// Queues are numbered without those whose feature was not accepted: so do Linux and QEMU.
void Balloon::activate(std::uint64_t features)
{
	unsigned next = deflate_queue + 1;
	stats_queue_ = features & bit(VIRTIO_BALLOON_F_STATS_VQ) ? next++ : no_queue;
	reporting_queue_ = features & bit(VIRTIO_BALLOON_F_REPORTING) ? next++ : no_queue;
}

void Balloon::reset()
{
	actual_ = 0;
	poison_ = 0;
	stats_queue_ = reporting_queue_ = no_queue;
	stats_chain_.reset();
}

void Balloon::process(Transport &transport, unsigned index)
{
	if (index == stats_queue_) {
		read_stats(transport);
		return;
	}
	Virtqueue &queue = transport.queue(index);
	unsigned budget = chains_per_call;
	do {
		queue.disable_doorbell();
		for (; budget > 0; budget--) {
			auto chain = queue.pop();
			if (!chain)
				break;
			if (index == inflate_queue)
				collect_numbers(*chain);
			else if (index == reporting_queue_ && poison_ == 0)	// we can only give back zeros
				collect_buffers(*chain);
			release_collected();
			queue.push(std::move(*chain), 0);
		}
		transport.queue_used(index);
	} while (budget > 0 && queue.enable_doorbell());
	if (budget == 0)
		transport.look_again(index);
}

// --- pages -------------------------------------------------------------------

// What is no memory is not ours to release; the same page twice is released once.
void Balloon::collect_numbers(const DescriptorChain &chain)
{
	unsigned left = numbers_per_chain;
	for (std::span<const std::byte> buffer : chain.readable())
		for (std::uint32_t number; left > 0 && buffer.size() >= sizeof(number); left--) {
			std::memcpy(&number, buffer.data(), sizeof(number));	// guest-controlled
			buffer = buffer.subspan(sizeof(number));
			if (auto page = memory_.range(Gpa{number * page_size}, page_size))
				collected_.push_back(*page);
		}
}

// Of each buffer the pages that lie in it whole.
void Balloon::collect_buffers(const DescriptorChain &chain)
{
	const std::byte *memory = memory_.range(Gpa{0}, 0)->data();
	for (std::span<std::byte> buffer : chain.writable()) {
		std::uint64_t before = static_cast<std::uint64_t>(memory - buffer.data()) % page_size;
		if (buffer.size() >= before + page_size)
			collected_.push_back(buffer.subspan(before, (buffer.size() - before) / page_size * page_size));
	}
}

// Adjacent pages at once; Linux sends them mostly in order, backwards.
void Balloon::release_collected()
{
	std::ranges::sort(collected_, {}, [](std::span<std::byte> pages) { return pages.data(); });
	for (std::size_t next = 0; next < collected_.size();) {
		std::byte *start = collected_[next].data(), *end = start;
		for (; next < collected_.size() && collected_[next].data() <= end; next++)
			end = std::max(end, collected_[next].data() + collected_[next].size());
		host_.release({start, end});
	}
	collected_.clear();
}

// --- stats -------------------------------------------------------------------

void Balloon::read_stats(Transport &transport)
{
	Virtqueue &queue = transport.queue(stats_queue_);
	if (stats_chain_)
		return;		// what comes unasked waits until we ask
	stats_chain_ = queue.pop();
	if (!stats_chain_ && queue.enable_doorbell())
		stats_chain_ = queue.pop();
	if (!stats_chain_ || stats_chain_->readable().empty())
		return;
	std::array<virtio_balloon_stat, stats_per_chain> stats;
	auto bytes = stats_chain_->readable()[0];	// guest-controlled
	std::size_t count = std::min(bytes.size() / sizeof(stats[0]), stats.size());
	std::memcpy(stats.data(), bytes.data(), count * sizeof(stats[0]));
	host_.take_stats(std::span{stats}.first(count));
}

void Balloon::request_stats(Transport &transport)
{
	if (!stats_chain_)
		return;
	transport.queue(stats_queue_).push(*std::exchange(stats_chain_, std::nullopt), 0);
	transport.queue_used(stats_queue_);
	read_stats(transport);
}

} // namespace lguest
