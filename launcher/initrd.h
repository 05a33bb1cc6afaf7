// SPDX-License-Identifier: GPL-2.0-only
// The initrd, and the command of `lguest run -- COMMAND` in it: a second cpio
// archive behind the first, which Linux unpacks over it.
//
// What guest-paravirt/initramfs/init finds there: /lguest/cmd, a shell script;
// /lguest/tty, if the command is to have an ordinary terminal.  Without a terminal
// the script gives the command ports of the console as its stdin, stdout and stderr:
// unlike a tty they pass every byte, keep the two outputs apart, and know an end.
//
// And a third, if the root file system is to be a view of the host's: /lguest/root, the
// tag of the share it is made of, /lguest/cwd, the folder the command starts in, and
// /lguest/home, its HOME.
#pragma once

#include "console_options.h"
#include "file.h"

#include <span>
#include <string>
#include <vector>

namespace lguest {

// The ports' names.
constexpr const char *stdio_ports[] = {"lguest.stdin", "lguest.stdout", "lguest.stderr"};

constexpr const char *host_root_tag = "lguest-root";

// A script that becomes the command.
std::string command_script(std::span<const std::string> command, bool terminal);

// Append an archive with that script to the initrd.
void append_command(Bytes &initrd, std::span<const std::string> command, bool terminal);

// Append one that makes the guest's root a view of the host's: the command starts in
// the folder `folder`, with HOME=`home`.
void append_host_root(Bytes &initrd, const std::string &folder, const std::string &home);

// Append one with /lguest/ports, the names of the further ports, if there are any: init
// makes the links of /dev/virtio-ports before it goes on.
void append_port_names(Bytes &initrd, std::span<const ConsoleOptions> consoles);

} // namespace lguest
