// SPDX-License-Identifier: GPL-2.0-only
// While one lives, its thread takes no signals but those of its own faults: they wait, for the event loop's thread or until it ends.
//
// What is made meanwhile by it:
//   a thread inherits the mask, so no moment is left in which a signal could come there
//   a VM: the kernel does not lock an address space for a process that has a signal to take (EINTR)
//   a thread of vhost: nor does Linux since 6.2 make one for it then (ENOMEM)
#pragma once

#include <csignal>
#include <initializer_list>

namespace lguest {

class SignalsBlocked {
public:
	// `but`: comes all the same.
	explicit SignalsBlocked(std::initializer_list<int> but = {})
	{
		sigset_t all;
		sigfillset(&all);
		for (int fault : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT})
			sigdelset(&all, fault);
		for (int signal : but)
			sigdelset(&all, signal);
		pthread_sigmask(SIG_SETMASK, &all, &before_);
	}
	~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
	SignalsBlocked(const SignalsBlocked &) = delete;
	SignalsBlocked &operator=(const SignalsBlocked &) = delete;

private:
	sigset_t before_;
};

} // namespace lguest
