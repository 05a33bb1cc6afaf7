// SPDX-License-Identifier: GPL-2.0-only
// Queues that the host's kernel serves: what it is told, with a fake in its place; the
// device for sockets on top of that; options.
#include "complaint.h"
#include "virtio_fake_driver.h"

#include "error.h"
#include "guest_ram.h"
#include "options.h"
#include "vhost_kernel.h"
#include "vsock.h"

#include <linux/virtio_ids.h>

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>

#include <cerrno>
#include <csignal>
#include <sys/eventfd.h>

#define VIRTIO_RING_NO_LEGACY	// what that has besides does not compile as C++
#include <linux/vhost.h>

namespace lguest::test {
namespace {

constexpr std::uint64_t version_1 = 1ull << VIRTIO_F_VERSION_1;
constexpr std::uint64_t event_idx = 1ull << ring::feature_event_idx;
constexpr std::uint64_t seqpacket = 1ull << 1;

// What was asked of the kernel, and how it answers; outlives the port.
struct FakeKernel {
	std::uint64_t features = version_1 | event_idx | seqpacket | 1ull << 26;
	unsigned long refuses = 0;		// this request
	int error = EINVAL;			// with that
	std::vector<unsigned long> requests;
	std::vector<vhost_vring_addr> addresses;
	std::vector<vhost_vring_state> sizes;
	std::vector<vhost_vring_file> kicks, calls, backends;
	vhost_memory_region memory{};
	std::uint64_t accepted = 0, cid = 0;
	int errors = -1;			// eventfd
	int running = 0;
	bool interruptible_owner = false;	// a signal could come while its thread was made
};

bool blocked(int signal)
{
	sigset_t mask;
	pthread_sigmask(SIG_SETMASK, nullptr, &mask);
	return sigismember(&mask, signal);
}

class FakePort final : public VhostPort {
public:
	explicit FakePort(FakeKernel &kernel) : kernel_{kernel} {}

	int call(unsigned long request, void *argument) override
	{
		kernel_.requests.push_back(request);
		if (request == kernel_.refuses)
			return kernel_.error;
		switch (request) {
		case VHOST_SET_OWNER:		kernel_.interruptible_owner = !blocked(SIGINT) || !blocked(SIGTERM); break;
		case VHOST_GET_FEATURES:	*static_cast<std::uint64_t *>(argument) = kernel_.features; break;
		case VHOST_SET_FEATURES:	kernel_.accepted = as<std::uint64_t>(argument); break;
		case VHOST_SET_MEM_TABLE:
			EXPECT_EQ(static_cast<vhost_memory *>(argument)->nregions, 1u);
			kernel_.memory = static_cast<vhost_memory *>(argument)->regions[0];
			break;
		case VHOST_SET_VRING_NUM:	kernel_.sizes.push_back(as<vhost_vring_state>(argument)); break;
		case VHOST_SET_VRING_ADDR:	kernel_.addresses.push_back(as<vhost_vring_addr>(argument)); break;
		case VHOST_SET_VRING_KICK:	kernel_.kicks.push_back(as<vhost_vring_file>(argument)); break;
		case VHOST_SET_VRING_CALL:	kernel_.calls.push_back(as<vhost_vring_file>(argument)); break;
		case VHOST_SET_VRING_ERR:	kernel_.errors = as<vhost_vring_file>(argument).fd; break;
		case VHOST_NET_SET_BACKEND:	kernel_.backends.push_back(as<vhost_vring_file>(argument)); break;
		case VHOST_VSOCK_SET_GUEST_CID:	kernel_.cid = as<std::uint64_t>(argument); break;
		case VHOST_VSOCK_SET_RUNNING:	kernel_.running = as<int>(argument); break;
		}
		return 0;
	}

private:
	template <typename T>
	static T as(void *argument) { return *static_cast<T *>(argument); }

	FakeKernel &kernel_;
};

// --- frames ------------------------------------------------------------------------

class VhostNetKernel : public testing::Test {
protected:
	VhostNet vhost() { return VhostNet{std::make_unique<FakePort>(kernel), 77}; }

