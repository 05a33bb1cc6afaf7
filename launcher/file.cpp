// SPDX-License-Identifier: GPL-2.0-only
// Files and file descriptors, see file.h.
#include "file.h"

#include "error.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

namespace lguest {

Descriptor::~Descriptor()
{
	if (fd_ >= 0)
		close(fd_);
}

Descriptor new_eventfd()
{
	Descriptor event{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
	if (!event)
		fail("cannot get an eventfd: {}; raise the limit of open files (ulimit -n)", std::strerror(errno));
	return event;
}

std::string installed_file(const std::string &name)
{
	std::error_code error;
	auto program = std::filesystem::read_symlink("/proc/self/exe", error);
	auto file = program.parent_path().parent_path() / "lib/lguest" / name;
	return std::filesystem::exists(file, error) ? file.string() : std::string{};
}

Bytes read_file(const std::string &path, const std::string &what)
{
	Descriptor file{open(path.c_str(), O_RDONLY | O_CLOEXEC)};
	if (!file)
		fail("{} {}: {}", what, path, std::strerror(errno));
	struct stat status;
	if (fstat(file.get(), &status) < 0)
		fail("{} {}: {}", what, path, std::strerror(errno));
	if (!S_ISREG(status.st_mode))
		fail("{} {}: not a regular file", what, path);

	Bytes bytes(static_cast<std::size_t>(status.st_size));
	std::size_t done = 0;
	while (done < bytes.size()) {
		ssize_t got = read(file.get(), bytes.data() + done, bytes.size() - done);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			fail("{} {}: {}", what, path, std::strerror(errno));
		if (got == 0)
			break;	// it shrank meanwhile
		done += static_cast<std::size_t>(got);
	}
	bytes.resize(done);
	return bytes;
}

} // namespace lguest
