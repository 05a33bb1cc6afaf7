// SPDX-License-Identifier: GPL-2.0-only
// The console from a driver to the descriptors of the launcher and back: event loop,
// doorbells and buffers as in a running guest, with pipes for stdin and stdout.
#include "virtio_fake_driver.h"

#include "bus.h"
#include "console_port.h"
#include "console_targets.h"
#include "device_slot.h"
#include "error.h"

#include <gtest/gtest.h>

#include <boost/asio/post.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <fcntl.h>
#include <fstream>
#include <poll.h>
#include <sstream>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
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
		port.emplace(loop, std::move(settings));
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

// Their flag is one: the end of the former is not to make the latter block.
TEST_F(ConsoleLoop, InputAndOutputCanBeOneSocket)
{
	int ends[2];
	ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	Descriptor here{ends[0]}, peer{ends[1]};
	for (auto [pipe, which] : {std::pair{&in, 0}, {&out, 1}}) {
		pipe->close_end(which);
		pipe->ends[which] = dup(here.get());
	}
	start();
	EXPECT_EQ(write(peer.get(), "abc\n", 4), 4);
	shutdown(peer.get(), SHUT_WR);
	EXPECT_EQ(receive(5), "abc\n\x04");
	EXPECT_TRUE(fcntl(here.get(), F_GETFL) & O_NONBLOCK);
	loop.stop();
	thread.join();
	port.reset();
	EXPECT_FALSE(fcntl(here.get(), F_GETFL) & O_NONBLOCK);
}

// --- ports that lead elsewhere ---------------------------------------------------

class ConsoleTargets : public testing::Test {
protected:
	ConsoleTargets()
	{
		signal(SIGPIPE, SIG_IGN);	// as the launcher does
		path = testing::TempDir() + fmt::format("lguest-port.{}", getpid());
	}
	~ConsoleTargets() override
	{
		stop();
		unlink(path.c_str());
	}

	// A console that leads nowhere, and a port "data"; or, without `named`, a console and
	// a driver that knows of it only.
	void start(ConsolePort::Settings settings, bool named = true)
	{
		index = named;
		if (named) {
			nowhere.emplace(loop, ConsolePort::Settings{});
			settings.port = 1;
		}
		port.emplace(loop, std::move(settings));
		console.emplace(named ? *nowhere : *port);
		if (named)
			console->add_port(*port, "data");
		slot.emplace(loop, guest.memory, *console, bus, nullptr, "console");
		driver.emplace(guest, slot->registers());
		driver->start(64, named ? 0 : 1ull << VIRTIO_CONSOLE_F_MULTIPORT);
		if (named)
			nowhere->start(slot->registers(), *console);
		port->start(slot->registers(), *console);
		thread = std::thread{[this] { loop.run(); }};
		if (!named)
			return;
		for (unsigned count = 0; count < 32; count++) {
			told.push_back(driver->queue(Console::control_to_guest).chain().writable(32));
			told.back().submit();
		}
		say(VIRTIO_CONSOLE_DEVICE_READY, 1);
		say(VIRTIO_CONSOLE_PORT_READY, 1);
	}
	void stop()
	{
		loop.stop();
		if (thread.joinable())
			thread.join();
		port.reset();
	}
	template <typename Condition>
	static bool comes_true(Condition condition)
	{
		auto deadline = std::chrono::steady_clock::now() + 30s;
		while (!condition())
			if (std::this_thread::sleep_for(1ms); std::chrono::steady_clock::now() > deadline)
				return false;
		return true;
	}
	void say(std::uint16_t event, std::uint16_t value)
	{
		virtio_console_control message{1, event, value};
		FakeQueue &queue = driver->queue(Console::control_from_guest);
		queue.chain().readable({reinterpret_cast<const char *>(&message), sizeof(message)}).submit();
		bus.doorbell(0, Console::control_from_guest);
		ASSERT_TRUE(comes_true([&] { return queue.used_index() == queue.available_index; }));
	}
	// What the guest was told of the port's other side: 'o'pen, 'c'losed.
	std::string heard()
	{
		std::string text;
		for (unsigned at = 0; at < driver->queue(Console::control_to_guest).used_index(); at++) {
			auto message = guest.load<virtio_console_control>(told.at(at).address(0));
			if (message.id == 1 && message.event == VIRTIO_CONSOLE_PORT_OPEN)
				text += message.value ? 'o' : 'c';
		}
		return text;
	}
	bool hears(const std::string &text) { return comes_true([&] { return heard() == text; }); }
	void send(std::string_view text)
	{
		driver->queue(Console::transmit_queue(index)).chain().readable(text).submit();
		bus.doorbell(0, Console::transmit_queue(index));
	}
	bool all_sent()
	{
		FakeQueue &queue = driver->queue(Console::transmit_queue(index));
		return comes_true([&] { return queue.used_index() == queue.available_index; });
	}
	// The next bytes of the host, which come in one buffer.
	std::string receive()
	{
		FakeQueue &queue = driver->queue(Console::receive_queue(index));
		std::uint16_t before = queue.used_index();
		auto chain = queue.chain().writable(4096);
		chain.submit();
		bus.doorbell(0, Console::receive_queue(index));
		if (!comes_true([&] { return queue.used_index() != before; }))
			return "(nothing came)";
		return guest.text(chain.address(0), queue.used_element(before).length);
	}
	Descriptor client()
	{
		Descriptor fd{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
		sockaddr_un address{AF_UNIX, {}};
		std::strcpy(address.sun_path, path.c_str());
		EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr *>(&address), sizeof(address)), 0);
		return fd;
	}
	static std::string read_exactly(int fd, std::size_t size)
	{
		std::string text(size, 0);
		for (std::size_t done = 0; done < size;) {
			pollfd state{fd, POLLIN, 0};
			ssize_t got = poll(&state, 1, 30000) > 0 ? read(fd, text.data() + done, size - done) : 0;
			if (got <= 0)
				return text.substr(0, done) + "(no more came)";
			done += static_cast<std::size_t>(got);
		}
		return text;
	}
	static void put(int fd, std::string_view text) { EXPECT_EQ(write(fd, text.data(), text.size()), ssize_t(text.size())); }

	std::string path;
	boost::asio::io_context loop;
	FakeGuest guest{4 << 20};
	Bus bus;
	std::optional<ConsolePort> nowhere, port;
	std::optional<Console> console;
	std::optional<DeviceSlot> slot;
	std::optional<FakeDriver> driver;
	std::vector<FakeQueue::Chain> told;
	unsigned index = 0;
	std::thread thread;
};

