// SPDX-License-Identifier: GPL-2.0-only
// What a network card can be plugged into: a NetBackend (virtio-devices/net.h) with
// descriptors in the event loop.  One file per kind: net_tap, net_vhost, net_link, net_user.
//
// net_card.cpp owns one together with its card.
//
// Threads: the event loop's, but set_offloads(), which comes from a vCPU's.
#pragma once

#include "attachment.h"
#include "net.h"
#include "vhost_back_end.h"

#include <string>

namespace lguest {

// What a port tells its card, in the event loop.
class NetEvents {
public:
	// With the device's lock held: call receive() from the event loop.
	virtual void receive_soon() = 0;
	// The others without it.
	// There are frames for the guest: receive() will be called until it returns 0.
	virtual void frames_waiting() = 0;
	// send() has room again, after it had none.
	virtual void room_again() = 0;
	// There is nothing at the other end of the cable any more, and why.
	virtual void link_lost(const std::string &reason) = 0;
	// Who serves the queues finds that the driver has broken the rules.
	virtual void driver_broken() = 0;

protected:
	~NetEvents() = default;
};

class NetPort : public NetBackend {
public:
	virtual ~NetPort() = default;

	// Begin; the card outlives the event loop's last step.
	virtual void start(NetEvents &card) { card_ = &card; }
	// The largest packet it passes, to be told to the guest; 0: nothing is.
	virtual std::uint16_t mtu() const = 0;

	// The queues that it serves itself, the first ones, and what with: before start().
	virtual unsigned queues_taken() const { return 0; }
	virtual void set_events(VhostEvents) {}

	virtual void add_needs(SandboxNeeds &) const {}

	// Frames that were lost here, in either direction.
	std::uint64_t dropped() const { return dropped_; }

	void receive_wanted() final { card_->receive_soon(); }

protected:
	NetEvents *card_ = nullptr;
	std::uint64_t dropped_ = 0;
};

} // namespace lguest
