// SPDX-License-Identifier: GPL-2.0-only
// The file or block device behind a disk, see disk_image.h.
#include "disk_image.h"

#include "error.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <thread>
#include <unistd.h>

namespace lguest {
namespace {

constexpr std::size_t zeroes_size = 64 << 10;
alignas(4096) const std::byte zeroes[zeroes_size]{};	// aligned for O_DIRECT

// The call's errno, 0 if it succeeded; again if a signal interrupted it.
template <typename Call>
int error_of(Call call)
{
	while (call() < 0)
		if (errno != EINTR)
			return errno;
	return 0;
}

int change_space(int fd, int mode, const BlockRequest &request)
{
	return error_of([&] {
		return fallocate(fd, mode | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(request.offset), static_cast<off_t>(request.length));
	});
}

// A device whose blocks are larger than those the guest sees cannot do that with a part of one: EINVAL.
int device_ioctl(int fd, unsigned long what, const BlockRequest &request)
{
	std::uint64_t range[2]{request.offset, request.length};
	int error = error_of([&] { return ioctl(fd, what, range); });
	return error == EINVAL ? EOPNOTSUPP : error;
}

int write_plain_zeroes(int fd, const BlockRequest &request)
{
	for (std::uint64_t done = 0; done < request.length;) {
		std::size_t part = std::min<std::uint64_t>(zeroes_size, request.length - done);
		ssize_t put = pwrite(fd, zeroes, part, static_cast<off_t>(request.offset + done));
		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return put < 0 ? errno : ENOSPC;
		done += static_cast<std::uint64_t>(put);
	}
	return 0;
}

void warn_of_formats(int fd, const std::string &path)
{
	alignas(4096) char start[4096];
	if (pread(fd, start, sizeof(start), 0) > 0 && std::memcmp(start, "QFI\xfb", 4) == 0)
		spdlog::warn("disk {}: looks like a qcow2 image, but the guest gets its raw bytes; make a raw one: "
			     "qemu-img convert -O raw", path);
}

} // namespace

DiskImage::DiskImage(const DiskOptions &options, const std::string &name)
	: snapshot_name_{fmt::format("{} snapshot", name)}, read_only_{options.read_only}
{
	open_file(options);
	lock(options);
	size_ = find_size(options);
	if (options.direct)
		check_direct(options);
	warn_of_formats(file_.get(), options.path);
	files_[0] = file_.get();
	if (options.snapshot) {
		overlay_.emplace(size_, options.block_size, snapshot_name_);
		files_[1] = overlay_->fd();
	}
}

// Others may still hold the open file for a moment: the kernel takes rings apart later.
DiskImage::~DiskImage()
{
	flock(file_.get(), LOCK_UN);
}

void DiskImage::keep_for_reboot()
{
	if (overlay_)
		overlay_->keep_for_reboot(snapshot_name_);
}

void DiskImage::open_file(const DiskOptions &options)
{
	struct stat status;
	if (stat(options.path.c_str(), &status) < 0)
		fail("disk {}: {}", options.path, std::strerror(errno));
	device_ = S_ISBLK(status.st_mode);
	if (!device_ && !S_ISREG(status.st_mode))
		fail("disk {}: neither a file nor a block device", options.path);

	bool writes = !options.read_only && !options.snapshot;
	int flags = O_CLOEXEC | (writes ? O_RDWR : O_RDONLY) | (options.direct ? O_DIRECT : 0);
	// A device the host has mounted is not to be written by anybody else.
	if (device_ && writes)
		flags |= O_EXCL;
	file_ = Descriptor{open(options.path.c_str(), flags)};
	if (file_)
		return;
	const char *advice = "";
	if (writes && (errno == EACCES || errno == EROFS || errno == EPERM))
		advice = "; to read it only, add ro or snapshot";
	else if (writes && errno == EBUSY)
		advice = ": the host uses it; unmount it, or add ro or snapshot";
	else if (options.direct && errno == EINVAL)
		advice = ": its file system has no O_DIRECT; leave direct out";
	fail("disk {}: {}{}", options.path, std::strerror(errno), advice);
}

bool DiskImage::in_memory() const
{
	return std::ranges::all_of(files(), [](int fd) {
		struct statfs system;
		return fstatfs(fd, &system) == 0 && (system.f_type == TMPFS_MAGIC || system.f_type == RAMFS_MAGIC);
	});
}

void DiskImage::lock(const DiskOptions &options) const
{
	bool writes = !options.read_only && !options.snapshot;
	int error = 0;
	// A launcher that was killed, and started again, may have to wait for the same reason.
	for (unsigned tries = 0; tries < 50; tries++) {
		error = error_of([&] { return flock(file_.get(), (writes ? LOCK_EX : LOCK_SH) | LOCK_NB); });
		if (error != EWOULDBLOCK)
			break;
		std::this_thread::sleep_for(std::chrono::milliseconds{10});
	}
	if (error == EWOULDBLOCK)
		fail("disk {}: {}, probably another guest{}", options.path,
		     writes ? "in use" : "being written", writes ? "; several can share it if all of them have ro or snapshot" : "");
	// A file system without locks is the user's choice.
	if (error)
		spdlog::warn("disk {}: cannot be locked: {}; see that no other guest writes it", options.path, std::strerror(error));
}

std::uint64_t DiskImage::find_size(const DiskOptions &options) const
{
	std::uint64_t bytes = 0;
	struct stat status;
	if (device_ ? ioctl(file_.get(), BLKGETSIZE64, &bytes) < 0 : fstat(file_.get(), &status) < 0)
		fail("disk {}: cannot find its size: {}", options.path, std::strerror(errno));
	if (!device_)
		bytes = static_cast<std::uint64_t>(status.st_size);
	std::uint64_t rest = bytes % options.block_size;
	if (bytes == rest)
		fail("disk {}: it is empty; give it a size: truncate -s 1G {}", options.path, options.path);
	if (rest)
		spdlog::warn("disk {}: its last {} bytes are no whole block and are left out", options.path, rest);
	return bytes - rest;
}

// The guest's blocks must be multiples of what the host can transfer directly.
void DiskImage::check_direct(const DiskOptions &options) const
{
	std::uint32_t alignment = 512;
	int sector = 0;
	if (device_ && ioctl(file_.get(), BLKSSZGET, &sector) == 0)
		alignment = static_cast<std::uint32_t>(sector);
	struct statx status;
	if (!device_ && statx(file_.get(), "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) == 0 && (status.stx_mask & STATX_DIOALIGN) &&
	    status.stx_dio_offset_align)
		alignment = status.stx_dio_offset_align;
	if (alignment > options.block_size)
		fail("disk {}: direct needs blocks of {} bytes here; {}", options.path, alignment,
		     alignment == 4096 ? "add block-size=4096" : "leave direct out");
}

DiskImage::Extent DiskImage::next(const BlockRequest &request) const
{
	std::uint64_t offset = request.offset + request.position, length = request.length - request.position;
	if (!overlay_)
		return {0, offset, length};
	if (request.kind == BlockRequest::Kind::write)
		return {1, offset, length};
	return {overlay_->holds(offset) ? 1u : 0u, offset, overlay_->run(offset, length)};
}

void DiskImage::written(const BlockRequest &request)
{
	if (overlay_ && request.kind != BlockRequest::Kind::read && request.kind != BlockRequest::Kind::flush)
		overlay_->add(request.offset, request.length);
}

int DiskImage::execute(BlockRequest &request)
{
	int error = 0;
	switch (request.kind) {
	case BlockRequest::Kind::read:
	case BlockRequest::Kind::write:
		error = transfer(request);
		break;
	case BlockRequest::Kind::flush:
		return has_flush() ? error_of([&] { return fdatasync(file_.get()); }) : 0;
	case BlockRequest::Kind::discard:
		error = discard(request);
		// It is advice: what the host does not know how to do is not done.
		if (error == EOPNOTSUPP)
			return 0;
		break;
	case BlockRequest::Kind::write_zeroes:
		error = write_zeroes(request);
		break;
	}
	if (error)
		return error;
	written(request);
	return request.durable && has_flush() ? error_of([&] { return fdatasync(file_.get()); }) : 0;
}

int DiskImage::transfer(BlockRequest &request)
{
	while (request.position < request.length) {
		Extent extent = next(request);
		auto buffers = buffers_at_position(request, extent.length);
		auto call = request.kind == BlockRequest::Kind::read ? preadv : pwritev;
		ssize_t done = call(files_[extent.file], buffers.data(), static_cast<int>(buffers.size()), static_cast<off_t>(extent.offset));
		if (done < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (done <= 0)
			return done < 0 ? errno : error_of_nothing(request);
		request.position += static_cast<std::uint64_t>(done);
	}
	return 0;
}

int DiskImage::discard(const BlockRequest &request)
{
	if (device_ && !overlay_)
		return device_ioctl(file_.get(), BLKDISCARD, request);
	return change_space(changed_file(), FALLOC_FL_PUNCH_HOLE, request);
}

int DiskImage::write_zeroes(const BlockRequest &request)
{
	int error = EOPNOTSUPP;
	if (device_ && !overlay_)
		error = device_ioctl(file_.get(), BLKZEROOUT, request);
	else if (request.unmap || overlay_)
		error = change_space(changed_file(), FALLOC_FL_PUNCH_HOLE, request);
	else
		error = change_space(changed_file(), FALLOC_FL_ZERO_RANGE, request);
	return error == EOPNOTSUPP ? write_plain_zeroes(changed_file(), request) : error;
}

std::span<const iovec> buffers_at_position(BlockRequest &request, std::uint64_t length)
{
	if (request.position == 0 && length == request.length)
		return request.buffers;
	request.rest.clear();
	std::uint64_t skip = request.position;
	for (const iovec &buffer : request.buffers) {
		std::uint64_t before = std::min<std::uint64_t>(skip, buffer.iov_len);
		std::uint64_t part = std::min<std::uint64_t>(buffer.iov_len - before, length);
		skip -= before;
		length -= part;
		if (part)
			request.rest.push_back({static_cast<std::byte *>(buffer.iov_base) + before, part});
	}
	return request.rest;
}

// The file has become shorter than the disk, or there is no room.
int error_of_nothing(const BlockRequest &request)
{
	return request.kind == BlockRequest::Kind::read ? EIO : ENOSPC;
}

} // namespace lguest
