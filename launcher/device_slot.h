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

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <string>
#include <vector>

namespace lguest {

class DeviceSlot final : private Wires {
public:
	// Who takes the doorbells: the event loop, or another process that is handed them.
	enum class Served { here, elsewhere };

	// Puts the device into the next slot of the bus.  All must outlive the object;
	// `vm` may be null in tests: no interrupts then.  Throws Error if the bus is full.
	DeviceSlot(boost::asio::io_context &loop, const GuestMemory &memory, Device &device, Bus &bus, Vm *vm,
		   std::string name, Served served = Served::here);

	RegisterFile &registers() { return registers_; }

	// For who serves the queues elsewhere: eventfds that stay ours.  Throws Error if the
	// module does not take the interrupt's.
	int doorbell_descriptor(unsigned queue) { return doorbells_.at(queue).native_handle(); }
	int interrupt_descriptor() const;

private:
	void interrupt() override;
	void doorbell(unsigned queue) override;
	void broken(std::string_view reason) override;
	void wait(unsigned queue);

	std::string name_;
	Vm *vm_;
	RegisterFile registers_;
	unsigned slot_ = 0;
	Descriptor interrupt_;
	bool interrupt_bound_ = false;
	std::vector<boost::asio::posix::stream_descriptor> doorbells_;	// by queue
};

} // namespace lguest
