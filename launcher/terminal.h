// SPDX-License-Identifier: GPL-2.0-only
// The user's terminal while it is the guest's console: raw mode, its size, and the
// keys to leave.  console_port.h passes the bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace lguest {

// Raw mode for as long as it lives.  However the launcher ends (SIGKILL aside) the
// terminal is as before: exit(), a fatal signal and the destructor all restore it.
// At most one object at a time.
class RawTerminal {
public:
	// `fd` is a terminal of which this process is in the foreground.
	explicit RawTerminal(int fd);
	~RawTerminal();
	RawTerminal(const RawTerminal &) = delete;
	RawTerminal &operator=(const RawTerminal &) = delete;

	// Whether fd is a terminal that may be used so.
	static bool usable(int fd);
};

// Whether fd is the terminal of this session, and other processes are in its foreground:
// reading it is SIGTTIN then or, if that is ignored, EIO.
bool in_background(int fd);

struct TerminalSize {
	std::uint16_t columns, rows;
};
// Nothing if fd is no terminal, or does not know its size.
std::optional<TerminalSize> terminal_size(int fd);

// Finds the escape in what the user types: Ctrl-] and then a key, x, leaves; Ctrl-]
// twice gives the guest one; before any other key both go to the guest.
class EscapeFilter {
public:
	static constexpr std::byte escape{0x1d};

	// `key`: in lower case.
	explicit EscapeFilter(char key = 'x') : key_{key} {}

	// Append what is for the guest to `out`; true if the user wants to leave.
	bool filter(std::span<const std::byte> typed, std::vector<std::byte> &out);

private:
	char key_;
	bool escaped_ = false;
};

} // namespace lguest
