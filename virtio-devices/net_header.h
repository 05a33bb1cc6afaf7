// SPDX-License-Identifier: GPL-2.0-only
// The header in front of each frame of a network device, and what it may ask for.
//
// net.cpp has it checked in both directions: what the guest sends goes to the host's
// kernel or to another guest, what another guest sends comes here.
#pragma once

#include <cstddef>
#include <cstdint>

// It has a member of that name.
#define class class_
#include <linux/virtio_net.h>
#undef class

namespace lguest {

using NetHeader = virtio_net_hdr_v1;
static_assert(sizeof(NetHeader) == 12);

constexpr std::size_t ethernet_header = 14;
// Header, Ethernet with one VLAN tag, and the largest IP packet: more never comes in one piece.
constexpr std::size_t max_frame = sizeof(NetHeader) + ethernet_header + 4 + 65535;

constexpr std::uint64_t net_feature(unsigned number) { return 1ull << number; }

// What a receiver of frames does that their sender did not do.
struct Offloads {
	bool checksum = false;	// completes a checksum
	bool tso4 = false;	// cuts TCP over IPv4 into segments; and over IPv6
	bool tso6 = false;
	bool ecn = false;	// the same with the congestion flag set

	// From negotiated features: for frames the guest sends, and for those it gets.
	static Offloads of_host(std::uint64_t features);
	static Offloads of_guest(std::uint64_t features);
};

// The features of these two kinds.
constexpr std::uint64_t host_offload_features =
	net_feature(VIRTIO_NET_F_CSUM) | net_feature(VIRTIO_NET_F_HOST_TSO4) | net_feature(VIRTIO_NET_F_HOST_TSO6) |
	net_feature(VIRTIO_NET_F_HOST_ECN);
constexpr std::uint64_t guest_offload_features =
	net_feature(VIRTIO_NET_F_GUEST_CSUM) | net_feature(VIRTIO_NET_F_GUEST_TSO4) | net_feature(VIRTIO_NET_F_GUEST_TSO6) |
	net_feature(VIRTIO_NET_F_GUEST_ECN);

// Whether a receiver that does `offloads` can make sense of a frame of `size` bytes, the
// header not counted.  Puts what has no meaning to 0.
[[nodiscard]] bool check_header(NetHeader &header, std::size_t size, const Offloads &offloads);

} // namespace lguest
