// SPDX-License-Identifier: GPL-2.0-only
// A vCPU's thread: runs the guest and answers what it leaves for.
//
//              +-- LG_RUN <--------------------------+
//              v                                     |
//     bus access --> Bus          (synchronous) -----+
//     console    --> early_text() (synchronous) -----+
//     the end    --> ended(), once; the thread returns
//
// pause() parks the thread between two LG_RUN, where the guest's clock goes on and
// nothing else of it; interrupts for it gather in the module.
//
// stop() gets the thread out of LG_RUN even if the guest spins with interrupts off:
// a signal without SA_RESTART, and immediate_exit for when it is not in there yet.
#pragma once

#include "bus.h"
#include "module.h"

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
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
	std::function<void()> shutdown_taken{};		// the guest wrote LG_BUS_SHUTDOWN_TAKEN
};

class VcpuThread {
public:
	// Starts the thread.  The port and what the hooks refer to must outlive it.
	VcpuThread(VcpuPort &port, VcpuHooks hooks);
	~VcpuThread() { stop(); }
	VcpuThread(const VcpuThread &) = delete;
	VcpuThread &operator=(const VcpuThread &) = delete;

	// Returns when the thread has ended.  Not to be called on it, nor are the others.
	void stop();
	// Returns when the thread is parked, or has ended.
	void pause();
	void resume();

private:
	enum class State { running, parked, ended };

	void loop();
	bool handle_exit();
	void park();
	void change(State state);
	void kick_while_running();

	VcpuPort &port_;
	VcpuHooks hooks_;
	std::atomic<bool> stopping_ = false;
	std::mutex state_lock_;			// guards the next three
	std::condition_variable changed_;
	State state_ = State::running;
	std::atomic<bool> pausing_ = false;	// read without the lock too
	std::jthread thread_;
};

} // namespace lguest
