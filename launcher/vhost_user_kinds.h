// SPDX-License-Identifier: GPL-2.0-only
// Which kinds of device other processes serve: their queues, and who has their
// configuration space, the launcher or the back end.
//
// `--vhost-user` asks for any of them (vhost_user_options.h), `--share` for file systems
// (share.h).
#pragma once

#include "vhost_user_attachment.h"
#include "vhost_user_options.h"

namespace lguest {

VhostDevice::Kind kind_of(const VhostUserOptions &options);

// `--vhost-user`; `index` counts them.  Throws Error.
std::unique_ptr<Attachment> attach_vhost_user(const MachineParts &machine, const VhostUserOptions &options, unsigned index);

} // namespace lguest
