// SPDX-License-Identifier: GPL-2.0-only
// Network cards in the launcher: options, the link between guests, the user-mode network.
#include "complaint.h"

#include "net_link.h"
#include "net_options.h"
#include "net_user.h"
#include "options.h"

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace lguest::test {
namespace {

// --- options ------------------------------------------------------------------

NetOptions net(std::string_view text)
{
	KeyedOptions options = KeyedOptions::from_text("--net", text);
	NetOptions net = read_net_options(options);
	options.finish();
	return net;
}

std::string complaint(std::string_view text)
{
	return test::complaint([&] { net(text); }, exit_usage);
}

TEST(NetOptions, KnowEachKind)
{
	EXPECT_EQ(net("user").kind, NetOptions::Kind::user);
	NetOptions tap = net("tap=tap0,bridge=br0,mac=02:00:00:aB:00:01,mtu=9000,id=lan");
	EXPECT_EQ(tap.kind, NetOptions::Kind::tap);
	EXPECT_EQ(tap.name, "tap0");
	EXPECT_EQ(tap.bridge, "br0");
	EXPECT_EQ(tap.mac, (MacAddress{2, 0, 0, 0xab, 0, 1}));
	EXPECT_EQ(tap.mtu, 9000);
	EXPECT_EQ(tap.id, "lan");
	EXPECT_EQ(tap.vhost, NetOptions::Vhost::automatic);
	EXPECT_EQ(net("tap-fd=7").fd, 7);
	EXPECT_EQ(net("tap-fd=7,vhost").vhost, NetOptions::Vhost::on);
	EXPECT_EQ(net("tap=tap0,vhost=off").vhost, NetOptions::Vhost::off);
	EXPECT_EQ(net("link=lab-1").name, "lab-1");
}

TEST(NetOptions, KnowForwards)
{
	NetOptions user = net("user,forward=tcp:2222-22+udp:0.0.0.0:53-5353");
	ASSERT_EQ(user.forwards.size(), 2u);
	EXPECT_FALSE(user.forwards[0].udp);
	EXPECT_EQ(user.forwards[0].address, "127.0.0.1");
	EXPECT_EQ(user.forwards[0].host_port, 2222);
	EXPECT_EQ(user.forwards[0].guest_port, 22);
	EXPECT_TRUE(user.forwards[1].udp);
	EXPECT_EQ(user.forwards[1].address, "0.0.0.0");
	EXPECT_EQ(user.forwards[1].host_port, 53);
}

TEST(NetOptions, SayWhatIsWrong)
{
	EXPECT_EQ(complaint(""), "--net: must be one of user, tap=NAME, tap-fd=N, link=NAME");
	EXPECT_EQ(complaint("user,link=a"), "--net: must be one of user, tap=NAME, tap-fd=N, link=NAME");
	for (const char *text : {"forward=", "forward=2222-22", "forward=tcp:22", "forward=tcp:0-22", "forward=tcp:1-65536", "forward=tcp:::1:2-3",
				 "forward=tcp:1-2+", "forward=tcp:host:1-2"})
		EXPECT_NE(complaint(fmt::format("user,{}", text)).find("HOSTPORT-GUESTPORT"), std::string::npos) << text;
	EXPECT_NE(complaint("link=a,forward=tcp:1-2").find("--net forward: only with user"), std::string::npos);
	EXPECT_NE(complaint("user,bridge=br0").find("--net bridge: only with tap"), std::string::npos);
	EXPECT_EQ(complaint("user,vhost=off"), "--net vhost: only with tap or tap-fd");
	EXPECT_EQ(complaint("tap=a,vhost=maybe"), "--net vhost: 'maybe' is not one of auto, on, off");
	for (const char *mac : {"", "02:00:00:00:00", "01:00:00:00:00:00", "00:00:00:00:00:00", "02:00:00:00:00:0g", "02-00-00-00-00-00"})
		EXPECT_NE(complaint(fmt::format("user,mac={}", mac)).find("is not the address of a card"), std::string::npos) << mac;
	EXPECT_NE(complaint("user,mtu=67").find("from 68 to"), std::string::npos);
	for (const char *name : {"", ".", "..", "a/b", ".hidden", "a b", "abcdefghijklmnopqrstuvwxyz1234567"})
		EXPECT_NE(complaint(fmt::format("link={}", name)), "no complaint") << name;
	for (const char *name : {"", "a/b", "sixteen-letters-", "tap%d"})
		EXPECT_NE(complaint(fmt::format("tap={}", name)), "no complaint") << name;
	EXPECT_NE(complaint("user,speed=1").find("--net speed: not known; there are user, tap, tap-fd, link, forward"), std::string::npos);
}

TEST(NetOptions, SeveralCardsOnOneCommandLine)
{
	const char *words[] = {"lguest", "run", "--net", "user", "--net", "link=a,id=second"};
	auto options = std::get<RunOptions>(parse_command_line(static_cast<int>(std::size(words)), words));
	ASSERT_EQ(options.nets.size(), 2u);
	EXPECT_EQ(options.nets[1].id, "second");
}

TEST(NetOptions, AddressesAreStableAndLocal)
{
	EXPECT_EQ(card_address("web", 0), card_address("web", 0));
	EXPECT_NE(card_address("web", 0), card_address("web", 1));
	EXPECT_NE(card_address("web", 0), card_address("db", 0));
	EXPECT_EQ(card_address("", 0), card_address("", 0));
	EXPECT_NE(card_address("", 0), card_address("", 1));
	for (const char *name : {"", "a", "b", "c", "d"})
		EXPECT_EQ(card_address(name, 0)[0] & 3, 2) << name;
	EXPECT_EQ(format_mac({2, 0, 0xab, 0, 0, 1}), "02:00:ab:00:00:01");
}

// --- ports --------------------------------------------------------------------

constexpr auto time_limit = std::chrono::seconds{60};

// A card whose guest always has room, unless it is told to have none.
struct FakeCard final : NetEvents {
	explicit FakeCard(NetPort &port) : port{port}
	{
		port.start(*this);
		frames_waiting();	// as when a driver comes up
	}

	void receive_soon() override {}
	void frames_waiting() override
	{
		while (!deaf) {
			std::string bytes(max_frame, '\0');
			iovec room[] = {{bytes.data(), 12}, {bytes.data() + 12, 500}, {bytes.data() + 512, bytes.size() - 512}};
			std::size_t size = port.receive(room);
			if (size == 0)
				return;
			bytes.resize(size);
			received.push_back(bytes.substr(12));
			header = bytes.substr(0, 12);
		}
	}
	void room_again() override { rooms++; }
	void link_lost(const std::string &) override { lost++; }
	void driver_broken() override {}

	bool send(std::string frame, NetHeader header = {})
	{
		iovec parts[] = {{&header, sizeof header}, {frame.data(), 10}, {frame.data() + 10, frame.size() - 10}};
		return port.send(parts);
	}

	NetPort &port;
	bool deaf = false;
	std::vector<std::string> received;
	std::string header;			// of the last one
	unsigned rooms = 0, lost = 0;
};

template <typename Condition>
bool run_until(boost::asio::io_context &loop, Condition condition)
{
	auto deadline = std::chrono::steady_clock::now() + time_limit;
	while (!condition() && std::chrono::steady_clock::now() < deadline) {
		loop.restart();
		loop.run_one_for(std::chrono::milliseconds{50});
	}
	return condition();
}

std::string mac(char name) { return {'\2', 0, 0, 0, 0, name}; }
const std::string everybody(6, '\xff');

std::string frame(const std::string &to, const std::string &from, std::string_view text)
{
	return to + from + "\x88\xb5" + std::string{text};
}

class Link : public testing::Test {
protected:
	Link()
	{
		std::string name = testing::TempDir() + "lguest-link.XXXXXX";
		directory_ = mkdtemp(name.data());
		setenv("XDG_RUNTIME_DIR", directory_.c_str(), 1);
	}
	~Link() override
	{
		unsetenv("XDG_RUNTIME_DIR");
		std::filesystem::remove_all(directory_);
	}
	std::string segment() const { return directory_ + "/lguest/link/lab"; }
	std::size_t sockets() const
	{
		auto entries = std::filesystem::directory_iterator{segment()};
		return static_cast<std::size_t>(std::distance(begin(entries), end(entries)));
	}
	struct End {
		explicit End(boost::asio::io_context &loop) : port{loop, net("link=lab")}, card{port} {}
		LinkPort port;
		FakeCard card;
	};

	std::string directory_;
	boost::asio::io_context loop;
};

TEST_F(Link, ThreeGuestsHearWhatIsForThem)
{
	End a{loop}, b{loop}, c{loop};
	EXPECT_EQ(sockets(), 3u);
	ASSERT_TRUE(run_until(loop, [&] { return a.port.peers() == 2 && b.port.peers() == 2; }));
	EXPECT_TRUE(a.card.send(frame(everybody, mac('a'), "who is b?")));
	ASSERT_TRUE(run_until(loop, [&] { return b.card.received.size() == 1 && c.card.received.size() == 1; }));
	EXPECT_EQ(b.card.received[0], frame(everybody, mac('a'), "who is b?"));
	EXPECT_EQ(a.port.peers(), 2u);
	EXPECT_EQ(c.port.peers(), 2u);

	EXPECT_TRUE(b.card.send(frame(mac('a'), mac('b'), "me")));
	ASSERT_TRUE(run_until(loop, [&] { return a.card.received.size() == 1; }));
	EXPECT_TRUE(a.card.send(frame(mac('b'), mac('a'), "for you alone")));
	EXPECT_TRUE(a.card.send(frame(mac('x'), mac('a'), "unknown")));
	ASSERT_TRUE(run_until(loop, [&] { return b.card.received.size() == 3 && c.card.received.size() == 2; }));
	EXPECT_EQ(b.card.received[1], frame(mac('b'), mac('a'), "for you alone"));
	EXPECT_EQ(c.card.received[1], frame(mac('x'), mac('a'), "unknown"));
	EXPECT_TRUE(c.card.received.size() == 2 && a.card.received.size() == 1);
}

TEST_F(Link, LargeFramesPassWithTheirHeaders)
{
	End a{loop}, b{loop};
	ASSERT_TRUE(run_until(loop, [&] { return a.port.peers() == 1; }));
	NetHeader header{};
	header.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	header.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
	header.gso_size = 1448;
	std::string large = frame(mac('b'), mac('a'), std::string(65521, 'x'));
	EXPECT_TRUE(a.card.send(large, header));
	ASSERT_TRUE(run_until(loop, [&] { return b.card.received.size() == 1; }));
	EXPECT_EQ(b.card.received[0], large);
	EXPECT_EQ(b.card.header, std::string(reinterpret_cast<const char *>(&header), sizeof header));
}

TEST_F(Link, AGuestThatDoesNotReadHoldsUpNobodyElse)
{
	End a{loop}, b{loop}, c{loop};
	ASSERT_TRUE(run_until(loop, [&] { return a.port.peers() == 2 && b.port.peers() == 2; }));
	for (End *one : {&b, &c})
		one->card.send(frame(everybody, mac(one == &b ? 'b' : 'c'), "hello"));
	ASSERT_TRUE(run_until(loop, [&] { return a.card.received.size() == 2 && b.card.received.size() == 1; }));
	b.card.deaf = true;
	std::string large = frame(mac('b'), mac('a'), std::string(30000, 'x'));
	unsigned sent = 0;
	while (sent < 1000 && a.card.send(large))
		sent++;
	EXPECT_LT(sent, 1000u);		// it has to wait: nothing is lost so far
	EXPECT_EQ(a.port.dropped(), 0u);
	ASSERT_TRUE(run_until(loop, [&] { return a.card.rooms == 1; }));
	EXPECT_TRUE(a.card.send(large));	// but not for ever
	EXPECT_EQ(a.port.dropped(), 1u);
	EXPECT_TRUE(a.card.send(frame(mac('c'), mac('a'), "hello c")));
	ASSERT_TRUE(run_until(loop, [&] { return c.card.received.size() == 2; }));

	b.card.deaf = false;
	b.card.frames_waiting();
	EXPECT_EQ(b.card.received.size(), 1 + sent);
	ASSERT_TRUE(run_until(loop, [&] { return a.card.rooms >= 2; }));
	EXPECT_TRUE(a.card.send(large));
	ASSERT_TRUE(run_until(loop, [&] { return b.card.received.size() == 2 + sent; }));
}

TEST_F(Link, WhoWaitsForAGuestThatEndsGoesOn)
{
	End a{loop};
	{
		End b{loop};
		b.card.send(frame(everybody, mac('b'), "hello"));
		ASSERT_TRUE(run_until(loop, [&] { return a.card.received.size() == 1; }));
		while (a.card.send(frame(mac('b'), mac('a'), std::string(30000, 'x'))))
			;
	}
	ASSERT_TRUE(run_until(loop, [&] { return a.port.peers() == 0 && a.card.rooms > 0; }));
	EXPECT_TRUE(a.card.send(frame(mac('b'), mac('a'), "nobody hears")));
	EXPECT_EQ(sockets(), 1u);
	End b{loop};
	EXPECT_TRUE(b.card.send(frame(everybody, mac('b'), "again")));
	ASSERT_TRUE(run_until(loop, [&] { return a.card.received.size() == 2; }));
}

TEST_F(Link, SocketsOfTheDeadAreRemoved)
{
	End a{loop};
	int dead = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	sockaddr_un address{};
	address.sun_family = AF_UNIX;
	std::string path = segment() + "/1.0";
	ASSERT_LT(path.size(), sizeof address.sun_path);
	path.copy(address.sun_path, sizeof address.sun_path - 1);
	ASSERT_EQ(bind(dead, reinterpret_cast<sockaddr *>(&address), sizeof address), 0);
	close(dead);
	EXPECT_EQ(sockets(), 2u);
	End b{loop};
	EXPECT_EQ(sockets(), 2u);
	EXPECT_FALSE(std::filesystem::exists(path));
	EXPECT_EQ(b.port.peers(), 1u);
}

TEST_F(Link, TheDirectoryIsPrivate)
{
	{ End a{loop}; }
	ASSERT_EQ(chmod(segment().c_str(), 0755), 0);
	EXPECT_THROW(LinkPort(loop, net("link=lab")), Error);
	std::filesystem::remove_all(segment());
	std::filesystem::create_symlink("/tmp", segment());
	EXPECT_THROW(LinkPort(loop, net("link=lab")), Error);
}

// --- the user-mode network ----------------------------------------------------

std::string number16(unsigned value) { return {static_cast<char>(value >> 8), static_cast<char>(value)}; }

std::string arp_request(const std::string &target)
{
	return everybody + mac('g') + std::string("\x08\x06\0\1\x08\0\6\4\0\1", 10) + mac('g') + std::string(4, '\0') + std::string(6, '\0') + target;
}

std::string ip_checksum(std::string_view header)
{
	unsigned sum = 0;
	for (std::size_t at = 0; at + 1 < header.size(); at += 2)
		sum += static_cast<unsigned char>(header[at]) * 256u + static_cast<unsigned char>(header[at + 1]);
	sum = (sum & 0xffff) + (sum >> 16);
	return number16(~((sum & 0xffff) + (sum >> 16)) & 0xffff);
}

std::string dhcp_discover()
{
	std::string bootp = std::string("\1\1\6\0", 4) + "ABCD" + std::string(20, '\0') + mac('g') + std::string(10 + 64 + 128, '\0') +
			    "\x63\x82\x53\x63" + "\x35\1\1\xff";
	bootp.resize(300);
	std::string udp = number16(68) + number16(67) + number16(static_cast<unsigned>(8 + bootp.size())) + number16(0) + bootp;
	std::string before = std::string("\x45\0", 2) + number16(static_cast<unsigned>(20 + udp.size())) + std::string("\0\0\0\0\x40\x11", 6);
	std::string after = std::string(4, '\0') + std::string(4, '\xff');
	return everybody + mac('g') + std::string("\x08\0", 2) + before + ip_checksum(before + after) + after + udp;
}

TEST(UserNetwork, AnswersWhoTheHostIs)
{
	boost::asio::io_context loop;
	UserPort port{loop, net("user")};
	FakeCard card{port};
	EXPECT_EQ(port.mtu(), 65520);
	EXPECT_TRUE(card.send(arp_request(std::string("\x0a\0\2\2", 4))));
	ASSERT_TRUE(run_until(loop, [&] { return !card.received.empty(); }));
	EXPECT_EQ(card.received[0].substr(12, 2), "\x08\x06");
	EXPECT_EQ(card.received[0].substr(20, 2), std::string("\0\2", 2));
	EXPECT_EQ(card.received[0].substr(28, 4), std::string("\x0a\0\2\2", 4));
	EXPECT_EQ(card.header, std::string(12, '\0'));
}

TEST(UserNetwork, GivesTheGuestAnAddress)
{
	boost::asio::io_context loop;
	UserPort port{loop, net("user,mtu=1500")};
	FakeCard card{port};
	EXPECT_TRUE(card.send(dhcp_discover()));
	ASSERT_TRUE(run_until(loop, [&] { return !card.received.empty(); }));
	const std::string &offer = card.received.front();
	ASSERT_GT(offer.size(), 14u + 20 + 8 + 20);
	EXPECT_EQ(offer.substr(14 + 20 + 8 + 4, 4), "ABCD");
	EXPECT_EQ(offer.substr(14 + 20 + 8 + 16, 4), std::string("\x0a\0\2\x0f", 4));
}

// The first part of a datagram of which no more comes.
std::string lonely_fragment(unsigned id)
{
	std::string data(64, 'x');
	std::string before = std::string("\x45\0", 2) + number16(static_cast<unsigned>(20 + data.size())) + number16(id) +
			     std::string("\x20\0\x40\x11", 4);
	std::string after = std::string("\x0a\0\2\x0f\x0a\0\2\2", 8);
	return std::string("\x52\x55\x0a\0\2\2", 6) + mac('g') + std::string("\x08\0", 2) + before + ip_checksum(before + after) + after + data;
}

TEST(UserNetwork, KeepsFewFragments)
{
	boost::asio::io_context loop;
	UserPort port{loop, net("user")};
	FakeCard card{port};
	EXPECT_TRUE(card.send(lonely_fragment(0)));
	EXPECT_EQ(port.dropped(), 0u);
	for (unsigned id = 1; id < 20000; id++)
		ASSERT_TRUE(card.send(lonely_fragment(id)));
	EXPECT_GT(port.dropped(), 10000u);
	EXPECT_TRUE(card.send(arp_request(std::string("\x0a\0\2\2", 4))));
	EXPECT_TRUE(run_until(loop, [&] { return !card.received.empty(); }));
}

// A TCP port of 127.0.0.1 that is free now.
sockaddr_in free_port()
{
	int probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	sockaddr_in address{};
	address.sin_family = AF_INET;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	socklen_t size = sizeof address;
	EXPECT_EQ(bind(probe, reinterpret_cast<sockaddr *>(&address), size), 0);
	EXPECT_EQ(getsockname(probe, reinterpret_cast<sockaddr *>(&address), &size), 0);
	close(probe);
	return address;
}

TEST(UserNetwork, ForwardsAPort)
{
	sockaddr_in address = free_port();
	NetOptions options = net(fmt::format("user,forward=tcp:{}-22", ntohs(address.sin_port)));

	boost::asio::io_context loop;
	UserPort port{loop, options};
	FakeCard card{port};
	EXPECT_THROW(UserPort(loop, options), Error);
	card.send(arp_request(std::string("\x0a\0\2\2", 4)));
	int client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	connect(client, reinterpret_cast<sockaddr *>(&address), sizeof address);
	// The guest is asked who has 10.0.2.15, as a connection to port 22 is wanted.
	auto asked = [&] {
		return std::ranges::any_of(card.received, [](const std::string &one) {
			return one.substr(12, 2) == "\x08\x06" && one.substr(38, 4) == std::string("\x0a\0\2\x0f", 4);
		});
	};
	EXPECT_TRUE(run_until(loop, asked));
	close(client);
}

// With nothing to do it does nothing, its listening socket notwithstanding.
TEST(UserNetwork, SleepsWhileIdle)
{
	boost::asio::io_context loop;
	UserPort port{loop, net(fmt::format("user,forward=tcp:{}-22", ntohs(free_port().sin_port)))};
	FakeCard card{port};
	loop.poll();
	EXPECT_EQ(loop.run_for(std::chrono::milliseconds{1500}), 0u);
}

} // namespace
} // namespace lguest::test
