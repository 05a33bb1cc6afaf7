// SPDX-License-Identifier: GPL-2.0-only
// The user's terminal, see terminal.h.
#include "terminal.h"

#include <array>
#include <csignal>
#include <cstdlib>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

namespace lguest {
namespace {

// Global, because atexit() and signal handlers have to find it.
int raw_fd = -1;
termios before;

constexpr std::array fatal_signals{SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};

// Async-signal-safe.
void restore()
{
	if (raw_fd >= 0)
		tcsetattr(raw_fd, TCSANOW, &before);
	raw_fd = -1;
}

void restore_and_die(int signal)
{
	restore();
	raise(signal);	// the handler is gone (SA_RESETHAND): this time it is fatal
}

} // namespace

bool RawTerminal::usable(int fd)
{
	// From the background, setting it would stop us with SIGTTOU.
	return isatty(fd) && tcgetpgrp(fd) == getpgrp();
}

bool in_background(int fd)
{
	pid_t front = tcgetpgrp(fd);
	return front >= 0 && front != getpgrp();
}

RawTerminal::RawTerminal(int fd)
{
	if (tcgetattr(fd, &before) < 0)
		return;
	raw_fd = fd;
	[[maybe_unused]] static const int registered = std::atexit(restore);
	struct sigaction action {};
	action.sa_handler = restore_and_die;
	action.sa_flags = static_cast<int>(SA_RESETHAND | SA_NODEFER);
	for (int signal : fatal_signals)
		sigaction(signal, &action, nullptr);

	termios raw = before;
	cfmakeraw(&raw);
	raw.c_oflag |= OPOST;	// so that the kernel log and our own lines end as lines
	tcsetattr(fd, TCSADRAIN, &raw);
}

RawTerminal::~RawTerminal() { restore(); }

std::optional<TerminalSize> terminal_size(int fd)
{
	winsize size{};
	if (ioctl(fd, TIOCGWINSZ, &size) < 0 || size.ws_col == 0 || size.ws_row == 0)
		return std::nullopt;
	return TerminalSize{size.ws_col, size.ws_row};
}

bool EscapeFilter::filter(std::span<const std::byte> typed, std::vector<std::byte> &out)
{
	for (std::byte key : typed) {
		if (!escaped_ && key == escape) {
			escaped_ = true;
			continue;
		}
		if (escaped_ && static_cast<char>(key | std::byte{0x20}) == key_)
			return true;
		if (escaped_ && key != escape)
			out.push_back(escape);
		escaped_ = false;
		out.push_back(key);
	}
	return false;
}

} // namespace lguest
