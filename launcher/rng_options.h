// SPDX-License-Identifier: GPL-2.0-only
// `--rng`: an entropy device.
#pragma once

#include "keyed_options.h"

#include <cstdint>

namespace lguest {

struct RngOptions {
	std::uint64_t rate = 0;		// bytes a second; 0: no limit
};

RngOptions read_rng_options(KeyedOptions &options);	// throws Error

} // namespace lguest
