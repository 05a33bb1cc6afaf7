// SPDX-License-Identifier: GPL-2.0-only
// `--net`: a network card, and what it is plugged into.
//
//     --net user,forward=tcp:2222-22+udp:0.0.0.0:5353-53
//     --net tap=tap0,bridge=br0,mac=02:00:00:00:00:01
//     --net tap=tap1,vhost=on
//     --net link=lab,mtu=9000
#pragma once

#include "keyed_options.h"
#include "net.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace lguest {

// A port of the host that leads to one of the guest.
struct Forward {
	bool udp = false;
	std::string address = "127.0.0.1";	// of the host, IPv4
	std::uint16_t host_port = 0;
	std::uint16_t guest_port = 0;
};

struct NetOptions {
	enum class Kind { user, tap, tap_fd, link };
	enum class Vhost { off, on, automatic };

	Kind kind = Kind::user;
	std::string name;		// of the TAP device or the link
	int fd = -1;			// tap_fd
	Vhost vhost = Vhost::automatic;	// whether the host's kernel serves a TAP device's queues
	std::string bridge;		// to put the TAP device into; empty: none
	std::vector<Forward> forwards;	// user
	std::optional<MacAddress> mac;	// else card_address()
	std::uint16_t mtu = 0;		// 0: the kind's own
	std::string id;			// what it is called in messages; empty: net0, net1 ...
};

NetOptions read_net_options(KeyedOptions &options);	// throws Error

// The address of a guest's card number `index`: the same at each start of a guest with a name;
// without a name, as long as this process lives.
MacAddress card_address(const std::string &guest, std::size_t index);
std::string format_mac(const MacAddress &mac);

} // namespace lguest
