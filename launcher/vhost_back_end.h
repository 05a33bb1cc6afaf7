// SPDX-License-Identifier: GPL-2.0-only
// Who serves a device's queues in the guest's memory, without the launcher: another
// process (vhost_user.h) or the host's kernel (vhost_kernel.h).  Here is what the two
// have in common, and what they are handed when a driver is ready.
//
//     Transport --ready_rings()--> VhostRing ... --start()--> VhostBackEnd
//
// A back end is told where queues are and has the eventfds; then
//
//     guest --doorbell--> kick --> back end        guest <--interrupt-- call <-- back end
//
// Threads: calls are made with the lock of the device's RegisterFile held.
#pragma once

#include "device.h"
#include "file.h"

#include <cstdint>
#include <span>
#include <stdexcept>
#include <vector>

namespace lguest {

// The back end broke the protocol, refused, or is gone.
struct BackEndError : std::runtime_error {
	using std::runtime_error::runtime_error;
};

// A ring the driver has set up: gpas, checked to be memory.
struct VhostRing {
	unsigned index;
	std::uint16_t size;
	std::uint64_t descriptors, available, used;
	int kick, call;			// eventfds
};

// The guest's memory, from gpa 0 on.
struct VhostMemory {
	std::span<std::byte> bytes;
	int descriptor;

	// Of gpa 0 in our address space.
	std::uint64_t address() const { return reinterpret_cast<std::uint64_t>(bytes.data()); }
};

// The eventfds of a device, which stay their owner's: a doorbell for each queue.
struct VhostEvents {
	std::vector<int> doorbells;
	int interrupt = -1;
};

// Of the first `count` queues, those that the driver has set up.
inline std::vector<VhostRing> ready_rings(Transport &transport, unsigned count, const VhostEvents &events)
{
	std::vector<VhostRing> rings;
	for (unsigned index = 0; index < count; index++) {
		const Virtqueue &queue = transport.queue(index);
		if (queue.ready())
			rings.push_back({index, queue.size(), queue.rings.descriptors, queue.rings.available, queue.rings.used,
					 events.doorbells.at(index), events.interrupt});
	}
	return rings;
}

// All throw BackEndError.
class VhostBackEnd {
public:
	virtual ~VhostBackEnd() = default;

	virtual std::uint64_t features() const = 0;	// virtio's
	// How many queues it serves; 0: it does not say.
	virtual unsigned queue_count() const = 0;

	virtual bool has_config() const { return false; }
	virtual Bytes read_config(std::uint32_t) { throw BackEndError{"it has no configuration space"}; }
	// False: refused.
	virtual bool write_config(std::uint32_t, std::span<const std::byte>) { return false; }

	virtual void start(std::uint64_t features, const VhostMemory &memory, std::span<const VhostRing> rings) = 0;
	// What is under way is finished first.  Nothing happens if not started.
	virtual void stop() = 0;
};

} // namespace lguest
