// SPDX-License-Identifier: GPL-2.0-only
// The virtio block device (virtio 1.2, section 5.2): a disk.
//
// Behind a RegisterFile; block_request.h takes the requests apart, a BlockBackend
// (launcher/disk.cpp) executes them, many at a time and in any order.
//
//     process():  pop -> parse -+-> start() ... submit()      BlockBackend
//                               |                  |
//                      answered |        complete() when done, then publish()
//                               v                  v
//                     status byte, used ring, interrupt
//
// The queues are alike: request queues of one disk, as many as the settings say.
#pragma once

#include "block_request.h"
#include "device.h"

#include <linux/virtio_blk.h>

#include <deque>

namespace lguest {

// Called with the device's lock held.
class BlockBackend {
public:
	// Take a request over.  It stays where it is until it is completed or cancelled.
	virtual void start(BlockRequest &request) = 0;
	// The last of a batch was started.  May complete requests, but not publish() them.
	virtual void submit(Transport &transport) = 0;
	// Return once nothing that was started touches guest memory any more: finished, or
	// given up.  None of it is completed then.
	virtual void cancel() = 0;

protected:
	~BlockBackend() = default;
};

class Block final : public Device {
public:
	static constexpr unsigned max_queues = 16;
	static constexpr std::uint16_t queue_size = 256;

	Block(BlockBackend &backend, BlockSettings settings);

	std::uint32_t id() const override;
	std::uint64_t features() const override;
	std::span<const std::uint16_t> queue_sizes() const override { return sizes_; }
	std::uint64_t read_config(std::uint64_t offset, unsigned width) override;
	void write_config(std::uint64_t offset, unsigned width, std::uint64_t value) override;
	void activate(std::uint64_t features) override;
	void process(Transport &transport, unsigned queue) override;
	void reset() override;

	// A request is done, or failed.  The driver learns of it at publish().
	void complete(Transport &transport, BlockRequest &request, bool ok);
	void publish(Transport &transport);

	unsigned in_flight() const { return in_flight_; }

private:
	// A chain on its way, and what became of it.
	struct Slot : BlockRequest {
		std::optional<DescriptorChain> chain;
		BlockAnswer answer{};
		unsigned queue = 0;
	};

	void take(Transport &transport, unsigned queue, DescriptorChain &&chain);
	void finish(Transport &transport, unsigned queue, DescriptorChain &&chain, const BlockAnswer &answer, std::uint8_t status);
	bool write_through() const;

	BlockBackend &backend_;
	const BlockSettings settings_;
	const std::vector<std::uint16_t> sizes_;
	virtio_blk_config config_{};
	std::uint64_t accepted_ = 0;		// features

	// As many as were ever on their way at once, reused; they do not move.
	std::deque<Slot> slots_;
	std::vector<Slot *> free_;
	unsigned in_flight_ = 0;
	std::vector<unsigned> in_flight_of_;	// by queue
	std::uint32_t to_publish_ = 0;		// bits, by queue: pushed since the last publish()
};

} // namespace lguest
