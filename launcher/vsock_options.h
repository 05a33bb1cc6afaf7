// SPDX-License-Identifier: GPL-2.0-only
// `--vsock`: sockets between guest and host, without a network.
//
//     --vsock cid=3
#pragma once

#include "keyed_options.h"

#include <cstdint>

namespace lguest {

struct VsockOptions {
	std::uint32_t cid = 0;		// the guest's address, of which the host has only one each
};

VsockOptions read_vsock_options(KeyedOptions &options);	// throws Error

} // namespace lguest
