// SPDX-License-Identifier: GPL-2.0-only
// The launcher's one exception: something the user has to know, in one line that
// names what is wrong and what to do.  main.cpp prints it and exits with `status`.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace lguest {

// Exit statuses with a meaning; a guest that powers off gives its own.
constexpr int exit_failure = 1;		// the guest could not be started
constexpr int exit_usage = 2;		// the command line is wrong
constexpr int exit_killed = 254;	// the module stopped the guest
constexpr int exit_panic = 255;		// the guest's kernel panicked

class Error : public std::runtime_error {
public:
	explicit Error(const std::string &line, int status = exit_failure)
		: std::runtime_error{line}, status_{status} {}

	int status() const { return status_; }

private:
	int status_;
};

template <typename... Arguments>
[[noreturn]] void fail(fmt::format_string<Arguments...> format, Arguments &&...arguments)
{
	throw Error{fmt::format(format, std::forward<Arguments>(arguments)...)};
}

} // namespace lguest
