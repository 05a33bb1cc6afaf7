// SPDX-License-Identifier: GPL-2.0-only
// The settings of the launcher's log: `--log level=debug,file=guest.log`.  log.h writes it.
#pragma once

#include "keyed_options.h"

namespace lguest {

struct LogOptions {
	enum class Level { debug, info, warn, error };
	Level level = Level::info;
	std::string file;		// empty: stderr
};

LogOptions read_log_options(KeyedOptions &options);	// throws Error

} // namespace lguest
