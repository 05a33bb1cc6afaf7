// SPDX-License-Identifier: GPL-2.0-only
// The virtio entropy device, see entropy.h.
#include "entropy.h"

#include <linux/virtio_ids.h>

namespace lguest {
namespace {

// A request is answered with fewer bytes than it has room for rather than hold up
// the thread; at least one, as the specification says.
constexpr std::uint64_t most_per_request = 64 << 10;

} // namespace

std::uint32_t Entropy::id() const { return VIRTIO_ID_RNG; }

void Entropy::activate(std::uint64_t)
{
	// A new allowance may have come to nothing while there was no driver.
	if (allowance_ == 0)
		host_.allowance_used();
}

void Entropy::process(Transport &transport, unsigned index)
{
	Virtqueue &queue = transport.queue(index);
	unsigned budget = 4u * queue.size();
	do {
		queue.disable_doorbell();
		for (; budget > 0 && allowance_ > 0; budget--) {
			auto chain = queue.pop();
			if (!chain)
				break;
			std::uint64_t most = std::min(most_per_request, allowance_), done = 0;
			for (std::span<std::byte> buffer : chain->writable()) {
				buffer = buffer.first(std::min<std::uint64_t>(buffer.size(), most - done));
				host_.fill(buffer);
				done += buffer.size();
			}
			if (done == 0)
				throw DriverError{"request without room"};
			queue.push(std::move(*chain), static_cast<std::uint32_t>(done));
			if (allowance_ == no_limit)
				continue;
			allowance_ -= done;
			if (allowance_ == 0)
				host_.allowance_used();
		}
		transport.queue_used(index);
	} while (allowance_ > 0 && budget > 0 && queue.enable_doorbell());
	if (budget == 0)
		transport.look_again(index);
}

void Entropy::resume(Transport &transport, std::uint64_t allowance)
{
	allowance_ = allowance;
	process(transport, 0);
}

} // namespace lguest
