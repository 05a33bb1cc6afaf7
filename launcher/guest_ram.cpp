// SPDX-License-Identifier: GPL-2.0-only
// The memory of the guest, see guest_ram.h.
#include "guest_ram.h"

#include "error.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace lguest {

GuestRam::GuestRam(std::uint64_t size)
	: file_{memfd_create("lguest-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING)}
{
	auto give_up = [&] {
		fail("cannot get {} MiB for the guest: {}; give it less with --memory", size >> 20, std::strerror(errno));
	};
	if (!file_ || ftruncate(file_.get(), static_cast<off_t>(size)) < 0)
		give_up();
	// Nobody we share it with may shrink it under us: that would be SIGBUS.
	if (fcntl(file_.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		give_up();
	void *address = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file_.get(), 0);
	if (address == MAP_FAILED)
		give_up();
	bytes_ = {static_cast<std::byte *>(address), size};
	// Core dumps of the launcher are for the launcher's bugs.
	madvise(address, size, MADV_DONTDUMP);
}

GuestRam::~GuestRam()
{
	munmap(bytes_.data(), bytes_.size());
}

} // namespace lguest
