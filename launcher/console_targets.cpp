// SPDX-License-Identifier: GPL-2.0-only
// Where ports of the console lead, see console_targets.h.
#include "console_targets.h"

#include "error.h"

#include <spdlog/spdlog.h>

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

namespace lguest {
namespace {

using To = ConsoleOptions::To;

Descriptor open_output(const ConsoleOptions &options)
{
	int flags = O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (options.append ? O_APPEND : O_TRUNC);
	Descriptor file{open(options.path.c_str(), flags, 0666)};
	if (!file && errno == ENXIO)
		fail("console: {}: nobody reads this pipe; start its reader first", options.path);
	if (!file)
		fail("console: cannot write to {}: {}", options.path, std::strerror(errno));
	return file;
}

} // namespace

ConsolePort::Settings console_target(boost::asio::io_context &loop, const ConsoleOptions &options)
{
	ConsolePort::Settings settings;
	switch (options.to) {
	case To::none:
		break;
	case To::stdio:
		settings.input = STDIN_FILENO;
		settings.output = STDOUT_FILENO;
		break;
	case To::file:
		settings.file = open_output(options);
		break;
	case To::socket:
		settings.peer = listen_on_socket(loop, options.path);
		break;
	case To::pty: {
		std::string path;
		settings.peer = open_pty(loop, path);
		spdlog::info("{} is {}", options.port.empty() ? "console" : "port " + options.port, path);
		break;
	}
	}
	return settings;
}

} // namespace lguest
