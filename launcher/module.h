// SPDX-License-Identifier: GPL-2.0-only
// The host module as C++ objects: /dev/lguest, a VM, a vCPU.
//
// A thin layer over include/lguest/ioctl_abi.h; run.cpp owns the objects, vcpu.h
// drives a vCPU through VcpuPort, which tests replace.
//
// Threads: each call is one ioctl, and may be made from any thread of the process,
// but VcpuPort's, which belong to the thread that runs the vCPU.
#pragma once

#include "file.h"
#include "placement.h"

#include <lguest/ioctl_abi.h>

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

namespace lguest {

// What a vCPU thread needs of a vCPU.
class VcpuPort {
public:
	virtual ~VcpuPort() = default;
	// Run until the run page has an exit for us: 0, or an errno value.
	virtual int run() = 0;
	// Shared with the module.
	virtual lg_run &page() = 0;
	// Make run(), under way or the next one, return EINTR.  From any thread; a signal
	// must follow to interrupt one that is under way.
	void exit_immediately() { std::atomic_ref{page().immediate_exit}.store(1); }
	// Take that back.  On run()'s thread.
	void run_again() { std::atomic_ref{page().immediate_exit}.store(0); }
};

class Vcpu final : public VcpuPort {
public:
	explicit Vcpu(Descriptor fd);
	~Vcpu() override;
	Vcpu(const Vcpu &) = delete;
	Vcpu &operator=(const Vcpu &) = delete;

	int run() override;
	lg_run &page() override { return *page_; }
	void set_registers(const lg_regs &registers);	// throws Error
	lg_regs registers() const;			// throws Error

private:
	Descriptor fd_;
	lg_run *page_;
};

class Vm {
public:
	explicit Vm(Descriptor fd) : fd_{std::move(fd)} {}

	void set_memory(std::span<std::byte> memory);	// slot 0, gpa 0; throws Error
	Descriptor create_vcpu(unsigned index);		// throws Error
	void interrupt(unsigned vcpu, unsigned vector) noexcept;
	// False if the module does not take it; do without then.
	bool bind_interrupt(int eventfd, unsigned vcpu, unsigned vector) noexcept;
	bool bind_doorbell(int eventfd, unsigned slot, unsigned queue) noexcept;
	lg_stats stats() const;				// throws Error

private:
	Descriptor fd_;
};

class Module {
public:
	// Opens /dev/lguest.  Throws Error saying what to do if that does not work.
	Module();

	Vm create_vm();					// throws Error
	std::vector<Window> host_windows() const;	// throws Error

private:
	Descriptor fd_;
};

} // namespace lguest
