// SPDX-License-Identifier: GPL-2.0-only
// What a guest's launcher hands to itself when the guest reboots: it is executed anew then
// (main.cpp), in a sandbox in which it could not make some of its things again.
//
//     old: Attachment::keep_for_reboot() --keep()--> environment, open descriptors
//                                                        | execve
//     new: constructors                  <--take()-------+
//
// Who takes something checks that it is what it should be: the environment is the user's.
//
// Threads: the main thread, before it starts others and after they have ended.
#pragma once

#include "file.h"

#include <optional>
#include <string>

namespace lguest::over_reboot {

// Under a name that is used once.
void keep(const std::string &name, Descriptor descriptor);
void keep(const std::string &name, int number);

// What was kept under this name: once, and none if nothing was.
Descriptor take(const std::string &name);
std::optional<int> take_number(const std::string &name);

} // namespace lguest::over_reboot
