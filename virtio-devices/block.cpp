// SPDX-License-Identifier: GPL-2.0-only
// The virtio block device, see block.h.
#include "block.h"

#include <linux/virtio_ids.h>

#include <bit>
#include <utility>

namespace lguest {
namespace {

constexpr std::uint32_t sector_size = 512;
constexpr std::uint32_t physical_block = 4096;	// what the host's files are made of

constexpr std::uint64_t bit(unsigned feature) { return 1ull << feature; }

std::uint32_t sectors(std::uint64_t bytes) { return static_cast<std::uint32_t>(bytes / sector_size); }

} // namespace

Block::Block(BlockBackend &backend, BlockSettings settings)
	: backend_{backend}, settings_{std::move(settings)}, sizes_(settings_.queues, queue_size), in_flight_of_(settings_.queues)
{
	std::uint32_t physical = std::max(physical_block, settings_.block_size);
	config_.capacity = settings_.size / sector_size;
	config_.size_max = block_max_segment;
	config_.seg_max = block_max_segments;
	config_.blk_size = settings_.block_size;
	config_.physical_block_exp = static_cast<std::uint8_t>(std::countr_zero(physical / settings_.block_size));
	config_.min_io_size = static_cast<std::uint16_t>(physical / settings_.block_size);
	config_.wce = 1;
	config_.num_queues = static_cast<std::uint16_t>(settings_.queues);
	config_.max_discard_sectors = sectors(block_max_discard);
	config_.max_discard_seg = 1;
	config_.discard_sector_alignment = sectors(physical);
	config_.max_write_zeroes_sectors = sectors(block_max_zeroes);
	config_.max_write_zeroes_seg = 1;
	config_.write_zeroes_may_unmap = 1;
}

std::uint32_t Block::id() const { return VIRTIO_ID_BLOCK; }

std::uint64_t Block::features() const
{
	std::uint64_t all = bit(VIRTIO_BLK_F_SIZE_MAX) | bit(VIRTIO_BLK_F_SEG_MAX) | bit(VIRTIO_BLK_F_BLK_SIZE) |
			    bit(VIRTIO_BLK_F_TOPOLOGY) | bit(VIRTIO_BLK_F_FLUSH) | bit(VIRTIO_BLK_F_CONFIG_WCE);
	if (settings_.queues > 1)
		all |= bit(VIRTIO_BLK_F_MQ);
	all |= settings_.read_only ? bit(VIRTIO_BLK_F_RO) : bit(VIRTIO_BLK_F_DISCARD) | bit(VIRTIO_BLK_F_WRITE_ZEROES);
	return all;
}

std::uint64_t Block::read_config(std::uint64_t offset, unsigned width)
{
	return config_bytes(config_, offset, width);
}

void Block::write_config(std::uint64_t offset, unsigned, std::uint64_t value)
{
	if (offset == offsetof(virtio_blk_config, wce))
		config_.wce = value & 1;
}

// Whether a write counts only once it is on stable storage: the driver does not know
// how to flush, or has switched the write cache off.
bool Block::write_through() const
{
	return !(accepted_ & bit(VIRTIO_BLK_F_FLUSH)) || ((accepted_ & bit(VIRTIO_BLK_F_CONFIG_WCE)) && !config_.wce);
}

void Block::activate(std::uint64_t features)
{
	accepted_ = features;
}

void Block::reset()
{
	backend_.cancel();
	free_.clear();
	for (Slot &slot : slots_) {
		slot.chain.reset();
		free_.push_back(&slot);
	}
	in_flight_ = to_publish_ = 0;
	std::ranges::fill(in_flight_of_, 0u);
	accepted_ = 0;
	config_.wce = 1;
}

void Block::process(Transport &transport, unsigned index)
{
	Virtqueue &queue = transport.queue(index);
	unsigned budget = 4u * queue.size();
	do {
		queue.disable_doorbell();
		for (; budget > 0; budget--) {
			auto chain = queue.pop();
			if (!chain)
				break;
			take(transport, index, std::move(*chain));
		}
		backend_.submit(transport);
		publish(transport);
	} while (budget > 0 && queue.enable_doorbell());
	if (budget == 0)
		transport.look_again(index);
}

void Block::take(Transport &transport, unsigned queue, DescriptorChain &&chain)
{
	// Each takes a descriptor, so an honest driver has no more of them.
	if (in_flight_of_[queue] >= transport.queue(queue).size())
		throw DriverError{"more requests than descriptors"};
	if (free_.empty())
		free_.push_back(&slots_.emplace_back());
	Slot &slot = *free_.back();
	BlockAnswer answer = parse_block_request(chain, settings_, slot);
	if (answer.known) {
		finish(transport, queue, std::move(chain), answer, *answer.known);
		return;
	}
	free_.pop_back();
	slot.chain = std::move(chain);
	slot.answer = answer;
	slot.queue = queue;
	slot.durable = slot.kind != BlockRequest::Kind::read && write_through();
	in_flight_++;
	in_flight_of_[queue]++;
	backend_.start(slot);
}

void Block::complete(Transport &transport, BlockRequest &request, bool ok)
{
	Slot &slot = static_cast<Slot &>(request);
	in_flight_--;
	in_flight_of_[slot.queue]--;
	finish(transport, slot.queue, *std::exchange(slot.chain, std::nullopt), slot.answer, ok ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
	free_.push_back(&slot);
}

void Block::finish(Transport &transport, unsigned queue, DescriptorChain &&chain, const BlockAnswer &answer, std::uint8_t status)
{
	*answer.status = static_cast<std::byte>(status);
	transport.queue(queue).push(std::move(chain), status == VIRTIO_BLK_S_OK ? answer.written : 1);
	to_publish_ |= 1u << queue;
}

void Block::publish(Transport &transport)
{
	for (; to_publish_; to_publish_ &= to_publish_ - 1)
		transport.queue_used(static_cast<unsigned>(std::countr_zero(to_publish_)));
}

} // namespace lguest
