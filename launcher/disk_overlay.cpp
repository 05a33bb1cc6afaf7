// SPDX-License-Identifier: GPL-2.0-only
// The writes of a disk with `snapshot`, see disk_overlay.h.
#include "disk_overlay.h"

#include "error.h"
#include "over_reboot.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace lguest {
namespace {

constexpr std::uint64_t blocks_per_word = 64;
constexpr const char *bits_suffix = " bits";

// On a disk, where it can grow; in memory where that cannot be.
Descriptor new_file()
{
	const char *folder = std::getenv("TMPDIR");
	int fd = open(folder && *folder ? folder : "/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	return Descriptor{fd >= 0 ? fd : memfd_create("lguest-snapshot", MFD_CLOEXEC)};
}

std::uint64_t size_of(const Descriptor &file)
{
	struct stat status;
	return fstat(file.get(), &status) == 0 ? static_cast<std::uint64_t>(status.st_size) : 0;
}

// The bits of blocks [first, end) that are in the word with `first`.
std::uint64_t mask(std::uint64_t first, std::uint64_t end)
{
	std::uint64_t low = first % blocks_per_word, count = std::min(end - first, blocks_per_word - low);
	return (~0ull >> (blocks_per_word - count)) << low;
}

} // namespace

DiskOverlay::DiskOverlay(std::uint64_t size, std::uint32_t block_size, const std::string &name)
	: file_{over_reboot::take(name)}, bits_file_{over_reboot::take(name + bits_suffix)}, block_size_{block_size}
{
	std::uint64_t bytes = (size / block_size / blocks_per_word + 1) * sizeof(std::uint64_t);
	bool kept = file_ && bits_file_;
	if (kept && (size_of(file_) != size || size_of(bits_file_) != bytes))
		fail("{}: the disk has another size than before the reboot; a snapshot cannot go on", name);
	if (!kept) {
		file_ = new_file();
		bits_file_ = Descriptor{memfd_create("lguest-snapshot-bits", MFD_CLOEXEC)};
	}
	void *bits = MAP_FAILED;
	if (kept || (ftruncate(file_.get(), static_cast<off_t>(size)) == 0 && ftruncate(bits_file_.get(), static_cast<off_t>(bytes)) == 0))
		bits = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bits_file_.get(), 0);
	if (bits == MAP_FAILED)
		fail("cannot keep a snapshot of a disk: {}; make room in /var/tmp, or set TMPDIR", std::strerror(errno));
	bits_ = {static_cast<std::uint64_t *>(bits), bytes / sizeof(std::uint64_t)};
}

void DiskOverlay::keep_for_reboot(const std::string &name)
{
	over_reboot::keep(name, std::move(file_));
	over_reboot::keep(name + bits_suffix, std::move(bits_file_));
}

DiskOverlay::~DiskOverlay()
{
	munmap(bits_.data(), bits_.size_bytes());
}

bool DiskOverlay::holds(std::uint64_t offset) const
{
	std::uint64_t block = offset / block_size_;
	std::uint64_t word = std::atomic_ref{bits_[block / blocks_per_word]}.load(std::memory_order_acquire);
	return word >> block % blocks_per_word & 1;
}

std::uint64_t DiskOverlay::run(std::uint64_t offset, std::uint64_t length) const
{
	std::uint64_t block = offset / block_size_, end = (offset + length + block_size_ - 1) / block_size_;
	bool held = holds(offset);
	while (block < end) {
		std::uint64_t word = std::atomic_ref{bits_[block / blocks_per_word]}.load(std::memory_order_acquire);
		std::uint64_t others = (held ? ~word : word) & mask(block, end);
		if (others) {
			block = block / blocks_per_word * blocks_per_word + static_cast<unsigned>(std::countr_zero(others));
			break;
		}
		block += blocks_per_word - block % blocks_per_word;
	}
	return std::min(block * block_size_, offset + length) - offset;
}

void DiskOverlay::add(std::uint64_t offset, std::uint64_t length)
{
	std::uint64_t block = offset / block_size_, end = block + length / block_size_;
	for (; block < end; block += blocks_per_word - block % blocks_per_word)
		std::atomic_ref{bits_[block / blocks_per_word]}.fetch_or(mask(block, end), std::memory_order_release);
}

} // namespace lguest
