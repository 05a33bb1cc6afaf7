// SPDX-License-Identifier: GPL-2.0-only
// The module's counters, see stats.h.
#include "stats.h"

#include "error.h"

#include <cerrno>
#include <cstring>

namespace lguest {

std::string stats_text(const lg_stats &stats)
{
	std::string text;
#define X(name) text += fmt::format("{:<24} {}\n", #name, static_cast<unsigned long long>(stats.name));
	LG_COUNTERS(X)
#undef X
	return text;
}

std::string stats_json(const lg_stats &stats)
{
	std::string text;
#define X(name) text += fmt::format("{}\"{}\": {}", text.empty() ? "{" : ", ", #name, static_cast<unsigned long long>(stats.name));
	LG_COUNTERS(X)
#undef X
	return text + "}\n";
}

std::ofstream open_stats_file(const std::string &path)
{
	std::ofstream file{path};
	if (!file)
		fail("--stats-file {}: {}", path, std::strerror(errno));
	return file;
}

void write_stats_file(std::ofstream &file, const std::string &path, const lg_stats &stats)
{
	file << stats_json(stats) << std::flush;
	if (!file)
		fail("--stats-file {}: {}", path, std::strerror(errno));
}

} // namespace lguest
