// SPDX-License-Identifier: GPL-2.0-only
// The virtio network device, see net.h.
#include "net.h"

#include <linux/virtio_ids.h>

#include <climits>
#include <utility>

namespace lguest {
namespace {

constexpr std::uint64_t own_features =
	net_feature(VIRTIO_NET_F_MAC) | net_feature(VIRTIO_NET_F_STATUS) | net_feature(VIRTIO_NET_F_MRG_RXBUF) |
	net_feature(VIRTIO_NET_F_CTRL_VQ) | net_feature(VIRTIO_NET_F_CTRL_RX) | net_feature(VIRTIO_NET_F_CTRL_RX_EXTRA) |
	net_feature(VIRTIO_NET_F_CTRL_MAC_ADDR);

// Frames, that is system calls, before others get their turn with the thread and the lock.
constexpr unsigned frames_per_call = 64;
constexpr unsigned commands_per_call = 64;

constexpr std::size_t default_mtu = 1500;

// Copies what there is, up to all of `to`, from the readable buffers; returns how much.
std::size_t gather_bytes(std::span<const std::span<std::byte>> buffers, std::span<std::byte> to)
{
	std::size_t done = 0;
	for (auto buffer : buffers) {
		std::size_t size = std::min(buffer.size(), to.size() - done);
		std::memcpy(to.data() + done, buffer.data(), size);
		done += size;
	}
	return done;
}

} // namespace

Net::Net(NetBackend &backend, const Settings &settings) : backend_{backend}, mac_{settings.mac}
{
	std::ranges::copy(mac_, config_.mac);
	config_.mtu = settings.mtu;
	config_.status = VIRTIO_NET_S_LINK_UP;
	config_.max_virtqueue_pairs = 1;
	vector_.reserve(64);
}

std::uint32_t Net::id() const { return VIRTIO_ID_NET; }

std::uint64_t Net::features() const
{
	return own_features | backend_.features() | (config_.mtu ? net_feature(VIRTIO_NET_F_MTU) : 0);
}

std::uint64_t Net::read_config(std::uint64_t offset, unsigned width) { return config_bytes(config_, offset, width); }

void Net::activate(std::uint64_t features)
{
	negotiated_ = features;
	host_offloads_ = Offloads::of_host(features);
	room_.reset(features & net_feature(VIRTIO_NET_F_MRG_RXBUF));
	set_guest_offloads(features);
}

void Net::hand_over(Transport &transport) { handed_over_ = backend_.take_queues(transport, negotiated_); }

void Net::set_guest_offloads(std::uint64_t features)
{
	guest_offloads_ = Offloads::of_guest(features);
	bool large = guest_offloads_.tso4 || guest_offloads_.tso6;
	room_wanted_ = large ? max_frame
			     : sizeof(NetHeader) + ethernet_header + 4 + std::max<std::size_t>(default_mtu, config_.mtu);
	backend_.set_offloads(guest_offloads_);
}

void Net::reset()
{
	if (std::exchange(handed_over_, false))
		backend_.return_queues();
	sending_.reset();
	room_.reset(false);
	std::ranges::copy(mac_, config_.mac);
}

void Net::process(Transport &transport, unsigned queue)
{
	if (handed_over_ && queue != control_queue)
		return;
	switch (queue) {
	case receive_queue:	backend_.receive_wanted(); break;
	case transmit_queue:	transmit(transport); break;
	case control_queue:	handle_control(transport); break;
	}
}

// --- guest to backend ---------------------------------------------------------

void Net::transmit(Transport &transport)
{
	if (sending_)
		return;		// resume_transmit() will come
	Virtqueue &queue = transport.queue(transmit_queue);
	unsigned budget = frames_per_call;
	do {
		queue.disable_doorbell();
		for (; budget > 0 && !sending_; budget--) {
			auto chain = queue.pop();
			if (!chain)
				break;
			if (send(*chain))
				queue.push(std::move(*chain), 0);
			else
				sending_ = std::move(chain);
		}
		transport.queue_used(transmit_queue);
	} while (budget > 0 && !sending_ && queue.enable_doorbell());
	if (budget == 0 && !sending_)
		transport.look_again(transmit_queue);
}

void Net::resume_transmit(Transport &transport)
{
	if (sending_) {
		if (!send(*sending_))
			return;
		transport.queue(transmit_queue).push(std::move(*sending_), 0);
		sending_.reset();
	}
	transmit(transport);
}

// False only if the backend has no room.
bool Net::send(const DescriptorChain &chain)
{
	NetHeader header;	// guest-controlled
	if (gather_bytes(chain.readable(), std::as_writable_bytes(std::span{&header, 1})) < sizeof header)
		throw DriverError{"frame without a header"};
	vector_.clear();
	vector_.push_back({&header, sizeof header});
	std::size_t skip = sizeof header, size = 0;
	for (auto buffer : chain.readable()) {
		std::size_t skipped = std::min(skip, buffer.size());
		skip -= skipped;
		if (buffer.size() == skipped)
			continue;
		vector_.push_back({buffer.data() + skipped, buffer.size() - skipped});
		size += buffer.size() - skipped;
	}
	if (!check_header(header, size, host_offloads_) || vector_.size() > IOV_MAX) {
		counters_.send_refused++;
		return true;
	}
	if (link_up() && !backend_.send(vector_))
		return false;
	counters_.sent++;
	return true;
}

// --- backend to guest ---------------------------------------------------------

bool Net::receive(Transport &transport)
{
	Virtqueue &queue = transport.queue(receive_queue);
	queue.disable_doorbell();
	unsigned budget = frames_per_call;
	while (budget > 0) {
		room_.gather(queue, std::max(room_wanted_, room_.frame()));
		if (room_.empty()) {
			if (queue.enable_doorbell())
				continue;
			break;		// process() will come
		}
		if (!room_.frame()) {
			std::size_t size = backend_.receive(room_.vector());
			if (size == 0)
				break;
			budget--;
			room_.take(size);
			if (size < sizeof(NetHeader) || !link_up() ||
			    !check_header(room_.header(), size - sizeof(NetHeader), guest_offloads_)) {
				counters_.receive_refused++;
				room_.drop();
				continue;
			}
		}
		auto delivery = room_.deliver(queue);
		if (delivery == ReceiveRoom::Delivery::done) {
			counters_.received++;
		} else if (delivery == ReceiveRoom::Delivery::impossible) {
			counters_.receive_refused++;
			room_.drop();
		} else if (!queue.enable_doorbell()) {
			break;		// process() will come
		}
	}
	transport.queue_used(receive_queue);
	return budget == 0;
}

void Net::set_link(Transport &transport, bool up)
{
	if (up == link_up())
		return;
	config_.status = up ? VIRTIO_NET_S_LINK_UP : 0;
	transport.config_changed();
}

// --- commands -----------------------------------------------------------------

void Net::handle_control(Transport &transport)
{
	Virtqueue &queue = transport.queue(control_queue);
	unsigned budget = commands_per_call;
	do {
		for (; budget > 0; budget--) {
			auto chain = queue.pop();
			if (!chain)
				break;
			auto answers = chain->writable();
			if (answers.empty() || answers.front().empty())
				throw DriverError{"command without room for its answer"};
			answers.front().front() = std::byte{obey(*chain) ? std::uint8_t{VIRTIO_NET_OK} : std::uint8_t{VIRTIO_NET_ERR}};
			queue.push(std::move(*chain), 1);
		}
		transport.queue_used(control_queue);
	} while (budget > 0 && queue.enable_doorbell());
	if (budget == 0)
		transport.look_again(control_queue);
}

// Nothing is filtered here, the guest does that itself, so filters are just accepted.
bool Net::obey(const DescriptorChain &chain)
{
	struct {
		virtio_net_ctrl_hdr header;
		std::byte data[8];
	} command{};	// guest-controlled
	static_assert(sizeof command == 10);
	std::size_t size = gather_bytes(chain.readable(), std::as_writable_bytes(std::span{&command, 1}));
	if (size < sizeof command.header)
		throw DriverError{"command without a header"};
	size -= sizeof command.header;
	switch (command.header.class_) {
	case VIRTIO_NET_CTRL_RX:
		return command.header.cmd <= VIRTIO_NET_CTRL_RX_NOBCAST && size >= 1;
	case VIRTIO_NET_CTRL_MAC:
		if (command.header.cmd == VIRTIO_NET_CTRL_MAC_TABLE_SET)
			return true;
		if (command.header.cmd != VIRTIO_NET_CTRL_MAC_ADDR_SET || size < sizeof config_.mac)
			return false;
		std::memcpy(config_.mac, command.data, sizeof config_.mac);
		return true;
	case VIRTIO_NET_CTRL_GUEST_OFFLOADS: {
		std::uint64_t wanted;
		std::memcpy(&wanted, command.data, sizeof wanted);
		if (command.header.cmd != VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET || size < sizeof wanted ||
		    !(negotiated_ & net_feature(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS)) ||
		    (wanted & ~(negotiated_ & guest_offload_features)))
			return false;
		set_guest_offloads(wanted);
		return true;
	}
	default:
		return false;
	}
}

} // namespace lguest
