// SPDX-License-Identifier: GPL-2.0-only
// The room a driver has given for frames: chains of its receive queue, in order, and
// the frame that is being put there.  Used by net.cpp alone.
//
//     vector():   our header | chain | chain | chain ... | overflow, ours
//                 \_______________________ frame ______________________/
//
// A scatter read brings a frame, whose size nobody knows before, straight to guest
// memory.  Its header comes to us, to be checked first; the first bytes of the first
// chain are kept for it.  If the driver gave less room than the frame takes, its end
// is in the overflow until there is more.
//
// Locking: the device's.
#pragma once

#include "net_header.h"
#include "virtqueue.h"

#include <sys/uio.h>

#include <memory>
#include <vector>

namespace lguest {

class ReceiveRoom {
public:
	ReceiveRoom();

	// As new, for a driver that does or does not accept frames across several chains.
	void reset(bool mergeable);
	// Take chains from the queue until there is room for `bytes`.  Throws DriverError.
	void gather(Virtqueue &queue, std::size_t bytes);

	bool empty() const { return first_ == chains_.size(); }
	// Where the next frame goes; valid until the next call.
	std::span<const iovec> vector();

	// A frame of `size` bytes, with its header, was read there.
	void take(std::size_t size) { frame_ = size; }
	std::size_t frame() const { return frame_; }	// 0: none
	NetHeader &header() { return header_; }
	void drop() { frame_ = 0; }

	enum class Delivery { done, needs_more, impossible };
	// Give the driver the frame, its header in front.  needs_more: gather(), then again.
	Delivery deliver(Virtqueue &queue);

private:
	struct Chain {
		DescriptorChain chain;
		std::size_t size;	// bytes
	};

	std::size_t limit() const { return mergeable_ ? chains_.size() : std::min(first_ + 1, chains_.size()); }
	std::size_t room() const;
	bool all_taken(const Virtqueue &queue) const;
	void write(std::size_t offset, std::span<const std::byte> bytes);
	void release(Virtqueue &queue);

	bool mergeable_ = false;
	std::vector<Chain> chains_;
	std::size_t first_ = 0;			// those before were given back
	std::size_t bytes_ = 0;			// in those that were not
	std::size_t parts_ = 0;			// their buffers
	std::vector<iovec> vector_;
	NetHeader header_{};
	std::unique_ptr<std::byte[]> overflow_;	// max_frame bytes
	std::size_t overflow_from_ = 0;		// what of the frame is there: from this byte on
	std::size_t frame_ = 0;
};

} // namespace lguest
