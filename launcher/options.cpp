// SPDX-License-Identifier: GPL-2.0-only
// The command line and its schema, see options.h.
#include "options.h"

#include "config_file.h"
#include "control_socket.h"
#include "error.h"

#include <lguest/ioctl_abi.h>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <map>
#include <span>

namespace lguest {
namespace {

constexpr std::uint64_t memory_granule = 2ull << 20;	// the start-up page tables use 2 MiB pages

// An option with one value, or none if `type` is empty: a key of the configuration too.
struct Setting {
	const char *key;
	const char *flags;	// as CLI11 wants them
	const char *type;
	const char *help;
};

constexpr Setting settings[] = {
	{"memory", "-m,--memory", "SIZE", "Memory of the guest: a number and K, M, G or T (256M)"},
	{"kernel", "-k,--kernel", "FILE", "Kernel: vmlinux or bzImage, built with CONFIG_LGUEST_GUEST"},
	{"initrd", "-i,--initrd", "FILE", "Initial RAM disk"},
	{"append", "-a,--append", "STRING",
	 "Kernel command line; console=lg0, the kernel's messages on stderr, is added if it names no console"},
	{"name", "-n,--name", "NAME", "Name of the guest, for messages and for lguest list, stop, ... (lguest-PID)"},
	{"cpus", "-c,--cpus", "N", "Virtual CPUs (1)"},
	{"placement", "--placement", "auto|none",
	 "Where the guest's kernel lives: 'auto' beside the host's mappings, 'none' at Linux's own addresses"},
	{"root", "--root", "host|initrd",
	 "Root file system: 'host' is a copy-on-write view of this host's, 'initrd' the initial RAM disk; a command without --initrd "
	 "has the host's, if there is a virtiofsd"},
	{"detach", "-d,--detach", "", "Run in the background; lguest console NAME shows the guest's console"},
	{"grace", "--grace", "SECONDS", "Time for an orderly shutdown after SIGTERM, SIGHUP or lguest stop; 0: none (10)"},
	{"sandbox", "--sandbox", "on|off", "Give up what the launcher does not need any more once the guest is set up (on)"},
	{"no-reboot", "--no-reboot", "", "End when the guest reboots, instead of starting it again"},
	{"stats", "--stats", "", "Print the module's counters when the guest ends"},
	{"stats-file", "--stats-file", "FILE", "Write the module's counters there, as JSON, when the guest ends"},
};

// A kind of device: an option that can be repeated, and a member of the configuration.
struct Noun {
	const char *name;
	const char *type;
	const char *help;
	void (*read)(KeyedOptions &options, RunOptions &run);
};

constexpr Noun nouns[] = {
	{"balloon", "[size=SIZE][,deflate-on-oom=on|off][,free-page-reporting][,stats=SECONDS]",
	 "Balloon: takes SIZE of the guest's memory (0), gives some back when the guest runs out (on), and takes what is free (off)",
	 [](KeyedOptions &options, RunOptions &run) { run.balloon = read_balloon_options(options, run.memory); }},
	{"console", "[port=NAME,]stdio|none|pty|file=PATH[,append]|socket=PATH",
	 "Where the guest's console leads (stdio), or its port /dev/virtio-ports/NAME: nowhere, to a pseudo-terminal, "
	 "a file, whoever connects to a socket",
	 [](KeyedOptions &options, RunOptions &run) { run.consoles.push_back(read_console_options(options, run.consoles)); }},
	{"disk", "path=FILE[,ro][,snapshot][,serial=TEXT][,block-size=512|4096][,direct][,queues=N][,aio=auto|io_uring|threads][,id=NAME]",
	 "A raw file or block device as a disk, /dev/vda and so on; snapshot: what is written is forgotten at the end",
	 [](KeyedOptions &options, RunOptions &run) { run.disks.push_back(read_disk_options(options, run.disks)); }},
	{"log", "level=debug|info|warn|error,file=PATH", "How much to say (info), and where: without a file, on stderr",
	 [](KeyedOptions &options, RunOptions &run) { run.log = read_log_options(options); }},
	{"net", "user|tap=NAME|tap-fd=N|link=NAME[,KEY=VALUE...]",
	 "Network card. user: through this process, needs no privileges; forward=tcp:[ADDRESS:]HOSTPORT-GUESTPORT+..., udp: too. "
	 "tap: a TAP device; bridge=NAME, vhost=auto|on|off: served by the host's kernel. link: to other guests of this user. mac=ADDRESS, mtu=N, id=NAME",
	 [](KeyedOptions &options, RunOptions &run) { run.nets.push_back(read_net_options(options)); }},
	{"rng", "[rate=SIZE]", "Entropy device; rate: bytes a second",
	 [](KeyedOptions &options, RunOptions &run) { run.rng = read_rng_options(options); }},
	{"share", "tag=TAG,path=DIR[,ro][,cache=auto|always|none] | tag=TAG,socket=PATH",
	 "Directory of the host: mount -t virtiofs TAG /mnt; socket: a running vhost-user back end instead of a virtiofsd of its own",
	 [](KeyedOptions &options, RunOptions &run) { run.shares.push_back(read_share_options(options, run.shares)); }},
	{"vhost-user", "type=blk|fs|net|rng|N,socket=PATH[,queues=N][,queue-size=N][,tag=TAG][,mac=MAC][,config-size=N]",
	 "Device served by the vhost-user back end that listens there; N: the number of a virtio device",
	 [](KeyedOptions &options, RunOptions &run) { run.vhost_user.push_back(read_vhost_user_options(options)); }},
	{"vsock", "cid=N", "Sockets between guest and host, by the host's vhost-vsock; N: the guest's address, from 3 on, its own on this host",
	 [](KeyedOptions &options, RunOptions &run) {
		 if (run.vsock)
			 throw Error{fmt::format("{}: a guest has one such device", options.where()), exit_usage};
		 run.vsock = read_vsock_options(options);
	 }},
};

// tests/guest/examples.sh types each of the examples.
constexpr const char *epilogue = R"(Exit status: what the guest powered off with; 1 if it could not be started, 2 for a wrong
command line, 254 if the module stopped the guest, 255 if its kernel panicked, 128 + N when
signal N ended lguest.  In a terminal, Ctrl-] x ends the guest.
SIGTERM, SIGHUP and lguest stop shut the guest down in order; SIGINT, and a second signal, end it at once.

Examples:
  lguest run -- uname -a
  lguest run --memory 512M --cpus 1 --disk path=disk.img,serial=DATA -- sh -c 'mkfs.ext4 -q /dev/vda && mount /dev/vda /mnt && df /mnt'
  lguest run --disk path=disk.img,snapshot --disk path=disk.img,ro -- sh -c 'cat /sys/block/vd?/ro'
  lguest run --append ip=dhcp --net user,forward=tcp:2222-22 --rng rate=2K -- sh -c 'ip -br address; od -N 8 /dev/hwrng'
  lguest run --net link=lab,mtu=9000 --net tap=tap0 -- ip -br link
  lguest run --share tag=etc,path=/etc,ro -- sh -c 'mount -t virtiofs etc /mnt && ls /mnt'
  lguest run --balloon size=64M,free-page-reporting --stats -- cat /proc/meminfo
  lguest run --console port=notes,file=notes.txt --log level=debug,file=lguest.log -- sh -c 'echo hello >/dev/virtio-ports/notes'
  lguest run --kernel vmlinux --initrd initramfs.cpio --root initrd --placement none -- cat /proc/cmdline
  lguest run --config guest.json
  lguest run --vhost-user type=blk,socket=disk.sock --sandbox off --verbose --stats-file stats.json -- ls /dev/vda
  lguest run --vsock cid=3 -- ls /dev/vsock
  lguest run --detach --name web --grace 30 --no-reboot --balloon -- sleep 1000
  lguest list; lguest balloon web 32M; lguest pause web; lguest resume web; lguest stat web
  lguest console web </dev/null; lguest stop web)";

