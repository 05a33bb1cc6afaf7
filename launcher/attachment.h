// SPDX-License-Identifier: GPL-2.0-only
// What a device of a running guest is to the launcher: the device itself with its
// registers, and whatever serves it (files, sockets, timers).
//
//     DiskOptions --attach_disk()--> Attachment { Block, DeviceSlot, the file }
//
// One file per kind (rng.cpp, ...) has the options' reader, which options.cpp
// lists, and the attach function, which run.cpp calls.
//
// Threads: all of this is the event loop's; what a vCPU thread may call is behind
// the lock of the device's RegisterFile.
#pragma once

#include "bus.h"
#include "guest_memory.h"
#include "guest_ram.h"
#include "module.h"

#include <boost/asio/io_context.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace lguest {

// Where a device is attached.  All outlive the attachments.
struct MachineParts {
	boost::asio::io_context &loop;
	const GuestRam &ram;
	const GuestMemory &memory;
	Bus &bus;
	Vm *vm;			// null in tests: no interrupts
};

// What the control socket asks of a balloon.
struct BalloonControl {
	virtual void set_size(std::uint64_t bytes_to_take) = 0;
	virtual std::uint64_t actual() const = 0;	// bytes the guest has given
	// What the guest said of its memory last, by name ("free-memory"); it is asked anew.
	virtual std::map<std::string, std::uint64_t> stats() = 0;

protected:
	~BalloonControl() = default;
};

// What a device wants to do once the sandbox (sandbox.h) is up.
struct SandboxNeeds {
	bool internet = false;			// make sockets of AF_INET and AF_INET6
	bool interface_events = false;		// hear of the host's network interfaces
	bool vhost = false;			// hand queues to the host's kernel
	std::vector<std::string> directories;	// make and remove files and sockets there
	std::vector<std::string> sockets;	// to be removed, and made again by a reboot
};

class Attachment {
public:
	virtual ~Attachment() = default;
	// What it is called in messages and by `lguest stat`: "disk0".
	virtual const std::string &name() const = 0;
	// The guest has ended.  Finish what it was promised, then call `done`, once.
	virtual void drain(std::function<void()> done) { done(); }
	// After drain(), if the guest is to start again: keep what its next life needs (over_reboot.h).
	virtual void keep_for_reboot() {}
	virtual BalloonControl *balloon() { return nullptr; }
	virtual void add_needs(SandboxNeeds &) const {}
};

} // namespace lguest
