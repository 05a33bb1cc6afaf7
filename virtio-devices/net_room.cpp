// SPDX-License-Identifier: GPL-2.0-only
// Room for frames from the host, see net_room.h.
#include "net_room.h"

#include <algorithm>
#include <climits>

namespace lguest {
namespace {

constexpr std::size_t max_parts = IOV_MAX - 2;	// besides the header and the overflow
constexpr std::size_t many_done = 64;		// chains given back, before the list is closed up

} // namespace

ReceiveRoom::ReceiveRoom() : overflow_{std::make_unique_for_overwrite<std::byte[]>(max_frame)} {}

void ReceiveRoom::reset(bool mergeable)
{
	mergeable_ = mergeable;
	chains_.clear();
	first_ = bytes_ = parts_ = frame_ = 0;
}

void ReceiveRoom::gather(Virtqueue &queue, std::size_t bytes)
{
	while (mergeable_ ? bytes_ < bytes : empty()) {
		auto chain = queue.pop();
		if (!chain)
			return;
		std::size_t size = 0;
		for (auto buffer : chain->writable())
			size += buffer.size();
		if (size < sizeof(NetHeader) || !chain->readable().empty())
			throw DriverError{"receive buffer without room for a header"};
		if (chain->writable().size() > max_parts)
			throw DriverError{"receive buffer in too many pieces"};
		bytes_ += size;
		parts_ += chain->writable().size();
		chains_.push_back({std::move(*chain), size});
	}
}

std::span<const iovec> ReceiveRoom::vector()
{
	vector_.clear();
	vector_.push_back({&header_, sizeof header_});
	std::size_t skip = sizeof header_;
	overflow_from_ = 0;
	for (std::size_t index = first_; index < limit(); index++) {
		auto buffers = chains_[index].chain.writable();
		if (vector_.size() - 1 + buffers.size() > max_parts)
			break;
		for (auto buffer : buffers) {
			std::size_t skipped = std::min(skip, buffer.size());
			skip -= skipped;
			vector_.push_back({buffer.data() + skipped, buffer.size() - skipped});
		}
		overflow_from_ += chains_[index].size;
	}
	vector_.push_back({overflow_.get(), max_frame});
	return vector_;
}

std::size_t ReceiveRoom::room() const
{
	return mergeable_ || empty() ? bytes_ : chains_[first_].size;
}

// Whether the driver has no more to give until it gets something back.
bool ReceiveRoom::all_taken(const Virtqueue &queue) const
{
	return chains_.size() - first_ >= queue.size() || parts_ >= queue.size();
}

// Into the room, which has it.
void ReceiveRoom::write(std::size_t offset, std::span<const std::byte> bytes)
{
	for (std::size_t index = first_; !bytes.empty(); index++) {
		for (auto buffer : chains_[index].chain.writable()) {
			std::size_t skipped = std::min(offset, buffer.size());
			std::size_t size = std::min(buffer.size() - skipped, bytes.size());
			std::copy_n(bytes.begin(), size, buffer.begin() + static_cast<std::ptrdiff_t>(skipped));
			bytes = bytes.subspan(size);
			offset -= skipped;
		}
	}
}

ReceiveRoom::Delivery ReceiveRoom::deliver(Virtqueue &queue)
{
	if (frame_ > room())
		return !mergeable_ || all_taken(queue) ? Delivery::impossible : Delivery::needs_more;
	if (frame_ > overflow_from_)
		write(overflow_from_, {overflow_.get(), frame_ - overflow_from_});
	release(queue);
	return Delivery::done;
}

// The driver must not see the frame's first chain before its last.
void ReceiveRoom::release(Virtqueue &queue)
{
	std::size_t end = first_;
	for (std::size_t covered = 0; covered < frame_; end++)
		covered += chains_[end].size;
	header_.num_buffers = static_cast<std::uint16_t>(end - first_);
	write(0, std::as_bytes(std::span{&header_, 1}));
	while (frame_ > 0) {
		Chain &chain = chains_[first_++];
		std::size_t written = std::min(frame_, chain.size);
		frame_ -= written;
		bytes_ -= chain.size;
		parts_ -= chain.chain.writable().size();
		queue.put(std::move(chain.chain), static_cast<std::uint32_t>(written));
	}
	queue.publish();
	if (empty() || first_ >= many_done) {
		chains_.erase(chains_.begin(), chains_.begin() + static_cast<std::ptrdiff_t>(first_));
		first_ = 0;
	}
}

} // namespace lguest