bool is_noun(const std::string &name)
{
	return std::ranges::any_of(nouns, [&](const Noun &noun) { return name == noun.name; });
}

std::uint64_t read_memory(KeyedOptions &machine, std::uint64_t otherwise)
{
	std::uint64_t memory = machine.take_size("memory", otherwise);
	if (memory < min_memory)
		machine.reject("memory", "{}: too little, a guest needs at least {}", format_size(memory), format_size(min_memory));
	if (memory > LG_MAX_GPA)
		machine.reject("memory", "{}: too much, a guest can have {}", format_size(memory), format_size(LG_MAX_GPA));
	if (memory % memory_granule)
		machine.reject("memory", "{}: must be a multiple of {}", format_size(memory), format_size(memory_granule));
	return memory;
}

RootMode read_root(KeyedOptions &machine)
{
	if (!machine.has("root")) {
		machine.take("root");
		return RootMode::automatic;
	}
	return machine.take_word("root", {}, {"host", "initrd"}) == "host" ? RootMode::host : RootMode::initrd;
}

// From words to their meaning.
RunOptions read_options(Config &config)
{
	RunOptions run;
	KeyedOptions &machine = config.machine;
	run.memory = read_memory(machine, run.memory);
	run.kernel = machine.take_text("kernel");
	run.initrd = machine.take_text("initrd");
	run.append = machine.take_text("append");
	run.name = machine.take_text("name");
	if (!run.name.empty() && !valid_guest_name(run.name))
		machine.reject("name", "'{}': a name is of letters, digits, '-', '_' and '.', begins with one of the former two, "
			       "and has at most 64 of them", run.name);
	run.detach = machine.take_flag("detach");
	run.grace = static_cast<double>(machine.take_number("grace", 10, 0, 24 * 60 * 60));
	run.sandbox = machine.take_flag("sandbox", true);
	run.cpus = static_cast<unsigned>(machine.take_number("cpus", 1, 1, LG_MAX_VCPUS));
	run.placement = machine.take_word("placement", "auto", {"auto", "none"}) == "none" ? PlacementMode::none
											  : PlacementMode::automatic;
	run.root = read_root(machine);
	run.reboot = !machine.take_flag("no-reboot");
	run.stats = machine.take_flag("stats");
	run.stats_file = machine.take_text("stats-file");
	machine.finish();
	for (Config::Device &device : config.devices) {
		auto noun = std::ranges::find(nouns, device.noun, &Noun::name);
		noun->read(device.options, run);
		device.options.finish();
	}
	run.command = config.command;
	if (port_is_stdio(run.consoles) && !run.command.empty())
		throw Error{"--console: a port cannot have stdin and stdout, they are the command's", exit_usage};
	return run;
}

