// SPDX-License-Identifier: GPL-2.0-only
// A guest described in a JSON file (`lguest run --config FILE`), in the words of the
// command line: an option is a member, a device is an object or an array of them.
//
//     { "memory": "1G", "cpus": 2, "disk": [{"path": "root.img"}, {"path": "cd.iso", "ro": true}],
//       "net": {"user": true}, "command": ["uname", "-a"] }
//
// options.cpp has the schema and gives both, file and command line, their meaning.
#pragma once

#include "keyed_options.h"

#include <functional>
#include <string>
#include <vector>

namespace lguest {

struct Config {
	KeyedOptions machine{"lguest run"};	// the members that are no devices
	struct Device {
		std::string noun;		// "disk", "net", ...
		KeyedOptions options;
	};
	std::vector<Device> devices;		// in the order they were given
	std::vector<std::string> command;
};

// Throws Error naming the file and the member.
Config read_config(const std::string &path, const std::function<bool(const std::string &)> &is_device);
// The same from text; `name` stands for the file in messages.
Config parse_config(const std::string &name, std::string_view text, const std::function<bool(const std::string &)> &is_device);

} // namespace lguest
