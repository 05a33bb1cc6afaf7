// SPDX-License-Identifier: GPL-2.0-only
// `--console`: where the guest's console leads, and further ports beside it.
//
//     --console pty                        the console itself, hvc0
//     --console port=data,socket=/tmp/s    /dev/virtio-ports/data in the guest
#pragma once

#include "keyed_options.h"

#include <string>
#include <vector>

namespace lguest {

struct ConsoleOptions {
	enum class To { stdio, none, pty, file, socket };

	std::string port;	// its name in the guest; empty: the console itself
	To to = To::stdio;
	std::string path;	// of a file or socket
	bool append = false;	// to the file
};

// One more, beside those that are there.  Throws Error.
ConsoleOptions read_console_options(KeyedOptions &options, const std::vector<ConsoleOptions> &others);

// Whether the console itself is stdin and stdout: they may go elsewhere, or belong to a port.
bool console_is_stdio(const std::vector<ConsoleOptions> &consoles);
// Whether another port has them.
bool port_is_stdio(const std::vector<ConsoleOptions> &consoles);

} // namespace lguest
