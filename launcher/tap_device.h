// SPDX-License-Identifier: GPL-2.0-only
// A TAP device of the host: opened, or adopted, and set up as the options say.  net_tap
// moves frames through it, net_vhost has the host's kernel do so.
#pragma once

#include "file.h"
#include "net_header.h"
#include "net_options.h"

namespace lguest {

// Ready for frames with a NetHeader in front; not blocking.  Throws Error.
Descriptor open_tap(const NetOptions &options);

// All offloads that a TAP device can take part in, as features.
constexpr std::uint64_t tap_features =
	host_offload_features | guest_offload_features | net_feature(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);

// What frames for the guest may leave to it.
void set_tap_offloads(int tap, const Offloads &offloads);

// False: somebody has removed it.
bool tap_exists(int tap);

} // namespace lguest
