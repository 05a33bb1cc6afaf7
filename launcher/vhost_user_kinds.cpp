// SPDX-License-Identifier: GPL-2.0-only
// Kinds of vhost-user devices, see vhost_user_kinds.h.
#include "vhost_user_kinds.h"

#include "error.h"
#include "share_options.h"

#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>

#include <algorithm>

namespace lguest {
namespace {

// <linux/virtio_net.h> does not compile as C++.
struct NetConfig {
	std::uint8_t mac[6];
	std::uint8_t others[6];		// status, queue pairs, MTU: features that are not offered
};
constexpr unsigned net_f_mac = 5;
// CSUM, GUEST_CSUM, GUEST_TSO4 to HOST_UFO, MRG_RXBUF: what needs neither a control queue,
// which back ends do not have, nor more of the configuration.
constexpr std::uint64_t net_features = 0x0000'ff83;

constexpr std::uint64_t bit(unsigned feature) { return 1ull << feature; }

template <typename Config>
Bytes bytes_of(const Config &config)
{
	auto bytes = std::as_bytes(std::span{&config, 1});
	return {bytes.begin(), bytes.end()};
}

// The header of <linux/virtio_fs.h> does not compile as C++ everywhere.
struct FsConfig {
	char tag[longest_tag];		// padded with zeros
	std::uint32_t request_queues;
};
static_assert(sizeof(FsConfig) == 40);

void make_fs(VhostDevice::Kind &kind, const VhostUserOptions &options)
{
	FsConfig config{};
	std::ranges::copy(options.tag, config.tag);
	config.request_queues = options.queues;
	kind.config = bytes_of(config);
	kind.features = 0;		// its only one would need one more queue
	kind.queue_sizes.insert(kind.queue_sizes.begin(), options.queue_size);	// for urgent requests
}

// All of the configuration that back ends agree about; what lies behind it comes with
// features left out here.
void make_block(VhostDevice::Kind &kind, const VhostUserOptions &options)
{
	constexpr std::uint32_t known = offsetof(virtio_blk_config, unused1) + sizeof(virtio_blk_config::unused1);
	static_assert(known == 60);
	constexpr unsigned secure_erase = 16, zoned = 17;
	kind.back_end_config = known;
	kind.features &= ~(bit(secure_erase) | bit(zoned));
	if (options.queues == 1)
		kind.features &= ~bit(VIRTIO_BLK_F_MQ);
}

// A pair of queues.
void make_net(VhostDevice::Kind &kind, const VhostUserOptions &options)
{
	NetConfig config{};
	kind.queue_sizes.push_back(options.queue_size);
	kind.features = net_features;
	if (options.mac) {
		std::ranges::copy(*options.mac, config.mac);
		kind.added_features = bit(net_f_mac);
	}
	kind.config = bytes_of(config);
}

} // namespace

VhostDevice::Kind kind_of(const VhostUserOptions &options)
{
	VhostDevice::Kind kind;
	kind.id = options.id;
	kind.queue_sizes.assign(options.queues, options.queue_size);
	kind.back_end_config = options.config_size;
	if (options.id == VIRTIO_ID_FS)
		make_fs(kind, options);
	else if (options.id == VIRTIO_ID_BLOCK)
		make_block(kind, options);
	else if (options.id == VIRTIO_ID_NET)
		make_net(kind, options);
	return kind;
}

std::unique_ptr<Attachment> attach_vhost_user(const MachineParts &machine, const VhostUserOptions &options, unsigned index)
{
	VhostUserSetup setup = kept_back_end(fmt::format("vhost-user{}", index));
	setup.kind = kind_of(options);
	if (!setup.kept)
		setup.socket = connect_unix(options.socket);
	try {
		return attach_back_end(machine, setup);
	} catch (const vhost_user::BackEndError &error) {
		fail("{}: the back end does not do: {}", options.socket, error.what());
	}
}

} // namespace lguest
