// SPDX-License-Identifier: GPL-2.0-only
// What a guest is made of, found and loaded: kernel, initrd, command line.
// run.cpp asks for it; no module is needed for it.
#pragma once

#include "kernel_image.h"
#include "options.h"

#include <string>

namespace lguest {

struct GuestFiles {
	KernelImage kernel;
	Bytes initrd;			// with the command, if there is one
	std::string command_line;
};

// Throws Error.
GuestFiles load_files(const RunOptions &options);
// What it reads: what a launcher that starts again has to have.  Some may not exist.
std::vector<std::string> files_read(const RunOptions &options);

// Whether the guest's root file system is a view of this host's, and the share that it
// is made of.
bool has_host_root(const RunOptions &options);
ShareOptions host_root_share();

// Whether the command's stdin, stdout and stderr are ports of their own: if there is
// one, and its user is not at a terminal that is the guest's console.
bool command_has_ports(const RunOptions &options);

// Where kernel and initrd come from if the command line does not say: environment
// LGUEST_KERNEL and LGUEST_INITRD, else the installed ones.  "" for no such file.
std::string default_kernel();
std::string default_initrd();

} // namespace lguest
