// SPDX-License-Identifier: GPL-2.0-only
// What the launcher gives up once its guest is set up: a guest that took over the
// launcher by a bug in a device could do little more than the device itself.
//
//     no_new_privs   no set-user-ID program helps it any more
//     Landlock       files: those that are open, what a reboot opens again, the sockets' directory
//     seccomp        system calls: what the event loop, the devices and vCPUs make
//
// A call that is not allowed fails with EPERM; a library that tries one for its
// convenience goes on.  Where the host has no Landlock, seccomp is alone.
//
// A reboot of the guest executes the launcher again, inside the same sandbox, which
// cannot be widened.  So unless there is --no-reboot, what set-up needs stays allowed
// too: opening files for writing and executing a program.  Landlock keeps these to the
// launcher itself, its libraries and the guest's files, and the new program has the same
// filter: it gains nothing by being executed.
#pragma once

#include "attachment.h"

#include <string>
#include <vector>

namespace lguest {

struct SandboxRequest {
	bool reboot = false;			// execute the launcher again
	std::vector<std::string> files;		// to be read then
	SandboxNeeds needs;
};

// For this thread and those it starts; seccomp for those there are, too.  Does nothing in
// a launcher that was executed in its sandbox.  Throws Error.
void enter_sandbox(const SandboxRequest &request);

} // namespace lguest
