// SPDX-License-Identifier: GPL-2.0-only
// Parsing the command line, see options.h.
#include "options.h"

#include "error.h"

#include <lguest/ioctl_abi.h>

#include <CLI/CLI.hpp>

#include <charconv>

namespace lguest {
namespace {

constexpr std::uint64_t memory_granule = 2ull << 20;	// the start-up page tables use 2 MiB pages

template <typename... Arguments>
[[noreturn]] void usage(fmt::format_string<Arguments...> format, Arguments &&...arguments)
{
	throw Error{fmt::format(format, std::forward<Arguments>(arguments)...), exit_usage};
}

void check_memory(std::uint64_t memory)
{
	if (memory < min_memory)
		usage("--memory {}: too little, a guest needs at least {}", format_size(memory), format_size(min_memory));
	if (memory > LG_MAX_GPA)
		usage("--memory {}: too much, a guest can have {}", format_size(memory), format_size(LG_MAX_GPA));
	if (memory % memory_granule)
		usage("--memory {}: must be a multiple of {}", format_size(memory), format_size(memory_granule));
}

// CLI11's texts can have several lines; users get one.
std::string one_line(std::string text)
{
	for (char &character : text)
		if (character == '\n')
			character = ' ';
	while (!text.empty() && text.back() == ' ')
		text.pop_back();
	return text;
}

// What needs more than CLI11's conversions.
struct TextOptions {
	std::string memory;
	std::string placement = "auto";
	bool no_reboot = false;
};

PlacementMode parse_placement(const std::string &text)
{
	if (text == "auto")
		return PlacementMode::automatic;
	if (text == "none")
		return PlacementMode::none;
	usage("--placement {}: must be auto or none", text);
}

void describe(CLI::App &run, RunOptions &options, TextOptions &text)
{
	run.add_option("-m,--memory", text.memory, "Memory of the guest: a number and K, M, G or T")
		->type_name("SIZE")->capture_default_str();
	run.add_option("-k,--kernel", options.kernel, "Kernel: vmlinux or bzImage, built with CONFIG_LGUEST_GUEST")
		->type_name("FILE");
	run.add_option("-i,--initrd", options.initrd, "Initial RAM disk")->type_name("FILE");
	run.add_option("-a,--append", options.append,
		       "Kernel command line; console=lg0, the kernel's messages on stderr, is added if it names no console")->type_name("STRING");
	run.add_option("-n,--name", options.name, "Name of the guest, for messages")->type_name("NAME");
	run.add_option("-c,--cpus", options.cpus, "Virtual CPUs")
		->type_name("N")->check(CLI::Range(1u, static_cast<unsigned>(LG_MAX_VCPUS)))->capture_default_str();
	run.add_option("--placement", text.placement,
		       "Where the guest's kernel lives: 'auto' beside the host's mappings, 'none' at Linux's own addresses")
		->type_name("auto|none")->capture_default_str();
	run.add_flag("--no-reboot", text.no_reboot, "End when the guest reboots, instead of starting it again");
	run.add_flag("--stats", options.stats, "Print the module's counters when the guest ends");
	run.add_option("--stats-file", options.stats_file, "Write the module's counters there, as JSON, when the guest ends")
		->type_name("FILE");
	run.add_flag("-v,--verbose", options.verbose, "Say what is done");
	run.add_option("command", options.command, "After --: a command for the guest's init to run; needs an initrd")
		->type_name("COMMAND");
	run.positionals_at_end();
	run.footer("Exit status: what the guest powered off with; 1 if it could not be started, 2 for a wrong\n"
		   "command line, 254 if the module stopped the guest, 255 if its kernel panicked, 128 + N when\n"
		   "signal N ended lguest.  In a terminal, Ctrl-] x ends the guest.");
}

} // namespace

std::uint64_t parse_size(const std::string &text)
{
	std::uint64_t number = 0;
	auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
	std::string_view suffix{rest, static_cast<std::size_t>(text.data() + text.size() - rest)};
	unsigned shift = 0;
	if (suffix == "K" || suffix == "k")
		shift = 10;
	else if (suffix == "M" || suffix == "m")
		shift = 20;
	else if (suffix == "G" || suffix == "g")
		shift = 30;
	else if (suffix == "T" || suffix == "t")
		shift = 40;
	else if (!suffix.empty())
		error = std::errc::invalid_argument;
	if (error != std::errc{} || number > UINT64_MAX >> shift)
		usage("'{}' is not a size: give a number and K, M, G or T, as in 256M", text);
	return number << shift;
}

std::string format_size(std::uint64_t bytes)
{
	constexpr const char *suffixes[] = {"", "K", "M", "G", "T"};
	unsigned unit = 0;
	while (unit < 4 && bytes && bytes % 1024 == 0) {
		bytes /= 1024;
		unit++;
	}
	return fmt::format("{}{}", bytes, suffixes[unit]);
}

std::variant<RunOptions, ShowText> parse_command_line(int argc, const char *const *argv)
{
	RunOptions options;
	TextOptions text;
	text.memory = format_size(options.memory);
	CLI::App app{"lguest: Linux guests on any x86-64 Linux host, without hardware virtualization", "lguest"};
	app.require_subcommand(1);
	CLI::App *run = app.add_subcommand("run", "Start a guest; its console is this terminal, or stdin and stdout");
	describe(*run, options, text);

	try {
		app.parse(argc, argv);
	} catch (const CLI::CallForHelp &) {
		return ShowText{app.help()};
	} catch (const CLI::ParseError &error) {
		usage("{}; see lguest run --help", one_line(error.what()));
	}
	options.memory = parse_size(text.memory);
	options.placement = parse_placement(text.placement);
	options.reboot = !text.no_reboot;
	check_memory(options.memory);
	return options;
}

} // namespace lguest
