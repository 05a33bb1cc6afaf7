// SPDX-License-Identifier: GPL-2.0-only
// Files and file descriptors: an owner for a descriptor, finding and reading a file.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace lguest {

// Owns a file descriptor; -1 for none.
class Descriptor {
public:
	Descriptor() = default;
	explicit Descriptor(int fd) : fd_{fd} {}
	Descriptor(Descriptor &&other) noexcept : fd_{other.release()} {}
	Descriptor &operator=(Descriptor &&other) noexcept
	{
		std::swap(fd_, other.fd_);
		return *this;
	}
	~Descriptor();

	int get() const { return fd_; }
	explicit operator bool() const { return fd_ >= 0; }
	int release() { return std::exchange(fd_, -1); }

private:
	int fd_ = -1;
};

using Bytes = std::vector<std::byte>;

// An event counter without EFD_SEMAPHORE, which does not block.
Descriptor new_eventfd();

// A file that is installed with this program, lib/lguest/NAME beside its bin; "" if it
// is not there.
std::string installed_file(const std::string &name);

// The contents of a file.  `what` ("kernel", "initrd") names it in the Error.
Bytes read_file(const std::string &path, const std::string &what);

} // namespace lguest
