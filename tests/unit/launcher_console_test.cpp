// SPDX-License-Identifier: GPL-2.0-only
// The console from a driver to the descriptors of the launcher and back: event loop,
// doorbells and buffers as in a running guest, with pipes for stdin and stdout.
#include "virtio_fake_driver.h"

#include "bus.h"
#include "console_port.h"
#include "device_slot.h"

#include <gtest/gtest.h>

#include <boost/asio/post.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <fcntl.h>
#include <thread>
#include <unistd.h>

namespace lguest::test {
namespace {

using namespace std::chrono_literals;

struct Pipe {
	Pipe() { EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0); }
	~Pipe()
	{
		close_end(0);
		close_end(1);
	}
	void close_end(int which)
	{
		if (ends[which] >= 0)
			close(ends[which]);
		ends[which] = -1;
	}
	int ends[2];
};

std::string pattern(std::size_t size)
{
	std::string text(size, 0);
	for (std::size_t at = 0; at < size; at++)
		text[at] = static_cast<char>('a' + at * 7919 / 13 % 26);
	return text;
}

class ConsoleLoop : public testing::Test {
protected:
	void start(bool terminal = false, bool with_input = true)
	{
		ConsolePort::Settings settings;
		settings.input = with_input ? in.ends[0] : -1;
		settings.output = out.ends[1];
		settings.terminal = terminal;
		settings.escape = [this] { escaped = true; };
		port.emplace(loop, settings);
		console.emplace(*port);
		slot.emplace(loop, guest.memory, *console, bus, nullptr, "console");
		driver.emplace(guest, slot->registers());
		driver->start(16, 1ull << VIRTIO_CONSOLE_F_MULTIPORT);
		port->start(slot->registers(), *console);
		thread = std::thread{[this] { loop.run(); }};
	}
	void TearDown() override
	{
		loop.stop();
		if (thread.joinable())
			thread.join();
	}
	void send(std::uint64_t address, std::uint32_t size)
	{
		FakeQueue &queue = driver->queue(Console::transmit_queue(0));
		std::uint16_t before = queue.used_index();
		queue.set_descriptor(0, {address, size, 0, 0});
		queue.submit(0);
		bus.doorbell(0, Console::transmit_queue(0));
		while (queue.used_index() == before)
			std::this_thread::yield();
	}
	// What the guest reads until it has `size` bytes.
	std::string receive(std::size_t size)
	{
		std::string text;
		FakeQueue &queue = driver->queue(Console::receive_queue(0));
		std::uint64_t buffer = guest.allocate(4096);
		auto deadline = std::chrono::steady_clock::now() + 20s;
		while (text.size() < size) {
			std::uint16_t before = queue.used_index();
			queue.set_descriptor(0, {buffer, 4096, ring::descriptor_write, 0});
			queue.submit(0);
			bus.doorbell(0, Console::receive_queue(0));
			while (queue.used_index() == before) {
				std::this_thread::yield();
				if (std::chrono::steady_clock::now() > deadline)
					return text + "(no more came)";
			}
			text += guest.text(buffer, queue.used_element(before).length);
		}
		return text;
	}

