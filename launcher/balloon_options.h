// SPDX-License-Identifier: GPL-2.0-only
// `--balloon`: a balloon, with which the host takes memory of the guest.
#pragma once

#include "keyed_options.h"

#include <cstdint>

namespace lguest {

struct BalloonOptions {
	std::uint64_t size = 0;			// bytes it takes from the start on
	bool deflate_on_oom = true;		// gives pages back before the guest kills for memory
	bool free_page_reporting = false;	// the guest's free memory is the host's
	unsigned stats = 0;			// seconds from one question about the guest's memory to the next; 0: when asked
};

// `memory`: bytes the guest has.
BalloonOptions read_balloon_options(KeyedOptions &options, std::uint64_t memory);	// throws Error

} // namespace lguest
