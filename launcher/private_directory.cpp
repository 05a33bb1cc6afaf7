// SPDX-License-Identifier: GPL-2.0-only
// Directories for sockets, see private_directory.h.
#include "private_directory.h"

#include "error.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace lguest {
namespace {

// One step down, never through a link that somebody has left there.
Descriptor step(int parent, const std::string &name, const std::string &path, bool create)
{
	auto open_it = [&] { return Descriptor{openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)}; };
	Descriptor fd = open_it();
	// Only then: after a reboot we are in the sandbox, and it is there.
	if (!fd && errno == ENOENT && create) {
		if (mkdirat(parent, name.c_str(), 0700) < 0 && errno != EEXIST)
			fail("cannot make the directory {}: {}; set XDG_RUNTIME_DIR to a directory of yours", path, std::strerror(errno));
		fd = open_it();
	}
	if (!fd) {
		if (errno == ENOENT && !create)
			return {};
		fail("{}: {}; it should be a directory of yours alone", path, std::strerror(errno));
	}
	struct stat status;
	if (fstat(fd.get(), &status) < 0 || status.st_uid != geteuid() || (status.st_mode & 077))
		fail("{}: not a directory of yours alone (owner {}, mode {:o}), so what is there cannot be trusted; remove it, "
		     "or set XDG_RUNTIME_DIR", path, status.st_uid, status.st_mode & 07777);
	return fd;
}

} // namespace

std::string private_directory()
{
	if (const char *runtime = std::getenv("XDG_RUNTIME_DIR"); runtime && *runtime == '/')
		return std::string{runtime} + "/lguest";
	std::string runtime = fmt::format("/run/user/{}", geteuid());
	if (struct stat status; stat(runtime.c_str(), &status) == 0 && S_ISDIR(status.st_mode) && status.st_uid == geteuid())
		return runtime + "/lguest";
	return fmt::format("/tmp/lguest-{}", geteuid());
}

Descriptor open_private_directory(const std::string &path, bool create)
{
	return step(AT_FDCWD, path, path, create);
}

PrivateDirectory open_private_directory(std::initializer_list<std::string> parts)
{
	PrivateDirectory directory;
	directory.path = private_directory();
	directory.fd = open_private_directory(directory.path, true);
	for (const std::string &part : parts) {
		directory.path += "/" + part;
		directory.fd = step(directory.fd.get(), part, directory.path, true);
	}
	return directory;
}

} // namespace lguest
