// SPDX-License-Identifier: GPL-2.0-only
// A command inside an initrd, see initrd.h.  The archive is cpio "newc": for each
// file a header of hexadecimal text, the name, the contents, padded to 4 bytes.
#include "initrd.h"

#include <fmt/format.h>

#include <cstring>

namespace lguest {
namespace {

constexpr unsigned directory = 0040755, script = 0100755, plain_file = 0100644;

void append(Bytes &bytes, std::string_view text)
{
	std::size_t end = bytes.size();
	bytes.resize(end + text.size());
	if (!text.empty())
		std::memcpy(bytes.data() + end, text.data(), text.size());
}

void pad(Bytes &bytes) { bytes.resize((bytes.size() + 3) / 4 * 4); }

void append_file(Bytes &archive, std::string_view name, unsigned mode, std::string_view contents)
{
	// magic, inode, mode, uid, gid, links, mtime, size, 4 device numbers, length of the name, checksum
	append(archive, fmt::format("070701{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}",
				    0, mode, 0, 0, mode == directory ? 2 : 1, 0, contents.size(), 0, 0, 0, 0,
				    name.size() + 1, 0));
	append(archive, name);
	append(archive, std::string_view{"\0", 1});
	pad(archive);
	append(archive, contents);
	pad(archive);
}

std::string quoted(std::string_view word)
{
	std::string result = "'";
	for (char character : word) {
		if (character == '\'')
			result += "'\\''";
		else
			result += character;
	}
	return result + "'";
}

// Finds the ports by their names: there is no udev to make links.  They come up
// some time after boot began.  Without a program: each is one more to load.
constexpr const char *find_ports = R"sh(port() {
	tries=0
	while [ $tries -lt 100 ]; do
		for p in /sys/class/virtio-ports/*; do
			read -r name <$p/name && [ "$name" = $1 ] && echo /dev/${p##*/} && return
		done 2>/dev/null
		tries=$((tries + 1))
		sleep 0.1
	done
	echo "lguest: no port $1" >&2
	echo /dev/null
}
)sh";

} // namespace

std::string command_script(std::span<const std::string> command, bool terminal)
{
	std::string script = "#!/bin/sh\n";
	if (!terminal)
		script += find_ports;
	script += "exec";
	for (const std::string &word : command)
		script += ' ' + quoted(word);
	if (!terminal)
		script += fmt::format(" <$(port {}) >$(port {}) 2>$(port {})", stdio_ports[0], stdio_ports[1], stdio_ports[2]);
	return script + '\n';
}

void append_command(Bytes &initrd, std::span<const std::string> command, bool terminal)
{
	pad(initrd);	// an archive starts at a multiple of 4
	append_file(initrd, "lguest", directory, "");
	append_file(initrd, "lguest/cmd", script, command_script(command, terminal));
	if (terminal)
		append_file(initrd, "lguest/tty", plain_file, "");
	append_file(initrd, "TRAILER!!!", 0, "");
}

void append_host_root(Bytes &initrd, const std::string &folder, const std::string &home)
{
	pad(initrd);
	append_file(initrd, "lguest", directory, "");
	append_file(initrd, "lguest/root", plain_file, host_root_tag);
	append_file(initrd, "lguest/cwd", plain_file, folder);
	append_file(initrd, "lguest/home", plain_file, home);
	append_file(initrd, "TRAILER!!!", 0, "");
}

void append_port_names(Bytes &initrd, std::span<const ConsoleOptions> consoles)
{
	std::string names;
	for (const ConsoleOptions &console : consoles)
		if (!console.port.empty())
			names += console.port + '\n';
	if (names.empty())
		return;
	pad(initrd);
	append_file(initrd, "lguest", directory, "");
	append_file(initrd, "lguest/ports", plain_file, names);
	append_file(initrd, "TRAILER!!!", 0, "");
}

} // namespace lguest
