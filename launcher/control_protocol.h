// SPDX-License-Identifier: GPL-2.0-only
// What is said on a guest's control socket: lines of JSON, one request, one reply.
//
//     {"command": "stop", "timeout": 10}      ->  {"ok": true}
//     {"command": "balloon", "size": 67108864} -> {"ok": false, "error": "this guest has no balloon"}
//
//     bytes --LineReader--> line --answer()--> ControlTarget (run.cpp)
//
// control_server.h moves the bytes.  Whoever connects is the guest's own user, but
// may be confused or slow: a line has a limit, and nonsense gets an error.
#pragma once

#include <boost/json/object.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lguest {

// Cuts a stream into lines of a limited length.
class LineReader {
public:
	static constexpr std::size_t max_line = 4096;

	// False if a line is longer than that: the rest of the stream is of no use.
	bool feed(std::string_view bytes);
	// The next whole line, without its end.
	std::optional<std::string> next();
	// What follows the lines so far.
	std::string take_rest() { return std::exchange(buffer_, {}); }

private:
	std::string buffer_;
};

// A running guest, as the protocol sees it.  All may throw Error.
class ControlTarget {
public:
	virtual boost::json::object status() = 0;	// name, pid, state, ...: for `lguest list`
	virtual boost::json::object statistics() = 0;	// counters: for `lguest stat`
	virtual double stop(std::optional<double> grace) = 0;	// seconds; begins, and returns what holds
	virtual void kill() = 0;
	virtual void pause() = 0;
	virtual void resume() = 0;
	virtual void set_balloon(std::uint64_t bytes) = 0;
	virtual bool has_console() = 0;

protected:
	~ControlTarget() = default;
};

struct ControlReply {
	std::string line;		// with its end
	bool to_console = false;	// what follows on this connection is the guest's console
};

// Never throws what a request can cause.
ControlReply answer(std::string_view request, ControlTarget &target);

} // namespace lguest
