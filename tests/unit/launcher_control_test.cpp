// SPDX-License-Identifier: GPL-2.0-only
// Managing guests: their names and directory, the words on a control socket, the
// server in its event loop with clients of all kinds, an orderly shutdown, a paused vCPU.
#include "complaint.h"

#include "bus.h"
#include "console_relay.h"
#include "control_client.h"
#include "control_protocol.h"
#include "control_server.h"
#include "control_socket.h"
#include "descriptor_reserve.h"
#include "error.h"
#include "log.h"
#include "options.h"
#include "private_directory.h"
#include "shutdown.h"
#include "vcpu.h"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/json.hpp>
#include <spdlog/spdlog.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>

namespace lguest::test {
namespace {

using namespace std::chrono_literals;
namespace json = boost::json;

// --- names and directory -----------------------------------------------------------

TEST(GuestName, IsChecked)
{
	for (const char *name : {"a", "web-1", "0", "a.b_c", "Lguest-12"})
		EXPECT_TRUE(valid_guest_name(name)) << name;
	for (const char *name : {"", ".", "..", "-a", "_a", ".a", "a/b", "a b", "a\n", "ä"})
		EXPECT_FALSE(valid_guest_name(name)) << name;
	EXPECT_TRUE(valid_guest_name(std::string(64, 'a')));
	EXPECT_FALSE(valid_guest_name(std::string(65, 'a')));
	EXPECT_TRUE(valid_guest_name(default_guest_name()));
}

class Directory : public testing::Test {
protected:
	Directory()
	{
		char pattern[] = "/tmp/lguest-test.XXXXXX";
		top_ = mkdtemp(pattern);
		path_ = top_ + "/lguest";
	}
	~Directory() override { std::filesystem::remove_all(top_); }

