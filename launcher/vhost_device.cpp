// SPDX-License-Identifier: GPL-2.0-only
// A virtio device whose queues somebody else serves, see vhost_device.h.
#include "vhost_device.h"

#include <linux/virtio_config.h>

#include <fmt/format.h>

#include <bit>

namespace lguest {

VhostDevice::VhostDevice(VhostBackEnd &back_end, const GuestRam &ram, Kind kind)
	: back_end_{back_end}, ram_{ram}, kind_{std::move(kind)}
{
	if (!(back_end_.features() & 1ull << VIRTIO_F_VERSION_1))
		throw BackEndError{"it does not speak virtio 1"};
	if (unsigned most = back_end_.queue_count(); most && served() > most)
		throw BackEndError{fmt::format("it has {} queues, not {}", most, served())};
	if (kind_.back_end_config == 0)
		return;
	if (!back_end_.has_config())
		throw BackEndError{"it has no configuration space"};
	kind_.config = back_end_.read_config(kind_.back_end_config);
}

std::uint64_t VhostDevice::read_config(std::uint64_t offset, unsigned width)
{
	std::uint64_t bytes = 0;
	if (offset < kind_.config.size())
		std::memcpy(&bytes, kind_.config.data() + offset, std::min<std::uint64_t>(width, kind_.config.size() - offset));
	return bytes;
}

// Offset and width are guest-controlled.  Whether the field can be written the back end
// knows; what it has made of it we read back.
void VhostDevice::write_config(std::uint64_t offset, unsigned width, std::uint64_t value)
{
	std::uint32_t size = kind_.back_end_config;
	if (offset > size || width > size - offset)
		return;
	try {
		auto bytes = std::as_bytes(std::span{&value, 1}).first(width);
		if (back_end_.write_config(static_cast<std::uint32_t>(offset), bytes))
			kind_.config = back_end_.read_config(size);
	} catch (const BackEndError &error) {
		throw DriverError{fmt::format("back end: {}", error.what())};
	}
}

void VhostDevice::hand_over(Transport &transport)
{
	try {
		back_end_.start(accepted_ & back_end_.features(), {ram_.bytes(), ram_.fd()}, ready_rings(transport, served(), events_));
	} catch (const BackEndError &error) {
		throw DriverError{fmt::format("back end: {}", error.what())};
	}
}

void VhostDevice::reset()
{
	try {
		back_end_.stop();
	} catch (const BackEndError &) {
		// Who watches the connection sees it; the next driver will too.
	}
}

} // namespace lguest
