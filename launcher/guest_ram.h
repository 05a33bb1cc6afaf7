// SPDX-License-Identifier: GPL-2.0-only
// The memory of the guest: a memfd, mapped shared, so that other processes
// (vhost-user back ends, snapshots) can be given it.  One slot, from gpa 0 on.
#pragma once

#include "file.h"

#include <cstdint>
#include <span>

namespace lguest {

class GuestRam {
public:
	// `size` in bytes, page aligned.  Nothing is allocated until it is touched.
	// Throws Error.
	explicit GuestRam(std::uint64_t size);
	~GuestRam();
	GuestRam(const GuestRam &) = delete;
	GuestRam &operator=(const GuestRam &) = delete;

	std::span<std::byte> bytes() const { return bytes_; }
	int fd() const { return file_.get(); }

private:
	Descriptor file_;
	std::span<std::byte> bytes_;
};

} // namespace lguest
