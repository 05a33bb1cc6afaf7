// SPDX-License-Identifier: GPL-2.0-only
// What the launcher says of a driver that breaks the rules of virtio, and how often.
#include "virtio_fake_driver.h"

#include "bus.h"
#include "device_slot.h"
#include "entropy.h"
#include "log.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <unistd.h>

namespace lguest::test {
namespace {

struct NoEntropy final : EntropyHost {
	void fill(std::span<std::byte>) override {}
	void allowance_used() override {}
};

// The log, in a file, as long as it lives.
class LogFile {
public:
	LogFile() { set_up_log({.file = path_}, ""); }
	~LogFile()
	{
		set_up_log({}, "");
		std::filesystem::remove(path_);
	}
	std::string text() const { return (std::stringstream{} << std::ifstream{path_}.rdbuf()).str(); }
	auto lines() const { return std::ranges::count(text(), '\n'); }

private:
	std::string path_ = testing::TempDir() + "lguest-log." + std::to_string(getpid());
};

TEST(DeviceSlot, DoesNotFillTheLogWithABrokenDriver)
{
	boost::asio::io_context loop;
	FakeGuest guest;
	NoEntropy host;
	Entropy entropy{host, 1};
	Bus bus;
	DeviceSlot slot{loop, guest.memory, entropy, bus, nullptr, "rng"};
	FakeDriver driver{guest, slot.registers()};
	LogFile log;
	for (unsigned times = 0; times < 1000; times++) {
		driver.negotiate();
		driver.set(VIRTIO_MMIO_QUEUE_NUM, 3);
		ASSERT_TRUE(driver.needs_reset());
	}
	EXPECT_EQ(log.lines(), 8 + 6) << log.text();	// then 16, 32 ... 512
	EXPECT_NE(log.text().find("\"rng: stopped until the guest resets it: queue size 3\"\n"), std::string::npos);
	EXPECT_NE(log.text().find("queue size 3; 512 times by now\"\n"), std::string::npos);
}

} // namespace
} // namespace lguest::test
