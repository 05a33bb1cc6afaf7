// SPDX-License-Identifier: GPL-2.0-only
// The guest's entropy device in the launcher: getrandom(), if need be at a limited rate.
#pragma once

#include "attachment.h"
#include "rng_options.h"

namespace lguest {

std::unique_ptr<Attachment> attach_rng(const MachineParts &machine, const RngOptions &options);	// throws Error

} // namespace lguest