// The command line as CLI11 leaves it: words, yet without meaning.
struct Words {
	std::string config;
	std::map<std::string, std::string> values;		// by key
	std::map<std::string, bool> flags;
	std::map<std::string, std::vector<std::string>> devices;	// by noun
	std::vector<std::string> misplaced;			// words that are no options
	std::vector<std::string> command;
	int verbose = 0;
};

// CLI11 gets what is before the `--` of run.  The guest's command is not its business: it would take words in brackets apart.
std::vector<std::string> split_command(std::span<const char *const> arguments, Words &words)
{
	bool run = !arguments.empty() && arguments.front() == std::string_view{"run"};
	auto end = run ? std::ranges::find(arguments, std::string_view{"--"}) : arguments.end();
	if (end != arguments.end())
		words.command.assign(end + 1, arguments.end());
	std::vector<std::string> ours;
	for (std::string argument : std::span{arguments.begin(), end}) {
		// CLI11 takes the next word for the value of an option that has none.
		bool empty = argument.starts_with("--") && argument.find('=') == argument.size() - 1;
		if (empty)
			argument.pop_back();
		ours.push_back(std::move(argument));
		if (empty)
			ours.emplace_back();
	}
	return ours;
}

void describe_run(CLI::App &run, Words &words)
{
	run.add_option("--config", words.config, "JSON file with any of these options: {\"memory\": \"1G\", ...}; "
		       "what is on the command line too replaces it, devices are added to it")->type_name("FILE");
	for (const Setting &setting : settings) {
		if (*setting.type)
			run.add_option(setting.flags, words.values[setting.key], setting.help)->type_name(setting.type);
		else
			run.add_flag(setting.flags, words.flags[setting.key], setting.help);
	}
	// Any number of them, each with one word or none.
	for (const Noun &noun : nouns)
		run.add_option(fmt::format("--{}", noun.name), words.devices[noun.name], noun.help)
			->type_name(noun.type)->allow_extra_args(false)->expected(0, 1)->take_all();
	run.add_flag("-v,--verbose", words.verbose, "Say what is done");
	run.add_option("command", words.misplaced, "After --: a command for the guest to run")
		->type_name("-- COMMAND");
	run.positionals_at_end();
	run.footer(epilogue);
}

