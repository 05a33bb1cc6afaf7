// SPDX-License-Identifier: GPL-2.0-only
// The registers of one device: virtio-mmio VERSION 2 (virtio 1.2, section 4.2.2).
//
// Sits in a slot of the Bus (bus.h), drives a Device (device.h) and its queues.
//
//     vCPU thread                              event loop thread
//     -----------                              -----------------
//     read(), write()                          process(), with_device()
//           |                                        |
//           +-------------> lock_ <------------------+
//                             |
//              registers, queues, the Device
//
// Locking: one lock per device, taken by all public functions, so a device and
// its queues are single-threaded code.  It is held while a queue is worked on and
// while Wires are called; these must not call back.
#pragma once

#include "device.h"

#include <array>
#include <functional>
#include <mutex>
#include <string_view>
#include <vector>

namespace lguest {

// What connects a register file to the world outside.  Called from any thread.
class Wires {
public:
	virtual void interrupt() = 0;
	// Have process(queue) called soon, on the event loop's thread.
	virtual void doorbell(unsigned queue) = 0;
	// The device was stopped until its next reset, and why.
	virtual void broken(std::string_view reason) = 0;

protected:
	~Wires() = default;
};

class RegisterFile final : private Transport {
public:
	// All three must outlive the register file.
	RegisterFile(const GuestMemory &memory, Device &device, Wires &wires);

	// Accesses at `offset` into the window, of `width` 1, 2, 4 or 8 bytes; all three
	// arguments are guest-controlled.  What does not exist reads as 0.
	std::uint64_t read(std::uint64_t offset, unsigned width);
	void write(std::uint64_t offset, unsigned width, std::uint64_t value);

	// Have the device look at a queue.
	void process(unsigned queue);
	// Run `work` on the device if its driver is up: for events of the host side.
	void with_device(const std::function<void(Transport &)> &work);

	unsigned queue_count() const { return static_cast<unsigned>(queues_.size()); }
	Virtqueue::Counters counters(unsigned queue);

private:
	Virtqueue &queue(unsigned index) override { return queues_.at(index); }
	void queue_used(unsigned index) override;
	void look_again(unsigned index) override;
	void config_changed() override;

	std::uint32_t read_register(std::uint64_t offset);
	void write_register(std::uint64_t offset, std::uint32_t value);
	void write_queue_register(Virtqueue &queue, std::uint64_t offset, std::uint32_t value);
	void write_status(std::uint32_t value);
	void reset();
	bool active() const;
	void needs_reset(std::string_view reason);
	void raise(std::uint32_t cause);
	void set_status_word(std::uint64_t gpa);
	Virtqueue *selected();

	std::mutex lock_;
	const GuestMemory &memory_;
	Device &device_;
	Wires &wires_;
	const std::uint64_t offered_;		// features
	std::vector<Virtqueue> queues_;

	// The registers, as the driver left them; guest-controlled.
	std::uint64_t accepted_ = 0;		// features
	std::uint32_t offered_select_ = 0;
	std::uint32_t accepted_select_ = 0;
	std::uint32_t queue_select_ = 0;
	// And those it cannot write as it likes.
	std::uint32_t status_ = 0;
	std::uint32_t interrupt_status_ = 0;
	std::uint64_t status_word_ = 0;		// gpa, as written
	std::uint32_t *status_mirror_ = nullptr;	// the word there, once it was checked
	std::uint32_t config_generation_ = 0;
};

} // namespace lguest
