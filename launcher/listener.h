// SPDX-License-Identifier: GPL-2.0-only
// A listening socket in the event loop: lets in one after another, whatever errors
// there are on the way.
//
//     next(came) ... came(connection) ... next(came) ...
//
// Threads: the event loop's.
#pragma once

#include "file.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <functional>
#include <memory>
#include <string>

namespace lguest {

class Listener {
public:
	// `what` is its name in the log, as in "link lab".
	Listener(boost::asio::io_context &loop, Descriptor socket, std::string what);
	~Listener();
	Listener(const Listener &) = delete;
	Listener &operator=(const Listener &) = delete;

	// Call `came` once, with a connection that does not block.  Others wait in the
	// socket's backlog.
	void next(std::function<void(Descriptor)> came);

private:
	void let_in(std::function<void(Descriptor)> came);
	void again_later(std::function<void(Descriptor)> came);

	boost::asio::posix::stream_descriptor socket_;
	boost::asio::steady_timer later_;
	std::string what_;
	bool warned_ = false;
	std::shared_ptr<bool> gone_ = std::make_shared<bool>(false);	// we are, says it to handlers under way
};

} // namespace lguest