// What of it was given, on top of the configuration file.
RunOptions read_run(const CLI::App &run, const Words &words)
{
	if (!words.misplaced.empty())
		throw Error{fmt::format("'{}': no option; a command for the guest comes after --", words.misplaced.front()), exit_usage};
	Config config;
	if (!words.config.empty())
		config = read_config(words.config, is_noun);
	for (const Setting &setting : settings) {
		std::string option = fmt::format("--{}", setting.key);
		if (run.count(option))
			config.machine.set(setting.key, *setting.type ? words.values.at(setting.key) : "on", option);
	}
	for (const Noun &noun : nouns)
		for (const std::string &text : words.devices.at(noun.name))
			config.devices.push_back({noun.name, KeyedOptions::from_text(fmt::format("--{}", noun.name), text)});
	if (!words.command.empty())
		config.command = words.command;
	RunOptions options = read_options(config);
	options.config = words.config;
	options.verbose = words.verbose;
	if (options.verbose)
		options.log.level = LogOptions::Level::debug;
	return options;
}

// --- commands on running guests ------------------------------------------------

struct Manager {
	ManageOptions::Command command;
	const char *name;
	const char *help;
};

constexpr Manager managers[] = {
	{ManageOptions::Command::list, "list", "Guests of this user that run"},
	{ManageOptions::Command::stop, "stop", "Ask a guest to shut down, and end it if it does not"},
	{ManageOptions::Command::kill, "kill", "End a guest at once"},
	{ManageOptions::Command::pause, "pause", "Stop a guest's vCPUs"},
	{ManageOptions::Command::resume, "resume", "Let a paused guest go on"},
	{ManageOptions::Command::stat, "stat", "Counters of a guest: the module's, and those of each device's queues"},
	{ManageOptions::Command::balloon, "balloon", "Take memory back from a guest with --balloon"},
	{ManageOptions::Command::console, "console", "The console of a guest started with --detach; Ctrl-] d leaves it"},
};

struct ManagerWords {
	std::string name, size;
	double timeout = -1;
	bool json = false;
};

void describe_manager(CLI::App &app, const Manager &manager, ManagerWords &words)
{
	using Command = ManageOptions::Command;
	if (manager.command == Command::list || manager.command == Command::stat)
		app.add_flag("--json", words.json, "For programs");
	if (manager.command != Command::list)
		app.add_option("name", words.name, "The guest")->type_name("NAME")->required();
	if (manager.command == Command::stop)
		app.add_option("--timeout", words.timeout, "Seconds to wait for an orderly shutdown; otherwise as with run's --grace")
			->type_name("SECONDS")->check(CLI::Range(0.0, 86400.0));
	if (manager.command == Command::balloon)
		app.add_option("size", words.size, "How much to take, all in all: a number and K, M, G or T")
			->type_name("SIZE")->required();
}

ManageOptions read_manager(const Manager &manager, const ManagerWords &words)
{
	ManageOptions options{manager.command, words.name, words.json, std::nullopt, 0};
	if (manager.command != ManageOptions::Command::list && !valid_guest_name(words.name))
		throw Error{fmt::format("lguest {}: '{}' is no name of a guest", manager.name, words.name), exit_usage};
	if (words.timeout >= 0)
		options.timeout = words.timeout;
	if (!words.size.empty())
		options.size = parse_size(words.size);
	return options;
}

// CLI11's texts can have several lines; users get one.
std::string one_line(std::string text)
{
	std::ranges::replace(text, '\n', ' ');
	while (text.ends_with(' '))
		text.pop_back();
	return text;
}

} // namespace

std::variant<RunOptions, ManageOptions, ShowText> parse_command_line(int argc, const char *const *argv)
{
	Words words;
	ManagerWords manager_words;
	CLI::App app{"lguest: Linux guests on any x86-64 Linux host, without hardware virtualization", "lguest"};
	app.require_subcommand(1);
	CLI::App *run = app.add_subcommand("run", "Start a guest; its console is this terminal, or stdin and stdout");
	describe_run(*run, words);
	for (const Manager &manager : managers)
		describe_manager(*app.add_subcommand(manager.name, manager.help), manager, manager_words);

	try {
		auto arguments = split_command({argv + 1, argv + argc}, words);
		std::ranges::reverse(arguments);	// as CLI11 wants them
		app.parse(std::move(arguments));
	} catch (const CLI::CallForHelp &) {
		return ShowText{app.help()};
	} catch (const CLI::ParseError &error) {
		throw Error{fmt::format("{}; see lguest run --help", one_line(error.what())), exit_usage};
	}
	for (const Manager &manager : managers)
		if (app.got_subcommand(manager.name))
			return read_manager(manager, manager_words);
	return read_run(*run, words);
}

} // namespace lguest
