// SPDX-License-Identifier: GPL-2.0-only
// Settings as key and value, and the JSON configuration.
#include "complaint.h"

#include "config_file.h"
#include "options.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <unistd.h>

namespace lguest::test {
namespace {

template <std::invocable Work>
std::string usage_complaint(Work work) { return complaint(work, exit_usage); }

KeyedOptions keyed(std::string_view text) { return KeyedOptions::from_text("--disk", text); }

// --- key=value,... ---------------------------------------------------------------

TEST(KeyedOptions, TakesEachKind)
{
	KeyedOptions options = keyed("path=a b=c,ro,size=4K,count=7,mode=fast,late=off");
	EXPECT_EQ(options.take_required("path"), "a b=c");
	EXPECT_TRUE(options.take_flag("ro"));
	EXPECT_FALSE(options.take_flag("late", true));
	EXPECT_EQ(options.take_size("size", 0), 4096u);
	EXPECT_EQ(options.take_number("count", 0, 1, 7), 7u);
	EXPECT_EQ(options.take_word("mode", "slow", {"slow", "fast"}), "fast");
	EXPECT_NO_THROW(options.finish());
}

TEST(KeyedOptions, HasDefaults)
{
	KeyedOptions options = keyed("");
	EXPECT_EQ(options.take("path"), std::nullopt);
	EXPECT_EQ(options.take_text("path", "x"), "x");
	EXPECT_TRUE(options.take_flag("ro", true));
	EXPECT_EQ(options.take_number("count", 3, 1, 7), 3u);
	EXPECT_EQ(options.take_size("size", 5), 5u);
	EXPECT_EQ(options.take_word("mode", "slow", {"slow"}), "slow");
	EXPECT_NO_THROW(options.finish());
}

TEST(KeyedOptions, CommasCanBePartOfAValue)
{
	KeyedOptions options = keyed("path=a,,b,,,ro");
	EXPECT_EQ(options.take_text("path"), "a,b,");
	EXPECT_TRUE(options.take_flag("ro"));
}

TEST(KeyedOptions, AnEmptyValueIsAValue)
{
	KeyedOptions options = keyed("path=");
	EXPECT_EQ(options.take("path"), "");
	EXPECT_EQ(usage_complaint([&] { options.take_required("path"); }), "--disk path: must be given");
}

TEST(KeyedOptions, SaysWhatIsWrong)
{
	EXPECT_EQ(usage_complaint([] { keyed("a=1,=2"); }), "--disk =2: a key is missing; it is key=value,key=value");
	EXPECT_EQ(usage_complaint([] { keyed(",a"); }), "--disk : a key is missing; it is key=value,key=value");
	EXPECT_EQ(usage_complaint([] { keyed("a=1,a=2"); }), "--disk a: given twice");
	EXPECT_EQ(usage_complaint([] { keyed("").take_required("path"); }), "--disk path: must be given");
	EXPECT_EQ(usage_complaint([] { keyed("ro=maybe").take_flag("ro"); }), "--disk ro: 'maybe' is neither on nor off");
	for (const char *text : {"n=0", "n=8", "n=", "n=x", "n=7x", "n=-1", "n=99999999999999999999"})
		EXPECT_NE(usage_complaint([&] { keyed(text).take_number("n", 1, 1, 7); }).find("is not a number from 1 to 7"), std::string::npos)
			<< text;
	EXPECT_NE(usage_complaint([] { keyed("size=1Q").take_size("size", 0); }).find("--disk size: '1Q' is not a size"), std::string::npos);
	EXPECT_EQ(usage_complaint([] { keyed("m=x").take_word("m", "a", {"a", "b"}); }), "--disk m: 'x' is not one of a, b");
}

TEST(KeyedOptions, NamesWhatThereIsWhenAKeyIsUnknown)
{
	KeyedOptions options = keyed("path=a,cahce=on");
	options.take("path");
	options.take("cache");
	EXPECT_EQ(usage_complaint([&] { options.finish(); }), "--disk cahce: not known; there are path, cache");
}

// --- JSON ------------------------------------------------------------------------

bool is_device(const std::string &key) { return key == "disk" || key == "rng"; }
Config config(std::string_view text) { return parse_config("vm.json", text, is_device); }

TEST(ConfigFile, HasTheWordsOfTheCommandLine)
{
	Config read = config(R"({"memory": "1G", "cpus": 2, "stats": true,
				 "disk": [{"path": "a", "ro": true}, {"path": "b", "count": 3}], "rng": true, "command": ["ls", "-l"]})");
	EXPECT_EQ(read.machine.take_size("memory", 0), 1u << 30);
	EXPECT_EQ(read.machine.take_number("cpus", 0, 1, 9), 2u);
	EXPECT_TRUE(read.machine.take_flag("stats"));
	ASSERT_EQ(read.devices.size(), 3u);
	EXPECT_EQ(read.devices[0].noun, "disk");
	EXPECT_EQ(read.devices[0].options.take_text("path"), "a");
	EXPECT_TRUE(read.devices[0].options.take_flag("ro"));
	EXPECT_EQ(read.devices[1].options.take_number("count", 0, 1, 9), 3u);
	EXPECT_EQ(read.devices[2].noun, "rng");
	EXPECT_EQ(read.command, (std::vector<std::string>{"ls", "-l"}));
}

TEST(ConfigFile, ComplaintsPointAtTheKey)
{
	EXPECT_EQ(usage_complaint([] { config(R"({"disk": [{"path": "a"}, {"ro": "maybe"}]})").devices.at(1).options.take_flag("ro"); }),
		  "vm.json: disk[1].ro: 'maybe' is neither on nor off");
	EXPECT_EQ(usage_complaint([] { config(R"({"disk": [{"path": {}}]})"); }),
		  "vm.json: disk[0].path: must be a string, a number, true or false");
	EXPECT_EQ(usage_complaint([] { config(R"({"disk": [7]})"); }), "vm.json: disk[0]: must be an object");
	EXPECT_EQ(usage_complaint([] { config(R"({"disk": {"path": "a"}})").devices.at(0).options.take_required("serial"); }),
		  "vm.json: disk serial: must be given");
	EXPECT_EQ(usage_complaint([] { config(R"({"memory": []})"); }), "vm.json: memory: must be a string, a number, true or false");
	EXPECT_EQ(usage_complaint([] { config(R"({"command": "ls"})"); }), "vm.json: command: must be an array of strings");
}

TEST(ConfigFile, IsOneJsonObject)
{
	EXPECT_EQ(usage_complaint([] { config("[]"); }), "vm.json: must be one JSON object");
	for (const char *text : {"", "{", "{\"memory\": }", "{} {}", "nonsense"})
		EXPECT_NE(usage_complaint([&] { config(text); }).find("vm.json: line 1: not JSON"), std::string::npos) << text;
	EXPECT_NE(usage_complaint([&] { config("{\n\"memory\": \"1G\",\n oops }"); }).find("vm.json: line 3"), std::string::npos);
}

// --- both ------------------------------------------------------------------------

class RunConfig : public testing::Test {
protected:
	~RunConfig() override { std::remove(file_.c_str()); }
	RunOptions run(const std::string &text, std::vector<const char *> more = {})
	{
		std::ofstream{file_} << text;
		std::vector<const char *> words{"lguest", "run", "--config", file_.c_str()};
		words.insert(words.end(), more.begin(), more.end());
		return std::get<RunOptions>(parse_command_line(static_cast<int>(words.size()), words.data()));
	}
	std::string file_ = testing::TempDir() + fmt::format("lguest-config.{}.json", getpid());
};

TEST_F(RunConfig, IsRead)
{
	RunOptions options = run(R"({"memory": "1G", "kernel": "k", "cpus": 3, "no-reboot": true, "rng": {"rate": "1K"}, "command": ["a"]})");
	EXPECT_EQ(options.memory, 1u << 30);
	EXPECT_EQ(options.kernel, "k");
	EXPECT_EQ(options.cpus, 3u);
	EXPECT_FALSE(options.reboot);
	ASSERT_TRUE(options.rng);
	EXPECT_EQ(options.rng->rate, 1024u);
	EXPECT_EQ(options.command, std::vector<std::string>{"a"});
}

TEST_F(RunConfig, TheCommandLineReplacesIt)
{
	RunOptions options = run(R"({"memory": "1G", "kernel": "k", "command": ["a"]})", {"--memory", "2G", "--", "b", "c"});
	EXPECT_EQ(options.memory, 2u << 30);
	EXPECT_EQ(options.kernel, "k");
	EXPECT_EQ(options.command, (std::vector<std::string>{"b", "c"}));
}

TEST_F(RunConfig, ComplaintsNameTheFile)
{
	EXPECT_EQ(usage_complaint([&] { run(R"({"memroy": "1G"})"); }).substr(0, file_.size() + 20), file_ + ": memroy: not known;");
	EXPECT_EQ(usage_complaint([&] { run(R"({"memory": "16M"})"); }), file_ + ": memory: 16M: too little, a guest needs at least 32M");
	EXPECT_EQ(usage_complaint([&] { run(R"({"rng": {"rate": "fast"}})"); }),
		  file_ + ": rng.rate: 'fast' is not a size: give a number and K, M, G or T, as in 256M");
	EXPECT_EQ(usage_complaint([&] { run("{}", {"--rng", "speed=1"}); }), "--rng speed: not known; there are rate");
}

// --- what devices make of it -----------------------------------------------------

RunOptions options(std::vector<const char *> words)
{
	words.insert(words.begin(), {"lguest", "run"});
	return std::get<RunOptions>(parse_command_line(static_cast<int>(words.size()), words.data()));
}

TEST(BalloonOptions, AreRead)
{
	EXPECT_FALSE(options({}).balloon);
	RunOptions plain = options({"--balloon"});
	ASSERT_TRUE(plain.balloon);
	EXPECT_EQ(plain.balloon->size, 0u);
	EXPECT_TRUE(plain.balloon->deflate_on_oom);
	EXPECT_FALSE(plain.balloon->free_page_reporting);
	EXPECT_EQ(plain.balloon->stats, 0u);
	RunOptions all = options({"--balloon", "size=64M,deflate-on-oom=off,free-page-reporting,stats=5"});
	ASSERT_TRUE(all.balloon);
	EXPECT_EQ(all.balloon->size, 64u << 20);
	EXPECT_FALSE(all.balloon->deflate_on_oom);
	EXPECT_TRUE(all.balloon->free_page_reporting);
	EXPECT_EQ(all.balloon->stats, 5u);
	EXPECT_EQ(usage_complaint([] { options({"--balloon", "size=1G"}); }), "--balloon size: 1G: the guest has only 256M");
	EXPECT_EQ(usage_complaint([] { options({"--balloon", "stats=0"}); }), "--balloon stats: '0' is not a number from 1 to 86400");
}

TEST(ConsoleOptions, AreRead)
{
	using To = ConsoleOptions::To;
	RunOptions run = options({"--console", "pty", "--console", "port=a,file=/a,,b,append", "--console", "port=b.c,socket=s",
				  "--console", "port=d,none", "--console", "port=e,stdio"});
	ASSERT_EQ(run.consoles.size(), 5u);
	EXPECT_EQ(run.consoles[0].port, "");
	EXPECT_EQ(run.consoles[0].to, To::pty);
	EXPECT_EQ(run.consoles[1].port, "a");
	EXPECT_EQ(run.consoles[1].to, To::file);
	EXPECT_EQ(run.consoles[1].path, "/a,b");
	EXPECT_TRUE(run.consoles[1].append);
	EXPECT_EQ(run.consoles[2].to, To::socket);
	EXPECT_EQ(run.consoles[2].path, "s");
	EXPECT_EQ(run.consoles[3].to, To::none);
	EXPECT_TRUE(port_is_stdio(run.consoles));
	EXPECT_FALSE(console_is_stdio(run.consoles));
}

TEST(ConsoleOptions, StdioGoesToTheConsoleUnlessAPortHasIt)
{
	EXPECT_TRUE(console_is_stdio(options({}).consoles));
	EXPECT_TRUE(console_is_stdio(options({"--console", "stdio"}).consoles));
	EXPECT_TRUE(console_is_stdio(options({"--console", "port=a,pty"}).consoles));
	EXPECT_FALSE(console_is_stdio(options({"--console", "port=a,stdio"}).consoles));
	EXPECT_FALSE(console_is_stdio(options({"--console", "none"}).consoles));
}

TEST(ConsoleOptions, SayWhatIsWrong)
{
	auto wrong = [](std::vector<const char *> texts, std::vector<const char *> more = {}) {
		std::vector<const char *> words;
		for (const char *text : texts)
			words.insert(words.end(), {"--console", text});
		words.insert(words.end(), more.begin(), more.end());
		return usage_complaint([&] { options(words); });
	};
	std::string target = "--console: must lead to one of stdio, none, pty, file=PATH, socket=PATH";
	EXPECT_EQ(wrong({"port=a"}), target);
	EXPECT_EQ(wrong({"pty,none"}), target);
	EXPECT_EQ(wrong({"pty,file=x"}), target);
	EXPECT_EQ(wrong({"pty,append"}), "--console append: is for file=PATH");
	EXPECT_EQ(wrong({"file="}), "--console file: must be given");
	EXPECT_EQ(wrong({"pty", "none"}), "--console: the console is given twice");
	EXPECT_EQ(wrong({"port=a,pty", "port=a,none"}), "--console: port a is given twice");
	EXPECT_EQ(wrong({"stdio", "port=a,stdio"}), "--console stdio: there is only one, and another port has it");
	EXPECT_EQ(wrong({"port=lguest.x,pty"}), "--console port: 'lguest.x': names with lguest. are the command's own");
	for (const char *name : {"port=,pty", "port=a/b,pty", "port=..,pty", "port=a b,pty"})
		EXPECT_NE(wrong({name}).find("a name has up to 63 letters"), std::string::npos) << name;
	EXPECT_EQ(wrong({"port=a,stdio"}, {"--", "ls"}), "--console: a port cannot have stdin and stdout, they are the command's");
	EXPECT_NE(wrong({"prot=a,pty"}).find("--console prot: not known"), std::string::npos);
}

} // namespace
} // namespace lguest::test
