// SPDX-License-Identifier: GPL-2.0-only
// The numbers behind `lguest stat`, as JSON.
#pragma once

#include "register_file.h"

#include <lguest/ioctl_abi.h>

#include <boost/json/object.hpp>

#include <string>

namespace lguest {

boost::json::object module_statistics(const lg_stats &stats);
// A device and its queues.  Takes the device's lock.
boost::json::object device_statistics(const std::string &name, RegisterFile &device);

// Of this process, in bytes: what is its own and its files', and what of the guest's memory
// (and other shared memory) is there.
struct ResidentMemory {
	std::uint64_t own = 0, shared = 0;
};
ResidentMemory resident_memory();

} // namespace lguest
