// SPDX-License-Identifier: GPL-2.0-only
// A network card plugged into a TAP device of the host, its frames moved by the host's
// kernel, vhost-net: from queue to device and back without this process, which has the
// commands (virtio-devices/net.h) and the configuration.
//
// vhost_kernel.h talks to vhost-net, tap_device.h to the device.
#pragma once

#include "net_options.h"
#include "net_port.h"
#include "tap_device.h"
#include "vhost_errors.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <memory>
#include <optional>

namespace lguest {

// The way to vhost-net, if the options want it; null if not, or if they leave it open and
// the host has none for us.  Throws Error.
std::unique_ptr<VhostPort> vhost_for(const NetOptions &options);

class VhostNetPort final : public NetPort {
public:
	VhostNetPort(const MachineParts &machine, const NetOptions &options, std::unique_ptr<VhostPort> vhost);	// throws Error

	void start(NetEvents &card) override;
	std::uint16_t mtu() const override { return mtu_; }
	std::uint64_t features() const override { return tap_features; }
	void set_offloads(const Offloads &offloads) override { set_tap_offloads(tap_.get(), offloads); }
	void add_needs(SandboxNeeds &needs) const override { needs.vhost = needs.interface_events = true; }

	unsigned queues_taken() const override { return kernel_->queue_count(); }
	void set_events(VhostEvents events) override { events_ = std::move(events); }
	std::uint64_t ring_features() const override { return kernel_->features(); }
	bool take_queues(Transport &transport, std::uint64_t features) override;
	void return_queues() override { kernel_->stop(); }

	// Nobody calls these: the queues are the kernel's.
	bool send(std::span<const iovec>) override { return true; }
	std::size_t receive(std::span<const iovec>) override { return 0; }

private:
	void watch();
	void errors_found();

	boost::asio::io_context &loop_;
	const GuestRam &ram_;
	Descriptor tap_;
	std::uint16_t mtu_;
	std::optional<VhostNet> kernel_;
	std::optional<VhostErrors> errors_;
	boost::asio::posix::stream_descriptor interfaces_;	// news of the host's interfaces
	VhostEvents events_;
};

} // namespace lguest
