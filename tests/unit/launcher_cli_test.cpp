// SPDX-License-Identifier: GPL-2.0-only
// The command line, the command in the initrd, the terminal's escape, and the vCPU
// thread with a module that is played by the test.
#include "complaint.h"

#include "error.h"
#include "initrd.h"
#include "options.h"
#include "stats.h"
#include "terminal.h"
#include "vcpu.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <cstring>
#include <mutex>
#include <set>

namespace lguest::test {
namespace {

// --- command line --------------------------------------------------------------

auto parse(std::vector<const char *> words)
{
	words.insert(words.begin(), "lguest");
	return parse_command_line(static_cast<int>(words.size()), words.data());
}

RunOptions run(std::vector<const char *> words)
{
	words.insert(words.begin(), "run");
	return std::get<RunOptions>(parse(words));
}

std::string complaint(std::vector<const char *> words)
{
	return test::complaint([&] { parse(words); }, exit_usage);
}

TEST(CommandLine, Defaults)
{
	RunOptions options = run({});
	EXPECT_EQ(options.memory, 256u << 20);
	EXPECT_EQ(options.cpus, 1u);
	EXPECT_EQ(options.placement, PlacementMode::automatic);
	EXPECT_TRUE(options.reboot);
	EXPECT_TRUE(options.command.empty());
}

TEST(CommandLine, Options)
{
	RunOptions options = run({"--memory", "1G", "--kernel", "k", "--initrd=i", "--append", "a b=\"c d\"", "--name", "n",
				  "--cpus", "4", "--placement", "none", "--no-reboot", "--stats", "--stats-file", "s", "-v",
				  "--", "ls", "-l", "--all"});
	EXPECT_EQ(options.memory, 1u << 30);
	EXPECT_EQ(options.kernel, "k");
	EXPECT_EQ(options.initrd, "i");
	EXPECT_EQ(options.append, "a b=\"c d\"");
	EXPECT_EQ(options.name, "n");
	EXPECT_EQ(options.cpus, 4u);
	EXPECT_EQ(options.placement, PlacementMode::none);
	EXPECT_FALSE(options.reboot);
	EXPECT_TRUE(options.stats);
	EXPECT_EQ(options.stats_file, "s");
	EXPECT_EQ(options.verbose, 1);
	EXPECT_EQ(options.command, (std::vector<std::string>{"ls", "-l", "--all"}));
}

TEST(CommandLine, EmptyAppend)
{
	EXPECT_EQ(run({"--append", ""}).append, "");
	EXPECT_EQ(run({"--append=", "--name", "n"}).append, "");
	EXPECT_EQ(run({"--append=", "--name", "n"}).name, "n");
	EXPECT_EQ(run({"--append=a="}).append, "a=");
	EXPECT_TRUE(run({"--rng=", "--balloon"}).rng);
}

TEST(CommandLine, CommandIsVerbatim)
{
	std::vector<const char *> words{"sh", "-c", "[ -e /etc/passwd ]", "[a,b]", "[]", "", "--help", "--", "--append=", "-v"};
	std::vector<const char *> line{"--memory", "64M", "--"};
	line.insert(line.end(), words.begin(), words.end());
	EXPECT_EQ(run(line).command, (std::vector<std::string>{words.begin(), words.end()}));
	EXPECT_EQ(std::get<ManageOptions>(parse({"stop", "--", "web"})).name, "web");
	EXPECT_EQ(complaint({"run", "ls"}), "'ls': no option; a command for the guest comes after --");
}

TEST(CommandLine, Sizes)
{
	EXPECT_EQ(parse_size("65536"), 65536u);
	EXPECT_EQ(parse_size("64K"), 65536u);
	EXPECT_EQ(parse_size("3m"), 3u << 20);
	EXPECT_EQ(parse_size("2T"), 2ull << 40);
	for (const char *text : {"", "M", "1X", "1MB", "-1", "1.5G", "99999999999999999999", "99999999T", " 1M"})
		EXPECT_THROW(parse_size(text), Error) << text;
	EXPECT_EQ(format_size(0), "0");
	EXPECT_EQ(format_size(1ull << 40), "1T");
	EXPECT_EQ(format_size(1536), "1536");
	EXPECT_EQ(format_size(1536 << 10), "1536K");
}

TEST(CommandLine, SaysWhatIsWrong)
{
	EXPECT_EQ(complaint({"run", "--memory", "16M"}), "--memory: 16M: too little, a guest needs at least 32M");
	EXPECT_EQ(complaint({"run", "--memory", "2T"}), "--memory: 2T: too much, a guest can have 1T");
	EXPECT_EQ(complaint({"run", "--memory", "33M"}), "--memory: 33M: must be a multiple of 2M");
	EXPECT_NE(complaint({"run", "--memory", "lots"}).find("'lots' is not a size"), std::string::npos);
	EXPECT_NE(complaint({"run", "--memory"}), "no complaint");
	EXPECT_NE(complaint({"run", "--nonsense"}).find("--nonsense"), std::string::npos);
	EXPECT_NE(complaint({"run", "--cpus", "0"}).find("--cpus"), std::string::npos);
	EXPECT_NE(complaint({"run", "--cpus", "65"}), "no complaint");
	EXPECT_NE(complaint({"run", "--placement", "here"}), "no complaint");
	EXPECT_NE(complaint({}), "no complaint");
	EXPECT_NE(complaint({"fly"}), "no complaint");
	for (const char *size : {"32M", "64M", "4G", "1T"})
		EXPECT_EQ(complaint({"run", "--memory", size}), "no complaint");
}

TEST(CommandLine, Help)
{
	EXPECT_NE(std::get<ShowText>(parse({"--help"})).text.find("run"), std::string::npos);
	std::string text = std::get<ShowText>(parse({"run", "--help"})).text;
	for (const char *option : {"--memory", "--kernel", "--initrd", "--append", "--name", "--cpus", "Ctrl-]", "254"})
		EXPECT_NE(text.find(option), std::string::npos) << option;
}

TEST(CommandLine, HelpHasAnExampleOfEachOption)
{
	std::string text = std::get<ShowText>(parse({"run", "--help"})).text;
	std::size_t examples = text.find("Examples:");
	ASSERT_NE(examples, std::string::npos);
	std::set<std::string> options;
	for (std::size_t at = 0; (at = text.find("--", at)) < examples; at += 2)
		options.insert(text.substr(at, text.find_first_not_of("abcdefghijklmnopqrstuvwxyz-", at) - at));
	options.erase("--");
	options.erase("--help");
	EXPECT_GT(options.size(), 20u);
	for (const std::string &option : options)
		EXPECT_NE(text.find(option + ' ', examples), std::string::npos) << option;
}

// --- the command for init --------------------------------------------------------

TEST(Command, IsQuoted)
{
	std::vector<std::string> command{"echo", "a b", "it's", "", "$x"};
	EXPECT_EQ(command_script(command, true), "#!/bin/sh\nexec 'echo' 'a b' 'it'\\''s' '' '$x'\n");
	EXPECT_NE(command_script(command, false).find("exec 'echo' 'a b' 'it'\\''s' '' '$x' <$(port lguest.stdin)"), std::string::npos);
}

TEST(Command, IsAnArchiveBehindTheInitrd)
{
	Bytes initrd(5, std::byte{'i'});
	append_command(initrd, std::vector<std::string>{"true"}, true);
	std::string_view text{reinterpret_cast<const char *>(initrd.data()), initrd.size()};
	EXPECT_EQ(text.substr(8, 6), "070701");
	EXPECT_EQ(initrd.size() % 4, 0u);
	std::size_t at = text.find("lguest/cmd");
	ASSERT_NE(at, std::string::npos);
	EXPECT_EQ(text.substr(at - 110, 6), "070701");
	EXPECT_NE(text.find("lguest/tty"), std::string::npos);
	EXPECT_NE(text.find("TRAILER!!!"), std::string::npos);
}

// --- terminal ----------------------------------------------------------------------

std::pair<std::string, bool> type(EscapeFilter &filter, std::string_view keys)
{
	std::vector<std::byte> out;
	bool leave = filter.filter(std::as_bytes(std::span{keys}), out);
	return {{reinterpret_cast<const char *>(out.data()), out.size()}, leave};
}

TEST(Escape, IsFound)
{
	EscapeFilter filter;
	EXPECT_EQ(type(filter, "ab\003"), std::pair(std::string{"ab\003"}, false));
	EXPECT_EQ(type(filter, "\x1dq"), std::pair(std::string{"\x1dq"}, false));
	EXPECT_EQ(type(filter, "\x1d\x1d"), std::pair(std::string{"\x1d"}, false));
	EXPECT_EQ(type(filter, "a\x1d"), std::pair(std::string{"a"}, false));
	EXPECT_EQ(type(filter, "xyz"), std::pair(std::string{}, true));
}

// --- vCPU thread ---------------------------------------------------------------------

// Plays one exit after the other, then spins in LG_RUN until it is kicked.
class ScriptedVcpu final : public VcpuPort {
public:
	using Exit = std::function<int(lg_run &)>;
	explicit ScriptedVcpu(std::vector<Exit> script) : script_{std::move(script)} {}

