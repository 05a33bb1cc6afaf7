// SPDX-License-Identifier: GPL-2.0-only
// A disk's bytes moved by io_uring, see disk_engine.h.
//
// Reads, writes and flushes go through the ring.  Discard and write zeroes are rare,
// block in any case and have fallbacks: a thread does them (disk_threads.cpp).  An image in
// the host's memory needs no ring, which would only wake a thread of the kernel's to copy.
//
// The ring has no flags that tie it to one thread: a reset comes from a vCPU's, which
// then waits for what the event loop's has submitted.  For the same reason none that
// delays completions until their submitter next enters the kernel: it may be waiting for
// the lock that is held meanwhile.
#include "disk_engine.h"

#include <liburing.h>
#include <sys/eventfd.h>

#include <atomic>
#include <bit>
#include <cerrno>
#include <sched.h>
#include <vector>

namespace lguest {
namespace {

class UringEngine final : public DiskEngine {
public:
	UringEngine(DiskImage &image, int event, unsigned depth);
	~UringEngine() override;
	int error() const { return error_; }	// 0, or why it cannot be used

	void start(BlockRequest &request) override;
	void turn(const Finished &finished) override;
	void cancel() override;
	bool idle() const override { return in_ring_ == 0 && at_once_.empty() && (!helper_ || helper_->idle()); }

private:
	void queue(BlockRequest &request);
	bool submit();
	void reap(const Finished &finished);
	bool done(BlockRequest &request, int result, int &error);

	DiskImage &image_;
	const int event_;
	io_uring ring_;
	int error_ = 0;
	unsigned in_ring_ = 0;			// requests, each with one entry in the ring
	struct Result {
		BlockRequest *request;
		int error;
	};
	std::vector<Result> at_once_;		// done already
	const bool in_memory_;
	std::unique_ptr<DiskEngine> helper_;
};

UringEngine::UringEngine(DiskImage &image, int event, unsigned depth) : image_{image}, event_{event}, in_memory_{image.in_memory()}
{
	// Never more entries than requests, so neither side of the ring can overflow.
	error_ = -io_uring_queue_init(std::bit_ceil(depth), &ring_, 0);
	if (error_)
		return;
	auto files = image.files();
	error_ = -io_uring_register_files(&ring_, files.data(), static_cast<unsigned>(files.size()));
	if (!error_)
		error_ = -io_uring_register_eventfd(&ring_, event);
	if (error_)
		io_uring_queue_exit(&ring_);
	else if (image.changeable())
		helper_ = make_thread_engine(image, event, 1);
}

UringEngine::~UringEngine()
{
	if (error_)
		return;
	cancel();
	io_uring_unregister_files(&ring_);
	io_uring_queue_exit(&ring_);
}

void UringEngine::start(BlockRequest &request)
{
	switch (request.kind) {
	case BlockRequest::Kind::flush:
		if (!image_.has_flush()) {
			at_once_.push_back({&request, 0});
			break;
		}
		[[fallthrough]];
	case BlockRequest::Kind::read:
	case BlockRequest::Kind::write:
		if (in_memory_) {
			at_once_.push_back({&request, image_.execute(request)});
			break;
		}
		in_ring_++;
		queue(request);
		break;
	default:
		helper_->start(request);
	}
}

void UringEngine::queue(BlockRequest &request)
{
	io_uring_sqe *entry = io_uring_get_sqe(&ring_);
	if (request.kind == BlockRequest::Kind::flush) {
		io_uring_prep_fsync(entry, 0, IORING_FSYNC_DATASYNC);
	} else {
		auto extent = image_.next(request);
		auto buffers = buffers_at_position(request, extent.length);
		auto file = static_cast<int>(extent.file);
		auto count = static_cast<unsigned>(buffers.size());
		if (request.kind == BlockRequest::Kind::read)
			io_uring_prep_readv(entry, file, buffers.data(), count, extent.offset);
		else
			io_uring_prep_writev2(entry, file, buffers.data(), count, extent.offset,
					      request.durable && image_.has_flush() ? RWF_DSYNC : 0);
	}
	entry->flags |= IOSQE_FIXED_FILE;
	io_uring_sqe_set_data(entry, &request);
}

// False: the kernel takes no more just now.
bool UringEngine::submit()
{
	while (io_uring_sq_ready(&ring_)) {
		int taken = io_uring_submit(&ring_);
		if (taken <= 0 && taken != -EINTR)
			return false;
	}
	return true;
}

// What the kernel answers at once needs no eventfd: it is off meanwhile.
void UringEngine::turn(const Finished &finished)
{
	if (helper_)
		helper_->turn(finished);
	for (const Result &result : at_once_)
		finished(*result.request, result.error);
	at_once_.clear();
	bool taken = true;
	unsigned rounds = 16;
	do {
		io_uring_cq_eventfd_toggle(&ring_, false);
		taken = submit();
		reap(finished);
		io_uring_cq_eventfd_toggle(&ring_, true);
		// The kernel adds an entry, then looks whether to tell; we say so, then look.
		std::atomic_thread_fence(std::memory_order_seq_cst);
		// A request that was done in part has a new entry.
	} while (--rounds && taken && (io_uring_cq_ready(&ring_) || io_uring_sq_ready(&ring_)));
	if (!taken || !rounds)
		eventfd_write(event_, 1);	// come again
}

void UringEngine::reap(const Finished &finished)
{
	io_uring_cqe *entry;
	while (io_uring_peek_cqe(&ring_, &entry) == 0) {
		auto &request = *static_cast<BlockRequest *>(io_uring_cqe_get_data(entry));
		int result = entry->res, error = 0;
		io_uring_cqe_seen(&ring_, entry);
		if (!done(request, result, error)) {
			queue(request);
			continue;
		}
		in_ring_--;
		finished(request, error);
	}
}

// Whether the request has ended with this result of its entry; if not, it goes on.
bool UringEngine::done(BlockRequest &request, int result, int &error)
{
	if (result == -EINTR || result == -EAGAIN)
		return false;
	if (result < 0) {
		error = -result;
		return true;
	}
	if (request.kind == BlockRequest::Kind::flush)
		return true;
	if (result == 0) {
		error = error_of_nothing(request);
		return true;
	}
	request.position += static_cast<unsigned>(result);
	if (request.position < request.length)
		return false;
	image_.written(request);
	return true;
}

void UringEngine::cancel()
{
	if (helper_)
		helper_->cancel();
	at_once_.clear();
	// What is in the ring cannot be taken back, not even what was not submitted yet.
	while (in_ring_ > 0) {
		if (io_uring_submit_and_wait(&ring_, 1) == -EAGAIN)
			sched_yield();
		io_uring_cqe *entry;
		while (io_uring_peek_cqe(&ring_, &entry) == 0) {
			io_uring_cqe_seen(&ring_, entry);
			in_ring_--;
		}
	}
}

} // namespace

std::unique_ptr<DiskEngine> make_uring_engine(DiskImage &image, int event, unsigned depth)
{
	auto engine = std::make_unique<UringEngine>(image, event, depth);
	errno = engine->error();
	return errno ? nullptr : std::move(engine);
}

} // namespace lguest
