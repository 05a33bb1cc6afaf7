// SPDX-License-Identifier: GPL-2.0-only
// The directory of guests, see control_socket.h.
#include "control_socket.h"

#include "error.h"
#include "over_reboot.h"
#include "private_directory.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace lguest {
namespace {

constexpr std::size_t max_name = 64;
constexpr std::string_view suffix = ".sock";
constexpr int backlog = 8;
constexpr const char *kept_name = "control";

bool letter_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

// Held while sockets come and go.
class DirectoryLock {
public:
	explicit DirectoryLock(int directory) : directory_{directory}
	{
		while (flock(directory_, LOCK_EX) < 0 && errno == EINTR)
			;
	}
	~DirectoryLock() { flock(directory_, LOCK_UN); }

private:
	int directory_;
};

sockaddr_un address_of(const std::string &path)
{
	sockaddr_un address{};
	address.sun_family = AF_UNIX;
	if (path.size() >= sizeof(address.sun_path))
		fail("{}: too long for a socket's path; choose a shorter name, or a shorter XDG_RUNTIME_DIR", path);
	path.copy(address.sun_path, path.size());
	return address;
}

Descriptor new_socket(int flags)
{
	Descriptor socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0)};
	if (!socket)
		fail("cannot get a socket: {}", std::strerror(errno));
	return socket;
}

// Connected, or none and the reason.  Where too many wait already: EAGAIN, after `patience`.
Descriptor connected(const std::string &path, int &error, timeval patience)
{
	sockaddr_un address = address_of(path);
	Descriptor socket = new_socket(0);
	setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	error = ::connect(socket.get(), reinterpret_cast<const sockaddr *>(&address), sizeof(address)) < 0 ? errno : 0;
	return error ? Descriptor{} : std::move(socket);
}

// What the launcher before a reboot left us, if it is that socket.
Descriptor kept_socket(const std::string &path)
{
	Descriptor socket = over_reboot::take(kept_name);
	sockaddr_un address{};
	socklen_t size = sizeof(address);
	if (getsockname(socket.get(), reinterpret_cast<sockaddr *>(&address), &size) < 0 || address.sun_family != AF_UNIX ||
	    path != std::string_view{address.sun_path, strnlen(address.sun_path, sizeof(address.sun_path))})
		socket.release();	// none, or not ours to close
	return socket;
}

} // namespace

bool valid_guest_name(std::string_view name)
{
	return !name.empty() && name.size() <= max_name && letter_or_digit(name.front()) &&
	       std::ranges::all_of(name, [](char c) { return letter_or_digit(c) || c == '-' || c == '_' || c == '.'; });
}

std::string default_guest_name() { return fmt::format("lguest-{}", getpid()); }

ControlDirectory::ControlDirectory(std::string path, bool create)
	: path_{std::move(path)}, directory_{open_private_directory(path_, create)} {}

std::string ControlDirectory::path_of(const std::string &name) const
{
	return fmt::format("{}/{}{}", path_, name, suffix);
}

// With the lock held.  Any answer but "nobody listens" counts as a guest.
bool ControlDirectory::remove_if_stale(const std::string &name) const
{
	int error;
	connected(path_of(name), error, {0, 1000});
	if (error != ECONNREFUSED && error != ENOENT)
		return false;
	unlink(path_of(name).c_str());
	return true;
}

Descriptor ControlDirectory::listen(const std::string &name) const
{
	sockaddr_un address = address_of(path_of(name));
	Descriptor socket = new_socket(SOCK_NONBLOCK);
	DirectoryLock lock{directory_.get()};
	if (!remove_if_stale(name))
		fail("a guest named '{}' runs already; choose another --name, or end that one with lguest stop {}", name, name);
	if (bind(socket.get(), reinterpret_cast<const sockaddr *>(&address), sizeof(address)) < 0 ||
	    ::listen(socket.get(), backlog) < 0)
		fail("cannot listen on {}: {}", path_of(name), std::strerror(errno));
	return socket;
}

Descriptor ControlDirectory::connect(const std::string &name) const
{
	Descriptor socket;
	int error = ENOENT;
	if (directory_)
		socket = connected(path_of(name), error, {3, 0});
	if (error == EAGAIN)
		fail("the launcher of '{}' does not answer", name);
	if (error)
		fail("no guest named '{}' runs; lguest list shows those that do", name);
	return socket;
}

std::vector<std::string> ControlDirectory::names() const
{
	std::vector<std::string> names;
	if (!directory_)
		return names;
	DirectoryLock lock{directory_.get()};
	std::error_code error;
	for (const auto &entry : std::filesystem::directory_iterator{path_, error}) {
		std::string file = entry.path().filename();
		if (!file.ends_with(suffix))
			continue;
		std::string name = file.substr(0, file.size() - suffix.size());
		if (valid_guest_name(name) && !remove_if_stale(name))
			names.push_back(name);
	}
	std::ranges::sort(names);
	return names;
}

ControlSocket::ControlSocket(const std::string &directory, const std::string &name)
{
	ControlDirectory guests{directory, true};
	path_ = guests.path_of(name);
	fd_ = kept_socket(path_);
	if (!fd_)
		fd_ = guests.listen(name);
}

ControlSocket::~ControlSocket()
{
	if (!kept_)
		unlink(path_.c_str());
}

void ControlSocket::keep_for_reboot()
{
	kept_ = true;
	over_reboot::keep(kept_name, std::move(fd_));
}

} // namespace lguest