	std::string top_, path_;
};

TEST_F(Directory, FollowsTheEnvironment)
{
	setenv("XDG_RUNTIME_DIR", top_.c_str(), 1);
	EXPECT_EQ(private_directory(), path_);
	setenv("XDG_RUNTIME_DIR", "relative", 1);
	EXPECT_NE(private_directory(), "relative/lguest");
	unsetenv("XDG_RUNTIME_DIR");
	EXPECT_EQ(private_directory().front(), '/');
}

TEST_F(Directory, IsMadeForTheUserAlone)
{
	ControlDirectory guests{path_, true};
	struct stat status;
	ASSERT_EQ(stat(path_.c_str(), &status), 0);
	EXPECT_EQ(status.st_mode & 07777, 0700u);
	EXPECT_TRUE(guests.names().empty());
}

TEST_F(Directory, OthersMayNotWriteThere)
{
	mkdir(path_.c_str(), 0700);
	chmod(path_.c_str(), 0770);
	EXPECT_NE(complaint([&] { ControlDirectory{path_, true}; }).find("not a directory of yours alone"), std::string::npos);
	if (geteuid() == 0) {
		chmod(path_.c_str(), 0700);
		ASSERT_EQ(chown(path_.c_str(), 1, 1), 0);
		EXPECT_NE(complaint([&] { ControlDirectory{path_, false}; }).find("owner 1"), std::string::npos);
	}
}

TEST_F(Directory, IsNoLinkAndNoFile)
{
	std::filesystem::create_directory_symlink(top_, path_);
	EXPECT_NE(complaint([&] { ControlDirectory{path_, true}; }), "no complaint");
	std::filesystem::remove(path_);
	std::ofstream{path_} << "x";
	EXPECT_NE(complaint([&] { ControlDirectory{path_, true}; }), "no complaint");
}

TEST_F(Directory, MissingMeansNoGuests)
{
	ControlDirectory guests{path_, false};
	EXPECT_TRUE(guests.names().empty());
	EXPECT_NE(complaint([&] { guests.connect("a"); }).find("no guest named 'a' runs"), std::string::npos);
	EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(Directory, OneGuestPerName)
{
	ControlDirectory guests{path_, true};
	ControlSocket one{path_, "one"};
	ControlSocket two{path_, "two"};
	EXPECT_NE(complaint([&] { ControlSocket{path_, "one"}; }).find("a guest named 'one' runs already"), std::string::npos);
	EXPECT_EQ(guests.names(), (std::vector<std::string>{"one", "two"}));
	EXPECT_NO_THROW(guests.connect("one"));
}

TEST_F(Directory, TheNameIsFreeAgain)
{
	{
		ControlSocket one{path_, "one"};
	}
	EXPECT_FALSE(std::filesystem::exists(path_ + "/one.sock"));
	EXPECT_NO_THROW((ControlSocket{path_, "one"}));
}

// As SIGKILL leaves it: the file is there, nobody listens.
TEST_F(Directory, StaleSocketsGo)
{
	ControlDirectory guests{path_, true};
	for (const char *name : {"one", "two"}) {
		Descriptor listener = guests.listen(name);
		EXPECT_TRUE(std::filesystem::exists(guests.path_of(name)));
	}
	ControlSocket one{path_, "one"};		// at the start of a guest
	EXPECT_EQ(guests.names(), std::vector<std::string>{"one"});	// and in a list
	EXPECT_FALSE(std::filesystem::exists(guests.path_of("two")));
}

TEST_F(Directory, OtherFilesAreLeftAlone)
{
	ControlDirectory guests{path_, true};
	for (const char *name : {"/readme", "/.hidden.sock", "/-x.sock"})
		std::ofstream{path_ + name} << "x";
	EXPECT_TRUE(guests.names().empty());
	EXPECT_TRUE(std::filesystem::exists(path_ + "/.hidden.sock"));
}

TEST_F(Directory, AFullBacklogIsAGuest)
{
	ControlDirectory guests{path_, true};
	ControlSocket busy{path_, "busy"};
	std::vector<Descriptor> waiting;
	std::string why;
	for (int count = 0; count < 64 && why.empty(); count++)
		try {
			waiting.push_back(guests.connect("busy"));
		} catch (const Error &error) {
			why = error.what();
		}
	EXPECT_NE(why.find("does not answer"), std::string::npos);
	EXPECT_EQ(guests.names(), std::vector<std::string>{"busy"});
}

TEST_F(Directory, PathsHaveALimit)
{
	EXPECT_NE(complaint([&] { ControlSocket{path_, std::string(100, 'a')}; }).find("too long"), std::string::npos);
}

TEST_F(Directory, TheSocketSurvivesAReboot)
{
	ControlDirectory guests{path_, true};
	{
		ControlSocket before{path_, "vm"};
		before.keep_for_reboot();
	}
	EXPECT_EQ(guests.names(), std::vector<std::string>{"vm"});	// nobody can take the name meanwhile
	Descriptor early = guests.connect("vm");
	ControlSocket after{path_, "vm"};
	EXPECT_EQ(std::getenv("LGUEST_OVER_REBOOT"), nullptr);	// nothing is left over
	EXPECT_TRUE(fcntl(after.fd(), F_GETFD) & FD_CLOEXEC);
	EXPECT_GE(Descriptor{accept(after.fd(), nullptr, nullptr)}.get(), 0);
}

TEST_F(Directory, ASocketOfAnotherNameIsNotTaken)
{
	{
		ControlSocket before{path_, "one"};
		before.keep_for_reboot();
	}
	ControlSocket after{path_, "two"};
	EXPECT_EQ(ControlDirectory(path_, false).names(), (std::vector<std::string>{"one", "two"}));
}

// --- words -------------------------------------------------------------------------

TEST(LineReader, CutsLines)
{
	LineReader lines;
	EXPECT_TRUE(lines.feed("a"));
	EXPECT_EQ(lines.next(), std::nullopt);
	EXPECT_TRUE(lines.feed("b\n\nc\nrest"));
	EXPECT_EQ(lines.next(), "ab");
	EXPECT_EQ(lines.next(), "");
	EXPECT_EQ(lines.next(), "c");
	EXPECT_EQ(lines.next(), std::nullopt);
	EXPECT_EQ(lines.take_rest(), "rest");
}

TEST(LineReader, HasALimit)
{
	LineReader lines;
	EXPECT_TRUE(lines.feed(std::string(LineReader::max_line, 'x')));
	EXPECT_FALSE(lines.feed("x"));
	LineReader short_ones;
	EXPECT_FALSE(short_ones.feed(std::string(LineReader::max_line + 1, 'x') + "\n"));
}

struct FakeTarget : ControlTarget {
	json::object status() override { return {{"name", "fake"}}; }
	json::object statistics() override { return {{"chains", 7}}; }
	double stop(std::optional<double> grace) override
	{
		log += "stop " + (grace ? std::to_string(static_cast<int>(*grace * 10)) : "default");
		return grace.value_or(3);
	}
	void kill() override { log += "kill"; }
	void pause() override { fail("it is paused already"); }
	void resume() override { log += "resume"; }
	void set_balloon(std::uint64_t bytes) override { log += "balloon " + std::to_string(bytes); }
	bool has_console() override { return console; }

	std::string log;
	bool console = false;
};

std::string ask(FakeTarget &target, std::string_view request)
{
	std::string line = answer(request, target).line;
	EXPECT_EQ(line.find('\n'), line.size() - 1);
	return line.substr(0, line.size() - 1);
}

TEST(Protocol, RequestsReachTheGuest)
{
	FakeTarget target;
	EXPECT_EQ(ask(target, R"({"command":"status"})"), R"({"ok":true,"name":"fake"})");
	EXPECT_EQ(ask(target, R"({"command":"stat"})"), R"({"ok":true,"chains":7})");
	EXPECT_EQ(ask(target, R"({"command":"kill"})"), R"({"ok":true})");
	EXPECT_EQ(target.log, "kill");
	for (auto [request, log] : {std::pair{R"({"command":"stop"})", "stop default"},
				    {R"({"command":"stop","timeout":0})", "stop 0"},
				    {R"({"command":"stop","timeout":2.5})", "stop 25"},
				    {R"({"command":"balloon","size":4096})", "balloon 4096"},
				    {R"({"command":"balloon","size":18446744073709551615})", "balloon 18446744073709551615"}}) {
		target.log.clear();
		ask(target, request);
		EXPECT_EQ(target.log, log);
	}
}

TEST(Protocol, ComplaintsAreReplies)
{
	FakeTarget target;
	EXPECT_EQ(ask(target, R"({"command":"pause"})"), R"({"ok":false,"error":"it is paused already"})");
	for (const char *request : {"", "{", "[]", "nonsense", "{}", R"({"command":7})", R"({"command":"fly"})", R"({"command":"stop","timeout":-1})",
				    R"({"command":"stop","timeout":1e300})", R"({"command":"stop","timeout":"1"})",
				    R"({"command":"balloon"})", R"({"command":"balloon","size":-1})", R"({"command":"balloon","size":1.5})",
				    R"({"command":"balloon","size":"1G"})", R"({"command":"console"})", "[[[[[[[[[[[[[[[[[[[[[["})
		EXPECT_EQ(ask(target, request).substr(0, 20), R"({"ok":false,"error":)") << request;
	EXPECT_EQ(target.log, "");
}

// --- the server ----------------------------------------------------------------------

class Server : public Directory {
protected:
	Server()
	{
		socket_.emplace(path_, "vm");
		relay_.emplace(loop_);
		server_.emplace(loop_, socket_->fd(), target_, &*relay_);
		thread_ = std::thread{[this] { loop_.run(); }};
	}
	~Server() override
	{
		loop_.stop();
		thread_.join();
		server_.reset();
		relay_.reset();
	}
	Descriptor connect() { return ControlDirectory{path_, false}.connect("vm"); }
	static void send(const Descriptor &client, std::string_view text)
	{
		EXPECT_EQ(::send(client.get(), text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
	}
	// Until that many bytes are there, or the end.
	static std::string receive(const Descriptor &client, std::size_t size)
	{
		std::string text;
		char byte;
		pollfd ready{client.get(), POLLIN, 0};
		while (text.size() < size && poll(&ready, 1, 20000) == 1 && recv(client.get(), &byte, 1, 0) == 1)
			text += byte;
		return text;
	}
	static std::string line(const Descriptor &client)
	{
		std::string text;
		while (!text.ends_with('\n')) {
			std::string byte = receive(client, 1);
			if (byte.empty())
				return text + "(end)";
			text += byte;
		}
		return text;
	}

	boost::asio::io_context loop_;
	FakeTarget target_;
	std::optional<ControlSocket> socket_;
	std::optional<ConsoleRelay> relay_;
	std::optional<ControlServer> server_;
	std::thread thread_;
};

const std::string status = "{\"command\":\"status\"}\n";
const std::string status_reply = "{\"ok\":true,\"name\":\"fake\"}\n";

TEST_F(Server, AnswersLineByLine)
{
	Descriptor client = connect();
	send(client, status);
	EXPECT_EQ(line(client), status_reply);
	send(client, status + status + status.substr(0, 5));
	EXPECT_EQ(line(client), status_reply);
	EXPECT_EQ(line(client), status_reply);
	send(client, status.substr(5));
	EXPECT_EQ(line(client), status_reply);
}

TEST_F(Server, HangsUpOnEndlessLines)
{
	Descriptor client = connect();
	std::string flood(LineReader::max_line + 1, 'x');
	send(client, flood);
	EXPECT_EQ(line(client), "(end)");
}

// They say nothing, and never go.
TEST_F(Server, SilentClientsMakeRoom)
{
	std::vector<Descriptor> silent;
	for (std::size_t count = 0; count < 3 * ControlServer::max_clients; count++) {
		silent.push_back(connect());
		send(silent.back(), "{");
		Descriptor client = connect();
		send(client, status);
		ASSERT_EQ(line(client), status_reply) << count;
	}
	EXPECT_EQ(line(silent.front()), "(end)");
}

// Connections of a guest's network card are descriptors, too, as many as it likes.
TEST_F(Server, AnswersWhenDescriptorsAreUsedUp)
{
	sockaddr_un address{};
	address.sun_family = AF_UNIX;
	(path_ + "/vm.sock").copy(address.sun_path, sizeof address.sun_path - 1);
	Descriptor first{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)}, second{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	auto ask = [&](const Descriptor &client) {
		ASSERT_EQ(::connect(client.get(), reinterpret_cast<sockaddr *>(&address), sizeof address), 0);
		send(client, status);
	};
	// UBSan looks at a type the first time with a pipe, for which there will be no descriptors.
	Descriptor early = connect();
	send(early, status);
	EXPECT_EQ(line(early), status_reply);
	spdlog::warn("descriptors will be used up");

	rlimit before;
	ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
	rlimit limit{static_cast<rlim_t>(second.get()) + 500, before.rlim_max};
	ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
	std::vector<Descriptor> used;
	auto use_up = [&] {
		while (Descriptor copy{dup(first.get())})
			used.push_back(std::move(copy));
		return errno;
	};
	{
		DescriptorReserve reserve;
		EXPECT_EQ(use_up(), EMFILE);
		ask(first);
		EXPECT_EQ(line(first), status_reply);
	}
	// Without one he has to wait.
	EXPECT_EQ(use_up(), EMFILE);
	ask(second);
	pollfd answer{second.get(), POLLIN, 0};
	EXPECT_EQ(poll(&answer, 1, 200), 0);
	used.clear();
	EXPECT_EQ(line(second), status_reply);
	setrlimit(RLIMIT_NOFILE, &before);
}

// It asks and asks, and never reads: it is not answered for ever.
TEST_F(Server, ClientsThatDoNotReadStopThemselves)
{
	Descriptor greedy = connect();
	std::string many;
	while (many.size() < 64 << 10)
		many += status;
	while (::send(greedy.get(), many.data(), many.size(), MSG_NOSIGNAL | MSG_DONTWAIT) > 0)
		;
	Descriptor client = connect();
	send(client, status);
	EXPECT_EQ(line(client), status_reply);
}

TEST_F(Server, GoneClientsAreForgotten)
{
	for (int count = 0; count < 200; count++)
		send(connect(), status);
	Descriptor client = connect();
	send(client, status);
	EXPECT_EQ(line(client), status_reply);
}

TEST_F(Server, PassesTheConsole)
{
	target_.console = true;
	std::string early = "early ";
	relay_->early_text(early);
	ASSERT_EQ(write(relay_->guest_end(), "before ", 7), 7);
	Descriptor client = connect();
	send(client, "{\"command\":\"console\"}\ntyped");
	EXPECT_EQ(line(client), "{\"ok\":true}\n");
	std::string shown = receive(client, 13);
	EXPECT_TRUE(shown == "early before " || shown == "before early ") << shown;
	ASSERT_EQ(write(relay_->guest_end(), "after", 5), 5);
	EXPECT_EQ(receive(client, 5), "after");
	char typed[5];
	ASSERT_EQ(recv(relay_->guest_end(), typed, 5, MSG_WAITALL), 5);
	EXPECT_EQ(std::string(typed, 5), "typed");
}

// The guest writes on while the client sleeps; it, or its output, never waits.
TEST_F(Server, ASlowConsoleClientIsDropped)
{
	target_.console = true;
	Descriptor client = connect();
	send(client, "{\"command\":\"console\"}\n");
	EXPECT_EQ(line(client), "{\"ok\":true}\n");
	std::string page(4096, 'x');
	for (int count = 0; count < 512; count++)
		ASSERT_EQ(write(relay_->guest_end(), page.data(), page.size()), 4096);
	Descriptor next = connect();
	send(next, "{\"command\":\"console\"}\n");
	EXPECT_EQ(line(next), "{\"ok\":true}\n");
	EXPECT_EQ(receive(next, 4096), page);
}

// --- shutdown --------------------------------------------------------------------------

struct ShutdownTest : testing::Test {
	boost::asio::io_context loop;
	int asked = 0, forced = 0;
	Shutdown shutdown{loop, {[this] { asked++; }, [this] { forced++; }}};
};

TEST_F(ShutdownTest, WithoutGraceIsForced)
{
	shutdown.begin(0ms);
	EXPECT_EQ(asked, 0);
	EXPECT_EQ(forced, 1);
}

TEST_F(ShutdownTest, AGuestThatDoesNotReactIsForcedSoon)
{
	shutdown.begin(1h);
	EXPECT_EQ(asked, 1);
	loop.run();
	EXPECT_EQ(forced, 1);
}

TEST_F(ShutdownTest, OneThatReactsHasItsGracePeriod)
{
	shutdown.begin(1h);
	shutdown.taken();
	loop.run_for(1500ms);
	EXPECT_EQ(forced, 0);
	shutdown.begin(1ms);	// somebody lost patience
	EXPECT_EQ(asked, 1);
	loop.restart();
	loop.run();
	EXPECT_EQ(forced, 1);
}

TEST_F(ShutdownTest, NobodyAsked)
{
	shutdown.taken();
	loop.run();
	EXPECT_EQ(forced, 0);
	EXPECT_FALSE(shutdown.begun());
}

// --- pause -----------------------------------------------------------------------------

// Counts its runs.
class CountingVcpu final : public VcpuPort {
public:
	int run() override
	{
		runs++;
		std::this_thread::sleep_for(100us);
		return EINTR;
	}
	lg_run &page() override { return page_; }

	std::atomic<unsigned> runs = 0;

private:
	lg_run page_{};
};

TEST(VcpuPause, ParksAndGoesOn)
{
	Bus bus;
	CountingVcpu vcpu;
	VcpuThread thread{vcpu, {bus, {}, {}}};
	for (int round = 0; round < 200; round++) {
		thread.pause();
		unsigned before = vcpu.runs;
		if (round % 50 == 0)
			std::this_thread::sleep_for(20ms);
		EXPECT_EQ(vcpu.runs, before);
		EXPECT_EQ(vcpu.page().immediate_exit, 1);
		thread.resume();
		if (round % 2)
			continue;	// paused again at once
		while (vcpu.runs == before)
			std::this_thread::yield();
	}
	thread.pause();
	thread.stop();
}

TEST(VcpuPause, OfOneThatHasEnded)
{
	struct Ends final : VcpuPort {
		int run() override { return EIO; }
		lg_run &page() override { return page_; }
		lg_run page_{};
	} vcpu;
	Bus bus;
	VcpuThread thread{vcpu, {bus, {}, [](Outcome) {}}};
	thread.pause();
	thread.resume();
	thread.stop();
}

TEST(VcpuPause, ShutdownTakenIsTold)
{
	struct Takes final : VcpuPort {
		int run() override
		{
			page_.exit_reason = LG_EXIT_BUS_WRITE;
			page_.u.bus = {LG_BUS_SHUTDOWN_TAKEN, 1, 4};
			return 0;
		}
		lg_run &page() override { return page_; }
		lg_run page_{};
	} vcpu;
	Bus bus;
	std::atomic<bool> taken = false;
	VcpuThread thread{vcpu, {bus, {}, {}, [&] { taken = true; }}};
	while (!taken)
		std::this_thread::yield();
	thread.stop();
}

// --- options ---------------------------------------------------------------------------

ManageOptions manage(std::vector<const char *> words)
{
	words.insert(words.begin(), "lguest");
	return std::get<ManageOptions>(parse_command_line(static_cast<int>(words.size()), words.data()));
}

RunOptions run(std::vector<const char *> words)
{
	words.insert(words.begin(), {"lguest", "run"});
	return std::get<RunOptions>(parse_command_line(static_cast<int>(words.size()), words.data()));
}

TEST(ManageOptions, AreRead)
{
	using Command = ManageOptions::Command;
	EXPECT_EQ(manage({"list"}).command, Command::list);
	EXPECT_TRUE(manage({"list", "--json"}).json);
	EXPECT_EQ(manage({"stop", "vm"}).name, "vm");
	EXPECT_EQ(manage({"stop", "vm"}).timeout, std::nullopt);
	EXPECT_EQ(manage({"stop", "vm", "--timeout", "2.5"}).timeout, 2.5);
	EXPECT_EQ(manage({"kill", "vm"}).command, Command::kill);
	EXPECT_EQ(manage({"pause", "vm"}).command, Command::pause);
	EXPECT_EQ(manage({"resume", "vm"}).command, Command::resume);
	EXPECT_TRUE(manage({"stat", "vm", "--json"}).json);
	EXPECT_EQ(manage({"balloon", "vm", "64M"}).size, 64u << 20);
	EXPECT_EQ(manage({"console", "vm"}).command, Command::console);
	for (std::vector<const char *> words : std::vector<std::vector<const char *>>{
		     {"stop"}, {"stop", "../vm"}, {"stop", "vm", "--timeout", "-1"}, {"balloon", "vm"}, {"balloon", "vm", "x"}, {"list", "vm"}})
		EXPECT_NE(complaint([&] { manage(words); }), "no complaint") << words[0];
}

TEST(ManageOptions, OfRun)
{
	RunOptions options = run({"--name", "web-1", "-d", "--grace", "3", "--sandbox", "off", "--log", "level=warn,file=x.log"});
	EXPECT_TRUE(options.detach);
	EXPECT_EQ(options.grace, 3);
	EXPECT_FALSE(options.sandbox);
	EXPECT_EQ(options.log.level, LogOptions::Level::warn);
	EXPECT_EQ(options.log.file, "x.log");
	EXPECT_EQ(run({"-v"}).log.level, LogOptions::Level::debug);
	EXPECT_TRUE(run({}).sandbox);
	EXPECT_EQ(complaint([] { run({"--name", "a/b"}); }).substr(0, 13), "--name: 'a/b'");
	EXPECT_EQ(complaint([] { run({"--log", "level=loud"}); }), "--log level: 'loud' is not one of debug, info, warn, error");
	EXPECT_NE(complaint([] { run({"--grace", "-1"}); }), "no complaint");
}

TEST(Log, QuotesWhatAGuestSays)
{
	EXPECT_EQ(quoted_for_log("a \"b\" \\ \n\x1b[2J"), R"("a \"b\" \\ \n\x1b[2J")");
}

} // namespace
} // namespace lguest::test
