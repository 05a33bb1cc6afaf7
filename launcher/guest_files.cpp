// SPDX-License-Identifier: GPL-2.0-only
// Finding and loading the files of a guest, see guest_files.h.
#include "guest_files.h"

#include "error.h"
#include "initrd.h"

#include <cstdlib>
#include <filesystem>
#include <unistd.h>

namespace lguest {
namespace {

std::string installed(const char *variable, const char *name)
{
	if (const char *given = std::getenv(variable); given && *given)
		return given;
	std::error_code error;
	auto program = std::filesystem::read_symlink("/proc/self/exe", error);
	auto file = program.parent_path().parent_path() / "lib/lguest" / name;
	return std::filesystem::exists(file, error) ? file.string() : std::string{};
}

std::string command_line_for(const RunOptions &options)
{
	std::string line = options.append;
	if (line.find("console=") == std::string::npos)
		line = line.empty() ? "console=lg0" : "console=lg0 " + line;
	return line;
}

} // namespace

std::string default_kernel() { return installed("LGUEST_KERNEL", "vmlinux"); }
std::string default_initrd() { return installed("LGUEST_INITRD", "initramfs.cpio"); }

bool command_has_ports(const RunOptions &options)
{
	return !options.command.empty() && !options.detach && !(isatty(STDIN_FILENO) && isatty(STDOUT_FILENO));
}

namespace {

// The files' paths; both may be empty.
struct Paths {
	std::string kernel, initrd;
};

Paths paths_of(const RunOptions &options)
{
	Paths paths{options.kernel.empty() ? default_kernel() : options.kernel, options.initrd};
	if (paths.initrd.empty() && (options.kernel.empty() || !options.command.empty()))
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
	if (initrd.empty() && !options.command.empty())
		throw Error{"a command needs an initrd whose init runs it: give one with --initrd", exit_usage};

	GuestFiles files{load_kernel(kernel), initrd.empty() ? Bytes{} : read_file(initrd, "initrd"), command_line_for(options)};
	if (!options.command.empty())
		append_command(files.initrd, options.command, !command_has_ports(options));
	return files;
}

} // namespace lguest
