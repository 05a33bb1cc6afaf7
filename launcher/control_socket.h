// SPDX-License-Identifier: GPL-2.0-only
// Where running guests are found: in the user's private directory (private_directory.h),
// NAME.sock for each.
//
// control_server.h answers there, control_client.h asks.  A socket that nobody listens
// on is left from a launcher that was killed; whoever finds it removes it.  The
// directory's lock (flock) keeps two that do so at a time apart.
#pragma once

#include "file.h"

#include <string>
#include <string_view>
#include <vector>

namespace lguest {

// Letters, digits, '-', '_' and '.', the first one of the former two; 1 to 64 of them.
bool valid_guest_name(std::string_view name);
// The name of a guest that was given none.
std::string default_guest_name();

// The directory and the sockets in it.  All throw Error.
class ControlDirectory {
public:
	// `create`: make it if it is missing.  Refuses one that others could write to.
	explicit ControlDirectory(std::string path, bool create);

	// A listening socket for a guest; refuses a name whose guest runs.
	Descriptor listen(const std::string &name) const;
	// A connection to a guest, blocking.  None if no such guest runs.
	Descriptor connect(const std::string &name) const;
	// Of the guests that run, sorted.  Removes stale sockets.
	std::vector<std::string> names() const;

	std::string path_of(const std::string &name) const;

private:
	bool remove_if_stale(const std::string &name) const;

	std::string path_;
	Descriptor directory_;		// none: it does not exist, and so no guest does
};

// A guest's socket for as long as the guest lives, over reboots too (over_reboot.h).
class ControlSocket {
public:
	ControlSocket(const std::string &directory, const std::string &name);	// throws Error
	~ControlSocket();
	ControlSocket(const ControlSocket &) = delete;
	ControlSocket &operator=(const ControlSocket &) = delete;

	int fd() const { return fd_.get(); }
	const std::string &path() const { return path_; }
	// Do not remove it, and hand it to the program that is executed next.
	void keep_for_reboot();

private:
	std::string path_;
	Descriptor fd_;
	bool kept_ = false;
};

} // namespace lguest
