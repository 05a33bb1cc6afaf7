// SPDX-License-Identifier: GPL-2.0-only
// The initrd, and the command of `lguest run -- COMMAND` in it: a second cpio
// archive behind the first, which Linux unpacks over it.
//
// What guest-paravirt/initramfs/init finds there: /lguest/cmd, a shell script;
// /lguest/tty, if the command is to have an ordinary terminal.
#pragma once

#include "file.h"

#include <span>
#include <string>
#include <vector>

namespace lguest {

// The command's words, quoted for a shell, as a script that becomes the command.
std::string command_script(std::span<const std::string> command);

// Append an archive with that script to the initrd.
void append_command(Bytes &initrd, std::span<const std::string> command, bool terminal);

} // namespace lguest
