// SPDX-License-Identifier: GPL-2.0-only
// A network card plugged into a TAP device of the host: frames go to and come from its
// kernel one by one, large ones and those without checksums too, with the header that
// virtio and TAP devices have in common.  net_vhost.h does without us in between.
//
// While the guest has no room, frames wait in the device's own queue, and are dropped
// and counted there when that is full.
#pragma once

#include "net_options.h"
#include "net_port.h"
#include "tap_device.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

namespace lguest {

class TapPort final : public NetPort {
public:
	TapPort(boost::asio::io_context &loop, const NetOptions &options)	// throws Error
		: tap_{loop, open_tap(options).release()}, mtu_{options.mtu} {}

	std::uint16_t mtu() const override { return mtu_; }
	std::uint64_t features() const override { return tap_features; }
	bool send(std::span<const iovec> frame) override;
	std::size_t receive(std::span<const iovec> room) override;
	void set_offloads(const Offloads &offloads) override { set_tap_offloads(tap_.native_handle(), offloads); }

private:
	void lose(int error);

	boost::asio::posix::stream_descriptor tap_;
	std::uint16_t mtu_;
	bool waiting_to_send_ = false;
	bool waiting_to_receive_ = false;
	bool lost_ = false;
};

} // namespace lguest
