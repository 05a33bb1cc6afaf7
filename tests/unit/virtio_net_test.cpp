// SPDX-License-Identifier: GPL-2.0-only
// The network device, driven as a guest would, with a scripted wire.
#include "virtio_fake_driver.h"

#include "net.h"

#include <linux/virtio_ids.h>

#include <gtest/gtest.h>

namespace lguest::test {
namespace {

struct FakeWire final : NetBackend {
	std::uint64_t features() const override
	{
		return host_offload_features | guest_offload_features | net_feature(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);
	}
	bool send(std::span<const iovec> frame) override
	{
		if (room == 0)
			return false;
		room--;
		std::string bytes;
		for (const iovec &part : frame)
			bytes.append(static_cast<const char *>(part.iov_base), part.iov_len);
		sent.push_back(bytes);
		return true;
	}
	std::size_t receive(std::span<const iovec> to) override
	{
		if (waiting.empty())
			return 0;
		std::string frame = waiting.front();
		waiting.pop_front();
		std::string_view rest = frame;
		for (const iovec &part : to)
			rest.remove_prefix(rest.copy(static_cast<char *>(part.iov_base), part.iov_len));
		return frame.size();
	}
	void receive_wanted() override { wanted++; }
	void set_offloads(const Offloads &now) override { offloads = now; }
	bool take_queues(Transport &, std::uint64_t) override { return takes && ++taken; }
	void return_queues() override { taken--; }

	std::size_t room = SIZE_MAX;
	std::vector<std::string> sent;
	std::deque<std::string> waiting;
	unsigned wanted = 0;
	Offloads offloads;
	bool takes = false;		// the queues
	unsigned taken = 0;
};

std::string packed(const NetHeader &header) { return {reinterpret_cast<const char *>(&header), sizeof header}; }

// Bytes that tell where they belong.
std::string payload(std::size_t size)
{
	std::string bytes(size, '\0');
	for (std::size_t at = 0; at < size; at++)
		bytes[at] = static_cast<char>(at * 7 + at / 251);
	return bytes;
}

NetHeader tso(std::uint8_t type = VIRTIO_NET_HDR_GSO_TCPV4)
{
	NetHeader header{};
	header.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	header.gso_type = type;
	header.hdr_len = 54;
	header.gso_size = 1460;
	header.csum_start = 34;
	header.csum_offset = 16;
	return header;
}

constexpr std::uint64_t mergeable = 1ull << VIRTIO_NET_F_MRG_RXBUF;

class NetDevice : public testing::Test {
protected:
	FakeQueue &rx() { return driver.queue(Net::receive_queue); }
	FakeQueue &tx() { return driver.queue(Net::transmit_queue); }

	void run_doorbells()
	{
		for (unsigned count = 0; count < 100 && !guest.doorbells.empty(); count++) {
			registers.process(guest.doorbells.front());
			guest.doorbells.pop_front();
		}
	}
	void send(FakeQueue::Chain chain)
	{
		chain.submit();
		registers.process(Net::transmit_queue);
	}
	bool receive()
	{
		bool more = false;
		registers.with_device([&](Transport &transport) { more = net.receive(transport); });
		return more;
	}
	NetHeader header_at(std::uint64_t gpa) { return guest.load<NetHeader>(gpa); }
	std::uint8_t command(std::uint8_t group, std::uint8_t number, std::string_view data)
	{
		auto chain = driver.queue(Net::control_queue).chain();
		chain.readable(std::string{static_cast<char>(group), static_cast<char>(number)}).readable(data).writable(1);
		chain.submit();
		registers.process(Net::control_queue);
		return guest.load<std::uint8_t>(chain.address(2));
	}

