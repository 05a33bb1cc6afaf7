// SPDX-License-Identifier: GPL-2.0-only
// stdin or stdout, or a file or connection of our own, as a descriptor of the event loop.
//
// The loop needs non-blocking descriptors, but O_NONBLOCK belongs to the open file,
// which we share with the shell and whoever else has it.  So pipes and terminals
// are opened anew by /proc/self/fd; only where that cannot be done (sockets) is the
// flag set on what we got, and taken off again at the end.
#pragma once

#include "file.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

namespace lguest {

class HostStream {
public:
	HostStream(boost::asio::io_context &loop, int fd);	// throws Error
	// One that nobody else has: a file we opened, a connection.
	HostStream(boost::asio::io_context &loop, Descriptor own);
	~HostStream();
	HostStream(const HostStream &) = delete;
	HostStream &operator=(const HostStream &) = delete;

	boost::asio::posix::stream_descriptor &descriptor() { return descriptor_; }

private:
	int shared_fd_ = -1;	// the one whose flag we changed, or -1
	boost::asio::posix::stream_descriptor descriptor_;
};

} // namespace lguest
