// SPDX-License-Identifier: GPL-2.0-only
// What the host's kernel says of broken queues, see vhost_errors.h.
#include "vhost_errors.h"

#include <sys/eventfd.h>

namespace lguest {

void VhostErrors::wait()
{
	errors_.async_wait(errors_.wait_read, [this](boost::system::error_code error) {
		if (error)
			return;
		eventfd_t count;
		// None: it was about an earlier driver.
		if (eventfd_read(errors_.native_handle(), &count) == 0)
			broken_();
		wait();
	});
}

} // namespace lguest
