// SPDX-License-Identifier: GPL-2.0-only
// Directories for sockets, of this user alone.
#pragma once

#include "file.h"

#include <initializer_list>
#include <string>

namespace lguest {

struct PrivateDirectory {
	Descriptor fd;
	std::string path;
};

// $XDG_RUNTIME_DIR/lguest/PART/PART..., or /tmp/lguest-UID/PART... where there is no such
// variable; made if need be.  Throws Error if anybody else could have put something there.
PrivateDirectory open_private_directory(std::initializer_list<std::string> parts);

} // namespace lguest