	FakeGuest guest{4 << 20};
	FakeWire wire;
	Net net{wire, {{2, 0, 0, 0, 0, 9}, 1400}};
	RegisterFile registers{guest.memory, net, guest};
	FakeDriver driver{guest, registers};
};

TEST_F(NetDevice, DescribesItself)
{
	EXPECT_EQ(driver.get(VIRTIO_MMIO_DEVICE_ID), std::uint32_t{VIRTIO_ID_NET});
	EXPECT_EQ(registers.read(VIRTIO_MMIO_CONFIG, 1), 2u);
	EXPECT_EQ(registers.read(VIRTIO_MMIO_CONFIG + 5, 1), 9u);
	EXPECT_EQ(registers.read(VIRTIO_MMIO_CONFIG + 6, 2), std::uint64_t{VIRTIO_NET_S_LINK_UP});
	EXPECT_EQ(registers.read(VIRTIO_MMIO_CONFIG + 10, 2), 1400u);
	for (unsigned feature : {VIRTIO_NET_F_MAC, VIRTIO_NET_F_MTU, VIRTIO_NET_F_STATUS, VIRTIO_NET_F_MRG_RXBUF, VIRTIO_NET_F_CSUM,
				 VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_CTRL_VQ})
		EXPECT_TRUE(driver.offered_features() & 1ull << feature) << feature;
}

// --- from the guest ---------------------------------------------------------------

TEST_F(NetDevice, SendsFramesHoweverTheyAreCut)
{
	driver.start();
	std::string frame = payload(100), whole = packed({}) + frame;
	send(tx().chain().readable(whole));
	send(tx().chain().readable(whole.substr(0, 12)).readable(frame));
	send(tx().chain().readable(whole.substr(0, 5)).readable("").readable(whole.substr(5, 20)).readable(whole.substr(25)).indirect());
	EXPECT_EQ(wire.sent, (std::vector<std::string>{whole, whole, whole}));
	EXPECT_EQ(tx().used_index(), 3);
	EXPECT_EQ(net.counters().sent, 3u);
	EXPECT_FALSE(driver.needs_reset());
}

TEST_F(NetDevice, WaitsWhileTheWireHasNoRoom)
{
	driver.start();
	wire.room = 1;
	for (char name : {'a', 'b', 'c'})
		tx().chain().readable(packed({}) + std::string(60, name)).submit();
	registers.process(Net::transmit_queue);
	registers.process(Net::transmit_queue);
	EXPECT_EQ(wire.sent.size(), 1u);
	EXPECT_EQ(tx().used_index(), 1);
	wire.room = 1;
	registers.with_device([&](Transport &transport) { net.resume_transmit(transport); });
	EXPECT_EQ(wire.sent.size(), 2u);
	wire.room = 9;
	registers.with_device([&](Transport &transport) { net.resume_transmit(transport); });
	ASSERT_EQ(wire.sent.size(), 3u);
	EXPECT_EQ(wire.sent[2].back(), 'c');
	EXPECT_EQ(tx().used_index(), 3);
}

TEST_F(NetDevice, AFrameThatWaitsDoesNotOutliveAReset)
{
	driver.start();
	wire.room = 0;
	send(tx().chain().readable(packed({}) + payload(60)));
	driver.start();
	wire.room = 9;
	registers.with_device([&](Transport &transport) { net.resume_transmit(transport); });
	EXPECT_TRUE(wire.sent.empty());
	EXPECT_EQ(tx().used_index(), 0);
}

TEST_F(NetDevice, SendsBoundedBatches)
{
	driver.start(512);
	for (unsigned count = 0; count < 200; count++)
		tx().chain().readable(packed({}) + payload(60)).submit();
	guest.doorbells.clear();
	registers.process(Net::transmit_queue);
	EXPECT_LT(wire.sent.size(), 200u);
	run_doorbells();
	EXPECT_EQ(wire.sent.size(), 200u);
}

TEST_F(NetDevice, RefusesHeadersThatMakeNoSense)
{
	driver.start();
	std::string frame = payload(2000);
	auto refused = [&](NetHeader header) {
		std::size_t before = wire.sent.size();
		send(tx().chain().readable(packed(header) + frame));
		EXPECT_FALSE(driver.needs_reset());
		return wire.sent.size() == before;
	};
	EXPECT_FALSE(refused({}));
	EXPECT_FALSE(refused(tso()));
	EXPECT_FALSE(refused(tso(VIRTIO_NET_HDR_GSO_TCPV6 | VIRTIO_NET_HDR_GSO_ECN)));
	auto with = [&](auto change) {
		NetHeader header = tso();
		change(header);
		return refused(header);
	};
	EXPECT_TRUE(with([](NetHeader &h) { h.gso_size = 0; }));
	EXPECT_TRUE(with([](NetHeader &h) { h.gso_type = VIRTIO_NET_HDR_GSO_UDP; }));
	EXPECT_TRUE(with([](NetHeader &h) { h.gso_type = 0x7f; }));
	EXPECT_TRUE(with([](NetHeader &h) { h.gso_type = VIRTIO_NET_HDR_GSO_ECN; }));
	EXPECT_TRUE(with([](NetHeader &h) { h.hdr_len = 2001; }));
	EXPECT_TRUE(with([](NetHeader &h) { h.csum_start = 1999; }));
	EXPECT_TRUE(with([](NetHeader &h) { h.csum_start = 13; }));
	EXPECT_TRUE(with([](NetHeader &h) { h.csum_start = 0xffff; h.csum_offset = 0xffff; }));
	EXPECT_FALSE(with([](NetHeader &h) { h.csum_start = 1990; h.csum_offset = 8; }));
	EXPECT_EQ(net.counters().send_refused, 8u);
	EXPECT_EQ(tx().used_index(), 12);

	frame = payload(13);
	EXPECT_TRUE(refused({}));
	frame = payload(65536 + 18);
	EXPECT_TRUE(refused({}));
	frame = payload(65535 + 18);
	EXPECT_FALSE(refused({}));
}

TEST_F(NetDevice, PassesNothingOnThatHasNoMeaning)
{
	driver.start();
	NetHeader header{};
	header.flags = 0xfe & ~VIRTIO_NET_HDR_F_NEEDS_CSUM & ~VIRTIO_NET_HDR_F_DATA_VALID;
	header.hdr_len = header.gso_size = header.csum_start = header.csum_offset = header.num_buffers = 77;
	send(tx().chain().readable(packed(header) + payload(60)));
	EXPECT_EQ(wire.sent.at(0).substr(0, 12), packed({}));
}

TEST_F(NetDevice, RefusesOffloadsThatWereNotNegotiated)
{
	driver.start(16, 1ull << VIRTIO_NET_F_CSUM | 1ull << VIRTIO_NET_F_HOST_TSO4);
	send(tx().chain().readable(packed(tso()) + payload(2000)));
	NetHeader header{};
	header.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	header.csum_start = 14;
	send(tx().chain().readable(packed(header) + payload(2000)));
	EXPECT_EQ(net.counters().send_refused, 2u);
	EXPECT_TRUE(wire.sent.empty());
}

TEST_F(NetDevice, AFrameNeedsAHeader)
{
	driver.start();
	send(tx().chain().readable("too short"));
	EXPECT_TRUE(driver.needs_reset());
	EXPECT_EQ(guest.reason, "frame without a header");
}

// --- to the guest -----------------------------------------------------------------

TEST_F(NetDevice, ReceivesIntoOneBuffer)
{
	driver.start();
	std::string frame = payload(300);
	auto chain = rx().chain();
	chain.writable(7).writable(2000);
	chain.submit();
	wire.waiting = {packed({}) + frame};
	EXPECT_FALSE(receive());
	ASSERT_EQ(rx().used_index(), 1);
	EXPECT_EQ(rx().used_element(0).length, 312u);
	NetHeader header{};
	header.num_buffers = 1;
	EXPECT_EQ(guest.text(chain.address(0), 7) + guest.text(chain.address(1), 305), packed(header) + frame);
	EXPECT_EQ(guest.interrupts, 1u);
}

TEST_F(NetDevice, MergesBuffers)
{
	driver.start(64);
	std::vector<FakeQueue::Chain> chains;
	for (unsigned count = 0; count < 60; count++) {
		chains.push_back(rx().chain().writable(1500));
		chains.back().submit();
	}
	std::string frame = payload(65000);
	wire.waiting = {packed(tso()) + frame, packed({}) + payload(100)};
	receive();
	ASSERT_EQ(rx().used_index(), 45);
	EXPECT_EQ(header_at(chains[0].address(0)).num_buffers, 44);
	EXPECT_EQ(header_at(chains[0].address(0)).gso_size, 1460);
	std::string got;
	for (unsigned index = 0; index < 44; index++)
		got += guest.text(chains[index].address(0), rx().used_element(index).length);
	EXPECT_EQ(got.substr(12), frame);
	EXPECT_EQ(header_at(chains[44].address(0)).num_buffers, 1);
	EXPECT_EQ(rx().used_element(44).length, 112u);
	EXPECT_EQ(guest.interrupts, 1u);
}

TEST_F(NetDevice, AFrameWaitsForMoreBuffers)
{
	driver.start();
	std::string frame = payload(2500);
	auto one = rx().chain().writable(1000);
	one.submit();
	wire.waiting = {packed({}) + frame, packed({}) + payload(80)};
	receive();
	EXPECT_EQ(rx().used_index(), 0);
	EXPECT_EQ(wire.waiting.size(), 1u);
	auto two = rx().chain().writable(1000);
	two.submit();
	wire.wanted = 0;
	registers.process(Net::receive_queue);
	EXPECT_EQ(wire.wanted, 1u);
	receive();
	EXPECT_EQ(rx().used_index(), 0);
	auto three = rx().chain().writable(1000);
	three.submit();
	receive();
	ASSERT_EQ(rx().used_index(), 3);
	EXPECT_EQ((guest.text(one.address(0), 1000) + guest.text(two.address(0), 1000) + guest.text(three.address(0), 512)).substr(12), frame);
	EXPECT_EQ(header_at(one.address(0)).num_buffers, 3);
	EXPECT_EQ(wire.waiting.size(), 1u);
	rx().chain().writable(1000).submit();
	receive();
	EXPECT_EQ(rx().used_index(), 4);
	EXPECT_TRUE(wire.waiting.empty());
}

TEST_F(NetDevice, AFrameThatNeverFitsIsDropped)
{
	driver.start(4);
	for (unsigned count = 0; count < 4; count++)
		rx().chain().writable(100).submit();
	wire.waiting = {packed({}) + payload(500), packed({}) + payload(150)};
	receive();
	EXPECT_EQ(net.counters().receive_refused, 1u);
	EXPECT_EQ(rx().used_index(), 2);
}

TEST_F(NetDevice, WithoutMergingAFrameHasOneChain)
{
	driver.start(16, mergeable);
	auto small = rx().chain().writable(100);
	small.submit();
	rx().chain().writable(1600).submit();
	wire.waiting = {packed({}) + payload(300), packed({}) + payload(60), packed({}) + payload(500)};
	receive();
	EXPECT_EQ(net.counters().receive_refused, 1u);
	ASSERT_EQ(rx().used_index(), 2);
	EXPECT_EQ(rx().used_element(0).length, 72u);
	EXPECT_EQ(header_at(small.address(0)).num_buffers, 1);
	EXPECT_EQ(rx().used_element(1).length, 512u);
}

TEST_F(NetDevice, FramesStayOutsideWhileThereAreNoBuffers)
{
	driver.start();
	wire.waiting = {packed({}) + payload(60)};
	receive();
	EXPECT_EQ(wire.waiting.size(), 1u);
	EXPECT_EQ(rx().avail_event(), 0);	// a doorbell is asked for
	rx().chain().writable(100).submit();
	receive();
	EXPECT_TRUE(wire.waiting.empty());
}

TEST_F(NetDevice, HeadersFromOutsideAreCheckedToo)
{
	driver.start(16, 1ull << VIRTIO_NET_F_GUEST_TSO6);
	rx().chain().writable(4000).submit();
	NetHeader far = tso();
	far.csum_start = 5000;
	wire.waiting = {"x", packed({}) + "short", packed(tso(VIRTIO_NET_HDR_GSO_TCPV6)) + payload(2000), packed(far) + payload(2000),
			packed(tso()) + payload(2000)};
	receive();
	EXPECT_EQ(net.counters().receive_refused, 4u);
	EXPECT_EQ(net.counters().received, 1u);
	EXPECT_EQ(rx().used_index(), 1);
}

TEST_F(NetDevice, HeldBuffersAndFramesDoNotOutliveAReset)
{
	driver.start();
	rx().chain().writable(100).submit();
	wire.waiting = {packed({}) + payload(300)};
	receive();
	driver.start();
	rx().chain().writable(1000).submit();
	receive();
	EXPECT_EQ(rx().used_index(), 0);
	wire.waiting = {packed({}) + payload(60)};
	receive();
	EXPECT_EQ(rx().used_index(), 1);
}

TEST_F(NetDevice, ReceiveBuffersMustBeSound)
{
	driver.start();
	rx().chain().writable(11).submit();
	receive();
	EXPECT_EQ(guest.reason, "receive buffer without room for a header");
	driver.start();
	rx().chain().readable("what").writable(100).submit();
	receive();
	EXPECT_TRUE(driver.needs_reset());
}

TEST_F(NetDevice, ReceivesBoundedBatches)
{
	driver.start(512);
	for (unsigned count = 0; count < 200; count++) {
		rx().chain().writable(100).submit();
		wire.waiting.push_back(packed({}) + payload(60));
	}
	EXPECT_TRUE(receive());
	EXPECT_FALSE(wire.waiting.empty());
	unsigned rounds = 0;
	while (receive())
		rounds++;
	EXPECT_LT(rounds, 10u);
	EXPECT_EQ(rx().used_index(), 200);
}

// --- link and commands ------------------------------------------------------------

TEST_F(NetDevice, TellsOfTheLink)
{
	driver.start();
	auto set = [&](bool up) { registers.with_device([&](Transport &transport) { net.set_link(transport, up); }); };
	set(true);
	EXPECT_EQ(guest.interrupts, 0u);
	set(false);
	EXPECT_EQ(guest.interrupts, 1u);
	EXPECT_EQ(driver.get(VIRTIO_MMIO_INTERRUPT_STATUS), std::uint32_t{VIRTIO_MMIO_INT_CONFIG});
	EXPECT_EQ(registers.read(VIRTIO_MMIO_CONFIG + 6, 2), 0u);
	send(tx().chain().readable(packed({}) + payload(60)));
	EXPECT_TRUE(wire.sent.empty());
	EXPECT_EQ(tx().used_index(), 1);
	set(true);
	send(tx().chain().readable(packed({}) + payload(60)));
	EXPECT_EQ(wire.sent.size(), 1u);
}

TEST_F(NetDevice, ObeysCommands)
{
	driver.start();
	EXPECT_TRUE(wire.offloads.checksum && wire.offloads.tso4 && wire.offloads.tso6 && wire.offloads.ecn);
	EXPECT_EQ(command(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, "\1"), VIRTIO_NET_OK);
	EXPECT_EQ(command(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOBCAST, "\1"), VIRTIO_NET_OK);
	EXPECT_EQ(command(VIRTIO_NET_CTRL_RX, 9, "\1"), VIRTIO_NET_ERR);
	EXPECT_EQ(command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, std::string(8, '\0')), VIRTIO_NET_OK);
	EXPECT_EQ(command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, "\2abcde"), VIRTIO_NET_OK);
	EXPECT_EQ(registers.read(VIRTIO_MMIO_CONFIG + 1, 1), std::uint64_t{'a'});
	EXPECT_EQ(command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, "abc"), VIRTIO_NET_ERR);
	EXPECT_EQ(command(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, "ab"), VIRTIO_NET_ERR);
	EXPECT_EQ(command(99, 0, "x"), VIRTIO_NET_ERR);

	std::uint64_t wanted = 1ull << VIRTIO_NET_F_GUEST_CSUM;
	auto bytes = [&] { return std::string_view{reinterpret_cast<const char *>(&wanted), sizeof wanted}; };
	EXPECT_EQ(command(VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, bytes()), VIRTIO_NET_OK);
	EXPECT_TRUE(wire.offloads.checksum);
	EXPECT_FALSE(wire.offloads.tso4);
	wanted = 1ull << VIRTIO_NET_F_GUEST_UFO;
	EXPECT_EQ(command(VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, bytes()), VIRTIO_NET_ERR);
	EXPECT_FALSE(driver.needs_reset());

	driver.start();
	EXPECT_EQ(registers.read(VIRTIO_MMIO_CONFIG + 1, 1), 0u);	// the address we gave it
}

