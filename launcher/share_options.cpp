// SPDX-License-Identifier: GPL-2.0-only
// `--share`, see share_options.h.
#include "share_options.h"

#include <algorithm>

namespace lguest {

ShareOptions read_share_options(KeyedOptions &options, const std::vector<ShareOptions> &others)
{
	ShareOptions share;
	share.tag = options.take_required("tag");
	share.path = options.take_text("path");
	share.socket = options.take_text("socket");
	share.read_only = options.take_flag("ro");
	bool has_cache = options.has("cache");
	share.cache = options.take_word("cache", share.cache, {"auto", "always", "none"});
	if (share.tag.size() > longest_tag)
		options.reject("tag", "'{}' is longer than {} characters", share.tag, longest_tag);
	if (std::ranges::any_of(others, [&](const ShareOptions &other) { return other.tag == share.tag; }))
		options.reject("tag", "'{}' is another share's", share.tag);
	if (share.path.empty() == share.socket.empty())
		options.reject("path", "give either a directory as path or a running back end as socket");
	if (!share.socket.empty() && share.read_only)
		options.reject("ro", "for the back end behind a socket to decide: start that one read-only");
	if (!share.socket.empty() && has_cache)
		options.reject("cache", "for the back end behind a socket to decide");
	return share;
}

} // namespace lguest
