// SPDX-License-Identifier: GPL-2.0-only
// A virtio device whose queues somebody else serves (vhost_back_end.h): it has registers
// like any other (virtio-devices/register_file.h), passes on what the driver sets up, and
// is not involved any more while requests are made.
//
//     driver --registers--> RegisterFile --hand_over(), reset()--> VhostDevice --start()--> back end
//     driver --doorbell------------------------------------------------eventfd-----------> back end
//     driver <-interrupt-----------------------------------------------eventfd------------ back end
//
// vhost_user_attachment.h connects it to event loop and module, vsock.h for sockets.
#pragma once

#include "device.h"
#include "guest_ram.h"
#include "vhost_back_end.h"

namespace lguest {

class VhostDevice final : public Device {
public:
	struct Kind {
		std::uint32_t id = 0;			// VIRTIO_ID_*
		std::vector<std::uint16_t> queue_sizes{};
		unsigned unserved = 0;			// of them, the last ones, that nobody looks at
		// The device's features that the guest may be offered, of those the back end has.
		std::uint64_t features = device_features;
		std::uint64_t added_features = 0;	// that are the front end's to offer
		// The configuration space, or so many bytes of the back end's.
		Bytes config{};
		std::uint32_t back_end_config = 0;
	};
	// The bits that belong to a kind of device, not to ring or transport.
	static constexpr std::uint64_t device_features = 0xfffc'0000'00ff'ffff;

	// Throws BackEndError if the back end is not one for such a device.
	VhostDevice(VhostBackEnd &back_end, const GuestRam &ram, Kind kind);

	// Before the guest runs.
	void set_events(VhostEvents events) { events_ = std::move(events); }

	std::uint32_t id() const override { return kind_.id; }
	std::uint64_t features() const override { return (back_end_.features() & kind_.features & device_features) | kind_.added_features; }
	std::uint64_t ring_features() const override { return back_end_.features(); }
	std::span<const std::uint16_t> queue_sizes() const override { return kind_.queue_sizes; }
	std::uint64_t read_config(std::uint64_t offset, unsigned width) override;
	void write_config(std::uint64_t offset, unsigned width, std::uint64_t value) override;
	void activate(std::uint64_t features) override { accepted_ = features; }
	void hand_over(Transport &transport) override;
	void process(Transport &, unsigned) override {}
	void reset() override;

	// The guest has ended: have what is under way finished.
	void finish() { reset(); }

private:
	unsigned served() const { return static_cast<unsigned>(kind_.queue_sizes.size()) - kind_.unserved; }

	VhostBackEnd &back_end_;
	const GuestRam &ram_;
	Kind kind_;
	VhostEvents events_;
	std::uint64_t accepted_ = 0;	// features
};

} // namespace lguest
