// SPDX-License-Identifier: GPL-2.0-only
// The user's private directory, where sockets of guests lie: control_socket.h, net_link.h.
//
//     $XDG_RUNTIME_DIR/lguest     else /run/user/UID/lguest, else /tmp/lguest-UID
//
// It and what is below are the user's alone (0700, checked), which is all the protection the sockets need.
#pragma once

#include "file.h"

#include <initializer_list>
#include <string>

namespace lguest {

// Of this user.  Looks at environment and file system, makes nothing.
std::string private_directory();

struct PrivateDirectory {
	Descriptor fd;
	std::string path;
};

// That directory, or PART/PART... in it, made if need be.  Throws Error if anybody else
// could have put something there.
PrivateDirectory open_private_directory(std::initializer_list<std::string> parts);

// One that private_directory() named.  Not `create`: none if it does not exist.
Descriptor open_private_directory(const std::string &path, bool create);

} // namespace lguest
