// SPDX-License-Identifier: GPL-2.0-only
// The balloon, driven as a guest would.
#include "virtio_fake_driver.h"

#include "balloon.h"

#include <linux/virtio_ids.h>

#include <gtest/gtest.h>

namespace lguest::test {
namespace {

constexpr std::uint64_t page = Balloon::page_size;

struct FakeBalloonHost final : BalloonHost {
	explicit FakeBalloonHost(const GuestMemory &memory) : memory{memory} {}

	void release(std::span<std::byte> pages) override
	{
		std::uint64_t gpa = static_cast<std::uint64_t>(pages.data() - memory.range(Gpa{0}, 0)->data());
		EXPECT_EQ(gpa % page, 0u);
		EXPECT_EQ(pages.size() % page, 0u);
		EXPECT_LE(gpa + pages.size(), memory.size());
		released.push_back({gpa / page, pages.size() / page});
	}
	void take_stats(std::span<const virtio_balloon_stat> taken) override
	{
		stats.clear();
		for (const virtio_balloon_stat &stat : taken)
			stats.push_back({stat.tag, stat.val});
	}

	const GuestMemory &memory;
	std::vector<std::pair<std::uint64_t, std::uint64_t>> released;	// first page, pages
	std::vector<std::pair<unsigned, std::uint64_t>> stats;
};

template <typename T>
std::string_view raw(const std::vector<T> &values)
{
	return {reinterpret_cast<const char *>(values.data()), values.size() * sizeof(T)};
}

class BalloonDevice : public testing::Test {
protected:
	static constexpr unsigned stats_queue = 2, reporting_queue = 3;
	using Pieces = std::vector<std::pair<std::uint64_t, std::uint64_t>>;

	void run_doorbells()
	{
		for (; !guest.doorbells.empty(); guest.doorbells.pop_front())
			registers.process(guest.doorbells.front());
	}
	void notify(unsigned queue)
	{
		driver.set(VIRTIO_MMIO_QUEUE_NOTIFY, queue);
		run_doorbells();
	}
	Pieces inflate(const std::vector<std::uint32_t> &numbers)
	{
		host.released.clear();
		driver.queue(Balloon::inflate_queue).chain().readable(raw(numbers)).submit();
		notify(Balloon::inflate_queue);
		return host.released;
	}
	Pieces report(FakeQueue::Chain chain)
	{
		host.released.clear();
		chain.submit();
		notify(reporting_queue);
		return host.released;
	}
	void request_stats()
	{
		registers.with_device([&](Transport &transport) { balloon.request_stats(transport); });
	}
	std::uint32_t config(std::size_t offset) { return driver.get(VIRTIO_MMIO_CONFIG + offset); }

