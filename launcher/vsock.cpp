// SPDX-License-Identifier: GPL-2.0-only
// The guest's socket device in the launcher, see vsock.h.
#include "vsock.h"

#include "device_slot.h"
#include "error.h"
#include "vhost_device.h"
#include "vhost_errors.h"

#include <linux/virtio_ids.h>
#include <linux/virtio_vsock.h>

#include <cerrno>
#include <cstring>

namespace lguest {
namespace {

constexpr std::uint16_t queue_size = 256;

// To the guest, from it, and one for events: there is just one kind, that the guest's
// address has changed, and here it does not.
VhostDevice::Kind vsock_kind(const VsockOptions &options)
{
	VhostDevice::Kind kind;
	kind.id = VIRTIO_ID_VSOCK;
	kind.queue_sizes = {queue_size, queue_size, queue_size};
	kind.unserved = 1;
	kind.features = 1ull << VIRTIO_VSOCK_F_SEQPACKET;
	virtio_vsock_config config{options.cid};
	auto bytes = std::as_bytes(std::span{&config, 1});
	kind.config.assign(bytes.begin(), bytes.end());
	return kind;
}

class Vsock final : public Attachment {
public:
	Vsock(const MachineParts &machine, std::unique_ptr<VhostPort> port, const VsockOptions &options)
		: back_end_{std::move(port), options.cid}, device_{back_end_, machine.ram, vsock_kind(options)},
		  slot_{machine.loop, machine.memory, device_, machine.bus, machine.vm, name_, DeviceSlot::all_elsewhere},
		  errors_{machine.loop, back_end_, [this] { broken(); }}
	{
		device_.set_events(slot_.events());
	}

	const std::string &name() const override { return name_; }
	void add_needs(SandboxNeeds &needs) const override { needs.vhost = true; }

	void drain(std::function<void()> done) override
	{
		slot_.registers().with_device([this](Transport &) { device_.finish(); });
		done();
	}

private:
	void broken()
	{
		slot_.registers().with_device([this](Transport &) {
			device_.finish();
			throw DriverError{"the host's kernel finds a queue broken"};
		});
	}

	std::string name_ = "vsock";
	VhostVsock back_end_;
	VhostDevice device_;
	DeviceSlot slot_;
	VhostErrors errors_;
};

} // namespace

std::unique_ptr<Attachment> attach_vsock(const MachineParts &machine, const VsockOptions &options)
{
	auto port = open_vhost(VhostVsock::path);
	if (!port)
		fail("--vsock: {}: {}; {}", VhostVsock::path, std::strerror(errno),
		     errno == EACCES ? "run as root, or join the group it belongs to" : "as root: modprobe vhost_vsock");
	return attach_vsock(machine, options, std::move(port));
}

std::unique_ptr<Attachment> attach_vsock(const MachineParts &machine, const VsockOptions &options, std::unique_ptr<VhostPort> port)
{
	try {
		return std::make_unique<Vsock>(machine, std::move(port), options);
	} catch (const BackEndError &error) {
		fail("--vsock: {} does not do: {}", VhostVsock::path, error.what());
	}
}

} // namespace lguest
