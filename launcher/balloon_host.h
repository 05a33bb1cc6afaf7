// SPDX-License-Identifier: GPL-2.0-only
// The guest's balloon in the launcher: the pages it takes become holes in the memfd that
// is the guest's memory.
#pragma once

#include "attachment.h"
#include "balloon_options.h"

namespace lguest {

std::unique_ptr<Attachment> attach_balloon(const MachineParts &machine, const BalloonOptions &options);	// throws Error

} // namespace lguest
