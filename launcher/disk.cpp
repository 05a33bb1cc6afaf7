// SPDX-License-Identifier: GPL-2.0-only
// A disk of the guest, see disk.h.
//
//     doorbell --> Block::process() --start(), submit()--> DiskEngine --eventfd--> turn()
//                                                              |                     |
//                                       Block::complete() <----+---------------------+
//
// Threads: the device's lock is held for everything that touches the engine.  A reset of
// the device (on a vCPU thread) waits until the engine has let go of guest memory.
#include "disk.h"

#include "block.h"
#include "device_slot.h"
#include "disk_engine.h"
#include "error.h"

#include <boost/asio/posix/stream_descriptor.hpp>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>

namespace lguest {
namespace {

constexpr unsigned worker_threads = 4;		// without io_uring
constexpr auto log_period = std::chrono::seconds{1};

std::unique_ptr<DiskEngine> make_engine(const DiskOptions &options, DiskImage &image, int event, const std::string &name)
{
	if (options.aio != DiskOptions::Aio::threads) {
		if (auto engine = make_uring_engine(image, event, options.queues * Block::queue_size))
			return engine;
		if (options.aio == DiskOptions::Aio::io_uring)
			fail("disk {}: no io_uring on this host: {}; leave aio out", options.path, std::strerror(errno));
		spdlog::debug("{}: no io_uring on this host ({}), so threads", name, std::strerror(errno));
	}
	return make_thread_engine(image, event, worker_threads);
}

BlockSettings settings_of(const DiskOptions &options, const DiskImage &image)
{
	return {image.size(), options.block_size, options.read_only, options.queues, options.serial};
}

const char *name_of(BlockRequest::Kind kind)
{
	switch (kind) {
	case BlockRequest::Kind::read:		return "read";
	case BlockRequest::Kind::write:		return "write";
	case BlockRequest::Kind::flush:		return "flush";
	case BlockRequest::Kind::discard:	return "discard";
	case BlockRequest::Kind::write_zeroes:	return "write of zeroes";
	}
	return "";
}

class Disk final : public Attachment, private BlockBackend {
public:
	Disk(const MachineParts &machine, const DiskOptions &options, std::string name)
		: name_{std::move(name)}, image_{options, name_}, event_{machine.loop, new_eventfd().release()},
		  engine_{make_engine(options, image_, event_.native_handle(), name_)},
		  device_{*this, settings_of(options, image_)},
		  slot_{machine.loop, machine.memory, device_, machine.bus, machine.vm, name_}
	{
		wait();
	}
	// The engine may still be using the device's requests.
	~Disk() override { engine_.reset(); }

	const std::string &name() const override { return name_; }

	void drain(std::function<void()> done) override
	{
		drained_ = std::move(done);
		turn();
	}

	void keep_for_reboot() override { image_.keep_for_reboot(); }

private:
	void start(BlockRequest &request) override { engine_->start(request); }
	void submit(Transport &transport) override { report(transport); }
	void cancel() override { engine_->cancel(); }

	void wait()
	{
		event_.async_wait(event_.wait_read, [this](boost::system::error_code error) {
			if (error)
				return;
			eventfd_t count;
			eventfd_read(event_.native_handle(), &count);
			turn();
			wait();
		});
	}

	// In the event loop: something has finished.  A device that was stopped is not told;
	// its reset, or our end, waits for what it has under way.
	void turn()
	{
		bool busy = false;
		slot_.registers().with_device([&, this](Transport &transport) {
			report(transport);
			device_.publish(transport);
			busy = !engine_->idle();
		});
		if (drained_ && !busy)
			std::exchange(drained_, nullptr)();
	}

	void report(Transport &transport)
	{
		engine_->turn([&, this](BlockRequest &request, int error) {
			if (error)
				log_error(request, error);
			device_.complete(transport, request, error == 0);
		});
	}

	// The guest decides how often, so not each of them.
	void log_error(const BlockRequest &request, int error)
	{
		auto now = std::chrono::steady_clock::now();
		if (now < next_log_) {
			unlogged_++;
			return;
		}
		spdlog::warn("{}: {} of {} bytes at {} failed: {}{}", name_, name_of(request.kind), request.length, request.offset,
			     std::strerror(error), unlogged_ ? fmt::format("; {} others too", unlogged_) : "");
		unlogged_ = 0;
		next_log_ = now + log_period;
	}

	std::string name_;
	DiskImage image_;
	boost::asio::posix::stream_descriptor event_;	// the engine has something to report
	std::unique_ptr<DiskEngine> engine_;
	Block device_;
	DeviceSlot slot_;
	std::function<void()> drained_;
	std::chrono::steady_clock::time_point next_log_{};
	std::uint64_t unlogged_ = 0;
};

} // namespace

std::unique_ptr<Attachment> attach_disk(const MachineParts &machine, const DiskOptions &options, unsigned number)
{
	// A limit to the size of files (ulimit -f) is to fail a write, not to end the guest.
	std::signal(SIGXFSZ, SIG_IGN);
	return std::make_unique<Disk>(machine, options, disk_name(options, number));
}

} // namespace lguest
