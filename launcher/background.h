// SPDX-License-Identifier: GPL-2.0-only
// `lguest run --detach`: the launcher goes into the background, in a session of its
// own, and the command returns once the guest runs, or says why it does not.
//
//     lguest run -d -----> waits for a byte ----> prints the name, exits with 0
//          | fork               ^
//          +--> sets up --- ready() ---> runs the guest, without the terminal
#pragma once

#include "file.h"

#include <string>

namespace lguest {

class Background {
public:
	// Call it before there are threads.  Returns in the child only; a launcher that was
	// executed again after a reboot is there already.  `name`: empty for lguest-PID.
	void enter(const std::string &name);	// throws Error
	// The guest runs: let the command return, and let go of its stderr.
	void ready();

private:
	Descriptor tell_;
};

} // namespace lguest
