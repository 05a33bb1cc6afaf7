// SPDX-License-Identifier: GPL-2.0-only
// A network card plugged into a link: a software segment between guests of one user,
// without a daemon and without privileges.
//
//     .../lguest/link/NAME/      a directory of this user alone
//         4711.0                 the socket of one card; others connect to it
//
//     who joins: lock the directory, connect to all sockets there, bind one's own, unlock
//
// So there is exactly one connection between any two cards, made by the one that came
// later.  It is a SOCK_SEQPACKET: one message is one frame with its header, as the
// guest gave it, without checksum and up to 64 KiB if it likes; its end is the end of
// the other guest.  A socket that nobody listens at is a dead guest's and is removed.
//
// A frame goes to the peer its address was last heard from; to an unknown one, and to
// a group, it goes to all.  While the peer has no room the guest waits, but only for
// `patience`: a peer that does not read loses frames rather than hold up the others.
//
// Frames wait in the kernel, at most as many as fit into a socket's buffer.
#pragma once

#include "file.h"
#include "listener.h"
#include "net_options.h"
#include "net_port.h"
#include "private_directory.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <memory>
#include <optional>
#include <vector>

namespace lguest {

class LinkPort final : public NetPort {
public:
	LinkPort(boost::asio::io_context &loop, const NetOptions &options);	// throws Error
	~LinkPort() override;

	void start(NetEvents &card) override;
	std::uint16_t mtu() const override { return mtu_; }
	std::uint64_t features() const override { return host_offload_features | guest_offload_features; }
	bool send(std::span<const iovec> frame) override;
	std::size_t receive(std::span<const iovec> room) override;
	void set_offloads(const Offloads &) override {}
	void add_needs(SandboxNeeds &needs) const override;

	std::size_t peers() const { return peers_.size(); }

private:
	struct Peer {
		Peer(boost::asio::io_context &loop, int fd) : socket{loop, fd}, patience{loop} {}
		boost::asio::posix::stream_descriptor socket;
		boost::asio::steady_timer patience;
		bool readable = true;	// as far as we know
		bool stalled = false;	// did not read for too long
		bool waiting = false;	// for it to have room
	};
	using PeerPointer = std::shared_ptr<Peer>;	// shared with the handlers under way

	struct Address {
		MacAddress mac{};
		PeerPointer peer;
	};

	void join();
	void meet(const std::string &name);
	bool bind_as(const std::string &name);
	void accept();
	void add_peer(Descriptor socket);
	void remove_peer(std::size_t index);
	void wait_readable(const PeerPointer &peer);
	void wait_for_room(const PeerPointer &peer);
	bool send_to(const PeerPointer &peer, std::span<const iovec> frame, bool patient);
	void learn(const PeerPointer &peer, std::span<const iovec> frame);
	Address &address(const MacAddress &mac);

	boost::asio::io_context &loop_;
	std::string name_;
	std::uint16_t mtu_;
	PrivateDirectory directory_;
	std::string socket_name_;
	Descriptor socket_;			// ours, until it listens
	std::optional<Listener> listener_;
	std::vector<PeerPointer> peers_;
	std::size_t next_ = 0;			// peer to be read from
	std::vector<Address> addresses_;	// by hash; a later one replaces an earlier
	std::shared_ptr<bool> gone_ = std::make_shared<bool>(false);	// we are, says it to handlers under way
};

} // namespace lguest
