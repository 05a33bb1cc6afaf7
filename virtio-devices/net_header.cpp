// SPDX-License-Identifier: GPL-2.0-only
// Checking the header of a frame, see net_header.h.
#include "net_header.h"

namespace lguest {
namespace {

bool has(std::uint64_t features, unsigned number) { return features & net_feature(number); }

bool segments(std::uint8_t type, const Offloads &offloads)
{
	if ((type & VIRTIO_NET_HDR_GSO_ECN) && !offloads.ecn)
		return false;
	switch (type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_TCPV4:	return offloads.tso4;
	case VIRTIO_NET_HDR_GSO_TCPV6:	return offloads.tso6;
	default:			return false;
	}
}

} // namespace

Offloads Offloads::of_host(std::uint64_t features)
{
	return {has(features, VIRTIO_NET_F_CSUM), has(features, VIRTIO_NET_F_HOST_TSO4), has(features, VIRTIO_NET_F_HOST_TSO6),
		has(features, VIRTIO_NET_F_HOST_ECN)};
}

Offloads Offloads::of_guest(std::uint64_t features)
{
	return {has(features, VIRTIO_NET_F_GUEST_CSUM), has(features, VIRTIO_NET_F_GUEST_TSO4),
		has(features, VIRTIO_NET_F_GUEST_TSO6), has(features, VIRTIO_NET_F_GUEST_ECN)};
}

bool check_header(NetHeader &header, std::size_t size, const Offloads &offloads)
{
	if (size < ethernet_header || size > max_frame - sizeof header)
		return false;
	header.num_buffers = 0;
	header.flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_DATA_VALID;
	if (!offloads.checksum && (header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
		return false;
	if (!offloads.checksum)
		header.flags = 0;
	// The sum goes over all from csum_start on, and into two bytes after it.
	if (header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		if (header.csum_start < ethernet_header || std::size_t{header.csum_start} + header.csum_offset + 2 > size)
			return false;
	} else {
		header.csum_start = header.csum_offset = 0;
	}
	if (header.gso_type == VIRTIO_NET_HDR_GSO_NONE) {
		header.gso_size = header.hdr_len = 0;
		return true;
	}
	return segments(header.gso_type, offloads) && header.gso_size != 0 && header.hdr_len <= size;
}

} // namespace lguest