TEST_F(NetDevice, CommandsMustBeSound)
{
	driver.start();
	driver.queue(Net::control_queue).chain().readable("\0\0\1").submit();
	registers.process(Net::control_queue);
	EXPECT_EQ(guest.reason, "command without room for its answer");
	driver.start();
	driver.queue(Net::control_queue).chain().readable("x").writable(1).submit();
	registers.process(Net::control_queue);
	EXPECT_EQ(guest.reason, "command without a header");
}

// The commands stay ours.
TEST_F(NetDevice, ABackendCanTakeTheQueues)
{
	wire.takes = true;
	driver.start();
	EXPECT_EQ(wire.taken, 1u);
	tx().chain().readable(packed({}) + payload(100)).submit();
	run_doorbells();
	EXPECT_EQ(tx().used_index(), 0u);
	EXPECT_TRUE(wire.sent.empty());
	EXPECT_EQ(wire.wanted, 0u);
	EXPECT_EQ(command(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, std::string(1, '\1')), VIRTIO_NET_OK);
	driver.set(VIRTIO_MMIO_STATUS, 0);
	EXPECT_EQ(wire.taken, 0u);
	wire.takes = false;
	driver.start();
	send(tx().chain().readable(packed({}) + payload(100)));
	EXPECT_EQ(wire.sent.size(), 1u);
}

} // namespace
} // namespace lguest::test
