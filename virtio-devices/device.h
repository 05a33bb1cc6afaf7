// SPDX-License-Identifier: GPL-2.0-only
// What a virtio device is to its transport, and the transport to a device.
//
// One device = one class derived from Device (console.h), behind one RegisterFile
// (register_file.h).  A device knows queues and its own back end, not registers,
// interrupts or threads.
//
// Locking: every call of a Device is made with the lock of its RegisterFile held,
// and what Transport offers may be used only with it held.  Events of the host
// side enter through RegisterFile::with_device(), which takes it.
#pragma once

#include "virtqueue.h"

#include <algorithm>
#include <cstdint>
#include <span>

namespace lguest {

// The services a device gets.
class Transport {
public:
	virtual Virtqueue &queue(unsigned index) = 0;
	// After pushing chains: interrupt the driver if it wants that.
	virtual void queue_used(unsigned index) = 0;
	// Have process() called once more, soon: for a device that stops early so that
	// a driver which never stops feeding it cannot keep the thread.
	virtual void look_again(unsigned index) = 0;
	// The configuration space has changed.
	virtual void config_changed() = 0;

protected:
	~Transport() = default;
};

class Device {
public:
	virtual ~Device() = default;

	// Constant properties.  Features: the device's own; those of the ring and of
	// the transport are added.
	virtual std::uint32_t id() const = 0;		// VIRTIO_ID_*
	virtual std::uint64_t features() const = 0;
	virtual std::span<const std::uint16_t> queue_sizes() const = 0;
	// Of the features of ring and transport, those that whoever serves the queues knows.
	virtual std::uint64_t ring_features() const { return ~std::uint64_t{0}; }

	// Configuration space; offsets and widths (1, 2, 4, 8) are guest-controlled.
	virtual std::uint64_t read_config(std::uint64_t offset, unsigned width) = 0;
	virtual void write_config(std::uint64_t, unsigned, std::uint64_t) {}

	// The driver is ready (DRIVER_OK) with these features.  A process() of each
	// queue follows, for what was made available before.
	virtual void activate(std::uint64_t features) = 0;
	// The same moment, for a device whose queues another process serves and who has to be
	// told where they are.  Throws DriverError.
	virtual void hand_over(Transport &) {}
	// A doorbell: look at the queue.  Throws DriverError.
	virtual void process(Transport &transport, unsigned queue) = 0;
	// The driver is about to reset the device, which works: a last look at what it made
	// available before and what would be lost.  Throws DriverError.
	virtual void before_reset(Transport &) {}
	// Forget what the driver was told and what is under way.
	virtual void reset() = 0;
};

// Read `width` bytes at `offset` of a configuration space held as a struct; bytes
// beyond its end read as zeros.
template <typename Config>
std::uint64_t config_bytes(const Config &config, std::uint64_t offset, unsigned width)
{
	std::uint64_t bytes = 0;
	if (offset < sizeof(Config))
		std::memcpy(&bytes, reinterpret_cast<const std::byte *>(&config) + offset,
			    std::min<std::uint64_t>(width, sizeof(Config) - offset));
	return bytes;
}

} // namespace lguest
