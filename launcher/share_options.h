// SPDX-License-Identifier: GPL-2.0-only
// `--share`: a directory of the host for the guest, by virtiofs.
#pragma once

#include "keyed_options.h"

#include <string>
#include <vector>

namespace lguest {

struct ShareOptions {
	std::string tag;		// what the guest mounts it by
	std::string path;		// directory, served by a virtiofsd of ours, or
	std::string socket;		// a running back end
	bool read_only = false;
	std::string cache = "auto";
};

constexpr std::size_t longest_tag = 36;

// Throws Error; `others` have their tags already.
ShareOptions read_share_options(KeyedOptions &options, const std::vector<ShareOptions> &others);

} // namespace lguest
