// SPDX-License-Identifier: GPL-2.0-only
// A device served by another process, in the running launcher: the connection, the
// registers, and an eye on whether that process is still there.
//
// share.cpp attaches file systems, vhost_user_kinds.cpp everything else.  Threads: the
// event loop's; the connection has a lock of its own.
#pragma once

#include "attachment.h"
#include "vhost_device.h"
#include "vhost_user.h"
#include "virtiofsd.h"

namespace lguest {

struct VhostUserSetup {
	std::string name;
	Descriptor socket{};
	VhostDevice::Kind kind{};
	std::unique_ptr<Virtiofsd> daemon{};	// if we started the back end ourselves
	bool kept = false;			// the socket was used before a reboot
	std::function<void()> lost{};		// called when the back end goes before the guest does; may be empty
};

// What the launcher before a reboot has left, nothing but the name otherwise.
VhostUserSetup kept_back_end(const std::string &name);

// Throws BackEndError if the back end does not do, Error if there is no room.
std::unique_ptr<Attachment> attach_back_end(const MachineParts &machine, VhostUserSetup &setup);

} // namespace lguest
