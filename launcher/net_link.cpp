// SPDX-License-Identifier: GPL-2.0-only
// A network card on a link between guests, see net_link.h.
#include "net_link.h"

#include "error.h"

#include <boost/asio/post.hpp>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>

namespace lguest {
namespace {

using namespace std::chrono_literals;

constexpr auto patience = 1s;	// a host that is short of CPU time makes guests wait, too
constexpr auto lock_limit = 5s;
constexpr std::size_t max_peers = 64;
constexpr std::size_t address_slots = 256;
constexpr int buffer_size = 4 << 20;	// the kernel makes it net.core.wmem_max if that is less

Descriptor new_socket()
{
	Descriptor fd{socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
	if (!fd)
		fail("cannot get a socket: {}", std::strerror(errno));
	return fd;
}

// By way of the directory's descriptor: sun_path is short.
sockaddr_un socket_address(const PrivateDirectory &directory, const std::string &name)
{
	sockaddr_un address{};
	address.sun_family = AF_UNIX;
	std::string path = fmt::format("/proc/self/fd/{}/{}", directory.fd.get(), name);
	if (path.size() >= sizeof address.sun_path)
		fail("{}/{}: no name of ours; remove it", directory.path, name);
	path.copy(address.sun_path, sizeof address.sun_path - 1);
	return address;
}

bool is_ours(int socket)
{
	ucred peer;
	socklen_t size = sizeof peer;
	return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid();
}

// Bytes of a frame, the header counted; false if it is shorter.
bool copy_out(std::span<const iovec> frame, std::size_t offset, std::span<std::uint8_t> to)
{
	for (const iovec &part : frame) {
		std::size_t skipped = std::min(offset, part.iov_len);
		std::size_t size = std::min(part.iov_len - skipped, to.size());
		std::memcpy(to.data(), static_cast<const std::byte *>(part.iov_base) + skipped, size);
		to = to.subspan(size);
		offset -= skipped;
		if (to.empty())
			return true;
	}
	return false;
}

constexpr std::size_t destination_offset = sizeof(NetHeader);
constexpr std::size_t source_offset = destination_offset + std::tuple_size_v<MacAddress>;

bool is_group(const MacAddress &mac) { return mac[0] & 1; }

// Taken until the object goes.
class DirectoryLock {
public:
	explicit DirectoryLock(const PrivateDirectory &directory) : fd_{directory.fd.get()}
	{
		auto deadline = std::chrono::steady_clock::now() + lock_limit;
		while (flock(fd_, LOCK_EX | LOCK_NB) < 0) {
			if (errno != EWOULDBLOCK || std::chrono::steady_clock::now() > deadline)
				fail("{}: cannot lock it: {}; is a lguest stopped there?", directory.path, std::strerror(errno));
			std::this_thread::sleep_for(5ms);
		}
	}
	~DirectoryLock() { flock(fd_, LOCK_UN); }
	DirectoryLock(const DirectoryLock &) = delete;
	DirectoryLock &operator=(const DirectoryLock &) = delete;

private:
	int fd_;
};

} // namespace

// --- joining ------------------------------------------------------------------

LinkPort::LinkPort(boost::asio::io_context &loop, const NetOptions &options)
	: loop_{loop}, name_{options.name}, mtu_{options.mtu}, directory_{open_private_directory({"link", options.name})},
	  addresses_(address_slots)
{
	join();
}

LinkPort::~LinkPort()
{
	*gone_ = true;
	unlinkat(directory_.fd.get(), socket_name_.c_str(), 0);
}

void LinkPort::join()
{
	DirectoryLock lock{directory_};
	for (const auto &entry : std::filesystem::directory_iterator{directory_.path})
		meet(entry.path().filename());
	for (unsigned number = 0; !bind_as(fmt::format("{}.{}", getpid(), number)); number++)
		;
	if (listen(socket_.get(), SOMAXCONN) < 0)
		fail("--net link={}: {}", name_, std::strerror(errno));
	listener_.emplace(loop_, std::move(socket_), fmt::format("link {}", name_));
	spdlog::debug("link {}: {} others there", name_, peers_.size());
}

void LinkPort::meet(const std::string &name)
{
	Descriptor socket = new_socket();
	sockaddr_un address = socket_address(directory_, name);
	if (connect(socket.get(), reinterpret_cast<const sockaddr *>(&address), sizeof address) == 0)
		add_peer(std::move(socket));
	else if (errno == ECONNREFUSED)
		unlinkat(directory_.fd.get(), name.c_str(), 0);
	else if (errno != ENOENT)
		spdlog::warn("link {}: no way to {}/{}: {}", name_, directory_.path, name, std::strerror(errno));
}

bool LinkPort::bind_as(const std::string &name)
{
	Descriptor socket = new_socket();
	sockaddr_un address = socket_address(directory_, name);
	if (bind(socket.get(), reinterpret_cast<const sockaddr *>(&address), sizeof address) < 0) {
		if (errno == EADDRINUSE)
			return false;	// a card of ours, or of a process elsewhere that has our number
		fail("--net link={}: cannot make a socket in {}: {}", name_, directory_.path, std::strerror(errno));
	}
	socket_name_ = name;
	socket_ = std::move(socket);
	return true;
}

// The sockets of those that join later, and our own: at the end, and anew after a reboot.
void LinkPort::add_needs(SandboxNeeds &needs) const
{
	needs.directories.push_back(std::filesystem::path{directory_.path}.parent_path());
}

void LinkPort::start(NetEvents &card)
{
	NetPort::start(card);
	accept();
}

void LinkPort::accept()
{
	listener_->next([this](Descriptor socket) {
		add_peer(std::move(socket));
		card_->frames_waiting();
		accept();
	});
}

void LinkPort::add_peer(Descriptor socket)
{
	if (!is_ours(socket.get()))
		return;
	if (peers_.size() >= max_peers) {
		spdlog::warn("link {}: too many guests, {} is the limit", name_, max_peers);
		return;
	}
	setsockopt(socket.get(), SOL_SOCKET, SO_SNDBUF, &buffer_size, sizeof buffer_size);
	peers_.push_back(std::make_shared<Peer>(loop_, socket.release()));
}

void LinkPort::remove_peer(std::size_t index)
{
	PeerPointer peer = peers_[index];
	for (Address &address : addresses_)
		if (address.peer == peer)
			address = {};
	peers_.erase(peers_.begin() + static_cast<std::ptrdiff_t>(index));
	if (peer->waiting)
		boost::asio::post(loop_, [this, gone = gone_] {
			if (!*gone)
				card_->room_again();
		});
	peer->patience.cancel();
	peer->socket.close();
}

LinkPort::Address &LinkPort::address(const MacAddress &mac)
{
	// The last two bytes differ most, whoever chose them.
	return addresses_[(mac[5] ^ mac[4] * 31u ^ mac[3] * 7u) % address_slots];
}

// --- sending ------------------------------------------------------------------

bool LinkPort::send(std::span<const iovec> frame)
{
	MacAddress to;
	if (!copy_out(frame, destination_offset, to))
		return true;
	if (const Address &known = address(to); !is_group(to) && known.peer && known.mac == to)
		return send_to(known.peer, frame, true);
	for (const PeerPointer &peer : peers_)
		send_to(peer, frame, false);
	return true;
}

// False only if the guest is to wait.
bool LinkPort::send_to(const PeerPointer &peer, std::span<const iovec> frame, bool patient)
{
	msghdr message{};
	message.msg_iov = const_cast<iovec *>(frame.data());
	message.msg_iovlen = frame.size();
	if (sendmsg(peer->socket.native_handle(), &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return true;
	if (errno == EAGAIN && patient && !peer->stalled) {
		wait_for_room(peer);
		return false;
	}
	dropped_++;
	return true;
}

void LinkPort::wait_for_room(const PeerPointer &peer)
{
	if (std::exchange(peer->waiting, true))
		return;
	peer->socket.async_wait(peer->socket.wait_write, [this, peer, gone = gone_](boost::system::error_code error) {
		if (error || *gone)
			return;
		peer->waiting = peer->stalled = false;
		peer->patience.cancel();
		card_->room_again();
	});
	peer->patience.expires_after(patience);
	peer->patience.async_wait([this, peer, gone = gone_](boost::system::error_code error) {
		if (error || *gone || !peer->waiting)
			return;
		peer->stalled = true;
		card_->room_again();
	});
}

// --- receiving ----------------------------------------------------------------

std::size_t LinkPort::receive(std::span<const iovec> room)
{
	msghdr message{};
	message.msg_iov = const_cast<iovec *>(room.data());
	message.msg_iovlen = room.size();
	for (std::size_t tries = peers_.size(); tries > 0 && !peers_.empty(); tries--) {
		std::size_t index = next_++ % peers_.size();
		PeerPointer &peer = peers_[index];
		if (!peer->readable)
			continue;
		ssize_t size = recvmsg(peer->socket.native_handle(), &message, MSG_DONTWAIT);
		if (size > 0) {
			learn(peer, room);
			// One that was cut off is refused by the card as too short.
			return message.msg_flags & MSG_TRUNC ? 1 : static_cast<std::size_t>(size);
		}
		if (size < 0 && errno == EAGAIN)
			wait_readable(peer);
		else
			remove_peer(index);
	}
	return 0;
}

void LinkPort::learn(const PeerPointer &peer, std::span<const iovec> frame)
{
	MacAddress from;
	if (!copy_out(frame, source_offset, from) || is_group(from))
		return;
	if (Address &known = address(from); known.mac != from || known.peer != peer)
		known = {from, peer};
}

void LinkPort::wait_readable(const PeerPointer &peer)
{
	peer->readable = false;
	peer->socket.async_wait(peer->socket.wait_read, [this, peer, gone = gone_](boost::system::error_code error) {
		if (error || *gone)
			return;
		peer->readable = true;
		card_->frames_waiting();
	});
}

} // namespace lguest
