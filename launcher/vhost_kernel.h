// SPDX-License-Identifier: GPL-2.0-only
// Queues served by the host's kernel: vhost-net (net_vhost.h) and vhost-vsock (vsock.h).
// It works in our address space, with threads of its own.
//
//     VhostKernel   features, memory, rings, eventfds: the same for all
//       VhostNet    frames from and to a TAP device
//       VhostVsock  sockets of the guest's address (CID)
//
// When a driver breaks virtio's rules, the kernel leaves the queue alone and tells by
// the eventfd errors(); VhostErrors (vhost_errors.h) listens.
//
// Threads: calls with the device's lock held, which is from any thread of this process.
#pragma once

#include "vhost_back_end.h"

#include <memory>

namespace lguest {

// One ioctl on /dev/vhost-*; tests replace it.
class VhostPort {
public:
	virtual ~VhostPort() = default;
	// 0, or an errno value.
	virtual int call(unsigned long request, void *argument) = 0;
};

// Null, and errno, if there is none for us.
std::unique_ptr<VhostPort> open_vhost(const char *path);

class VhostKernel : public VhostBackEnd {
public:
	std::uint64_t features() const override { return features_; }
	unsigned queue_count() const override { return queue_count_; }
	void start(std::uint64_t features, const VhostMemory &memory, std::span<const VhostRing> rings) final;
	void stop() final;

	// Becomes readable when the kernel finds a queue broken.
	int errors() const { return errors_.get(); }

protected:
	// Throws BackEndError if the kernel has no virtio 1, or refuses.
	VhostKernel(std::unique_ptr<VhostPort> port, unsigned queue_count);

	// All is told; begin with these rings.
	virtual void begin(std::span<const VhostRing> rings) = 0;
	// The kernel does not touch the guest's memory any more when this returns.  Whatever
	// begin() has managed to begin; does not throw.
	virtual void end() = 0;

	template <typename Argument>
	int call(unsigned long request, Argument argument) { return port_->call(request, &argument); }
	// Throws BackEndError; `name` says what is refused.
	template <typename Argument>
	void demand(const char *name, unsigned long request, Argument argument) { check(name, call(request, argument)); }

private:
	static void check(const char *name, int error);
	void set_up(const VhostRing &ring, std::uint64_t base);

	std::unique_ptr<VhostPort> port_;
	Descriptor errors_;
	std::uint64_t features_ = 0;
	unsigned queue_count_;
	bool started_ = false;
};

class VhostNet final : public VhostKernel {
public:
	static constexpr const char *path = "/dev/vhost-net";

	VhostNet(std::unique_ptr<VhostPort> port, int tap) : VhostKernel{std::move(port), 2}, tap_{tap} {}

private:
	void begin(std::span<const VhostRing> rings) override;
	void end() override;

	int tap_;	// not owned
};

class VhostVsock final : public VhostKernel {
public:
	static constexpr const char *path = "/dev/vhost-vsock";

	// Throws Error if the address is not to be had.
	VhostVsock(std::unique_ptr<VhostPort> port, std::uint64_t cid);

private:
	void begin(std::span<const VhostRing> rings) override;
	void end() override;
};

} // namespace lguest
