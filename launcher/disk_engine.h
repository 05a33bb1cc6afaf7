// SPDX-License-Identifier: GPL-2.0-only
// What moves a disk's bytes: the interface, and the two ways there are.
//
//     disk.cpp --> DiskEngine --+-- disk_uring.cpp     io_uring, where the host allows it
//                               +-- disk_threads.cpp   system calls of a few threads
//
//     start() start() turn() ... eventfd ... turn()
//
// Threads: all functions are called with the lock of the disk's RegisterFile held, or
// while nobody else is there any more.
#pragma once

#include "disk_image.h"

#include <functional>
#include <memory>

namespace lguest {

class DiskEngine {
public:
	// As cancel(); the requests must still be there.
	virtual ~DiskEngine() = default;

	// Take a request over, until turn() reports it.
	virtual void start(BlockRequest &request) = 0;
	// Get going what was started, and report what is finished, with 0 or an errno.
	// To be called after a batch of start(), and when the eventfd was written.
	using Finished = std::function<void(BlockRequest &request, int error)>;
	virtual void turn(const Finished &finished) = 0;
	// Wait for what is under way, drop what is not, report nothing of it.
	virtual void cancel() = 0;
	virtual bool idle() const = 0;
};

// Image and eventfd outlive the engine.  `depth`: as many requests are started at a time.
// Nothing if the host has no io_uring or forbids it; errno says why.
std::unique_ptr<DiskEngine> make_uring_engine(DiskImage &image, int event, unsigned depth);
std::unique_ptr<DiskEngine> make_thread_engine(DiskImage &image, int event, unsigned threads);

} // namespace lguest
