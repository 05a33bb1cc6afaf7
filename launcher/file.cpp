// SPDX-License-Identifier: GPL-2.0-only
// Files and file descriptors, see file.h.
#include "file.h"

#include "error.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/eventfd.h>
#include <sys/mman.h>
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

void InputFile::read(std::uint64_t offset, std::span<std::byte> bytes) const
{
	while (!bytes.empty()) {
		ssize_t got = pread(fd.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			fail("{} {}: {}", what, name, std::strerror(errno));
		if (got == 0)
			fail("{} {}: became shorter while it was read", what, name);
		bytes = bytes.subspan(static_cast<std::size_t>(got));
		offset += static_cast<std::uint64_t>(got);
	}
}

Bytes InputFile::read_all() const
{
	Bytes bytes(size);
	read(0, bytes);
	return bytes;
}

InputFile open_file(const std::string &path, const std::string &what)
{
	Descriptor fd{open(path.c_str(), O_RDONLY | O_CLOEXEC)};
	struct stat status;
	if (!fd || fstat(fd.get(), &status) < 0)
		fail("{} {}: {}", what, path, std::strerror(errno));
	if (!S_ISREG(status.st_mode))
		fail("{} {}: not a regular file", what, path);
	return {std::move(fd), static_cast<std::uint64_t>(status.st_size), what, path};
}

InputFile file_in_memory(std::span<const std::byte> bytes, const std::string &what, const std::string &name)
{
	Descriptor fd{memfd_create("lguest-file", MFD_CLOEXEC)};
	std::size_t done = 0;
	while (fd && done < bytes.size()) {
		ssize_t got = write(fd.get(), bytes.data() + done, bytes.size() - done);
		if (got < 0 && errno != EINTR)
			break;
		done += got > 0 ? static_cast<std::size_t>(got) : 0;
	}
	if (!fd || done < bytes.size())
		fail("{} {}: no memory to unpack it: {}", what, name, std::strerror(errno));
	return {std::move(fd), bytes.size(), what, name};
}

} // namespace lguest
