// SPDX-License-Identifier: GPL-2.0-only
// The event loop's ear for what the host's kernel says of queues it serves
// (vhost_kernel.h): that a driver has broken the rules.
//
// Threads: the event loop's.
#pragma once

#include "vhost_kernel.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <functional>

namespace lguest {

class VhostErrors {
public:
	// `broken` is called without any lock.
	VhostErrors(boost::asio::io_context &loop, const VhostKernel &kernel, std::function<void()> broken)
		: errors_{loop, kernel.errors()}, broken_{std::move(broken)} { wait(); }
	~VhostErrors() { errors_.release(); }	// they are the kernel object's

private:
	void wait();

	boost::asio::posix::stream_descriptor errors_;
	std::function<void()> broken_;
};

} // namespace lguest
