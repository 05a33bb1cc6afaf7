// SPDX-License-Identifier: GPL-2.0-only
// The launcher's log: for people on stderr, "lguest NAME: text"; in a file for
// programs too, one line of key=value each:
//
//     time=2026-11-22T19:31:05.123Z level=warn guest=web message="disk0: stopped until ..."
#pragma once

#include "log_options.h"

#include <string>
#include <string_view>

namespace lguest {

// Sets up spdlog's default logger.  Throws Error if the file cannot be opened.
void set_up_log(const LogOptions &options, const std::string &guest);

// In quotes; quotes, backslashes and control characters, which may come from a guest, escaped.
std::string quoted_for_log(std::string_view text);

} // namespace lguest
