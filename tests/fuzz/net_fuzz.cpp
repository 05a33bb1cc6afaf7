// SPDX-License-Identifier: GPL-2.0-only
// A driver that obeys no rule, against the network device, and a wire that brings any
// frame.  Nothing may crash, hang, or hand on a header that makes no sense.
#include "fuzz_driver.h"
#include "fuzz_input.h"

#include "net.h"

#include <cstdint>

namespace {

using namespace lguest;
using namespace lguest::test;

struct Wire final : NetBackend {
	std::uint64_t features() const override
	{
		return host_offload_features | guest_offload_features | net_feature(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);
	}
	bool send(std::span<const iovec> frame) override
	{
		NetHeader header;
		require(frame.front().iov_len == sizeof header);
		std::memcpy(&header, frame.front().iov_base, sizeof header);
		std::size_t size = 0;
		for (const iovec &part : frame.subspan(1)) {
			size += part.iov_len;
			for (std::size_t at = 0; at < part.iov_len; at += 4096)
				seen ^= static_cast<const std::byte *>(part.iov_base)[at];
		}
		require(size >= ethernet_header && size <= max_frame - sizeof header);
		if (header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
			require(header.csum_start + header.csum_offset + 2u <= size);
		if (header.gso_type != VIRTIO_NET_HDR_GSO_NONE)
			require(header.gso_size && header.hdr_len <= size);
		if (room == 0)
			return false;
		room--;
		return true;
	}
	std::size_t receive(std::span<const iovec> to) override
	{
		if (frames == 0)
			return 0;
		frames--;
		std::size_t left = size;
		std::memcpy(to.front().iov_base, &header, sizeof header);
		for (const iovec &part : to) {
			std::size_t here = std::min(left, part.iov_len);
			if (&part != &to.front())
				std::memset(part.iov_base, 0x5a, here);
			left -= here;
		}
		require(left == 0);	// there is always room for the largest
		return size;
	}
	void receive_wanted() override {}
	void set_offloads(const Offloads &) override {}

	unsigned room = 4, frames = 0;
	std::size_t size = 0;
	NetHeader header{};
	std::byte seen{};
};

enum Operation : std::uint8_t { store_memory, set_descriptor, submit, doorbell, set_room, frames, cable, restart, operations };

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size)
{
	FakeGuest guest{1 << 17};
	Wire wire;
	Net net{wire, {}};
	RegisterFile registers{guest.memory, net, guest};
	FakeDriver driver{guest, registers};
	driver.start(8);

	Input input{data, size};
	for (unsigned steps = 0; !input.empty() && steps < 500; steps++) {
		switch (input.take<std::uint8_t>() % operations) {
		case store_memory:
			guest.store(input.take<std::uint16_t>() & 0xfff8, input.take<std::uint64_t>());
			break;
		case set_descriptor:
			driver.queue(input.take<std::uint8_t>() % 3)
				.set_descriptor(input.take<std::uint8_t>() % 8, input.take<ring::Descriptor>());
			break;
		case submit:
			driver.queue(input.take<std::uint8_t>() % 3).submit(input.take<std::uint8_t>() % 9);
			break;
		case doorbell:
			registers.process(input.take<std::uint8_t>() % 4);
			break;
		case set_room:
			wire.room = input.take<std::uint8_t>();
			registers.with_device([&](Transport &transport) { net.resume_transmit(transport); });
			break;
		case frames:
			wire.frames = input.take<std::uint8_t>();
			wire.size = std::min<std::size_t>(1 + input.take<std::uint32_t>() % 70000, max_frame);
			wire.header = input.take<NetHeader>();
			registers.with_device([&](Transport &transport) { net.receive(transport); });
			break;
		case cable:
			registers.with_device([&](Transport &transport) { net.set_link(transport, input.take<std::uint8_t>() & 1); });
			break;
		case restart:
			restart_device(driver, registers, input.take<std::uint32_t>());
			break;
		}
		serve_doorbells(guest, registers);
	}
	return 0;
}
