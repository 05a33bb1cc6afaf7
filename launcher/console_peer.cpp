// SPDX-License-Identifier: GPL-2.0-only
// Who comes to a port of the console, see console_peer.h.
#include "console_peer.h"

#include "descriptor_reserve.h"
#include "error.h"
#include "listener.h"

#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <optional>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

namespace lguest {
namespace {

namespace asio = boost::asio;
using Local = asio::local::stream_protocol;

// --- a socket ----------------------------------------------------------------

// Nobody listens on a socket that a killed launcher left.
bool is_stale(asio::io_context &loop, const std::string &path)
{
	struct stat status;
	if (lstat(path.c_str(), &status) < 0 || !S_ISSOCK(status.st_mode))
		return false;
	boost::system::error_code error;
	Local::socket socket{loop};
	socket.connect(Local::endpoint{path}, error);
	return error == asio::error::connection_refused;
}

class SocketPeer final : public ConsolePeer {
public:
	SocketPeer(asio::io_context &loop, const std::string &path) : path_{path}
	{
		Local::acceptor acceptor{loop};
		if (path.size() >= sizeof(sockaddr_un::sun_path))
			fail("console: {}: too long for a socket, {} characters at most", path, sizeof(sockaddr_un::sun_path) - 1);
		boost::system::error_code error;
		acceptor.open();
		acceptor.bind(Local::endpoint{path}, error);
		if (error == asio::error::address_in_use && is_stale(loop, path)) {
			unlink(path.c_str());
			acceptor.bind(Local::endpoint{path}, error);
		}
		if (error == asio::error::address_in_use)
			fail("console: {}: is there already, and in use; remove it or give another path", path);
		if (error)
			fail("console: {}: cannot make a socket: {}", path, error.message());
		acceptor.listen();
		fcntl(acceptor.native_handle(), F_SETFD, FD_CLOEXEC);
		listener_.emplace(loop, Descriptor{acceptor.release()}, fmt::format("console: {}", path));
	}
	~SocketPeer() override { unlink(path_.c_str()); }

	void wait(std::function<void(Descriptor)> came) override { listener_->next(std::move(came)); }

private:
	std::string path_;
	std::optional<Listener> listener_;
};

// --- a pseudo-terminal -------------------------------------------------------

// The other end of a pseudo-terminal hangs up when the last one who had it open closes it.
// That can be polled, but that somebody opens it cannot: inotify tells.
class PtyPeer final : public ConsolePeer {
public:
	PtyPeer(asio::io_context &loop, std::string &path)
		: master_{posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK)}, opened_{loop}
	{
		std::array<char, 64> name;
		if (!master_ || grantpt(master_.get()) < 0 || unlockpt(master_.get()) < 0 ||
		    ptsname_r(master_.get(), name.data(), name.size()) != 0)
			fail("console: cannot get a pseudo-terminal: {}", std::strerror(errno));
		path = name.data();
		make_raw(path);
		int watcher = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
		if (watcher >= 0)
			opened_.assign(watcher);
		if (watcher < 0 || inotify_add_watch(watcher, path.c_str(), IN_OPEN) < 0)
			fail("console: cannot watch {}: {}", path, std::strerror(errno));
	}

	void wait(std::function<void(Descriptor)> came) override
	{
		came_ = std::move(came);
		look();
	}

private:
	// The settings stay as long as the master is open.  Closing it, the only one who had it,
	// makes it hang up, as it will whenever nobody has it.
	static void make_raw(const std::string &path)
	{
		Descriptor slave{open(path.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC)};
		termios settings;
		if (!slave || tcgetattr(slave.get(), &settings) < 0)
			fail("console: cannot open {}: {}", path, std::strerror(errno));
		cfmakeraw(&settings);
		tcsetattr(slave.get(), TCSANOW, &settings);
	}

	bool somebody() const
	{
		pollfd state{master_.get(), POLLIN, 0};
		poll(&state, 1, 0);
		return (state.revents & POLLIN) || !(state.revents & POLLHUP);	// or was, and has typed something
	}

	void look()
	{
		std::array<char, 4096> events;
		while (read(opened_.native_handle(), events.data(), events.size()) > 0)
			;
		if (somebody()) {
			asio::post(opened_.get_executor(), [this] {
				DescriptorReserve::Opened reserve;
				came_(Descriptor{fcntl(master_.get(), F_DUPFD_CLOEXEC, 3)});
			});
			return;
		}
		opened_.async_wait(opened_.wait_read, [this](boost::system::error_code error) {
			if (!error)
				look();
		});
	}

	Descriptor master_;
	asio::posix::stream_descriptor opened_;
	std::function<void(Descriptor)> came_;
};

} // namespace

std::unique_ptr<ConsolePeer> listen_on_socket(asio::io_context &loop, const std::string &path)
{
	return std::make_unique<SocketPeer>(loop, path);
}

std::unique_ptr<ConsolePeer> open_pty(asio::io_context &loop, std::string &path)
{
	return std::make_unique<PtyPeer>(loop, path);
}

} // namespace lguest
