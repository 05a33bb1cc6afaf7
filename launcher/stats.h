// SPDX-License-Identifier: GPL-2.0-only
// The module's counters as text, and as JSON for tests and benchmarks.
#pragma once

#include <lguest/ioctl_abi.h>

#include <fstream>
#include <string>

namespace lguest {

std::string stats_text(const lg_stats &stats);		// one "name value" a line
std::string stats_json(const lg_stats &stats);		// one object

// Opened before the guest runs, written when it has ended.  Both throw Error.
std::ofstream open_stats_file(const std::string &path);
void write_stats_file(std::ofstream &file, const std::string &path, const lg_stats &stats);

} // namespace lguest
