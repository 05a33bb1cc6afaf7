// SPDX-License-Identifier: GPL-2.0-only
// stdin or stdout in the event loop, see host_stream.h.
#include "host_stream.h"

#include "error.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace lguest {
namespace {

// A new open file for the same pipe or terminal; -1 if that is not possible.
int reopen(int fd)
{
	struct stat status;
	if (fstat(fd, &status) < 0 || !(S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode)))
		return -1;
	int mode = fcntl(fd, F_GETFL) & O_ACCMODE;
	return open(fmt::format("/proc/self/fd/{}", fd).c_str(), mode | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

} // namespace

HostStream::HostStream(boost::asio::io_context &loop, int fd) : descriptor_{loop}
{
	int own = reopen(fd);
	if (own < 0) {
		own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (own < 0)
			fail("cannot use descriptor {}: {}", fd, std::strerror(errno));
		if (!(fcntl(fd, F_GETFL) & O_NONBLOCK))
			shared_fd_ = fd;
	}
	descriptor_.assign(own);
	descriptor_.non_blocking(true);
}

HostStream::HostStream(boost::asio::io_context &loop, Descriptor own) : descriptor_{loop, own.release()}
{
	descriptor_.non_blocking(true);
}

HostStream::~HostStream()
{
	if (shared_fd_ >= 0)
		fcntl(shared_fd_, F_SETFL, fcntl(shared_fd_, F_GETFL) & ~O_NONBLOCK);
}

} // namespace lguest
