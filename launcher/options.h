// SPDX-License-Identifier: GPL-2.0-only
// What can be asked for: the command line of `lguest`, and the JSON configuration,
// which has the same schema (config_file.h).
//
// main.cpp hands it in, run.cpp acts on it.  Nothing but the configuration is read, so
// tests can parse.
#pragma once

#include "balloon_options.h"
#include "console_options.h"
#include "control_client.h"
#include "disk_options.h"
#include "keyed_options.h"
#include "log_options.h"
#include "net_options.h"
#include "rng_options.h"
#include "share_options.h"
#include "vhost_user_options.h"
#include "vsock_options.h"

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace lguest {

enum class PlacementMode {
	none,	// Linux's own addresses
	automatic,	// beside the host's mappings
};

// What a command has as its root file system.
enum class RootMode {
	automatic,	// `host` for a command without an initrd of its own, if there is a virtiofsd
	host,		// this host's, copy-on-write
	initrd,
};

struct RunOptions {
	std::uint64_t memory = 256ull << 20;	// bytes, a multiple of 2 MiB
	std::string kernel;			// file; empty: the installed one
	std::string initrd;			// file; empty: none, or the installed one with the installed kernel or a command
	std::string config;			// file; empty: none
	std::string append;			// kernel command line
	std::string name;			// empty: none given
	bool detach = false;			// run in the background, without a terminal
	double grace = 10;			// seconds for an orderly shutdown
	bool sandbox = true;
	unsigned cpus = 1;
	PlacementMode placement = PlacementMode::automatic;
	RootMode root = RootMode::automatic;
	bool reboot = true;			// false: a reboot ends the launcher
	bool stats = false;			// print the module's counters at the end
	std::string stats_file;			// and write them there as JSON
	std::optional<BalloonOptions> balloon;
	std::vector<ConsoleOptions> consoles;	// other than the usual one
	std::vector<DiskOptions> disks;
	LogOptions log;
	std::vector<NetOptions> nets;
	std::optional<RngOptions> rng;
	std::vector<ShareOptions> shares;
	std::vector<VhostUserOptions> vhost_user;
	std::optional<VsockOptions> vsock;
	int verbose = 0;
	std::vector<std::string> command;	// after --: for the guest to run
};

// Nothing to run: text for stdout, and exit with 0.
struct ShowText {
	std::string text;
};

constexpr std::uint64_t min_memory = 32ull << 20;

// Throws Error with exit_usage and one line.
std::variant<RunOptions, ManageOptions, ShowText> parse_command_line(int argc, const char *const *argv);

} // namespace lguest
