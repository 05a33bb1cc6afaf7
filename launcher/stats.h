// SPDX-License-Identifier: GPL-2.0-only
// The module's counters as text, and as JSON for tests and benchmarks.
#pragma once

#include <lguest/ioctl_abi.h>

#include <string>

namespace lguest {

std::string stats_text(const lg_stats &stats);		// one "name value" a line
std::string stats_json(const lg_stats &stats);		// one object

// Throws Error.
void write_stats_file(const std::string &path, const lg_stats &stats);

} // namespace lguest
