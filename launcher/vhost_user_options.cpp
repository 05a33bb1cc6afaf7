// SPDX-License-Identifier: GPL-2.0-only
// `--vhost-user`, see vhost_user_options.h.
#include "vhost_user_options.h"

#include "share_options.h"
#include "vhost_user_protocol.h"

#include <linux/virtio_ids.h>

#include <bit>
#include <charconv>
#include <cstdio>

namespace lguest {
namespace {

constexpr unsigned most_queues = 64;
constexpr unsigned largest_queue = 1024;

std::uint32_t read_type(KeyedOptions &options)
{
	std::string type = options.take_required("type");
	if (type == "blk")
		return VIRTIO_ID_BLOCK;
	if (type == "fs")
		return VIRTIO_ID_FS;
	if (type == "net")
		return VIRTIO_ID_NET;
	if (type == "rng")
		return VIRTIO_ID_RNG;
	std::uint32_t id = 0;
	auto [rest, error] = std::from_chars(type.data(), type.data() + type.size(), id);
	if (error != std::errc{} || rest != type.data() + type.size() || id == 0)
		options.reject("type", "'{}' is neither blk, fs, net, rng nor the number of a virtio device", type);
	return id;
}

std::array<std::uint8_t, 6> read_mac(KeyedOptions &options)
{
	std::string text = options.take_required("mac");
	std::array<std::uint8_t, 6> mac{};
	int length = 0;
	if (std::sscanf(text.c_str(), "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%n", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4], &mac[5],
			&length) != 6 || static_cast<std::size_t>(length) != text.size())
		options.reject("mac", "'{}' is not six bytes as in 52:54:00:12:34:56", text);
	if (mac[0] & 1)
		options.reject("mac", "'{}' is a group's address", text);
	return mac;
}

} // namespace

VhostUserOptions read_vhost_user_options(KeyedOptions &options)
{
	VhostUserOptions device;
	device.id = read_type(options);
	device.socket = options.take_required("socket");
	device.queues = static_cast<unsigned>(options.take_number("queues", 1, 1, most_queues));
	device.queue_size = static_cast<std::uint16_t>(options.take_number("queue-size", device.queue_size, 2, largest_queue));
	if (!std::has_single_bit(device.queue_size))
		options.reject("queue-size", "{} is not a power of two", device.queue_size);
	if (device.id == VIRTIO_ID_FS) {
		device.tag = options.take_required("tag");
		if (device.tag.size() > longest_tag)
			options.reject("tag", "'{}' is longer than {} characters", device.tag, longest_tag);
	} else if (device.id == VIRTIO_ID_NET) {
		if (options.has("mac"))
			device.mac = read_mac(options);
		if (device.queues > 1)
			options.reject("queues", "a network interface here has one pair");
	} else if (device.id != VIRTIO_ID_BLOCK && device.id != VIRTIO_ID_RNG) {
		device.config_size = static_cast<std::uint32_t>(options.take_number("config-size", 0, 0, vhost_user::max_config));
	}
	return device;
}

} // namespace lguest
