// SPDX-License-Identifier: GPL-2.0-only
// The numbers behind `lguest stat`, see guest_statistics.h.
#include "guest_statistics.h"

#include <boost/json/array.hpp>

#include <linux/virtio_mmio.h>

#include <fstream>

namespace lguest {

boost::json::object module_statistics(const lg_stats &stats)
{
	boost::json::object object;
#define X(name) object[#name] = static_cast<std::uint64_t>(stats.name);
	LG_COUNTERS(X)
#undef X
	return object;
}

boost::json::object device_statistics(const std::string &name, RegisterFile &device)
{
	boost::json::array queues;
	for (unsigned queue = 0; queue < device.queue_count(); queue++) {
		Virtqueue::Counters counters = device.counters(queue);
		queues.push_back({{"chains", counters.chains},
				  {"bytes_out", counters.bytes_out},
				  {"bytes_in", counters.bytes_in},
				  {"interrupts", counters.interrupts}});
	}
	return {{"name", name},
		{"virtio_id", device.read(VIRTIO_MMIO_DEVICE_ID, 4)},
		{"status", device.read(VIRTIO_MMIO_STATUS, 4)},
		{"queues", std::move(queues)}};
}

ResidentMemory resident_memory()
{
	ResidentMemory memory;
	std::ifstream status{"/proc/self/status"};
	for (std::string word; status >> word;) {
		std::uint64_t kib = 0;
		if (word == "RssAnon:" || word == "RssFile:") {
			status >> kib;
			memory.own += kib << 10;
		} else if (word == "RssShmem:") {
			status >> kib;
			memory.shared = kib << 10;
		}
	}
	return memory;
}

} // namespace lguest
