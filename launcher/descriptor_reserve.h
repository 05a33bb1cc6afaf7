// SPDX-License-Identifier: GPL-2.0-only
// Descriptors that a guest cannot use up.
//
// Each connection of a guest's `--net user` card is a descriptor of its launcher, so a
// guest can have it run out of them.  To stay manageable, and reachable for other
// guests, the launcher lives with a limit of open files (RLIMIT_NOFILE) a little lower
// than the one it was given, and raises it for a moment where it serves somebody else.
//
// Threads: the event loop's.
#pragma once

namespace lguest {

// At most one at a time.  What is open when it comes stays open.
class DescriptorReserve {
public:
	DescriptorReserve();
	~DescriptorReserve();
	DescriptorReserve(const DescriptorReserve &) = delete;
	DescriptorReserve &operator=(const DescriptorReserve &) = delete;

	// While it lives, the reserve can be used.  Does nothing if there is none.
	class Opened {
	public:
		Opened();
		~Opened();
		Opened(const Opened &) = delete;
		Opened &operator=(const Opened &) = delete;
	};
};

} // namespace lguest