TEST_F(ConsoleTargets, AFileTakesTheOutput)
{
	for (bool append : {false, true}) {
		std::ofstream{path} << "before ";
		start(console_target(loop, {.port = "data", .to = ConsoleOptions::To::file, .path = path, .append = append}));
		EXPECT_TRUE(hears("o"));
		send("into the file");
		EXPECT_TRUE(all_sent());
		auto content = [&] { return (std::stringstream{} << std::ifstream{path}.rdbuf()).str(); };
		std::string expected = append ? "before into the file" : "into the file";
		EXPECT_TRUE(comes_true([&] { return content() == expected; })) << content();
		stop();
		if (!append) {
			slot.reset();
			loop.restart();
			told.clear();
			bus = {};
		}
	}
}

TEST_F(ConsoleTargets, SaysWhyItCannotBe)
{
	using To = ConsoleOptions::To;
	EXPECT_THROW(console_target(loop, {.port = "data", .to = To::file, .path = "/nowhere/file"}), Error);
	EXPECT_THROW(console_target(loop, {.port = "data", .to = To::socket, .path = "/nowhere/socket"}), Error);
	EXPECT_THROW(console_target(loop, {.port = "data", .to = To::socket, .path = std::string(200, 'x')}), Error);
	mkfifo(path.c_str(), 0600);
	EXPECT_THROW(console_target(loop, {.port = "data", .to = To::file, .path = path}), Error);
	EXPECT_THROW(console_target(loop, {.port = "data", .to = To::socket, .path = path}), Error);	// no socket
	EXPECT_EQ(access(path.c_str(), F_OK), 0);
}

