// SPDX-License-Identifier: GPL-2.0-only
// A network card of the guest in the launcher: the device, and what it is plugged into.
#pragma once

#include "attachment.h"
#include "net_options.h"
#include "net_port.h"

namespace lguest {

// `guest`: its name, for the address of card number `index`.  Throws Error.
std::unique_ptr<Attachment> attach_net(const MachineParts &machine, const NetOptions &options, const std::string &guest,
				       std::size_t index);
// The same with a port of any kind: for tests.
std::unique_ptr<Attachment> attach_net(const MachineParts &machine, const NetOptions &options, const std::string &guest,
				       std::size_t index, std::unique_ptr<NetPort> port);

} // namespace lguest