	FakeKernel kernel;
	std::vector<std::byte> bytes{1 << 20};
	VhostMemory memory{bytes, -1};
	std::vector<VhostRing> rings{{0, 256, 0x1000, 0x2000, 0x3000, 10, 12}, {1, 128, 0x4000, 0x5000, 0x6000, 11, 12}};
};

TEST_F(VhostNetKernel, IsToldInOrder)
{
	VhostNet net = vhost();
	net.start(version_1, memory, rings);
	net.stop();
	net.stop();
	EXPECT_EQ(kernel.requests, (std::vector<unsigned long>{
		VHOST_GET_FEATURES, VHOST_SET_OWNER, VHOST_SET_FEATURES, VHOST_SET_MEM_TABLE,
		VHOST_SET_VRING_NUM, VHOST_SET_VRING_BASE, VHOST_SET_VRING_ADDR, VHOST_SET_VRING_ERR, VHOST_SET_VRING_CALL, VHOST_SET_VRING_KICK,
		VHOST_SET_VRING_NUM, VHOST_SET_VRING_BASE, VHOST_SET_VRING_ADDR, VHOST_SET_VRING_ERR, VHOST_SET_VRING_CALL, VHOST_SET_VRING_KICK,
		VHOST_NET_SET_BACKEND, VHOST_NET_SET_BACKEND, VHOST_NET_SET_BACKEND, VHOST_NET_SET_BACKEND}));
	EXPECT_EQ(kernel.accepted, version_1);
	ASSERT_EQ(kernel.backends.size(), 4u);
	EXPECT_EQ(kernel.backends[1].fd, 77);
	EXPECT_EQ(kernel.backends[3].index, 1u);
	EXPECT_EQ(kernel.backends[3].fd, -1);
}

// Rings are named by our addresses, memory by both.
TEST_F(VhostNetKernel, AddressesAreTranslated)
{
	VhostNet net = vhost();
	net.start(version_1, memory, rings);
	auto base = reinterpret_cast<std::uint64_t>(bytes.data());
	EXPECT_EQ(kernel.memory.guest_phys_addr, 0u);
	EXPECT_EQ(kernel.memory.memory_size, bytes.size());
	EXPECT_EQ(kernel.memory.userspace_addr, base);
	ASSERT_EQ(kernel.addresses.size(), 2u);
	EXPECT_EQ(kernel.addresses[1].index, 1u);
	EXPECT_EQ(kernel.addresses[1].flags, 0u);
	EXPECT_EQ(kernel.addresses[1].desc_user_addr, base + 0x4000);
	EXPECT_EQ(kernel.addresses[1].avail_user_addr, base + 0x5000);
	EXPECT_EQ(kernel.addresses[1].used_user_addr, base + 0x6000);
	EXPECT_EQ(kernel.sizes[1].num, 128u);
	EXPECT_EQ(kernel.kicks[1].fd, 11);
	EXPECT_EQ(kernel.calls[1].fd, 12);
	EXPECT_EQ(kernel.errors, net.errors());
}

TEST_F(VhostNetKernel, StartsOverAfterARefusal)
{
	VhostNet net = vhost();
	for (unsigned long request : {VHOST_SET_FEATURES, VHOST_SET_MEM_TABLE, VHOST_SET_VRING_NUM, VHOST_SET_VRING_BASE, VHOST_SET_VRING_ADDR,
				      VHOST_SET_VRING_ERR, VHOST_SET_VRING_CALL, VHOST_SET_VRING_KICK, VHOST_NET_SET_BACKEND}) {
		kernel.refuses = request;
		EXPECT_THROW(net.start(version_1, memory, rings), BackEndError) << request;
		kernel.refuses = 0;
		kernel.backends.clear();
		net.stop();
		EXPECT_TRUE(kernel.backends.empty()) << request;	// it has been stopped already
		EXPECT_NO_THROW(net.start(version_1, memory, rings)) << request;
	}
}

TEST_F(VhostNetKernel, UnfitOnesAreRefused)
{
	kernel.features = event_idx;
	EXPECT_EQ(complaint([&] { vhost(); }), "it does not speak virtio 1");
	kernel.features = version_1;
	kernel.refuses = VHOST_SET_OWNER;
	EXPECT_EQ(complaint([&] { vhost(); }), "VHOST_SET_OWNER: Invalid argument");
}

// Linux makes no thread for a process that has a signal to take, and says ENOMEM.
TEST_F(VhostNetKernel, NoSignalComesWhileItsThreadIsMade)
{
	kernel.interruptible_owner = true;
	vhost();
	EXPECT_FALSE(kernel.interruptible_owner);
	EXPECT_FALSE(blocked(SIGINT));
}

// --- sockets -----------------------------------------------------------------------

class VsockLoop : public testing::Test {
protected:
	void attach() { attached = attach_vsock(parts, {42}, std::make_unique<FakePort>(kernel)); }
	RegisterFile &registers() { return *bus.device(0); }

