// SPDX-License-Identifier: GPL-2.0-only
// A network card served by the host's kernel, see net_vhost.h.
#include "net_vhost.h"

#include "error.h"

#include <spdlog/spdlog.h>

#include <cerrno>
#include <cstring>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

namespace lguest {
namespace {

// Says something whenever an interface of the host comes, goes or changes.
Descriptor interface_events()
{
	Descriptor fd{socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE)};
	sockaddr_nl address{};
	address.nl_family = AF_NETLINK;
	address.nl_groups = RTMGRP_LINK;
	if (!fd || bind(fd.get(), reinterpret_cast<sockaddr *>(&address), sizeof(address)) < 0)
		fail("cannot hear of the host's interfaces: {}", std::strerror(errno));
	return fd;
}

} // namespace

std::unique_ptr<VhostPort> vhost_for(const NetOptions &options)
{
	if (options.vhost == NetOptions::Vhost::off)
		return nullptr;
	auto vhost = open_vhost(VhostNet::path);
	if (!vhost && options.vhost == NetOptions::Vhost::on)
		fail("--net vhost: {}: {}; {}", VhostNet::path, std::strerror(errno),
		     errno == EACCES ? "run as root, or join the group it belongs to" : "as root: modprobe vhost_net");
	return vhost;
}

VhostNetPort::VhostNetPort(const MachineParts &machine, const NetOptions &options, std::unique_ptr<VhostPort> vhost)
	: loop_{machine.loop}, ram_{machine.ram}, tap_{open_tap(options)}, mtu_{options.mtu},
	  interfaces_{machine.loop, interface_events().release()}
{
	try {
		kernel_.emplace(std::move(vhost), tap_.get());
	} catch (const BackEndError &error) {
		fail("--net vhost: {} does not do: {}", VhostNet::path, error.what());
	}
}

void VhostNetPort::start(NetEvents &card)
{
	NetPort::start(card);
	errors_.emplace(loop_, *kernel_, [this] { errors_found(); });
	watch();
}

// A device that is gone is an error to it, too, and no fault of the driver's.
void VhostNetPort::errors_found()
{
	if (tap_exists(tap_.get()))
		card_->driver_broken();
}

bool VhostNetPort::take_queues(Transport &transport, std::uint64_t features)
{
	try {
		kernel_->start(features & kernel_->features(), {ram_.bytes(), ram_.fd()}, ready_rings(transport, queues_taken(), events_));
	} catch (const BackEndError &error) {
		throw DriverError{fmt::format("vhost-net: {}", error.what())};
	}
	return true;
}

// Whatever the news is, it is the device that we ask.
void VhostNetPort::watch()
{
	interfaces_.async_wait(interfaces_.wait_read, [this](boost::system::error_code error) {
		if (error)
			return;
		char news[4096];
		while (recv(interfaces_.native_handle(), news, sizeof(news), MSG_TRUNC) >= 0 || errno == ENOBUFS)
			;
		if (tap_exists(tap_.get()))
			watch();
		else
			card_->link_lost("TAP device: removed");
	});
}

} // namespace lguest
