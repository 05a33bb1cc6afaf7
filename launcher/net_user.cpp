// SPDX-License-Identifier: GPL-2.0-only
// A network card on a user-mode network, see net_user.h.
#include "net_user.h"

#include "error.h"

#include <boost/asio/post.hpp>
#include <spdlog/spdlog.h>

#include <slirp/libslirp.h>

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <sys/epoll.h>

namespace lguest {
namespace {

constexpr std::uint16_t default_mtu = 65520;		// libslirp's largest is a byte more
constexpr std::size_t frames_limit = 1 << 20;		// bytes that wait for the guest
constexpr std::size_t crowded_at = frames_limit / 2;
constexpr std::uint32_t no_timeout = 1000;		// what libslirp says if it needs none
constexpr unsigned quiet_limit = 240;			// timer rounds, two minutes
constexpr int max_events = 64;

// libslirp keeps fragments for half a minute, or until their datagram is complete, and any
// number of them.  So it gets no more than fit into some 20 MiB in that time.
constexpr std::size_t fragments_limit = 8 << 20;
constexpr std::size_t fragments_per_second = 512 << 10;
constexpr std::size_t fragment_overhead = 8 << 10;	// what a buffer of libslirp's touches at least

constexpr const char *guest_address = "10.0.2.15";

in_addr address(const char *text)
{
	in_addr address{};
	inet_pton(AF_INET, text, &address);
	return address;
}

std::uint32_t to_epoll(int events)
{
	return (events & SLIRP_POLL_IN ? EPOLLIN : 0u) | (events & SLIRP_POLL_OUT ? EPOLLOUT : 0u) |
	       (events & SLIRP_POLL_PRI ? EPOLLPRI : 0u);
}

int from_epoll(std::uint32_t events)
{
	return (events & EPOLLIN ? SLIRP_POLL_IN : 0) | (events & EPOLLOUT ? SLIRP_POLL_OUT : 0) |
	       (events & EPOLLPRI ? SLIRP_POLL_PRI : 0) | (events & EPOLLERR ? SLIRP_POLL_ERR : 0) |
	       (events & EPOLLHUP ? SLIRP_POLL_HUP : 0);
}

// A part of an IPv4 datagram (RFC 791, 3.1): more fragments follow, or others went before.
bool is_fragment(std::span<const std::byte> frame)
{
	constexpr std::size_t type = 12, flags = 14 + 6;
	return frame.size() >= flags + 2 && frame[type] == std::byte{0x08} && frame[type + 1] == std::byte{0} &&
	       ((frame[flags] & std::byte{0x3f}) != std::byte{0} || frame[flags + 1] != std::byte{0});
}

int new_epoll()
{
	int fd = epoll_create1(EPOLL_CLOEXEC);
	if (fd < 0)
		fail("cannot get an epoll descriptor: {}; raise the limit of open files (ulimit -n)", std::strerror(errno));
	return fd;
}

} // namespace

// What libslirp calls.  `opaque` is the UserPort.
struct SlirpGlue {
	static UserPort &port(void *opaque) { return *static_cast<UserPort *>(opaque); }

	static ssize_t send_packet(const void *bytes, size_t size, void *opaque)
	{
		// One that is lost was sent, too.
		port(opaque).queue_frame({static_cast<const std::byte *>(bytes), size});
		return static_cast<ssize_t>(size);
	}
	static void guest_error(const char *, void *) {}	// the guest could fill the log with them
	static std::int64_t clock(void *)
	{
		return std::chrono::nanoseconds{std::chrono::steady_clock::now().time_since_epoch()}.count();
	}
	// Timers are for IPv6's router advertisements alone, which are not used.
	static void *timer_new(SlirpTimerCb, void *, void *) { return nullptr; }
	static void *timer_new_opaque(SlirpTimerId, void *, void *) { return nullptr; }
	static void timer_free(void *, void *) {}
	static void timer_mod(void *, std::int64_t, void *) {}
	static void register_poll_fd(int, void *) {}
	static void unregister_poll_fd(int fd, void *opaque) { port(opaque).forget(fd); }
	static void notify(void *opaque) { port(opaque).look_soon(); }

	static int add_poll(int fd, int events, void *opaque) { return port(opaque).add_poll(fd, events); }
	static int happened(int index, void *opaque) { return port(opaque).happened(index); }