TEST_F(ConsoleTargets, SocketsAreReplacedIfStale)
{
	{
		auto first = listen_on_socket(loop, path);
		EXPECT_THROW(listen_on_socket(loop, path), Error);	// in use
	}
	EXPECT_NE(access(path.c_str(), F_OK), 0);
	Descriptor stale{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	sockaddr_un address{AF_UNIX, {}};
	std::strcpy(address.sun_path, path.c_str());
	ASSERT_EQ(bind(stale.get(), reinterpret_cast<sockaddr *>(&address), sizeof(address)), 0);
	stale = Descriptor{};
	EXPECT_NO_THROW(listen_on_socket(loop, path));
}

TEST_F(ConsoleTargets, ASocketHasOneClientAfterAnother)
{
	start({.peer = listen_on_socket(loop, path)});
	say(VIRTIO_CONSOLE_PORT_OPEN, 1);
	send("for whoever comes first");
	std::this_thread::sleep_for(20ms);
	EXPECT_EQ(driver->queue(Console::transmit_queue(1)).used_index(), 0);	// it waits
	EXPECT_EQ(heard(), "");
	{
		Descriptor first = client();
		EXPECT_TRUE(hears("o"));
		EXPECT_EQ(read_exactly(first.get(), 23), "for whoever comes first");
		put(first.get(), "from the first");
		EXPECT_EQ(receive(), "from the first");
		Descriptor second = client();
		put(second.get(), "from the second");
		first = Descriptor{};
		EXPECT_EQ(receive(), "from the second");
		EXPECT_TRUE(hears("oco"));
		send("for the second");
		EXPECT_EQ(read_exactly(second.get(), 14), "for the second");
	}
	EXPECT_TRUE(hears("ococ"));
	send("for the third");
	Descriptor third = client();
	EXPECT_EQ(read_exactly(third.get(), 13), "for the third");
}

TEST_F(ConsoleTargets, WhatAClientWroteArrivesThoughItLeft)
{
	start({.peer = listen_on_socket(loop, path)});
	{
		Descriptor brief = client();
		put(brief.get(), "a short visit");
	}
	EXPECT_TRUE(hears("o"));
	say(VIRTIO_CONSOLE_PORT_OPEN, 1);
	EXPECT_EQ(receive(), "a short visit");
	EXPECT_TRUE(hears("oc"));
}

TEST_F(ConsoleTargets, AClientThatOnlyReadsOnGetsItAll)
{
	start({.peer = listen_on_socket(loop, path)});
	say(VIRTIO_CONSOLE_PORT_OPEN, 1);
	Descriptor one = client();
	EXPECT_TRUE(hears("o"));
	std::string much = pattern(300000);
	send(much);
	std::string start = read_exactly(one.get(), 1000);
	shutdown(one.get(), SHUT_WR);
	// Everything that was taken from the guest by then; then the end.
	std::string rest;
	std::array<char, 10000> part;
	ssize_t got;
	while ((got = read(one.get(), part.data(), part.size())) > 0)
		rest.append(part.data(), static_cast<std::size_t>(got));
	EXPECT_EQ(got, 0);
	EXPECT_EQ(much.compare(0, 1000 + rest.size(), start + rest), 0);
	EXPECT_TRUE(hears("oc"));
	// And the next one has what was left.
	Descriptor next = client();
	EXPECT_EQ(read_exactly(next.get(), much.size() - 1000 - rest.size()), much.substr(1000 + rest.size()));
}

TEST_F(ConsoleTargets, TheConsoleDoesNotWaitForAnybody)
{
	start({.peer = listen_on_socket(loop, path)}, false);
	for (unsigned count = 0; count < 10; count++) {
		send(std::string(100000, 'x'));
		EXPECT_TRUE(all_sent());
	}
	Descriptor one = client();
	put(one.get(), "ls\n");
	EXPECT_EQ(receive(), "ls\n");
	send("bin");
	EXPECT_EQ(read_exactly(one.get(), 3), "bin");
	one = Descriptor{};
	for (unsigned count = 0; count < 10; count++) {
		send(std::string(100000, 'x'));
		EXPECT_TRUE(all_sent());
	}
	Descriptor next = client();
	put(next.get(), "pwd\n");
	EXPECT_EQ(receive(), "pwd\n");		// no ^D between them
}

TEST_F(ConsoleTargets, APtyCanBeOpenedAndClosed)
{
	std::string name;
	start({.peer = open_pty(loop, name)});
	say(VIRTIO_CONSOLE_PORT_OPEN, 1);
	send("early");
	std::this_thread::sleep_for(20ms);
	EXPECT_EQ(driver->queue(Console::transmit_queue(1)).used_index(), 0);
	std::string expected;
	for (unsigned round = 0; round < 3; round++) {
		Descriptor terminal{open(name.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC)};
		ASSERT_TRUE(terminal);
		expected += 'o';
		EXPECT_TRUE(hears(expected));
		if (round == 0) {
			EXPECT_EQ(read_exactly(terminal.get(), 5), "early");
		}
		put(terminal.get(), "a\r\n\x03\x04");		// raw: nothing is changed or echoed
		EXPECT_EQ(receive(), "a\r\n\x03\x04");
		send("b\n");
		EXPECT_EQ(read_exactly(terminal.get(), 2), "b\n");
		terminal = Descriptor{};
		expected += 'c';
		EXPECT_TRUE(hears(expected));
	}
}

TEST_F(ConsoleTargets, APtyThatIsClosedUnreadKeepsNobodyWaiting)
{
	std::string name;
	start({.peer = open_pty(loop, name)}, false);
	for (unsigned round = 0; round < 2; round++) {
		Descriptor terminal{open(name.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC)};
		put(terminal.get(), "x");
		EXPECT_EQ(receive(), "x");
		send(std::string(300000, 'y'));	// more than the terminal and the buffer hold
		std::this_thread::sleep_for(20ms);
		EXPECT_EQ(driver->queue(Console::transmit_queue(0)).used_index(), round);
		terminal = Descriptor{};
		EXPECT_TRUE(all_sent());
	}
}

} // namespace
} // namespace lguest::test
