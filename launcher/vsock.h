// SPDX-License-Identifier: GPL-2.0-only
// The guest's socket device in the launcher: its queues are handed to the host's kernel,
// vhost-vsock, and programs of the host talk to the guest without us.
#pragma once

#include "attachment.h"
#include "vhost_kernel.h"
#include "vsock_options.h"

namespace lguest {

std::unique_ptr<Attachment> attach_vsock(const MachineParts &machine, const VsockOptions &options);	// throws Error
// The same with a kernel of one's own: for tests.
std::unique_ptr<Attachment> attach_vsock(const MachineParts &machine, const VsockOptions &options, std::unique_ptr<VhostPort> port);

} // namespace lguest
