// SPDX-License-Identifier: GPL-2.0-only
// vhost-user: the messages, the connection to a fake back end that serves a queue in a
// thread of its own, one that lies, one that dies; the options.
#include "complaint.h"

#include "virtio_fake_driver.h"

#include "error.h"
#include "guest_ram.h"
#include "options.h"
#include "vhost_user_attachment.h"
#include "vhost_user_kinds.h"

#include <linux/virtio_ids.h>

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>

#include <functional>
#include <optional>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

namespace lguest::test {
namespace {

using namespace vhost_user;

constexpr std::uint64_t version_1 = 1ull << VIRTIO_F_VERSION_1;
constexpr std::uint64_t event_idx = 1ull << ring::feature_event_idx;
constexpr std::uint64_t all_protocol = protocol_multiqueue | protocol_reply_ack | protocol_config;

std::pair<Descriptor, Descriptor> socket_pair()
{
	int ends[2];
	EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	return {Descriptor{ends[0]}, Descriptor{ends[1]}};
}

template <typename T>
Bytes bytes_of(const T &object)
{
	auto bytes = std::as_bytes(std::span{&object, 1});
	return {bytes.begin(), bytes.end()};
}

Bytes answer(Request request, const Bytes &payload, std::uint32_t flags = flag_version | flag_reply)
{
	Bytes bytes = bytes_of(Header{static_cast<std::uint32_t>(request), flags, static_cast<std::uint32_t>(payload.size())});
	bytes.insert(bytes.end(), payload.begin(), payload.end());
	return bytes;
}

Bytes answer(Request request, std::uint64_t number) { return answer(request, bytes_of(number)); }

void put(int socket, const Bytes &bytes)
{
	EXPECT_EQ(send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
}

// --- messages --------------------------------------------------------------------

TEST(VhostUserMessages, AreLaidOutAsTheProtocolSays)
{
	EXPECT_EQ(plain(Request::set_owner).bytes, bytes_of(Header{3, 1, 0}));
	auto header = [](const Message &message) {
		Header header;
		std::memcpy(&header, message.bytes.data(), sizeof(header));
		return header;
	};
	Message table = memory_table({0, 1 << 20, 0x1000, 0}, 7);
	EXPECT_EQ(header(table).request, 5u);
	EXPECT_EQ(header(table).size, 40u);
	EXPECT_EQ(table.descriptor, 7);
	Message kick = ring_descriptor(Request::set_ring_kick, 2, no_descriptor);
	EXPECT_EQ(header(kick).size, 8u);
	EXPECT_EQ(static_cast<unsigned>(kick.bytes[12]), 2u);
	EXPECT_EQ(static_cast<unsigned>(kick.bytes[13]), 1u);	// no descriptor comes along
	kick.demand_reply();
	EXPECT_EQ(header(kick).flags, 9u);
	EXPECT_EQ(header(get_config(60)).size, 72u);
	EXPECT_EQ(header(ring_addresses({})).size, 40u);
}

TEST(VhostUserMessages, AnswersAreReadStrictly)
{
	auto size = [](Header header) {
		Bytes bytes = bytes_of(header);
		return reply_size(Request::get_features, std::span{bytes}.first<sizeof(Header)>());
	};
	EXPECT_EQ(size({1, 5, 8}), 8u);
	EXPECT_EQ(size({1, 13, 8}), 8u);
	EXPECT_EQ(complaint([&] { size({2, 5, 8}); }), "it answers 2 when asked 1");
	for (std::uint32_t flags : {0u, 1u, 4u, 6u, 7u, 0x15u, ~0u})
		EXPECT_NE(complaint([&] { size({1, flags, 8}); }).find("with flags"), std::string::npos) << flags;
	EXPECT_EQ(complaint([&] { size({1, 5, 0x7fff'ffff}); }), "it answers with 2147483647 bytes");
	EXPECT_EQ(complaint([&] { reply_number(Bytes(4)); }), "it answers with 4 bytes instead of 8");
	EXPECT_EQ(reply_ring_base(bytes_of(RingState{1, 77}), 1), 77u);
	EXPECT_EQ(complaint([&] { reply_ring_base(bytes_of(RingState{0, 77}), 1); }), "it stops ring 0 when asked to stop 1");
	EXPECT_EQ(complaint([&] { reply_config({}, 8); }), "it does not have 8 bytes of configuration");
	EXPECT_EQ(complaint([&] { reply_config(Bytes(13), 8); }), "it answers with 1 bytes of configuration instead of 8");
	Bytes config = bytes_of(ConfigHeader{0, 7, 0});
	config.resize(20);
	EXPECT_EQ(complaint([&] { reply_config(config, 8); }), "it answers with 7 bytes at 0 of the configuration");
}

// --- a back end --------------------------------------------------------------------

// Serves an entropy device: every buffer is filled with 'R'.  It finds the rings the way
// a back end does, by the table of memory and addresses.
class FakeBackEnd {
public:
	struct Manners {
		std::uint64_t features = version_1 | event_idx | feature_protocol_features;
		std::uint64_t protocol = all_protocol;
		Request dies_at{};		// instead of an answer
		Request refuses{};
	};

	FakeBackEnd(Descriptor socket, Manners manners) : socket_{std::move(socket)}, manners_{manners}, thread_{[this] { serve(); }} {}
	~FakeBackEnd()
	{
		shutdown(socket_.get(), SHUT_RDWR);
		thread_.join();
	}
	void die() { shutdown(socket_.get(), SHUT_RDWR); }

	std::vector<Request> seen;		// to be looked at when it is known to wait
	std::atomic<unsigned> served = 0;
	Bytes config = Bytes(60, std::byte{7});

private:
	void serve()
	{
		pollfd wait[2]{{socket_.get(), POLLIN, 0}, {-1, POLLIN, 0}};
		for (;;) {
			wait[1].fd = kick_.get();
			if (poll(wait, 2, -1) < 0)
				return;
			if (wait[0].revents && !take())
				return;
			if (wait[1].revents)
				kicked();
		}
	}

	bool take()
	{
		Header header;
		alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
		iovec part{&header, sizeof(header)};
		msghdr message{};
		message.msg_iov = &part;
		message.msg_iovlen = 1;
		message.msg_control = control;
		message.msg_controllen = sizeof(control);
		if (recvmsg(socket_.get(), &message, MSG_WAITALL | MSG_CMSG_CLOEXEC) != sizeof(header))
			return false;
		Descriptor along;
		if (cmsghdr *rights = CMSG_FIRSTHDR(&message)) {
			int fd;
			std::memcpy(&fd, CMSG_DATA(rights), sizeof(fd));
			along = Descriptor{fd};
		}
		Bytes payload(header.size);
		if (header.size && recv(socket_.get(), payload.data(), payload.size(), MSG_WAITALL) != static_cast<ssize_t>(payload.size()))
			return false;
		auto request = static_cast<Request>(header.request);
		seen.push_back(request);
		if (request == manners_.dies_at) {
			die();
			return false;
		}
		Bytes reply = carry_out(request, payload, std::move(along));
		if (reply.empty() && header.flags & flag_need_reply)
			reply = answer(request, request == manners_.refuses);
		if (!reply.empty())
			put(socket_.get(), reply);
		return true;
	}

	template <typename T>
	static T as(const Bytes &payload, std::size_t at = 0)
	{
		T object{};
		std::memcpy(&object, payload.data() + at, sizeof(T));
		return object;
	}

	Bytes carry_out(Request request, const Bytes &payload, Descriptor along)
	{
		switch (request) {
		case Request::get_features:
			return answer(request, manners_.features);
		case Request::get_protocol_features:
			return answer(request, manners_.protocol);
		case Request::get_queue_count:
			return answer(request, 2);
		case Request::get_config: {
			Bytes reply = bytes_of(ConfigHeader{0, static_cast<std::uint32_t>(config.size()), 0});
			reply.insert(reply.end(), config.begin(), config.end());
			return answer(request, as<ConfigHeader>(payload).size == config.size() ? reply : Bytes{});
		}
		case Request::set_config:
			if (request != manners_.refuses)
				config.at(as<ConfigHeader>(payload).offset) = payload.at(sizeof(ConfigHeader));
			return {};
		case Request::get_ring_base:
			kick_ = Descriptor{};
			return answer(request, bytes_of(as<RingState>(payload)));
		case Request::set_memory_table: {
			region_ = as<MemoryRegion>(payload, 8);
			void *at = mmap(nullptr, region_.size, PROT_READ | PROT_WRITE, MAP_SHARED, along.get(), 0);
			memory_.emplace(std::span{static_cast<std::byte *>(at), region_.size});
			queue_.emplace(*memory_, 256);
			return {};
		}
		case Request::set_ring_size:
			queue_->set_size(as<RingState>(payload).number);
			return {};
		case Request::set_ring_addresses: {
			auto addresses = as<RingAddresses>(payload);
			queue_->rings = {addresses.descriptors - region_.address, addresses.available - region_.address,
					 addresses.used - region_.address};
			return {};
		}
		case Request::set_ring_call:
			call_ = std::move(along);
			return {};
		case Request::set_ring_kick:
			kick_ = std::move(along);
			queue_->start(true);
			return {};
		default:
			return {};
		}
	}

	void kicked()
	{
		eventfd_t count;
		eventfd_read(kick_.get(), &count);
		do {
			while (auto chain = queue_->pop()) {
				std::uint32_t written = 0;
				for (auto buffer : chain->writable()) {
					std::ranges::fill(buffer, std::byte{'R'});
					written += static_cast<std::uint32_t>(buffer.size());
				}
				queue_->push(std::move(*chain), written);
				served++;
			}
		} while (queue_->enable_doorbell());
		if (queue_->interrupt_wanted())
			eventfd_write(call_.get(), 1);
	}

	Descriptor socket_;
	Manners manners_;
	MemoryRegion region_{};
	std::optional<GuestMemory> memory_;
	std::optional<Virtqueue> queue_;
	Descriptor kick_, call_;
	std::thread thread_;
};

class VhostUserLoop : public testing::Test {
protected:
	std::unique_ptr<FakeBackEnd> back_end(FakeBackEnd::Manners manners = {})
	{
		auto [ours, theirs] = socket_pair();
		setup.socket = std::move(ours);
		return std::make_unique<FakeBackEnd>(std::move(theirs), manners);
	}
	void attach() { attached = attach_back_end(parts, setup); }
	RegisterFile &registers()
	{
		return *bus.device(0);
	}
	// Work off what the event loop has to do, until `done`, but not for ever.
	bool run_until(const std::function<bool()> &done)
	{
		for (unsigned tries = 0; tries < 2000 && !done(); tries++) {
			loop.restart();
			loop.run_for(std::chrono::milliseconds{10});
		}
		return done();
	}

	boost::asio::io_context loop{1};
	GuestRam ram{2 << 20};
	FakeGuest guest{ram.bytes()};
	Bus bus;
	MachineParts parts{loop, ram, guest.memory, bus, nullptr};
	VhostUserSetup setup{"test", {}, kind_of({.id = VIRTIO_ID_RNG, .socket = {}})};
	std::unique_ptr<Attachment> attached;
};

TEST_F(VhostUserLoop, AQueueIsServedByTheBackEndAlone)
{
	auto fake = back_end();
	attach();
	FakeDriver driver{guest, registers()};
	EXPECT_EQ(driver.offered_features(), version_1 | event_idx);	// what the back end has, and no indirect descriptors
	driver.start();
	auto chain = driver.queue(0).chain().writable(5);
	chain.submit();
	driver.set(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	ASSERT_TRUE(run_until([&] { return driver.queue(0).used_index() == 1; }));
	EXPECT_EQ(guest.text(chain.address(0), 5), "RRRRR");
	EXPECT_EQ(driver.queue(0).used_element(0).length, 5u);
	EXPECT_FALSE(driver.needs_reset());
}

TEST_F(VhostUserLoop, TheBackEndIsToldInOrder)
{
	auto fake = back_end();
	attach();
	FakeDriver driver{guest, registers()};
	driver.start();
	driver.set(VIRTIO_MMIO_STATUS, 0);
	using enum Request;
	EXPECT_EQ(fake->seen, (std::vector{set_owner, get_features, get_protocol_features, set_protocol_features, get_queue_count,
					   set_features, set_memory_table, set_ring_size, set_ring_base, set_ring_addresses,
					   set_ring_call, set_ring_kick, set_ring_enable, set_ring_enable, get_ring_base}));
}

TEST_F(VhostUserLoop, SurvivesResets)
{
	auto fake = back_end();
	attach();
	FakeDriver driver{guest, registers()};
	for (unsigned round = 1; round <= 3; round++) {
		driver.start();
		driver.queue(0).chain().writable(1).submit();
		driver.set(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
		ASSERT_TRUE(run_until([&] { return driver.queue(0).used_index() == 1; })) << round;
	}
	EXPECT_EQ(fake->served, 3u);
}

TEST_F(VhostUserLoop, WorksWithoutProtocolFeatures)
{
	auto fake = back_end({.features = version_1});
	attach();
	FakeDriver driver{guest, registers()};
	driver.start();
	EXPECT_EQ(std::ranges::count(fake->seen, Request::set_ring_enable), 0);
	driver.queue(0).chain().writable(1).submit();
	driver.set(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	EXPECT_TRUE(run_until([&] { return fake->served == 1u; }));
}

TEST_F(VhostUserLoop, DeathIsNoticed)
{
	auto fake = back_end();
	unsigned times_lost = 0;
	setup.lost = [&] { times_lost++; };
	attach();
	FakeDriver driver{guest, registers()};
	driver.start();
	EXPECT_EQ(times_lost, 0u);
	fake->die();
	EXPECT_TRUE(run_until([&] { return driver.needs_reset(); }));
	EXPECT_EQ(times_lost, 1u);
	// The next driver does not get far, and nothing worse happens.
	driver.start();
	EXPECT_TRUE(driver.needs_reset());
}

TEST_F(VhostUserLoop, DeathOrRefusalWhenADriverComesNeedsReset)
{
	using enum Request;
	for (Request request : {set_features, set_memory_table, set_ring_size, set_ring_base, set_ring_addresses, set_ring_call,
				set_ring_kick, set_ring_enable})
		for (bool refuses : {false, true}) {
			FakeBackEnd::Manners manners;
			(refuses ? manners.refuses : manners.dies_at) = request;
			Bus own;
			MachineParts machine{loop, ram, guest.memory, own, nullptr};
			FakeGuest fresh{ram.bytes()};
			setup.kind = kind_of({.id = VIRTIO_ID_RNG, .socket = {}});
			auto fake = back_end(manners);
			auto one = attach_back_end(machine, setup);
			FakeDriver driver{fresh, *own.device(0)};
			driver.start();
			EXPECT_TRUE(driver.needs_reset()) << static_cast<unsigned>(request) << refuses;
		}
}

TEST_F(VhostUserLoop, ConfigurationIsTheBackEnds)
{
	auto fake = back_end();
	setup.kind = kind_of({.id = VIRTIO_ID_BLOCK, .socket = {}});
	attach();
	EXPECT_EQ(registers().read(VIRTIO_MMIO_CONFIG, 2), 0x0707u);
	EXPECT_EQ(registers().read(VIRTIO_MMIO_CONFIG + 58, 8), 0x0707u);
	EXPECT_EQ(registers().read(VIRTIO_MMIO_CONFIG + 100, 8), 0u);
	registers().write(VIRTIO_MMIO_CONFIG + 32, 1, 1);
	EXPECT_EQ(registers().read(VIRTIO_MMIO_CONFIG + 32, 1), 1u);
	for (std::uint64_t offset : {53ull, 60ull, 3000ull})
		registers().write(VIRTIO_MMIO_CONFIG + offset, 8, 0);
	EXPECT_EQ(std::ranges::count(fake->seen, Request::set_config), 1);
}

TEST_F(VhostUserLoop, FileSystemsHaveATag)
{
	auto fake = back_end();
	setup.kind = kind_of({.id = VIRTIO_ID_FS, .socket = {}, .tag = "abc"});
	attach();
	EXPECT_EQ(registers().queue_count(), 2u);
	EXPECT_EQ(registers().read(VIRTIO_MMIO_CONFIG, 4), 0x636261u);
	EXPECT_EQ(registers().read(VIRTIO_MMIO_CONFIG + 36, 4), 1u);
	registers().write(VIRTIO_MMIO_CONFIG, 4, 0);
	EXPECT_EQ(registers().read(VIRTIO_MMIO_CONFIG, 4), 0x636261u);
}

TEST_F(VhostUserLoop, UnfitBackEndsAreRefused)
{
	auto too_few = back_end();
	setup.kind = kind_of({.id = VIRTIO_ID_RNG, .socket = {}, .queues = 3});
	EXPECT_EQ(complaint([&] { attach(); }), "it has 2 queues, not 3");
	auto old = back_end({.features = event_idx});
	setup.kind = kind_of({.id = VIRTIO_ID_RNG, .socket = {}});
	EXPECT_EQ(complaint([&] { attach(); }), "it does not speak virtio 1");
	auto poor = back_end({.protocol = 0});
	setup.kind = kind_of({.id = VIRTIO_ID_BLOCK, .socket = {}});
	EXPECT_EQ(complaint([&] { attach(); }), "it has no configuration space");
	auto gone = back_end({.dies_at = Request::get_features});
	EXPECT_EQ(complaint([&] { attach(); }), "it is gone");
}

// --- lies ----------------------------------------------------------------------------

// A back end whose answers lie ready before they are asked for.
std::string after(const Bytes &answers, int descriptor = -1)
{
	auto [ours, theirs] = socket_pair();
	if (descriptor >= 0) {
		alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))]{};
		iovec part{const_cast<std::byte *>(answers.data()), answers.size()};
		msghdr message{};
		message.msg_iov = &part;
		message.msg_iovlen = 1;
		message.msg_control = control;
		message.msg_controllen = sizeof(control);
		cmsghdr *rights = CMSG_FIRSTHDR(&message);
		*rights = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
		std::memcpy(CMSG_DATA(rights), &descriptor, sizeof(int));
		EXPECT_EQ(sendmsg(theirs.get(), &message, 0), static_cast<ssize_t>(answers.size()));
	} else if (!answers.empty()) {
		put(theirs.get(), answers);
	}
	shutdown(theirs.get(), SHUT_WR);
	return complaint([&] { VhostUser{std::move(ours)}.check(); });
}

TEST(VhostUserLies, AreNoticed)
{
	EXPECT_EQ(after({}), "it is gone");
	EXPECT_EQ(after(Bytes(5)), "it is gone");
	EXPECT_EQ(after(answer(Request::get_config, 1)), "it answers 24 when asked 1");
	EXPECT_EQ(after(answer(Request::get_features, Bytes(7))), "it answers with 7 bytes instead of 8");
	EXPECT_EQ(after(answer(Request::get_features, Bytes(8), flag_version)), "it answers with flags 0x1");
	Bytes half = answer(Request::get_features, 1);
	half.pop_back();
	EXPECT_EQ(after(half), "it is gone");
	Bytes chatty = answer(Request::get_features, version_1);
	chatty.push_back({});
	EXPECT_EQ(after(chatty), "it speaks without being asked");
	EXPECT_EQ(after(answer(Request::get_features, version_1), STDERR_FILENO), "it sends descriptors that nobody asked for");
}

// --- virtiofsd ---------------------------------------------------------------------------

TEST_F(VhostUserLoop, AVirtiofsdOfOursServesADirectory)
{
	if (Virtiofsd::find().empty() || geteuid() != 0)
		GTEST_SKIP() << "needs a virtiofsd, and root";
	setup.daemon = std::make_unique<Virtiofsd>(Virtiofsd::Settings{.directory = testing::TempDir(), .read_only = false});
	setup.socket = setup.daemon->take_socket();
	setup.kind = kind_of({.id = VIRTIO_ID_FS, .socket = {}, .tag = "x"});
	attach();
	FakeDriver driver{guest, registers()};
	driver.start();
	EXPECT_FALSE(driver.needs_reset());
	bool drained = false;
	attached->drain([&] { drained = true; });
	EXPECT_TRUE(drained);
}

TEST(Virtiofsd, SaysWhyItDoesNotStart)
{
	EXPECT_EQ(complaint([] { Virtiofsd{{.directory = "/nowhere"}}; }), "/nowhere: No such file or directory");
	EXPECT_EQ(complaint([] { Virtiofsd{{.directory = "/etc/passwd"}}; }), "/etc/passwd: not a directory");
	setenv("LGUEST_VIRTIOFSD", "/nowhere", 1);
	EXPECT_EQ(complaint([] { Virtiofsd{{.directory = "/etc"}}; }), "/nowhere: No such file or directory");
	setenv("LGUEST_VIRTIOFSD", "/bin/false", 1);
	EXPECT_EQ(complaint([] {
			  Virtiofsd daemon{{.directory = "/etc"}};
			  try {
				  VhostUser{daemon.take_socket()};
			  } catch (const BackEndError &) {
				  throw std::runtime_error{daemon.last_words()};
			  }
		  }), "ended without a word");
	unsetenv("LGUEST_VIRTIOFSD");
}

// --- options ---------------------------------------------------------------------------

RunOptions parsed(std::vector<const char *> words)
{
	words.insert(words.begin(), {"lguest", "run"});
	return std::get<RunOptions>(parse_command_line(static_cast<int>(words.size()), words.data()));
}

TEST(VhostUserOptions, AreRead)
{
	RunOptions options = parsed({"--share", "tag=a,path=/tmp,ro", "--share", "tag=b,socket=/s", "--vhost-user",
				     "type=blk,socket=/b,queues=2,queue-size=64", "--vhost-user", "type=net,socket=/n,mac=52:54:00:12:34:5f",
				     "--vhost-user", "type=4,socket=/r", "--root", "initrd"});
	ASSERT_EQ(options.shares.size(), 2u);
	EXPECT_EQ(options.shares[0].path, "/tmp");
	EXPECT_TRUE(options.shares[0].read_only);
	EXPECT_EQ(options.shares[1].socket, "/s");
	ASSERT_EQ(options.vhost_user.size(), 3u);
	EXPECT_EQ(options.vhost_user[0].id, std::uint32_t{VIRTIO_ID_BLOCK});
	EXPECT_EQ(options.vhost_user[0].queues, 2u);
	EXPECT_EQ(options.vhost_user[0].queue_size, 64u);
	EXPECT_EQ(options.vhost_user[1].mac->at(5), 0x5fu);
	EXPECT_EQ(options.vhost_user[2].id, 4u);
	EXPECT_EQ(options.root, RootMode::initrd);
	EXPECT_EQ(parsed({}).root, RootMode::automatic);
}

TEST(VhostUserOptions, ComplaintsPointAtTheKey)
{
	auto says = [](const char *option, const char *text) { return complaint([&] { parsed({option, text}); }); };
	EXPECT_EQ(says("--share", "path=/tmp"), "--share tag: must be given");
	EXPECT_EQ(says("--share", "tag=a"), "--share path: give either a directory as path or a running back end as socket");
	EXPECT_EQ(says("--share", "tag=a,socket=/s,ro"), "--share ro: for the back end behind a socket to decide: start that one read-only");
	EXPECT_EQ(complaint([] { parsed({"--share", "tag=a,path=/", "--share", "tag=a,path=/tmp"}); }), "--share tag: 'a' is another share's");
	EXPECT_EQ(says("--vhost-user", "type=disk,socket=/s"),
		  "--vhost-user type: 'disk' is neither blk, fs, net, rng nor the number of a virtio device");
	EXPECT_EQ(says("--vhost-user", "type=blk"), "--vhost-user socket: must be given");
	EXPECT_EQ(says("--vhost-user", "type=blk,socket=/s,queue-size=100"), "--vhost-user queue-size: 100 is not a power of two");
	EXPECT_EQ(says("--vhost-user", "type=net,socket=/s,mac=1:2:3"), "--vhost-user mac: '1:2:3' is not six bytes as in 52:54:00:12:34:56");
	EXPECT_EQ(says("--root", "disk"), "--root: 'disk' is not one of host, initrd");
}

} // namespace
} // namespace lguest::test
