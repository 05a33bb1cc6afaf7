// SPDX-License-Identifier: GPL-2.0-only
// The commands that act on guests which run already: `lguest list`, `lguest stop NAME`
// and so on.  A client of their control sockets (control_socket.h); no event loop.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace lguest {

struct ManageOptions {
	enum class Command { list, stop, kill, pause, resume, stat, balloon, console };
	Command command;
	std::string name;			// of the guest; not for list
	bool json = false;			// list, stat: for programs
	std::optional<double> timeout;		// stop: seconds; none: the guest's own --grace
	std::uint64_t size = 0;			// balloon: bytes
};

// Returns the exit status.  Throws Error.
int manage_guests(const ManageOptions &options);

} // namespace lguest
