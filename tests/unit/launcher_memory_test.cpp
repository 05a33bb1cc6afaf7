// SPDX-License-Identifier: GPL-2.0-only
// The devices that serve the guest with what the host has, balloon and entropy, in their
// event loop: what the pages cost, what the rate is.
#include "virtio_fake_driver.h"

#include "balloon.h"
#include "balloon_host.h"
#include "rng.h"

#include <gtest/gtest.h>

#include <chrono>
#include <sys/stat.h>

namespace lguest::test {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t page = 4096;
constexpr std::uint64_t memory_size = 8 << 20;

// A guest in real memory: the rings lie in its first MiB.
class HostDevices : public testing::Test {
protected:
	// Of the memory, in pages.
	std::uint64_t allocated() const
	{
		struct stat status;
		EXPECT_EQ(fstat(ram.fd(), &status), 0);
		return static_cast<std::uint64_t>(status.st_blocks) * 512 / page;
	}
	// One queue is set up in `ram`, in whose place the fake guest has its rings.
	void write(std::uint64_t offset, std::uint32_t value) { bus.write(offset, 4, value); }
	std::uint32_t read(std::uint64_t offset) { return static_cast<std::uint32_t>(bus.read(offset, 4)); }
	void set_up(unsigned queues, std::uint32_t features)
	{
		for (std::uint32_t status : {1u, 3u})
			write(VIRTIO_MMIO_STATUS, status);
		write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
		write(VIRTIO_MMIO_DRIVER_FEATURES, features);
		write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
		write(VIRTIO_MMIO_DRIVER_FEATURES, 1);
		write(VIRTIO_MMIO_STATUS, 11);
		for (unsigned queue = 0; queue < queues; queue++) {
			write(VIRTIO_MMIO_QUEUE_SEL, queue);
			write(VIRTIO_MMIO_QUEUE_NUM, 16);
			write(VIRTIO_MMIO_QUEUE_DESC_LOW, ring_page(queue));
			write(VIRTIO_MMIO_QUEUE_AVAIL_LOW, ring_page(queue) + 1024);
			write(VIRTIO_MMIO_QUEUE_USED_LOW, ring_page(queue) + 2048);
			write(VIRTIO_MMIO_QUEUE_READY, 1);
		}
		write(VIRTIO_MMIO_STATUS, 15);
		settle();
	}
	static std::uint32_t ring_page(unsigned queue) { return static_cast<std::uint32_t>((queue + 1) * page); }
	template <typename T>
	T &at(std::uint64_t gpa) { return *reinterpret_cast<T *>(ram.bytes().data() + gpa); }
	void submit(unsigned queue, std::uint64_t address, std::uint32_t length, std::uint16_t flags)
	{
		at<ring::Descriptor>(ring_page(queue)) = {address, length, flags, 0};
		auto &index = at<std::uint16_t>(ring_page(queue) + 1024 + ring::index_offset);
		at<std::uint16_t>(ring_page(queue) + 1024 + ring::entries_offset + 2 * (index % 16)) = 0;
		index++;
		bus.doorbell(0, queue);
	}
	std::uint16_t used(unsigned queue) { return at<std::uint16_t>(ring_page(queue) + 2048 + ring::index_offset); }
	// All that is to do at once is done.
	void settle()
	{
		while (loop.poll() > 0)
			;
	}