	int run() override
	{
		if (next_ < script_.size())
			return script_[next_++](page_);
		at_end = true;
		at_end.notify_all();
		// As the module: a signal, or the flag.
		while (!std::atomic_ref{page_.immediate_exit}.load())
			std::this_thread::sleep_for(std::chrono::milliseconds{1});
		return EINTR;
	}
	lg_run &page() override { return page_; }

	std::atomic<bool> at_end = false;

private:
	std::vector<Exit> script_;
	std::size_t next_ = 0;
	lg_run page_{};
};

struct VcpuResult {
	std::string text;
	std::optional<Outcome> outcome;
};

VcpuResult play(std::vector<ScriptedVcpu::Exit> script, bool ends = true)
{
	VcpuResult result;
	Bus bus;
	ScriptedVcpu vcpu{std::move(script)};
	std::atomic<bool> ended = false;
	VcpuThread thread{vcpu, {bus, [&](std::span<const char> text) { result.text.append(text.data(), text.size()); },
				 [&](Outcome outcome) {
					 result.outcome = std::move(outcome);
					 ended = true;
					 ended.notify_all();
				 }}};
	if (ends)
		ended.wait(false);
	else
		vcpu.at_end.wait(false);
	thread.stop();
	return result;
}

auto exits(std::uint32_t reason)
{
	return [reason](lg_run &page) {
		page.exit_reason = reason;
		return 0;
	};
}

auto says(lg_exit_reason reason, const char *text, std::uint32_t length)
{
	return [=](lg_run &page) {
		page.exit_reason = reason;
		std::strcpy(page.u.text.data, text);
		page.u.text.length = length;
		return 0;
	};
}

TEST(VcpuThreadTest, StopsASpinningGuest)
{
	auto before = std::chrono::steady_clock::now();
	EXPECT_FALSE(play({exits(LG_EXIT_NONE), [](lg_run &) { return EINTR; }}, false).outcome);
	EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds{1});
}

TEST(VcpuThreadTest, ReadsTheBus)
{
	std::uint64_t value = 1;
	play({[](lg_run &page) {
		      page.exit_reason = LG_EXIT_BUS_READ;
		      page.u.bus = {0x1000, 77, 4};
		      return 0;
	      },
	      [&](lg_run &page) {
		      value = page.u.bus.value;
		      page.exit_reason = LG_EXIT_BUS_WRITE;
		      return 0;
	      },
	      exits(LG_EXIT_DOORBELL)},
	     false);
	EXPECT_EQ(value, 0u);	// nothing is there
}

TEST(VcpuThreadTest, PassesText)
{
	EXPECT_EQ(play({says(LG_EXIT_CONSOLE, "hello", 5)}, false).text, "hello");
	EXPECT_EQ(play({says(LG_EXIT_CONSOLE, "x", ~0u)}, false).text.size(), std::size_t{LG_TEXT_MAX});
}

TEST(VcpuThreadTest, TellsHowTheGuestEnded)
{
	auto shutdown = play({[](lg_run &page) {
		page.exit_reason = LG_EXIT_SHUTDOWN;
		page.u.shutdown.status = 7;
		return 0;
	}});
	EXPECT_EQ(shutdown.outcome->kind, Outcome::Kind::shutdown);
	EXPECT_EQ(shutdown.outcome->status, 7);

	EXPECT_EQ(play({exits(LG_EXIT_REBOOT)}).outcome->kind, Outcome::Kind::reboot);

	auto panic = play({says(LG_EXIT_PANIC, "oops", 4)});
	EXPECT_EQ(panic.outcome->kind, Outcome::Kind::panic);
	EXPECT_EQ(panic.outcome->status, 255);
	EXPECT_EQ(panic.outcome->text, "oops");

	auto killed = play({[](lg_run &page) {
		page.exit_reason = LG_EXIT_KILLED;
		std::memset(page.u.killed.reason, 'r', sizeof(page.u.killed.reason));
		page.u.killed.rip = 0x1234;
		return 0;
	}});
	EXPECT_EQ(killed.outcome->status, 254);
	EXPECT_NE(killed.outcome->text.find("(rip 0x1234"), std::string::npos);

	EXPECT_EQ(play({exits(999)}).outcome->status, 1);
	EXPECT_EQ(play({[](lg_run &) { return EIO; }}).outcome->kind, Outcome::Kind::failed);
}

TEST(Stats, AsTextAndJson)
{
	lg_stats stats{};
	stats.enters = 12;
	stats.global_pages_fallback = 3;
	EXPECT_NE(stats_text(stats).find("enters"), std::string::npos);
	std::string json = stats_json(stats);
	EXPECT_EQ(json.substr(0, 14), "{\"enters\": 12,");
	EXPECT_NE(json.find("\"global_pages_fallback\": 3}"), std::string::npos);
}

} // namespace
} // namespace lguest::test
