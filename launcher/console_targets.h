// SPDX-License-Identifier: GPL-2.0-only
// From what `--console` says to what a ConsolePort works with: opens the file, listens on
// the socket, makes the pseudo-terminal.
#pragma once

#include "console_options.h"
#include "console_port.h"

namespace lguest {

ConsolePort::Settings console_target(boost::asio::io_context &loop, const ConsoleOptions &options);	// throws Error

} // namespace lguest
