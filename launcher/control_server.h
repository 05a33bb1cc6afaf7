// SPDX-License-Identifier: GPL-2.0-only
// The control socket of this guest in the event loop: takes connections, and answers
// their lines (control_protocol.h).
//
// A connection has one request under way and reads no further until its reply is out,
// so each costs a bounded amount of memory; there are at most eight, and the oldest
// makes room for a new one.
//
// Threads: the event loop's.
#pragma once

#include "console_relay.h"
#include "control_protocol.h"
#include "listener.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>

#include <deque>
#include <memory>

namespace lguest {

class ControlServer {
public:
	static constexpr std::size_t max_clients = 8;

	// `listener` is a listening socket, and stays the caller's.  `relay` may be null.
	ControlServer(boost::asio::io_context &loop, int listener, ControlTarget &target, ConsoleRelay *relay);
	~ControlServer();

private:
	using Protocol = boost::asio::local::stream_protocol;
	struct Client;

	void accept();
	void came(Descriptor connection);
	void read(const std::shared_ptr<Client> &client);
	void answer_next(const std::shared_ptr<Client> &client);
	void replied(const std::shared_ptr<Client> &client);
	void drop(std::shared_ptr<Client> client);

	boost::asio::io_context &loop_;
	Listener listener_;
	ControlTarget &target_;
	ConsoleRelay *relay_;
	std::deque<std::shared_ptr<Client>> clients_;		// oldest first
};

} // namespace lguest
