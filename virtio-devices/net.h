// SPDX-License-Identifier: GPL-2.0-only
// The virtio network device (virtio 1.2, section 5.1).
//
// Behind a RegisterFile; the wire it is plugged into is a NetBackend: a TAP device, a
// user-mode network, a link to other guests (launcher/net_port.h).
//
//     guest --queue 1--> process() --> NetBackend::send()
//     guest <--queue 0-- receive() <-- NetBackend::receive()
//     guest ---queue 2--> process()      commands: filters, address, offloads
//
// No frame is copied here: send() gets the guest's buffers, receive() fills them, both
// with our checked copy of the header in front.  Nothing is queued here either: while
// the backend has no room, chains stay in queue 1, one of them popped; while the guest
// gives no buffers, frames stay with the backend, one of them perhaps half delivered.
//
// Or the backend takes queues 0 and 1 over, and only the commands are ours.
#pragma once

#include "device.h"
#include "net_header.h"
#include "net_room.h"

#include <array>
#include <optional>

namespace lguest {

using MacAddress = std::array<std::uint8_t, 6>;

// Called with the device's lock held; must not call back.  All in the event loop's
// thread, but set_offloads(), which comes from any.
class NetBackend {
public:
	// The offload features it can take part in: net_header.h's, CTRL_GUEST_OFFLOADS.
	virtual std::uint64_t features() const = 0;
	// One frame of the guest, a NetHeader in front.  False: no room now;
	// Net::resume_transmit() follows once there is.  What cannot be sent ever is dropped.
	virtual bool send(std::span<const iovec> frame) = 0;
	// One frame for the guest, a NetHeader in front; returns its size.  0: there is none
	// now; Net::receive() follows once there is.
	virtual std::size_t receive(std::span<const iovec> room) = 0;
	// The guest may have room for frames again: call Net::receive().
	virtual void receive_wanted() = 0;
	// What frames for the guest may leave to it.
	virtual void set_offloads(const Offloads &offloads) = 0;

	// For a backend that serves receive and transmit queue itself: the features of the ring
	// it knows; both queues are its own from take_queues() to return_queues(), and the calls
	// above but the last are not made.  Throws DriverError.
	virtual std::uint64_t ring_features() const { return ~std::uint64_t{0}; }
	virtual bool take_queues(Transport &, std::uint64_t /* features */) { return false; }
	virtual void return_queues() {}

protected:
	~NetBackend() = default;
};

class Net final : public Device {
public:
	struct Settings {
		MacAddress mac{};
		std::uint16_t mtu = 0;		// told to the guest; 0: nothing is
	};

	static constexpr unsigned receive_queue = 0;
	static constexpr unsigned transmit_queue = 1;
	static constexpr unsigned control_queue = 2;

	Net(NetBackend &backend, const Settings &settings);

	std::uint32_t id() const override;
	std::uint64_t features() const override;
	std::uint64_t ring_features() const override { return backend_.ring_features(); }
	std::span<const std::uint16_t> queue_sizes() const override { return sizes_; }
	std::uint64_t read_config(std::uint64_t offset, unsigned width) override;
	void activate(std::uint64_t features) override;
	void hand_over(Transport &transport) override;
	void process(Transport &transport, unsigned queue) override;
	void reset() override;

	// Frames from the backend to the guest.  True: it stopped early, call it again soon.
	bool receive(Transport &transport);
	// The backend accepts frames again.
	void resume_transmit(Transport &transport);
	// Plug or unplug the cable.  Without one, frames are dropped as they come.
	void set_link(Transport &transport, bool up);
	bool link_up() const { return config_.status & VIRTIO_NET_S_LINK_UP; }

	struct Counters {
		std::uint64_t sent = 0;
		std::uint64_t received = 0;
		std::uint64_t send_refused = 0;		// a header we cannot accept
		std::uint64_t receive_refused = 0;	// one the guest cannot, or no buffers for the frame
	};
	const Counters &counters() const { return counters_; }

private:
	void transmit(Transport &transport);
	bool send(const DescriptorChain &chain);
	bool receive_one(Virtqueue &queue);
	void handle_control(Transport &transport);
	bool obey(const DescriptorChain &chain);
	void set_guest_offloads(std::uint64_t features);

	static constexpr std::array<std::uint16_t, 3> sizes_{512, 512, 64};

	NetBackend &backend_;
	const MacAddress mac_;				// the guest can change it until its next reset
	virtio_net_config config_{};
	std::uint64_t negotiated_ = 0;
	bool handed_over_ = false;			// the backend has two of the queues
	Offloads host_offloads_, guest_offloads_;
	ReceiveRoom room_;
	std::size_t room_wanted_ = max_frame;		// for a frame in one go
	std::optional<DescriptorChain> sending_;	// popped, refused by the backend
	std::vector<iovec> vector_;			// of send()
	Counters counters_;
};

} // namespace lguest
