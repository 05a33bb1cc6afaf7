// SPDX-License-Identifier: GPL-2.0-only
// Somebody on the host's side of a console's port who comes and goes: the client of a
// unix socket, or whoever opens a pseudo-terminal.
//
//     wait(came) ... came(descriptor) ... he has gone: wait(came) ...
//
// console_port.h passes the bytes, and notices that he has gone by reading.
//
// Threads: the event loop's.
#pragma once

#include "file.h"

#include <boost/asio/io_context.hpp>

#include <functional>
#include <memory>
#include <string>

namespace lguest {

class ConsolePeer {
public:
	virtual ~ConsolePeer() = default;
	// Call `came` with a descriptor for both directions, once somebody is there.  Not
	// before he who came last has gone: there is one at a time.
	virtual void wait(std::function<void(Descriptor)> came) = 0;
};

// A unix socket that listens; a stale one of the same name is replaced, ours removed at
// the end.  Throws Error.
std::unique_ptr<ConsolePeer> listen_on_socket(boost::asio::io_context &loop, const std::string &path);

// A new pseudo-terminal, in raw mode; `path` gets the name by which it is opened.  Throws Error.
std::unique_ptr<ConsolePeer> open_pty(boost::asio::io_context &loop, std::string &path);

} // namespace lguest
