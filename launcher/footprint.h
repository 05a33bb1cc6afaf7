// SPDX-License-Identifier: GPL-2.0-only
// How little memory the launcher of a running guest needs.
#pragma once

namespace lguest {

// Set-up is over.  Most code has run for the last time: it leaves this process's memory,
// and what is needed all the same comes back from the page cache.
void shed_setup_pages();

} // namespace lguest
