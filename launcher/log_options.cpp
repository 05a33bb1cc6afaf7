// SPDX-License-Identifier: GPL-2.0-only
// The settings of the launcher's log, see log_options.h.
#include "log_options.h"

namespace lguest {

LogOptions read_log_options(KeyedOptions &options)
{
	LogOptions log;
	std::string level = options.take_word("level", "info", {"debug", "info", "warn", "error"});
	log.level = level == "debug" ? LogOptions::Level::debug
		    : level == "warn" ? LogOptions::Level::warn
		    : level == "error" ? LogOptions::Level::error : LogOptions::Level::info;
	log.file = options.take_text("file");
	return log;
}

} // namespace lguest