	static constexpr SlirpCb callbacks{
		.send_packet = send_packet,
		.guest_error = guest_error,
		.clock_get_ns = clock,
		.timer_new = timer_new,
		.timer_free = timer_free,
		.timer_mod = timer_mod,
		.register_poll_fd = register_poll_fd,
		.unregister_poll_fd = unregister_poll_fd,
		.notify = notify,
		.init_completed = nullptr,
		.timer_new_opaque = timer_new_opaque,
	};
};

UserPort::UserPort(boost::asio::io_context &loop, const NetOptions &options)
	: loop_{loop}, mtu_{options.mtu ? options.mtu : default_mtu}, epoll_{loop, new_epoll()}, timer_{loop}, quiet_{quiet_limit},
	  fragments_allowed_{fragments_limit}, fragments_counted_{std::chrono::steady_clock::now()}
{
	SlirpConfig config{};
	config.version = 4;
	config.in_enabled = true;
	config.vnetwork = address("10.0.2.0");
	config.vnetmask = address("255.255.255.0");
	config.vhost = address("10.0.2.2");
	config.vnameserver = address("10.0.2.3");
	config.vdhcp_start = address(guest_address);
	config.if_mtu = config.if_mru = mtu_;
	slirp_ = slirp_new(&config, &SlirpGlue::callbacks, this);
	if (!slirp_)
		fail("--net user: libslirp does not start");
	for (const Forward &one : options.forwards)
		forward(one);
}

UserPort::~UserPort()
{
	slirp_cleanup(slirp_);
}

void UserPort::forward(const Forward &forward)
{
	if (slirp_add_hostfwd(slirp_, forward.udp, address(forward.address.c_str()), forward.host_port, address(guest_address),
			      forward.guest_port) < 0) {
		int error = errno;
		slirp_cleanup(slirp_);
		fail("--net forward={}:{}:{}-{}: {}", forward.udp ? "udp" : "tcp", forward.address, forward.host_port,
		     forward.guest_port, std::strerror(error));
	}
	forwards_++;
}

void UserPort::start(NetEvents &card)
{
	NetPort::start(card);
	look_soon();
}

// --- frames -------------------------------------------------------------------

bool UserPort::send(std::span<const iovec> frame)
{
	frame_.clear();
	for (const iovec &part : frame.subspan(1)) {	// without the header, which says nothing
		auto *bytes = static_cast<const std::byte *>(part.iov_base);
		frame_.insert(frame_.end(), bytes, bytes + part.iov_len);
	}
	quiet_ = 0;
	if (is_fragment(frame_) && !may_be_kept(frame_.size())) {
		dropped_++;
		return true;
	}
	slirp_input(slirp_, reinterpret_cast<const std::uint8_t *>(frame_.data()), static_cast<int>(frame_.size()));
	look_soon();
	return true;
}

bool UserPort::may_be_kept(std::size_t size)
{
	using Seconds = std::chrono::duration<double>;
	auto now = std::chrono::steady_clock::now();
	double earned = Seconds{now - fragments_counted_}.count() * fragments_per_second;
	if (earned >= 1) {
		fragments_allowed_ = std::min(fragments_limit, fragments_allowed_ + static_cast<std::size_t>(std::min(earned, 1e9)));
		fragments_counted_ = now;
	}
	size += fragment_overhead;
	if (size > fragments_allowed_)
		return false;
	fragments_allowed_ -= size;
	return true;
}

bool UserPort::crowded() const { return frames_.size() - taken_ > crowded_at; }

bool UserPort::queue_frame(std::span<const std::byte> frame)
{
	std::uint32_t size = static_cast<std::uint32_t>(frame.size());
	if (frames_.size() + sizeof size + size > frames_limit && taken_ > 0) {
		frames_.erase(frames_.begin(), frames_.begin() + static_cast<std::ptrdiff_t>(taken_));
		taken_ = 0;
	}
	if (frames_.size() + sizeof size + size > frames_limit) {
		dropped_++;
		return false;
	}
	auto length = std::as_bytes(std::span{&size, 1});
	frames_.insert(frames_.end(), length.begin(), length.end());
	frames_.insert(frames_.end(), frame.begin(), frame.end());
	return true;
}

std::size_t UserPort::receive(std::span<const iovec> room)
{
	if (taken_ == frames_.size()) {
		frames_.clear();
		taken_ = 0;
		return 0;
	}
	bool was_crowded = crowded();
	std::uint32_t size;
	std::memcpy(&size, &frames_[taken_], sizeof size);
	std::span<const std::byte> frame{&frames_[taken_ + sizeof size], size};
	taken_ += sizeof size + size;
	std::memset(room.front().iov_base, 0, room.front().iov_len);
	for (const iovec &part : room.subspan(1)) {
		std::size_t here = std::min(part.iov_len, frame.size());
		std::memcpy(part.iov_base, frame.data(), here);
		frame = frame.subspan(here);
	}
	if (was_crowded && !crowded())
		look_soon();
	return sizeof(NetHeader) + size;
}

// --- sockets ------------------------------------------------------------------

// Not at once: there may be many reasons in one batch of frames, or the device's lock.
void UserPort::look_soon()
{
	if (std::exchange(look_posted_, true))
		return;
	boost::asio::post(loop_, [this] {
		look_posted_ = false;
		look();
	});
}

// Let the guest have what there is, and see what libslirp waits for now.
void UserPort::look()
{
	if (taken_ < frames_.size())
		card_->frames_waiting();
	if (crowded())
		return;		// receive() will look again
	std::uint32_t timeout = UINT32_MAX;
	polled_.clear();
	round_++;
	slirp_pollfds_fill(slirp_, &timeout, SlirpGlue::add_poll, this);
	watch_descriptors();
	// It wants to be called twice a second for as long as it has TCP sockets, and be it
	// one that listens for us.
	bool only_forwards = polled_.size() <= forwards_;
	if (timeout < no_timeout && !(only_forwards && quiet_ >= quiet_limit))
		set_timer(std::chrono::milliseconds{timeout});
}

void UserPort::set_timer(std::chrono::milliseconds timeout)
{
	// Never later than it was.
	auto when = std::chrono::steady_clock::now() + timeout;
	if (timer_set_ && timer_.expiry() <= when)
		return;
	timer_set_ = true;
	timer_.expires_at(when);
	timer_.async_wait([this](boost::system::error_code error) {
		if (error)
			return;
		timer_set_ = false;
		quiet_++;
		if (!crowded())
			poll();
	});
}

int UserPort::add_poll(int fd, int events)
{
	if (watches_.size() <= static_cast<std::size_t>(fd))
		watches_.resize(static_cast<std::size_t>(fd) + 1);
	Watch &watch = watches_[static_cast<std::size_t>(fd)];
	watch.wanted = events;
	watch.round = round_;
	polled_.push_back(fd);
	return static_cast<int>(polled_.size() - 1);
}

void UserPort::watch_descriptors()
{
	for (std::size_t fd = 0; fd < watches_.size(); fd++) {
		Watch &watch = watches_[fd];
		int wanted = watch.round == round_ ? watch.wanted : 0;
		if (wanted != watch.registered)
			update(static_cast<int>(fd), wanted);
	}
	if (std::exchange(waiting_, true))
		return;
	epoll_.async_wait(epoll_.wait_read, [this](boost::system::error_code error) {
		if (error)
			return;
		waiting_ = false;
		quiet_ = 0;
		if (crowded())
			return;
		poll();
	});
}

void UserPort::update(int fd, int events)
{
	Watch &watch = watches_[static_cast<std::size_t>(fd)];
	epoll_event event{to_epoll(events), {.fd = fd}};
	int operation = !events ? EPOLL_CTL_DEL : watch.registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
	if (epoll_ctl(epoll_.native_handle(), operation, fd, &event) == 0 || operation == EPOLL_CTL_DEL)
		watch.registered = events;
	else
		watch.registered = 0;
}

// It is about to be closed; its number may come again.
void UserPort::forget(int fd)
{
	if (fd >= 0 && static_cast<std::size_t>(fd) < watches_.size() && watches_[static_cast<std::size_t>(fd)].registered)
		update(fd, 0);
}

void UserPort::poll()
{
	epoll_event events[max_events];
	int count = epoll_wait(epoll_.native_handle(), events, max_events, 0);
	for (int index = 0; index < count; index++)
		watches_[static_cast<std::size_t>(events[index].data.fd)].happened = from_epoll(events[index].events);
	slirp_pollfds_poll(slirp_, 0, SlirpGlue::happened, this);
	for (int index = 0; index < count; index++)
		watches_[static_cast<std::size_t>(events[index].data.fd)].happened = 0;
	look();
}

int UserPort::happened(int index) const
{
	return watches_[static_cast<std::size_t>(polled_[static_cast<std::size_t>(index)])].happened;
}

} // namespace lguest
