// SPDX-License-Identifier: GPL-2.0-only
// The connection to a vhost-user back end, see vhost_user.h.
#include "vhost_user.h"

#include "error.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

namespace lguest {

using namespace vhost_user;

namespace {

constexpr std::uint64_t wanted_protocol = protocol_multiqueue | protocol_reply_ack | protocol_config;
// Where guest memory is said to be in our address space, in which nobody but us ever looks.
// The same before and after a reboot: a new memory table makes libvhost-user look up
// the rings it had, once more.
constexpr std::uint64_t user_address = 1ull << 40;
constexpr std::size_t most_descriptors = 8;	// room for those we do not want, to close them

// Wait until the socket is ready, at most until the deadline.
void await(int socket, short events, std::chrono::steady_clock::time_point deadline)
{
	for (;;) {
		auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
		if (left.count() <= 0)
			throw BackEndError{fmt::format("it has not answered for {} seconds", VhostUser::patience_ms / 1000)};
		pollfd wait{socket, events, 0};
		int ready = poll(&wait, 1, static_cast<int>(left.count()));
		if (ready > 0)
			return;
		if (ready < 0 && errno != EINTR)
			throw BackEndError{fmt::format("its socket fails: {}", std::strerror(errno))};
	}
}

auto deadline() { return std::chrono::steady_clock::now() + std::chrono::milliseconds{VhostUser::patience_ms}; }

// True if descriptors came along; they are closed.
bool close_descriptors(const msghdr &message)
{
	bool any = message.msg_flags & MSG_CTRUNC;
	for (cmsghdr *part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(const_cast<msghdr *>(&message), part)) {
		if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
			continue;
		std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (std::size_t index = 0; index < count; index++) {
			int fd;
			std::memcpy(&fd, CMSG_DATA(part) + index * sizeof(int), sizeof(int));
			Descriptor{fd};
			any = true;
		}
	}
	return any;
}

} // namespace

// --- one message ---------------------------------------------------------------

void VhostUser::send(const Message &message)
{
	alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))]{};
	auto until = deadline();
	std::size_t sent = 0;
	while (sent < message.bytes.size()) {
		iovec part{const_cast<std::byte *>(message.bytes.data()) + sent, message.bytes.size() - sent};
		msghdr header{};
		header.msg_iov = &part;
		header.msg_iovlen = 1;
		if (message.descriptor != no_descriptor && sent == 0) {
			header.msg_control = control;
			header.msg_controllen = sizeof(control);
			cmsghdr *rights = CMSG_FIRSTHDR(&header);
			rights->cmsg_level = SOL_SOCKET;
			rights->cmsg_type = SCM_RIGHTS;
			rights->cmsg_len = CMSG_LEN(sizeof(int));
			std::memcpy(CMSG_DATA(rights), &message.descriptor, sizeof(int));
		}
		ssize_t done = sendmsg(socket_.get(), &header, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (done >= 0)
			sent += static_cast<std::size_t>(done);
		else if (errno == EAGAIN)
			await(socket_.get(), POLLOUT, until);
		else if (errno != EINTR)
			throw BackEndError{errno == EPIPE ? "it is gone" : fmt::format("its socket fails: {}", std::strerror(errno))};
	}
}

