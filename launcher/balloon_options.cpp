// SPDX-License-Identifier: GPL-2.0-only
// `--balloon`, see balloon_options.h.
#include "balloon_options.h"

namespace lguest {

BalloonOptions read_balloon_options(KeyedOptions &options, std::uint64_t memory)
{
	BalloonOptions balloon;
	balloon.size = options.take_size("size", balloon.size);
	if (balloon.size > memory)
		options.reject("size", "{}: the guest has only {}", format_size(balloon.size), format_size(memory));
	balloon.deflate_on_oom = options.take_flag("deflate-on-oom", balloon.deflate_on_oom);
	balloon.free_page_reporting = options.take_flag("free-page-reporting", balloon.free_page_reporting);
	balloon.stats = static_cast<unsigned>(options.take_number("stats", 0, 1, 86400));
	return balloon;
}

} // namespace lguest