	Pipe in, out;
	boost::asio::io_context loop;
	FakeGuest guest{4 << 20};
	Bus bus;
	std::optional<ConsolePort> port;
	std::optional<Console> console;
	std::optional<DeviceSlot> slot;
	std::optional<FakeDriver> driver;
	std::atomic<bool> escaped = false;
	std::thread thread;
};

TEST_F(ConsoleLoop, OutputIsIntactWithASlowReader)
{
	start(false, false);
	constexpr std::size_t chunk = 1 << 20;
	constexpr unsigned rounds = 8;
	std::string sent = pattern(chunk);
	std::uint64_t buffer = guest.allocate(chunk);
	std::memcpy(guest.memory.range(Gpa{buffer}, chunk)->data(), sent.data(), chunk);

	std::string received;
	std::thread reader{[&] {
		std::array<char, 10000> part;
		ssize_t got;
		while ((got = read(out.ends[0], part.data(), part.size())) > 0) {
			received.append(part.data(), static_cast<std::size_t>(got));
			if (received.size() % 7 == 0)
				std::this_thread::sleep_for(1ms);
			if (received.size() >= rounds * chunk)
				break;
		}
	}};
	for (unsigned round = 0; round < rounds; round++)
		send(buffer, chunk);
	reader.join();
	ASSERT_EQ(received.size(), rounds * chunk);
	for (unsigned round = 0; round < rounds; round++)
		EXPECT_EQ(received.compare(round * chunk, chunk, sent), 0);
}

TEST_F(ConsoleLoop, DrainWaitsForTheReader)
{
	start(false, false);
	std::string sent = pattern(200000);
	std::uint64_t buffer = guest.allocate(sent.size());
	std::memcpy(guest.memory.range(Gpa{buffer}, sent.size())->data(), sent.data(), sent.size());
	// Made available, but the doorbell never comes: the guest ended right after.
	driver->queue(Console::transmit_queue(0)).set_descriptor(0, {buffer, static_cast<std::uint32_t>(sent.size()), 0, 0});
	driver->queue(Console::transmit_queue(0)).submit(0);
	std::atomic<bool> drained = false;
	boost::asio::post(loop, [&] { port->drain([&] { drained = true; }); });
	std::this_thread::sleep_for(50ms);
	EXPECT_FALSE(drained);
	std::string received;
	std::array<char, 4096> part;
	while (received.size() < sent.size()) {
		ssize_t got = read(out.ends[0], part.data(), part.size());
		ASSERT_GT(got, 0);
		received.append(part.data(), static_cast<std::size_t>(got));
	}
	EXPECT_EQ(received, sent);
	for (int wait = 0; wait < 1000 && !drained; wait++)
		std::this_thread::sleep_for(5ms);
	EXPECT_TRUE(drained);
}

TEST_F(ConsoleLoop, OutputNobodyReadsIsDropped)
{
	signal(SIGPIPE, SIG_IGN);
	start(false, false);
	out.close_end(0);
	std::uint64_t buffer = guest.allocate(300000);
	for (unsigned round = 0; round < 5; round++)
		send(buffer, 300000);	// returns: the guest does not hang
}

TEST_F(ConsoleLoop, InputIsIntactAndEnds)
{
	start();
	std::string sent = pattern(1 << 20) + "\n";
	std::thread writer{[&] {
		std::size_t done = 0;
		while (done < sent.size()) {
			ssize_t part = write(in.ends[1], sent.data() + done, sent.size() - done);
			ASSERT_GT(part, 0);
			done += static_cast<std::size_t>(part);
		}
		in.close_end(1);
	}};
	EXPECT_EQ(receive(sent.size() + 1), sent + "\x04");
	writer.join();
}

TEST_F(ConsoleLoop, EndInTheMiddleOfALineNeedsTwo)
{
	start();
	EXPECT_EQ(write(in.ends[1], "abc", 3), 3);
	in.close_end(1);
	EXPECT_EQ(receive(5), "abc\x04\x04");
}

TEST_F(ConsoleLoop, EscapeLeaves)
{
	start(true);
	EXPECT_EQ(write(in.ends[1], "\x1dx", 2), 2);
	for (int wait = 0; wait < 1000 && !escaped; wait++)
		std::this_thread::sleep_for(5ms);
	EXPECT_TRUE(escaped);
}

TEST_F(ConsoleLoop, DescriptorsKeepTheirFlags)
{
	start();
	EXPECT_FALSE(fcntl(in.ends[0], F_GETFL) & O_NONBLOCK);
	EXPECT_FALSE(fcntl(out.ends[1], F_GETFL) & O_NONBLOCK);
}

} // namespace
} // namespace lguest::test
