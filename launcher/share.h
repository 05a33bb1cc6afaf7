// SPDX-License-Identifier: GPL-2.0-only
// Directories of the host in the guest: virtiofs, served by a virtiofsd that is started
// here (virtiofsd.h), or by one that runs.
#pragma once

#include "attachment.h"
#include "share_options.h"

namespace lguest {

// Throws Error.  `lost`: what to do when it is served no more before the guest ends, besides telling the log.
std::unique_ptr<Attachment> attach_share(const MachineParts &machine, const ShareOptions &options, std::function<void()> lost = {});

} // namespace lguest