	FakeKernel kernel;
	boost::asio::io_context loop{1};
	GuestRam ram{2 << 20};
	FakeGuest guest{ram.bytes()};
	Bus bus;
	MachineParts parts{loop, ram, guest.memory, bus, nullptr};
	std::unique_ptr<Attachment> attached;
};

TEST_F(VsockLoop, TheKernelGetsTwoOfThreeQueues)
{
	attach();
	EXPECT_EQ(kernel.cid, 42u);
	FakeDriver driver{guest, registers()};
	EXPECT_EQ(driver.get(VIRTIO_MMIO_DEVICE_ID), std::uint32_t{VIRTIO_ID_VSOCK});
	EXPECT_EQ(registers().read(VIRTIO_MMIO_CONFIG, 8), 42u);
	EXPECT_EQ(registers().queue_count(), 3u);
	EXPECT_EQ(driver.offered_features(), version_1 | event_idx | seqpacket);
	for (unsigned round = 0; round < 3; round++) {
		driver.start();
		EXPECT_EQ(kernel.addresses.size(), 2u);
		EXPECT_EQ(kernel.running, 1);
		driver.set(VIRTIO_MMIO_STATUS, 0);
		EXPECT_EQ(kernel.running, 0);
		kernel.addresses.clear();
	}
	EXPECT_EQ(std::ranges::count(kernel.requests, static_cast<unsigned long>(VHOST_SET_OWNER)), 1);
}

TEST_F(VsockLoop, ARefusalNeedsReset)
{
	attach();
	FakeDriver driver{guest, registers()};
	for (unsigned long request : {VHOST_SET_FEATURES, VHOST_SET_MEM_TABLE, VHOST_SET_VRING_ADDR, VHOST_VSOCK_SET_RUNNING}) {
		kernel.refuses = request;
		driver.start();
		EXPECT_TRUE(driver.needs_reset()) << request;
		kernel.refuses = 0;
		driver.start();
		EXPECT_FALSE(driver.needs_reset()) << request;
	}
}

// The other one would be where an earlier driver had it.
TEST_F(VsockLoop, ADriverMustSetUpBothQueues)
{
	attach();
	FakeDriver driver{guest, registers()};
	driver.start();
	driver.negotiate();
	driver.set_up_queue(0, 16);
	driver.driver_ok();
	EXPECT_TRUE(driver.needs_reset());
	EXPECT_EQ(kernel.running, 0);
}

TEST_F(VsockLoop, ABrokenQueueNeedsReset)
{
	attach();
	FakeDriver driver{guest, registers()};
	driver.start();
	eventfd_write(kernel.errors, 1);
	for (unsigned tries = 0; tries < 1000 && !driver.needs_reset(); tries++) {
		loop.restart();
		loop.run_for(std::chrono::milliseconds{10});
	}
	EXPECT_TRUE(driver.needs_reset());
	EXPECT_EQ(kernel.running, 0);
	// What it said of this driver is forgotten by the next one's time.
	eventfd_write(kernel.errors, 1);
	driver.start();
	loop.restart();
	loop.run_for(std::chrono::milliseconds{50});
	EXPECT_FALSE(driver.needs_reset());
}

TEST_F(VsockLoop, AnAddressInUseIsNamed)
{
	kernel.refuses = VHOST_VSOCK_SET_GUEST_CID;
	kernel.error = EADDRINUSE;
	EXPECT_EQ(complaint([&] { attach(); }), "--vsock cid=42: another guest of this host has it: choose another");
}

// --- options -----------------------------------------------------------------------

RunOptions parsed(std::vector<const char *> words)
{
	words.insert(words.begin(), {"lguest", "run"});
	return std::get<RunOptions>(parse_command_line(static_cast<int>(words.size()), words.data()));
}

TEST(VsockOptions, AreRead)
{
	EXPECT_EQ(parsed({"--vsock", "cid=3"}).vsock->cid, 3u);
	EXPECT_EQ(parsed({"--vsock", "cid=4294967294"}).vsock->cid, 4294967294u);
	EXPECT_FALSE(parsed({}).vsock);
}

TEST(VsockOptions, ComplaintsPointAtTheKey)
{
	auto says = [](const char *text) { return complaint([&] { parsed({"--vsock", text}); }); };
	EXPECT_EQ(says(""), "--vsock cid: must be given");
	for (const char *text : {"cid=0", "cid=2", "cid=4294967295", "cid=x"})
		EXPECT_NE(says(text).find("is not a number from 3 to 4294967294"), std::string::npos) << text;
	EXPECT_EQ(says("cid=3,port=1"), "--vsock port: not known; there are cid");
	EXPECT_EQ(complaint([] { parsed({"--vsock", "cid=3", "--vsock", "cid=4"}); }), "--vsock: a guest has one such device");
}

} // namespace
} // namespace lguest::test
