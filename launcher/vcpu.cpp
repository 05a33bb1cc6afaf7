// SPDX-License-Identifier: GPL-2.0-only
// The vCPU thread, see vcpu.h.
#include "vcpu.h"

#include "error.h"
#include "signals_blocked.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <pthread.h>

namespace lguest {
namespace {

int kick_signal() { return SIGRTMIN; }

// The signal has nothing to do but interrupt.
void install_kick_handler()
{
	struct sigaction action {};
	action.sa_handler = [](int) {};
	sigaction(kick_signal(), &action, nullptr);	// no SA_RESTART
}

// Copies out of the run page, which the module may write only while LG_RUN runs.
std::string text_of(const lg_run &page)
{
	return {page.u.text.data, std::min<std::size_t>(page.u.text.length, LG_TEXT_MAX)};
}

Outcome killed(const lg_run &page)
{
	const auto &why = page.u.killed;
	std::string reason{why.reason, strnlen(why.reason, sizeof(why.reason))};
	return {Outcome::Kind::killed, exit_killed,
		fmt::format("{} (rip {:#x}, address {:#x}, vector {}, {} mode)", reason, why.rip, why.address, why.vector,
			    why.user_mode ? "user" : "kernel")};
}

} // namespace

VcpuThread::VcpuThread(VcpuPort &port, VcpuHooks hooks) : port_{port}, hooks_{std::move(hooks)}
{
	install_kick_handler();
	SignalsBlocked blocked{kick_signal()};	// the others are the event loop's
	thread_ = std::jthread{[this] {
		loop();
		change(State::ended);
	}};
}

void VcpuThread::change(State state)
{
	std::scoped_lock guard{state_lock_};
	state_ = state;
	changed_.notify_all();
}

// A kick that comes between the thread's look at what is wanted and its LG_RUN has no
// effect, but for immediate_exit; in case that was seen by an earlier one: again.
void VcpuThread::kick_while_running()
{
	std::unique_lock guard{state_lock_};
	while (state_ == State::running) {
		port_.exit_immediately();
		pthread_kill(thread_.native_handle(), kick_signal());
		changed_.wait_for(guard, std::chrono::milliseconds{100});
	}
}

void VcpuThread::stop()
{
	if (!thread_.joinable())
		return;
	stopping_ = true;
	resume();
	kick_while_running();
	thread_.join();
}

void VcpuThread::pause()
{
	pausing_ = true;
	kick_while_running();
}

void VcpuThread::resume()
{
	std::scoped_lock guard{state_lock_};
	pausing_ = false;
	if (state_ == State::parked)
		state_ = State::running;
	changed_.notify_all();
}

void VcpuThread::park()
{
	std::unique_lock guard{state_lock_};
	while (pausing_) {
		state_ = State::parked;
		changed_.notify_all();
		changed_.wait(guard);
	}
	state_ = State::running;
	port_.run_again();
}

void VcpuThread::loop()
{
	while (!stopping_) {
		if (pausing_) {
			park();
			continue;
		}
		int error = port_.run();
		if (error == EINTR || error == EAGAIN)
			continue;
		if (error) {
			hooks_.ended({Outcome::Kind::failed, exit_failure,
				      fmt::format("running a vCPU: {}; see dmesg for the module's reason", std::strerror(error))});
			return;
		}
		if (!handle_exit())
			return;
	}
}

// False when the guest has ended.
bool VcpuThread::handle_exit()
{
	lg_run &page = port_.page();
	auto &bus = page.u.bus;
	switch (page.exit_reason) {
	case LG_EXIT_BUS_READ:
		bus.value = hooks_.bus.read(bus.address, bus.width);
		return true;
	case LG_EXIT_BUS_WRITE:
		if (bus.address == LG_BUS_SHUTDOWN_TAKEN && hooks_.shutdown_taken)
			hooks_.shutdown_taken();
		else
			hooks_.bus.write(bus.address, bus.width, bus.value);
		return true;
	case LG_EXIT_DOORBELL:
		hooks_.bus.doorbell(bus.address, bus.value);
		return true;
	case LG_EXIT_CONSOLE:
		hooks_.early_text(text_of(page));
		return true;
	case LG_EXIT_NONE:
	case LG_EXIT_VCPU_DOWN:		// the next LG_RUN waits for LG_HC_VCPU_UP
		return true;
	case LG_EXIT_SHUTDOWN:
		hooks_.ended({Outcome::Kind::shutdown, static_cast<int>(page.u.shutdown.status & 0xff), {}});
		return false;
	case LG_EXIT_REBOOT:
		hooks_.ended({Outcome::Kind::reboot, 0, {}});
		return false;
	case LG_EXIT_PANIC:
		hooks_.ended({Outcome::Kind::panic, exit_panic, text_of(page)});
		return false;
	case LG_EXIT_KILLED:
		hooks_.ended(killed(page));
		return false;
	default:
		hooks_.ended({Outcome::Kind::failed, exit_failure,
			      fmt::format("the module reports exit {}, unknown to this launcher: load the module of the same release",
					  page.exit_reason)});
		return false;
	}
}

} // namespace lguest