void VhostUser::receive_bytes(std::span<std::byte> bytes)
{
	auto until = deadline();
	while (!bytes.empty()) {
		alignas(cmsghdr) char control[CMSG_SPACE(most_descriptors * sizeof(int))];
		iovec part{bytes.data(), bytes.size()};
		msghdr header{};
		header.msg_iov = &part;
		header.msg_iovlen = 1;
		header.msg_control = control;
		header.msg_controllen = sizeof(control);
		ssize_t done = recvmsg(socket_.get(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		if (done > 0) {
			if (close_descriptors(header))
				throw BackEndError{"it sends descriptors that nobody asked for"};
			bytes = bytes.subspan(static_cast<std::size_t>(done));
		} else if (done == 0 || errno == ECONNRESET) {
			throw BackEndError{"it is gone"};
		} else if (errno == EAGAIN) {
			await(socket_.get(), POLLIN, until);
		} else if (errno != EINTR) {
			throw BackEndError{fmt::format("its socket fails: {}", std::strerror(errno))};
		}
	}
}

Bytes VhostUser::receive(Request request)
{
	std::array<std::byte, sizeof(Header)> header;
	receive_bytes(header);
	Bytes payload(reply_size(request, header));
	receive_bytes(payload);
	return payload;
}

// --- a request and its answer ----------------------------------------------------

// A request that has an answer of its own.
Bytes VhostUser::ask(const Message &message)
{
	send(message);
	return receive(message.request);
}

std::uint64_t VhostUser::ask_number(Request request) { return reply_number(ask(plain(request))); }

// One that has none: true if it was carried out, or if we cannot know.
bool VhostUser::tell(Message message)
{
	if (!(protocol_ & protocol_reply_ack)) {
		send(message);
		return true;
	}
	message.demand_reply();
	return reply_number(ask(message)) == 0;
}

void VhostUser::demand(Message message)
{
	auto request = static_cast<std::uint32_t>(message.request);
	if (!tell(std::move(message)))
		throw BackEndError{fmt::format("it refuses request {}", request)};
}

// --- its life --------------------------------------------------------------------

VhostUser::VhostUser(Descriptor socket, bool kept) : socket_{std::move(socket)}
{
	if (!kept)
		send(plain(Request::set_owner));	// which some refuse to hear twice
	features_ = ask_number(Request::get_features);
	if (features_ & feature_protocol_features) {
		std::uint64_t agreed = ask_number(Request::get_protocol_features) & wanted_protocol;
		send(number(Request::set_protocol_features, agreed));
		protocol_ = agreed;
	}
	if (protocol_ & protocol_multiqueue)
		queue_count_ = static_cast<unsigned>(std::min<std::uint64_t>(ask_number(Request::get_queue_count), UINT16_MAX));
}

template <typename Work>
auto VhostUser::exclusively(Work work)
{
	std::scoped_lock guard{lock_};
	try {
		return work();
	} catch (const BackEndError &) {
		shutdown(socket_.get(), SHUT_RDWR);
		throw;
	}
}

Bytes VhostUser::read_config(std::uint32_t size)
{
	return exclusively([&] { return reply_config(ask(get_config(size)), size); });
}

bool VhostUser::write_config(std::uint32_t offset, std::span<const std::byte> bytes)
{
	return exclusively([&] { return tell(set_config(offset, bytes)); });
}

void VhostUser::start(std::uint64_t features, const VhostMemory &memory, std::span<const VhostRing> rings)
{
	exclusively([&] {
		demand(number(Request::set_features, features | (features_ & feature_protocol_features)));
		demand(memory_table({0, memory.bytes.size(), user_address, 0}, memory.descriptor));
		for (const VhostRing &ring : rings)
			start_ring(ring);
		// Without protocol features rings are enabled from the beginning.
		if (features_ & feature_protocol_features)
			for (const VhostRing &ring : rings)
				demand(ring_state(Request::set_ring_enable, {ring.index, 1}));
		// Without acknowledgements this is how we know that all of it has been done.
		if (!(protocol_ & protocol_reply_ack))
			ask_number(Request::get_features);
	});
}

void VhostUser::start_ring(const VhostRing &ring)
{
	demand(ring_state(Request::set_ring_size, {ring.index, ring.size}));
	demand(ring_state(Request::set_ring_base, {ring.index, 0}));
	demand(ring_addresses({ring.index, 0, user_address + ring.descriptors, user_address + ring.used, user_address + ring.available, 0}));
	demand(ring_descriptor(Request::set_ring_call, ring.index, ring.call));
	started_.push_back(ring.index);		// the next one starts it
	demand(ring_descriptor(Request::set_ring_kick, ring.index, ring.kick));
}

void VhostUser::stop()
{
	exclusively([&] {
		while (!started_.empty()) {
			unsigned ring = started_.back();
			started_.pop_back();
			if (features_ & feature_protocol_features)
				tell(ring_state(Request::set_ring_enable, {ring, 0}));
			reply_ring_base(ask(ring_state(Request::get_ring_base, {ring, 0})), ring);
		}
	});
}

void VhostUser::check()
{
	exclusively([&] {
		std::byte byte;
		ssize_t done = recv(socket_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
		if (done == 0 || (done < 0 && errno == ECONNRESET))
			throw BackEndError{"it is gone"};
		if (done > 0)
			throw BackEndError{"it speaks without being asked"};
	});
}

Descriptor connect_unix(const std::string &path)
{
	sockaddr_un address{};
	address.sun_family = AF_UNIX;
	if (path.size() >= sizeof(address.sun_path))
		fail("{}: too long for the path of a socket", path);
	std::copy(path.begin(), path.end(), address.sun_path);
	Descriptor descriptor{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	int done;
	do
		done = connect(descriptor.get(), reinterpret_cast<sockaddr *>(&address), sizeof(address));
	while (done < 0 && errno == EINTR);
	if (done < 0)
		fail("{}: {}; is the back end running?", path, std::strerror(errno));
	return descriptor;
}

} // namespace lguest
