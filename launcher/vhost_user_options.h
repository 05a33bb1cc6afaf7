// SPDX-License-Identifier: GPL-2.0-only
// `--vhost-user`: a device served by a process that listens on a socket.
#pragma once

#include "keyed_options.h"

#include <array>
#include <cstdint>
#include <optional>
#include <string>

namespace lguest {

struct VhostUserOptions {
	std::uint32_t id = 0;			// VIRTIO_ID_*
	std::string socket;
	unsigned queues = 1;
	std::uint16_t queue_size = 256;
	std::string tag{};			// of a file system
	std::optional<std::array<std::uint8_t, 6>> mac{};	// of a network interface
	std::uint32_t config_size = 0;		// of a device given by number
};

VhostUserOptions read_vhost_user_options(KeyedOptions &options);	// throws Error

} // namespace lguest
