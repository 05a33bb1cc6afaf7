// SPDX-License-Identifier: GPL-2.0-only
// A device in the running launcher: its registers, its place on the bus, its
// doorbells as eventfds in the event loop, its interrupt as an eventfd in the module.
//
//     guest --doorbell--> module --eventfd--> event loop --> RegisterFile::process()
//     guest <-interrupt-- module <--eventfd-- RegisterFile, any thread
//
// Without ioeventfds (or for a write of QueueNotify) the vCPU thread writes the
// same eventfd; without irqfds an ioctl raises the interrupt.
#pragma once

#include "bus.h"
#include "module.h"
#include "vhost_back_end.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace lguest {

class DeviceSlot final : private Wires {
public:
	// How many queues, the first ones, are served by somebody who is handed their doorbells;
	// those of the others the event loop takes.
	static constexpr unsigned all_elsewhere = ~0u;

	// Puts the device into the next slot of the bus.  All must outlive the object;
	// `vm` may be null in tests: no interrupts then.  Throws Error if the bus is full.
	DeviceSlot(boost::asio::io_context &loop, const GuestMemory &memory, Device &device, Bus &bus, Vm *vm,
		   std::string name, unsigned elsewhere = 0);
	~DeviceSlot();

	RegisterFile &registers() { return registers_; }

	// For who serves queues elsewhere: eventfds that stay ours.  Throws Error if the module
	// does not take the interrupt's.
	VhostEvents events() const;

private:
	void interrupt() override;
	void doorbell(unsigned queue) override;
	void broken(std::string_view reason) override;
	void wait(std::size_t index);

	std::string name_;
	Vm *vm_;
	RegisterFile registers_;
	unsigned slot_ = 0;
	Descriptor interrupt_;
	bool interrupt_bound_ = false;
	std::uint64_t times_broken_ = 0;
	std::vector<Descriptor> doorbells_;	// by queue
	// Who waits for those of the event loop, which it does not own.  The others are not in
	// there: it would wake up for each of them.
	struct Waiter {
		unsigned queue;
		boost::asio::posix::stream_descriptor doorbell;
	};
	std::vector<Waiter> waiters_;
};

} // namespace lguest
