// SPDX-License-Identifier: GPL-2.0-only
// Finding and loading the files of a guest, see guest_files.h.
#include "guest_files.h"

#include "error.h"
#include "initrd.h"
#include "virtiofsd.h"

#include <cstdlib>
#include <filesystem>
#include <unistd.h>

namespace lguest {
namespace {

std::string default_file(const char *variable, const char *name)
{
	const char *given = std::getenv(variable);
	return given && *given ? given : installed_file(name);
}

std::string command_line_for(const RunOptions &options)
{
	std::string line = options.append;
	if (line.find("console=") == std::string::npos)
		line = line.empty() ? "console=lg0" : "console=lg0 " + line;
	return line;
}

} // namespace

std::string default_kernel() { return default_file("LGUEST_KERNEL", "vmlinux"); }
std::string default_initrd() { return default_file("LGUEST_INITRD", "initramfs.cpio"); }

bool has_host_root(const RunOptions &options)
{
	if (options.root != RootMode::automatic)
		return options.root == RootMode::host;
	bool has_own = !options.initrd.empty() || options.append.find("root=") != std::string::npos;
	return !options.command.empty() && !has_own && !Virtiofsd::find().empty();
}

ShareOptions host_root_share()
{
	ShareOptions share;
	share.tag = host_root_tag;
	share.path = "/";
	share.read_only = true;
	return share;
}

bool command_has_ports(const RunOptions &options)
{
	bool terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && console_is_stdio(options.consoles);
	return !options.command.empty() && !options.detach && !terminal;
}

namespace {

// The files' paths; both may be empty.
struct Paths {
	std::string kernel, initrd;
};

bool needs_init(const RunOptions &options) { return !options.command.empty() || has_host_root(options); }

Paths paths_of(const RunOptions &options)
{
	Paths paths{options.kernel.empty() ? default_kernel() : options.kernel, options.initrd};
	if (paths.initrd.empty() && (options.kernel.empty() || needs_init(options)))
		paths.initrd = default_initrd();
	return paths;
}

} // namespace

std::vector<std::string> files_read(const RunOptions &options)
{
	auto [kernel, initrd] = paths_of(options);
	return {kernel, kernel + ".relocs", initrd, options.config};
}

GuestFiles load_files(const RunOptions &options)
{
	auto [kernel, initrd] = paths_of(options);
	if (kernel.empty())
		throw Error{"no kernel: give one with --kernel, or in the environment as LGUEST_KERNEL", exit_usage};
	if (initrd.empty() && needs_init(options))
		throw Error{"a command, or --root host, needs an initrd whose init knows of it: give one with --initrd", exit_usage};

	GuestFiles files{load_kernel(kernel), initrd.empty() ? Bytes{} : read_file(initrd, "initrd"), command_line_for(options)};
	if (!options.command.empty())
		append_command(files.initrd, options.command, !command_has_ports(options));
	if (has_host_root(options)) {
		std::error_code unknown;
		const char *home = std::getenv("HOME");
		append_host_root(files.initrd, std::filesystem::current_path(unknown).string(), home ? home : "/");
	}
	if (!files.initrd.empty())
		append_port_names(files.initrd, options.consoles);
	return files;
}

} // namespace lguest
