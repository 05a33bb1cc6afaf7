// SPDX-License-Identifier: GPL-2.0-only
// A virtiofsd of our own: found, started on one directory, connected to, ended with
// the guest.
//
//     launcher --fork--> namespaces of its own --exec--> virtiofsd, in a chroot
//        |                 mounts (read-only, if asked)       |
//        +---- unix socket, connected before it starts -------+
//        +<--- stderr, a pipe --------------------------------+
//
// As root it serves files of any owner. Otherwise it is root of a user namespace, in
// which it has the user's own id and those of /etc/subuid: then the guest can do in the
// directory what its user can.
//
// Neighbours: share.cpp, which attaches it to the guest.  Nothing of Asio here.
#pragma once

#include "file.h"

#include <memory>
#include <string>
#include <sys/types.h>

namespace lguest {

class Virtiofsd {
public:
	struct Settings {
		std::string directory;
		bool read_only = false;
		std::string cache = "auto";
	};

	// The program: environment LGUEST_VIRTIOFSD, else the usual places; "" if there is none.
	static std::string find();

	explicit Virtiofsd(const Settings &settings);	// throws Error
	// The one that was left running for the guest's next life, by name; or none.
	static std::unique_ptr<Virtiofsd> kept(const std::string &name);
	~Virtiofsd();
	Virtiofsd(const Virtiofsd &) = delete;
	Virtiofsd &operator=(const Virtiofsd &) = delete;

	// The connection to it, and what it says on its stderr; each can be had once.
	Descriptor take_socket() { return std::move(socket_); }
	Descriptor take_complaints() { return std::move(complaints_); }

	// Leave it running for the launcher that is executed next.
	void keep_for_reboot(const std::string &name, Descriptor complaints);

	// Instead of take_complaints(), when it does not answer: ends it and returns the last
	// line it said.
	std::string last_words();

private:
	Virtiofsd() = default;
	void end();

	pid_t process_ = -1;
	Descriptor socket_;
	Descriptor complaints_;
};

} // namespace lguest
