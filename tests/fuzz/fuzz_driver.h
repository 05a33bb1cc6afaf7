// SPDX-License-Identifier: GPL-2.0-only
// What the fuzzers of devices do alike, beside the fake driver of the unit tests.
#pragma once

#include "virtio_fake_driver.h"

#include <cstdint>
#include <cstdlib>

namespace lguest::test {

// Kept whatever the build's flags are, unlike assert().
inline void require(bool condition)
{
	if (!condition)
		std::abort();
}

// Reset the device and use it anew, on the rings it had, without some of its features.
inline void restart_device(FakeDriver &driver, RegisterFile &registers, std::uint64_t without)
{
	driver.negotiate(without);
	for (unsigned index = 0; index < registers.queue_count(); index++)
		driver.announce(index, driver.queue(index));
	driver.driver_ok();
}

// What the event loop would do.  A few at a time: a device may ring its own doorbell for ever.
inline void serve_doorbells(FakeGuest &guest, RegisterFile &registers)
{
	for (unsigned count = 0; count < 4 && !guest.doorbells.empty(); count++) {
		registers.process(guest.doorbells.front());
		guest.doorbells.pop_front();
	}
}

} // namespace lguest::test
