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
Descriptor step(int parent, const char *name, const std::string &path)
{
	if (mkdirat(parent, name, 0700) < 0 && errno != EEXIST)
		fail("cannot make the directory {}: {}", path, std::strerror(errno));
	Descriptor fd{openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)};
	if (!fd)
		fail("cannot open the directory {}: {}", path, std::strerror(errno));
	struct stat status;
	if (fstat(fd.get(), &status) < 0 || status.st_uid != geteuid() || (status.st_mode & 077))
		fail("the directory {} is open to others; remove it, or chmod 700 if it is yours", path);
	return fd;
}

} // namespace

PrivateDirectory open_private_directory(std::initializer_list<std::string> parts)
{
	const char *runtime = std::getenv("XDG_RUNTIME_DIR");
	bool has_runtime = runtime && *runtime == '/';
	PrivateDirectory directory;
	directory.path = has_runtime ? std::string{runtime} : "/tmp";
	directory.fd = Descriptor{open(directory.path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
	if (!directory.fd)
		fail("cannot open {}: {}; set XDG_RUNTIME_DIR", directory.path, std::strerror(errno));
	auto descend = [&](const std::string &name) {
		directory.path += "/" + name;
		directory.fd = step(directory.fd.get(), name.c_str(), directory.path);
	};
	descend(has_runtime ? "lguest" : fmt::format("lguest-{}", geteuid()));
	for (const std::string &part : parts)
		descend(part);
	return directory;
}

} // namespace lguest
