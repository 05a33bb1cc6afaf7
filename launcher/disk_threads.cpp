// SPDX-License-Identifier: GPL-2.0-only
// A disk's bytes moved by system calls of a few threads, see disk_engine.h.
//
//     start() -> started_ --turn()--> waiting_ -> a thread, execute() -> finished_ --turn()-->
//
// Locking: lock_ guards what the threads see; it is taken last.
#include "disk_engine.h"
#include "signals_blocked.h"

#include <sys/eventfd.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

namespace lguest {
namespace {

class ThreadEngine final : public DiskEngine {
public:
	ThreadEngine(DiskImage &image, int event, unsigned threads);
	~ThreadEngine() override;

	void start(BlockRequest &request) override;
	void turn(const Finished &finished) override;
	void cancel() override;
	bool idle() const override { return in_flight_ == 0; }

private:
	struct Result {
		BlockRequest *request;
		int error;
	};

	void work();

	DiskImage &image_;
	const int event_;
	unsigned in_flight_ = 0;
	std::vector<BlockRequest *> started_;
	std::vector<Result> reported_;		// storage turn() reuses

	std::mutex lock_;			// guards the next five
	std::condition_variable wake_, calm_;
	std::deque<BlockRequest *> waiting_;
	std::vector<Result> finished_;
	unsigned busy_ = 0;			// threads executing
	bool stop_ = false;

	std::vector<std::thread> threads_;
};

ThreadEngine::ThreadEngine(DiskImage &image, int event, unsigned threads) : image_{image}, event_{event}
{
	SignalsBlocked blocked;
	for (unsigned count = 0; count < threads; count++)
		threads_.emplace_back([this] { work(); });
}

ThreadEngine::~ThreadEngine()
{
	cancel();
	{
		std::scoped_lock guard{lock_};
		stop_ = true;
	}
	wake_.notify_all();
	for (std::thread &thread : threads_)
		thread.join();
}

void ThreadEngine::start(BlockRequest &request)
{
	started_.push_back(&request);
	in_flight_++;
}

void ThreadEngine::turn(const Finished &finished)
{
	{
		std::scoped_lock guard{lock_};
		waiting_.insert(waiting_.end(), started_.begin(), started_.end());
		std::swap(finished_, reported_);
	}
	for (std::size_t count = std::min(started_.size(), threads_.size()); count > 0; count--)
		wake_.notify_one();
	started_.clear();
	for (const Result &result : reported_) {
		in_flight_--;
		finished(*result.request, result.error);
	}
	reported_.clear();
}

void ThreadEngine::cancel()
{
	std::unique_lock guard{lock_};
	started_.clear();
	waiting_.clear();
	calm_.wait(guard, [this] { return busy_ == 0; });
	finished_.clear();
	in_flight_ = 0;
}

void ThreadEngine::work()
{
	std::unique_lock guard{lock_};
	for (;;) {
		wake_.wait(guard, [this] { return stop_ || !waiting_.empty(); });
		if (stop_)
			return;
		BlockRequest *request = waiting_.front();
		waiting_.pop_front();
		busy_++;
		guard.unlock();
		int error = image_.execute(*request);
		guard.lock();
		finished_.push_back({request, error});
		if (--busy_ == 0)
			calm_.notify_all();
		if (finished_.size() == 1)
			eventfd_write(event_, 1);
	}
}

} // namespace

std::unique_ptr<DiskEngine> make_thread_engine(DiskImage &image, int event, unsigned threads)
{
	return std::make_unique<ThreadEngine>(image, event, threads);
}

} // namespace lguest
