// SPDX-License-Identifier: GPL-2.0-only
// A disk of the guest in the launcher: a Block device, an image, and an engine that
// moves the bytes between guest memory and the image.
#pragma once

#include "attachment.h"
#include "disk_options.h"

namespace lguest {

// `number` names it if the options do not: disk0.
std::unique_ptr<Attachment> attach_disk(const MachineParts &machine, const DiskOptions &options, unsigned number);	// throws Error

} // namespace lguest
