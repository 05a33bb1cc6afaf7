// SPDX-License-Identifier: GPL-2.0-only
// A network card plugged into a user-mode network: libslirp, a router for one guest in
// this process.  Connections of the guest become sockets of this process, which needs
// no privileges for it.
//
//     10.0.2.2   the host: its services at 127.0.0.1 too
//     10.0.2.3   names, by the host's resolver
//     10.0.2.15  the guest, by DHCP
//
// No offloads: libslirp looks at every packet, and wants them whole with their sums.
// Large packets make up for it, so the MTU is as large as can be unless one is given.
//
//     guest --> send() --> slirp_input() --> sockets
//     guest <-- receive() <-- frames_ <-- slirp_pollfds_poll() <-- epoll_, in Asio's loop
//
// libslirp expects poll(): it names descriptors, then asks what happened to them.  They
// are kept in an epoll set of our own, changed where they changed, of which the event
// loop sees one descriptor.  While much waits for the guest, sockets are not looked at.
#pragma once

#include "net_options.h"
#include "net_port.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <vector>

struct Slirp;

namespace lguest {

class UserPort final : public NetPort {
public:
	UserPort(boost::asio::io_context &loop, const NetOptions &options);	// throws Error
	~UserPort() override;

	void start(NetEvents &card) override;
	std::uint16_t mtu() const override { return mtu_; }
	std::uint64_t features() const override { return 0; }
	bool send(std::span<const iovec> frame) override;
	std::size_t receive(std::span<const iovec> room) override;
	void set_offloads(const Offloads &) override {}
	void add_needs(SandboxNeeds &needs) const override { needs.internet = true; }

private:
	friend struct SlirpGlue;	// libslirp's callbacks

	struct Watch {			// of one descriptor
		int wanted = 0;		// events, as libslirp names them
		int registered = 0;
		int happened = 0;
		std::uint64_t round = 0;	// when it was last wanted
	};

	void forward(const Forward &forward);
	void look_soon();
	void look();
	void set_timer(std::chrono::milliseconds timeout);
	void watch_descriptors();
	void update(int fd, int events);
	void poll();
	bool crowded() const;
	bool may_be_kept(std::size_t size);

	int add_poll(int fd, int events);
	int happened(int index) const;
	void forget(int fd);
	bool queue_frame(std::span<const std::byte> frame);

	boost::asio::io_context &loop_;
	std::uint16_t mtu_;
	Slirp *slirp_ = nullptr;

	boost::asio::posix::stream_descriptor epoll_;
	boost::asio::steady_timer timer_;
	std::vector<Watch> watches_;		// by descriptor
	std::vector<int> polled_;		// descriptors libslirp wants, by its index
	std::size_t forwards_ = 0;
	std::uint64_t round_ = 0;
	unsigned quiet_ = 0;			// timer rounds in which nothing happened
	bool waiting_ = false;			// for epoll_
	bool timer_set_ = false;
	bool look_posted_ = false;

	std::vector<std::byte> frames_;		// for the guest: size, bytes, size, bytes ...
	std::size_t taken_ = 0;			// bytes of it that the guest has
	std::vector<std::byte> frame_;		// one from the guest, in one piece

	std::size_t fragments_allowed_;		// bytes of memory
	std::chrono::steady_clock::time_point fragments_counted_;	// when more of them were allowed
};

} // namespace lguest
