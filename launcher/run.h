// SPDX-License-Identifier: GPL-2.0-only
// `lguest run`: one guest from its files to its exit status.
//
// Puts everything together; called by main.cpp with what options.h parsed.
#pragma once

#include "options.h"
#include "vcpu.h"

namespace lguest {

// Runs the guest until it ends, or a signal does; says so on stderr.  `Outcome::kind`
// reboot: the caller is to start over.  Throws Error if the guest cannot be started.
Outcome run_guest(const RunOptions &options);

} // namespace lguest