	FakeGuest guest;
	FakeBalloonHost host{guest.memory};
	Balloon balloon{guest.memory, host, {.deflate_on_oom = true, .reporting = true}};
	RegisterFile registers{guest.memory, balloon, guest};
	FakeDriver driver{guest, registers};
};

TEST_F(BalloonDevice, IdentifiesItself)
{
	EXPECT_EQ(driver.get(VIRTIO_MMIO_DEVICE_ID), std::uint32_t{VIRTIO_ID_BALLOON});
	EXPECT_EQ(driver.offered_features() & 0xff,
		  1u << VIRTIO_BALLOON_F_MUST_TELL_HOST | 1u << VIRTIO_BALLOON_F_STATS_VQ | 1u << VIRTIO_BALLOON_F_DEFLATE_ON_OOM |
		  1u << VIRTIO_BALLOON_F_PAGE_POISON | 1u << VIRTIO_BALLOON_F_REPORTING);
	EXPECT_EQ(registers.queue_count(), 4u);
}

TEST_F(BalloonDevice, OffersWhatItIsToldTo)
{
	Balloon plain{guest.memory, host, {}};
	EXPECT_EQ(plain.features(), 1u << VIRTIO_BALLOON_F_MUST_TELL_HOST | 1u << VIRTIO_BALLOON_F_STATS_VQ);
	EXPECT_EQ(plain.queue_sizes().size(), 3u);
}

TEST_F(BalloonDevice, TargetReachesTheDriverNowOrLater)
{
	balloon.set_target(5);
	EXPECT_EQ(config(offsetof(virtio_balloon_config, num_pages)), 5u);
	driver.start();
	std::uint32_t before = driver.get(VIRTIO_MMIO_CONFIG_GENERATION);
	balloon.set_target(7);
	registers.with_device([](Transport &transport) { transport.config_changed(); });
	EXPECT_EQ(config(offsetof(virtio_balloon_config, num_pages)), 7u);
	EXPECT_NE(driver.get(VIRTIO_MMIO_CONFIG_GENERATION), before);
	EXPECT_EQ(driver.get(VIRTIO_MMIO_INTERRUPT_STATUS), std::uint32_t{VIRTIO_MMIO_INT_CONFIG});
}

TEST_F(BalloonDevice, DriverSaysHowManyItGave)
{
	driver.start();
	driver.set(VIRTIO_MMIO_CONFIG + offsetof(virtio_balloon_config, actual), 42);
	EXPECT_EQ(balloon.actual(), 42u);
	EXPECT_EQ(config(offsetof(virtio_balloon_config, actual)), 42u);
	driver.set(VIRTIO_MMIO_CONFIG + offsetof(virtio_balloon_config, num_pages), 9);	// not its to write
	EXPECT_EQ(config(offsetof(virtio_balloon_config, num_pages)), 0u);
	registers.write(VIRTIO_MMIO_CONFIG + offsetof(virtio_balloon_config, actual), 1, 1);
	EXPECT_EQ(balloon.actual(), 42u);
	driver.set(VIRTIO_MMIO_STATUS, 0);
	EXPECT_EQ(balloon.actual(), 0u);
}

TEST_F(BalloonDevice, AdjacentPagesGoAtOnce)
{
	driver.start();
	EXPECT_EQ(inflate({107, 106, 105, 120, 104, 121, 200}), (Pieces{{104, 4}, {120, 2}, {200, 1}}));
	EXPECT_EQ(driver.queue(Balloon::inflate_queue).used_index(), 1);
	EXPECT_EQ(guest.interrupts, 1u);
}

TEST_F(BalloonDevice, BadNumbersAreHarmless)
{
	driver.start();
	auto last = static_cast<std::uint32_t>(guest.memory.size() / page - 1);
	EXPECT_EQ(inflate({100, 100, last, last + 1, ~0u, 0x80000000, 100}), (Pieces{{100, 1}, {last, 1}}));
	host.released.clear();
	driver.queue(Balloon::inflate_queue).chain().raw(0, 0, 0).submit();
	driver.queue(Balloon::inflate_queue).chain().readable("abc").writable(64).submit();
	notify(Balloon::inflate_queue);
	EXPECT_EQ(driver.queue(Balloon::inflate_queue).used_index(), 3);
	EXPECT_EQ(host.released, Pieces{});
	EXPECT_FALSE(driver.needs_reset());
}

// The guest may give the pages of its own rings: what they turn into is its trouble.
TEST_F(BalloonDevice, RingsThatAreReleasedHarmTheGuestOnly)
{
	driver.start();
	FakeQueue &queue = driver.queue(Balloon::inflate_queue);
	std::vector<std::uint32_t> numbers{static_cast<std::uint32_t>(queue.available / page)};
	inflate(numbers);
	auto rings = guest.memory.range(Gpa{queue.available / page * page}, page);
	std::ranges::fill(*rings, std::byte{});
	driver.set(VIRTIO_MMIO_QUEUE_NOTIFY, Balloon::inflate_queue);
	run_doorbells();
	EXPECT_TRUE(driver.needs_reset());
	driver.start();
	EXPECT_EQ(inflate({100}), (Pieces{{100, 1}}));
}

TEST_F(BalloonDevice, OneChainIsBounded)
{
	driver.start();
	std::vector<std::uint32_t> numbers(5000);
	for (std::uint32_t index = 0; index < numbers.size(); index++)
		numbers[index] = index % 2 ? 100 : 200;
	numbers.back() = 50;
	EXPECT_EQ(inflate(numbers), (Pieces{{100, 1}, {200, 1}}));	// the last one is too many
}

TEST_F(BalloonDevice, OneCallIsBounded)
{
	driver.start(128);
	FakeQueue &queue = driver.queue(Balloon::inflate_queue);
	for (unsigned count = 0; count < 100; count++)
		queue.chain().readable(raw(std::vector<std::uint32_t>{count})).submit();
	guest.doorbells.clear();
	registers.process(Balloon::inflate_queue);
	EXPECT_LT(queue.used_index(), 100);
	EXPECT_EQ(guest.doorbells, (std::deque<unsigned>{Balloon::inflate_queue}));
	run_doorbells();
	EXPECT_EQ(queue.used_index(), 100);
	EXPECT_EQ(host.released.size(), 100u);
}

TEST_F(BalloonDevice, DeflatingOnlyAcknowledges)
{
	driver.start();
	driver.queue(Balloon::deflate_queue).chain().readable(raw(std::vector<std::uint32_t>{100, 101})).submit();
	notify(Balloon::deflate_queue);
	EXPECT_EQ(host.released, Pieces{});
	EXPECT_EQ(driver.queue(Balloon::deflate_queue).used_index(), 1);
}

TEST_F(BalloonDevice, ReportedBuffersAreReleasedWhereTheyAreWholePages)
{
	driver.start();
	FakeQueue &queue = driver.queue(reporting_queue);
	EXPECT_EQ(report(queue.chain().raw(100 * page, 4 * page, ring::descriptor_write)
			      .raw(104 * page, page, ring::descriptor_write)
			      .raw(50 * page + 1, 3 * page, ring::descriptor_write)
			      .raw(60 * page + 1, page, ring::descriptor_write)
			      .raw(70 * page, page - 1, ring::descriptor_write)
			      .raw(80 * page, 0, ring::descriptor_write)),
		  (Pieces{{51, 2}, {100, 5}}));
	EXPECT_EQ(queue.used_index(), 1);
}

TEST_F(BalloonDevice, OverlappingReportsAreReleasedOnce)
{
	driver.start();
	auto chain = driver.queue(reporting_queue).chain();
	for (unsigned count = 0; count < 1000; count++)
		chain.raw(0, static_cast<std::uint32_t>(guest.memory.size()), ring::descriptor_write);
	EXPECT_EQ(report(chain.indirect()), (Pieces{{0, guest.memory.size() / page}}));
}

TEST_F(BalloonDevice, PoisonedPagesStay)
{
	driver.negotiate();
	driver.set(VIRTIO_MMIO_CONFIG + offsetof(virtio_balloon_config, poison_val), 0xaaaaaaaa);
	for (unsigned queue = 0; queue < 4; queue++)
		driver.set_up_queue(queue, 16);
	driver.driver_ok();
	EXPECT_EQ(report(driver.queue(reporting_queue).chain().raw(100 * page, page, ring::descriptor_write)), Pieces{});
	EXPECT_EQ(driver.queue(reporting_queue).used_index(), 1);
	EXPECT_EQ(inflate({100}), (Pieces{{100, 1}}));
	driver.start();		// a reset forgets the poison
	EXPECT_EQ(report(driver.queue(reporting_queue).chain().raw(100 * page, page, ring::descriptor_write)), (Pieces{{100, 1}}));
}

TEST_F(BalloonDevice, WithoutStatsTheReportsMoveUp)
{
	driver.start(16, 1ull << VIRTIO_BALLOON_F_STATS_VQ);
	host.released.clear();
	driver.queue(2).chain().raw(100 * page, page, ring::descriptor_write).submit();
	notify(2);
	EXPECT_EQ(host.released, (Pieces{{100, 1}}));
	request_stats();
	EXPECT_FALSE(driver.needs_reset());
}

TEST_F(BalloonDevice, StatsComeWhenAskedFor)
{
	driver.start();
	FakeQueue &queue = driver.queue(stats_queue);
	auto say = [&](std::vector<virtio_balloon_stat> stats) {
		queue.chain().readable(raw(stats)).submit();
		notify(stats_queue);
	};
	request_stats();	// nothing to give back yet
	say({{VIRTIO_BALLOON_S_MEMFREE, 1000}, {VIRTIO_BALLOON_S_MEMTOT, 2000}});
	EXPECT_EQ(host.stats, (std::vector<std::pair<unsigned, std::uint64_t>>{{VIRTIO_BALLOON_S_MEMFREE, 1000},
										{VIRTIO_BALLOON_S_MEMTOT, 2000}}));
	EXPECT_EQ(queue.used_index(), 0);
	request_stats();
	EXPECT_EQ(queue.used_index(), 1);
	EXPECT_EQ(guest.interrupts, 1u);
	request_stats();	// the answer is still to come
	EXPECT_EQ(queue.used_index(), 1);
	say({{999, 5}});
	EXPECT_EQ(host.stats, (std::vector<std::pair<unsigned, std::uint64_t>>{{999, 5}}));
	say({{1, 1}});		// unasked: it waits
	EXPECT_EQ(host.stats.at(0).first, 999u);
	request_stats();
	EXPECT_EQ(queue.used_index(), 2);
	EXPECT_EQ(host.stats.at(0).first, 1u);
}

TEST_F(BalloonDevice, OddStatsAreHarmless)
{
	driver.start();
	FakeQueue &queue = driver.queue(stats_queue);
	queue.chain().writable(64).submit();
	notify(stats_queue);
	request_stats();
	queue.chain().readable("short").submit();
	notify(stats_queue);
	EXPECT_TRUE(host.stats.empty());
	request_stats();
	queue.chain().raw(0, static_cast<std::uint32_t>(guest.memory.size()), 0).submit();
	notify(stats_queue);
	EXPECT_LE(host.stats.size(), 64u);
	EXPECT_FALSE(driver.needs_reset());
}

TEST_F(BalloonDevice, AResetForgetsTheStatsChain)
{
	driver.start();
	driver.queue(stats_queue).chain().readable("x").submit();
	notify(stats_queue);
	driver.start();
	request_stats();
	EXPECT_EQ(driver.queue(stats_queue).used_index(), 0);
}

} // namespace
} // namespace lguest::test
