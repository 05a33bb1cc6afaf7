// SPDX-License-Identifier: GPL-2.0-only
// The ids of a user namespace, for a child that has made one and waits: 0 in there is
// the user, 1 and up are the ids the user has in /etc/subuid and /etc/subgid, if any.
//
// virtiofsd.cpp uses it; newuidmap and newgidmap (Debian: uidmap) do the privileged half.
#pragma once

#include <sys/types.h>

namespace lguest {

void map_user_namespace(pid_t process);		// throws Error

} // namespace lguest
