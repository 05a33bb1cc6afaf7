// SPDX-License-Identifier: GPL-2.0-only
// Files and file descriptors: an owner for a descriptor, finding and reading a file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
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

// A regular file, open for reading.  Here and below `what` ("kernel", "initrd") and
// its name say in the Error which file it is.
struct InputFile {
	Descriptor fd;
	std::uint64_t size = 0;		// when it was opened
	std::string what, name;

	// Throws Error if the file has less by now.
	void read(std::uint64_t offset, std::span<std::byte> bytes) const;
	Bytes read_all() const;
};

InputFile open_file(const std::string &path, const std::string &what);

// One without a path that holds these bytes.
InputFile file_in_memory(std::span<const std::byte> bytes, const std::string &what, const std::string &name);

inline Bytes read_file(const std::string &path, const std::string &what) { return open_file(path, what).read_all(); }

} // namespace lguest
