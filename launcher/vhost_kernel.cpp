// SPDX-License-Identifier: GPL-2.0-only
// Queues served by the host's kernel, see vhost_kernel.h.
#include "vhost_kernel.h"

#include "error.h"
#include "signals_blocked.h"

#include <linux/virtio_config.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>
#include <fcntl.h>

#define VIRTIO_RING_NO_LEGACY	// what that has besides does not compile as C++
#include <linux/vhost.h>

namespace lguest {
namespace {

class OpenVhost final : public VhostPort {
public:
	explicit OpenVhost(Descriptor fd) : fd_{std::move(fd)} {}
	int call(unsigned long request, void *argument) override { return ioctl(fd_.get(), request, argument) < 0 ? errno : 0; }

private:
	Descriptor fd_;
};

// The kernel's struct ends in an array of no certain length.
struct MemoryTable {
	std::uint32_t count;
	std::uint32_t padding;
	vhost_memory_region region;
};
static_assert(sizeof(MemoryTable) == sizeof(vhost_memory) + sizeof(vhost_memory_region));
static_assert(offsetof(MemoryTable, region) == offsetof(vhost_memory, regions));

} // namespace

std::unique_ptr<VhostPort> open_vhost(const char *path)
{
	Descriptor fd{open(path, O_RDWR | O_CLOEXEC)};
	return fd ? std::make_unique<OpenVhost>(std::move(fd)) : nullptr;
}

VhostKernel::VhostKernel(std::unique_ptr<VhostPort> port, unsigned queue_count)
	: port_{std::move(port)}, errors_{new_eventfd()}, queue_count_{queue_count}
{
	check("VHOST_GET_FEATURES", port_->call(VHOST_GET_FEATURES, &features_));
	if (!(features_ & 1ull << VIRTIO_F_VERSION_1))
		throw BackEndError{"it does not speak virtio 1"};
	SignalsBlocked blocked;
	check("VHOST_SET_OWNER", port_->call(VHOST_SET_OWNER, nullptr));	// makes its thread
}

void VhostKernel::check(const char *name, int error)
{
	if (error)
		throw BackEndError{fmt::format("{}: {}", name, std::strerror(error))};
}

void VhostKernel::start(std::uint64_t features, const VhostMemory &memory, std::span<const VhostRing> rings)
{
	stop();
	demand("VHOST_SET_FEATURES", VHOST_SET_FEATURES, features);
	demand("VHOST_SET_MEM_TABLE", VHOST_SET_MEM_TABLE, MemoryTable{1, 0, {0, memory.bytes.size(), memory.address(), 0}});
	for (const VhostRing &ring : rings)
		set_up(ring, memory.address());
	eventfd_t of_earlier_drivers;
	eventfd_read(errors_.get(), &of_earlier_drivers);
	started_ = true;
	try {
		begin(rings);
	} catch (const BackEndError &) {
		stop();
		throw;
	}
}

void VhostKernel::set_up(const VhostRing &ring, std::uint64_t base)
{
	demand("VHOST_SET_VRING_NUM", VHOST_SET_VRING_NUM, vhost_vring_state{ring.index, ring.size});
	demand("VHOST_SET_VRING_BASE", VHOST_SET_VRING_BASE, vhost_vring_state{ring.index, 0});
	demand("VHOST_SET_VRING_ADDR", VHOST_SET_VRING_ADDR,
	       vhost_vring_addr{ring.index, 0, base + ring.descriptors, base + ring.used, base + ring.available, 0});
	demand("VHOST_SET_VRING_ERR", VHOST_SET_VRING_ERR, vhost_vring_file{ring.index, errors_.get()});
	demand("VHOST_SET_VRING_CALL", VHOST_SET_VRING_CALL, vhost_vring_file{ring.index, ring.call});
	demand("VHOST_SET_VRING_KICK", VHOST_SET_VRING_KICK, vhost_vring_file{ring.index, ring.kick});
}

void VhostKernel::stop()
{
	if (std::exchange(started_, false))
		end();
}

// --- frames ----------------------------------------------------------------------

void VhostNet::begin(std::span<const VhostRing> rings)
{
	for (const VhostRing &ring : rings)
		demand("VHOST_NET_SET_BACKEND", VHOST_NET_SET_BACKEND, vhost_vring_file{ring.index, tap_});
}

void VhostNet::end()
{
	for (unsigned index = 0; index < queue_count(); index++)
		call(VHOST_NET_SET_BACKEND, vhost_vring_file{index, -1});
}

// --- sockets ---------------------------------------------------------------------

VhostVsock::VhostVsock(std::unique_ptr<VhostPort> port, std::uint64_t cid) : VhostKernel{std::move(port), 2}
{
	int error = call(VHOST_VSOCK_SET_GUEST_CID, cid);
	if (error == EADDRINUSE)
		fail("--vsock cid={}: another guest of this host has it: choose another", cid);
	if (error)
		fail("--vsock cid={}: {}", cid, std::strerror(error));
}

// It begins with both queues, so a driver that has set up one is refused: the other
// would be where an earlier driver had it.
void VhostVsock::begin(std::span<const VhostRing> rings)
{
	if (rings.size() != queue_count())
		throw BackEndError{"it needs both queues"};
	demand("VHOST_VSOCK_SET_RUNNING", VHOST_VSOCK_SET_RUNNING, int{1});
}

void VhostVsock::end() { call(VHOST_VSOCK_SET_RUNNING, int{0}); }

} // namespace lguest
