// SPDX-License-Identifier: GPL-2.0-only
// A vCPU's thread: runs the guest and answers what it leaves for.
//
//              +-- LG_RUN <--------------------------+
//              v                                     |
//     bus access --> Bus          (synchronous) -----+
//     console    --> early_text() (synchronous) -----+
//     the end    --> ended(), once; the thread returns
//
// stop() gets the thread out of LG_RUN even if the guest spins with interrupts off:
// a signal without SA_RESTART, and immediate_exit for when it is not in there yet.
#pragma once

#include "bus.h"
#include "module.h"

#include <atomic>
#include <functional>
#include <semaphore>
#include <span>
#include <string>
#include <thread>

namespace lguest {

// Why a guest ended.
struct Outcome {
	enum class Kind {
		shutdown,	// the guest asked for it
		reboot,		// the guest asked for it
		panic,		// text: what its kernel said
		killed,		// by the module; text: why
		failed,		// LG_RUN failed; text: how
		interrupted,	// by a signal to the launcher, or the terminal's escape
	};
	Kind kind;
	int status = 0;		// the launcher's exit status
	std::string text;
};

// What a vCPU thread talks to.  Called on it.
struct VcpuHooks {
	Bus &bus;
	std::function<void(std::span<const char>)> early_text;	// raw, guest-controlled
	std::function<void(Outcome)> ended;
};

class VcpuThread {
public:
	// Starts the thread.  The port and what the hooks refer to must outlive it.
	VcpuThread(VcpuPort &port, VcpuHooks hooks);
	~VcpuThread() { stop(); }
	VcpuThread(const VcpuThread &) = delete;
	VcpuThread &operator=(const VcpuThread &) = delete;

	// Returns when the thread has ended.  Not to be called on it.
	void stop();

private:
	void loop();
	bool handle_exit();

	VcpuPort &port_;
	VcpuHooks hooks_;
	std::atomic<bool> stopping_ = false;
	std::binary_semaphore finished_{0};
	std::jthread thread_;
};

} // namespace lguest
