// SPDX-License-Identifier: GPL-2.0-only
// A TAP device of the host, see tap_device.h.
#include "tap_device.h"

#include "error.h"

#include <spdlog/spdlog.h>

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

// Not in net/if.h, and linux/sockios.h does not go with it everywhere.
#include <linux/sockios.h>

namespace lguest {
namespace {

ifreq request(const std::string &name)
{
	ifreq request{};
	name.copy(request.ifr_name, IFNAMSIZ - 1);
	return request;
}

// Any socket takes ioctls on interfaces; this kind can be had in the sandbox, after a reboot.
Descriptor control_socket()
{
	Descriptor fd{socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
	if (!fd)
		fail("cannot get a socket: {}", std::strerror(errno));
	return fd;
}

// An existing TAP device, or a new one that vanishes with us.
Descriptor open_by_name(const std::string &name)
{
	Descriptor fd{open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC)};
	if (!fd)
		fail("--net tap={}: /dev/net/tun: {}; is the module tun loaded?", name, std::strerror(errno));
	ifreq tap = request(name);
	tap.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	if (ioctl(fd.get(), TUNSETIFF, &tap) == 0)
		return fd;
	switch (errno) {
	case EPERM:
		fail("--net tap={}: not permitted; as root: ip tuntap add {} mode tap user {} && ip link set {} up", name, name, getuid(), name);
	case EBUSY:
		fail("--net tap={}: in use by another program", name);
	case EINVAL:
		fail("--net tap={}: exists and is no TAP device with one queue", name);
	default:
		fail("--net tap={}: {}", name, std::strerror(errno));
	}
}

// A descriptor of our own for the same TAP device: the given one is left for after a reboot.
Descriptor adopt_tap(int given, std::string &name)
{
	Descriptor fd{fcntl(given, F_DUPFD_CLOEXEC, 3)};
	if (!fd)
		fail("--net tap-fd={}: {}", given, std::strerror(errno));
	ifreq tap{};
	if (ioctl(fd.get(), TUNGETIFF, &tap) < 0 || !(tap.ifr_flags & IFF_TAP))
		fail("--net tap-fd={}: not an open TAP device", given);
	if (!(tap.ifr_flags & IFF_VNET_HDR) || !(tap.ifr_flags & IFF_NO_PI))
		fail("--net tap-fd={}: must be opened with IFF_VNET_HDR and IFF_NO_PI", given);
	if (fcntl(fd.get(), F_SETFL, fcntl(fd.get(), F_GETFL) | O_NONBLOCK) < 0)
		fail("--net tap-fd={}: {}", given, std::strerror(errno));
	name.assign(tap.ifr_name, strnlen(tap.ifr_name, IFNAMSIZ));
	return fd;
}

void set_mtu(const std::string &name, std::uint16_t mtu)
{
	ifreq change = request(name);
	change.ifr_mtu = mtu;
	if (ioctl(control_socket().get(), SIOCSIFMTU, &change) < 0)
		spdlog::warn("--net tap={}: its MTU stays as it is: {}", name, std::strerror(errno));
}

void add_to_bridge(const std::string &name, const std::string &bridge)
{
	ifreq change = request(bridge);
	change.ifr_ifindex = static_cast<int>(if_nametoindex(name.c_str()));
	// EBUSY: it is in a bridge; if that is another one, the user has put it there.
	if (ioctl(control_socket().get(), SIOCBRADDIF, &change) < 0 && errno != EBUSY)
		fail("--net bridge={}: cannot add {}: {}; as root: ip link set {} master {}", bridge, name, std::strerror(errno), name, bridge);
}

void bring_up(const std::string &name)
{
	Descriptor socket = control_socket();
	ifreq change = request(name);
	if (ioctl(socket.get(), SIOCGIFFLAGS, &change) == 0 && (change.ifr_flags & IFF_UP))
		return;
	change.ifr_flags |= IFF_UP;
	if (ioctl(socket.get(), SIOCSIFFLAGS, &change) < 0)
		spdlog::warn("--net tap={}: is down: {}; as root: ip link set {} up", name, std::strerror(errno), name);
}

} // namespace

Descriptor open_tap(const NetOptions &options)
{
	std::string name = options.name;
	Descriptor fd = options.kind == NetOptions::Kind::tap ? open_by_name(name) : adopt_tap(options.fd, name);
	int header_size = sizeof(NetHeader);
	if (ioctl(fd.get(), TUNSETVNETHDRSZ, &header_size) < 0)
		fail("--net tap={}: no headers of {} bytes: {}", name, header_size, std::strerror(errno));
	set_tap_offloads(fd.get(), {});
	if (options.mtu)
		set_mtu(name, options.mtu);
	if (!options.bridge.empty())
		add_to_bridge(name, options.bridge);
	bring_up(name);
	return fd;
}

void set_tap_offloads(int tap, const Offloads &offloads)
{
	// The kernel wants each together with what it builds on.
	unsigned flags = 0;
	if (offloads.checksum) {
		flags = TUN_F_CSUM | (offloads.tso4 ? TUN_F_TSO4 : 0u) | (offloads.tso6 ? TUN_F_TSO6 : 0u);
		if (offloads.ecn && (offloads.tso4 || offloads.tso6))
			flags |= TUN_F_TSO_ECN;
	}
	if (ioctl(tap, TUNSETOFFLOAD, flags) < 0)
		spdlog::debug("a TAP device does not take offloads {:#x}: {}", flags, std::strerror(errno));
}

bool tap_exists(int tap)
{
	ifreq answer{};
	return ioctl(tap, TUNGETIFF, &answer) == 0;
}

} // namespace lguest