	boost::asio::io_context loop;
	GuestRam ram{memory_size};
	GuestMemory memory{ram.bytes()};
	Bus bus;
	MachineParts parts{loop, ram, memory, bus, nullptr};
};

TEST_F(HostDevices, InflatingFreesMemory)
{
	auto balloon = attach_balloon(parts, {.size = 4 << 20});
	EXPECT_EQ(balloon->name(), "balloon");
	ASSERT_NE(balloon->balloon(), nullptr);
	set_up(3, 1u << VIRTIO_BALLOON_F_STATS_VQ);
	EXPECT_EQ(read(VIRTIO_MMIO_CONFIG), 1024u);
	std::ranges::fill(ram.bytes().subspan(1 << 20), std::byte{'x'});
	std::uint64_t before = allocated();
	auto numbers = &at<std::uint32_t>(0x10000);
	for (unsigned count = 0; count < 256; count++)
		numbers[count] = 1024 + 255 - count;
	before = allocated();
	submit(Balloon::inflate_queue, 0x10000, 1024, 0);
	settle();
	EXPECT_EQ(used(Balloon::inflate_queue), 1);
	EXPECT_EQ(allocated(), before - 256);
	EXPECT_EQ(at<char>(1024 * page), 0);
	EXPECT_EQ(at<char>(1024 * page - 1), 'x');
	EXPECT_EQ(at<char>(1280 * page), 'x');
}

TEST_F(HostDevices, TheBalloonIsControlled)
{
	auto attachment = attach_balloon(parts, {});
	BalloonControl &balloon = *attachment->balloon();
	balloon.set_size(1 << 20);	// there is no driver yet
	EXPECT_EQ(read(VIRTIO_MMIO_CONFIG), 256u);
	set_up(3, 1u << VIRTIO_BALLOON_F_STATS_VQ);
	balloon.set_size(2 << 20);
	EXPECT_EQ(read(VIRTIO_MMIO_CONFIG), 512u);
	EXPECT_EQ(read(VIRTIO_MMIO_INTERRUPT_STATUS), std::uint32_t{VIRTIO_MMIO_INT_CONFIG});
	balloon.set_size(~0ull);
	EXPECT_EQ(read(VIRTIO_MMIO_CONFIG), memory_size / page);
	write(VIRTIO_MMIO_CONFIG + 4, 7);
	EXPECT_EQ(balloon.actual(), 7 * page);
	write(VIRTIO_MMIO_CONFIG + 4, ~0u);	// a lie
	EXPECT_EQ(balloon.actual(), memory_size);

	EXPECT_TRUE(balloon.stats().empty());
	auto say = [&](std::uint64_t free) {
		virtio_balloon_stat stats[] = {{VIRTIO_BALLOON_S_MEMFREE, free}, {VIRTIO_BALLOON_S_MEMTOT, 2000}, {77, 1}};
		std::memcpy(&at<char>(0x10000), stats, sizeof(stats));
		submit(2, 0x10000, sizeof(stats), 0);
		settle();
	};
	say(1000);
	EXPECT_EQ(balloon.stats(), (std::map<std::string, std::uint64_t>{{"free-memory", 1000}, {"total-memory", 2000}}));
	EXPECT_EQ(used(2), 1);		// asked anew
	say(900);
	EXPECT_EQ(balloon.stats().at("free-memory"), 900u);
}

TEST_F(HostDevices, StatsAreAskedForInTime)
{
	auto balloon = attach_balloon(parts, {.stats = 1});
	set_up(3, 1u << VIRTIO_BALLOON_F_STATS_VQ);
	submit(2, 0x10000, 10, 0);
	settle();
	EXPECT_EQ(used(2), 0);
	auto deadline = std::chrono::steady_clock::now() + 60s;
	while (used(2) == 0 && std::chrono::steady_clock::now() < deadline)
		loop.run_one();
	EXPECT_EQ(used(2), 1);
}

TEST_F(HostDevices, RandomBytesDiffer)
{
	auto rng = attach_rng(parts, {});
	set_up(1, 0);
	submit(0, 0x10000, 1000, ring::descriptor_write);
	settle();
	submit(0, 0x20000, 1000, ring::descriptor_write);
	settle();
	EXPECT_EQ(used(0), 2);
	EXPECT_NE(std::memcmp(&at<char>(0x10000), &at<char>(0x20000), 1000), 0);
	EXPECT_EQ(loop.poll(), 0u);
}

TEST_F(HostDevices, TheRateIsKept)
{
	auto rng = attach_rng(parts, {.rate = 1000});
	set_up(1, 0);
	auto begin = std::chrono::steady_clock::now();
	std::uint64_t got = 0;
	for (unsigned count = 1; got < 400; count++) {
		submit(0, 0x10000, 64, ring::descriptor_write);
		while (used(0) != count)
			loop.run_one();
		got += at<ring::UsedElement>(ring_page(0) + 2048 + ring::entries_offset + 8 * ((count - 1) % 16)).length;
	}
	// 100 bytes at once, then 100 each tenth of a second.
	EXPECT_GE(std::chrono::steady_clock::now() - begin, 290ms);
}

TEST_F(HostDevices, AStarvingDriverThatIsResetGoesOn)
{
	auto rng = attach_rng(parts, {.rate = 10});	// one byte each period
	set_up(1, 0);
	submit(0, 0x10000, 1, ring::descriptor_write);
	settle();
	EXPECT_EQ(used(0), 1);
	write(VIRTIO_MMIO_STATUS, 0);
	loop.run_one();		// the new allowance finds no driver
	settle();
	std::ranges::fill(ram.bytes().first(1 << 16), std::byte{});
	set_up(1, 0);
	submit(0, 0x10000, 1, ring::descriptor_write);
	auto deadline = std::chrono::steady_clock::now() + 60s;
	while (used(0) == 0 && std::chrono::steady_clock::now() < deadline)
		loop.run_one();
	EXPECT_EQ(used(0), 1);
}

} // namespace
} // namespace lguest::test
