// SPDX-License-Identifier: GPL-2.0-only
// A listening socket in the event loop, see listener.h.
#include "listener.h"

#include "descriptor_reserve.h"

#include <spdlog/spdlog.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <sys/socket.h>

namespace lguest {

Listener::Listener(boost::asio::io_context &loop, Descriptor socket, std::string what)
	: socket_{loop, socket.release()}, later_{loop}, what_{std::move(what)}
{
	socket_.non_blocking(true);
}

Listener::~Listener() { *gone_ = true; }

void Listener::next(std::function<void(Descriptor)> came)
{
	socket_.async_wait(socket_.wait_read, [this, gone = gone_, came = std::move(came)](boost::system::error_code error) mutable {
		if (!error && !*gone)
			let_in(std::move(came));
	});
}

void Listener::let_in(std::function<void(Descriptor)> came)
{
	Descriptor connection;
	{
		DescriptorReserve::Opened reserve;
		connection = Descriptor{accept4(socket_.native_handle(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)};
	}
	if (connection) {
		warned_ = false;
		came(std::move(connection));
	} else if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) {
		next(std::move(came));
	} else {
		if (!std::exchange(warned_, true))
			spdlog::warn("{}: who comes has to wait: {}", what_, std::strerror(errno));
		again_later(std::move(came));
	}
}

void Listener::again_later(std::function<void(Descriptor)> came)
{
	later_.expires_after(std::chrono::seconds{1});
	later_.async_wait([this, gone = gone_, came = std::move(came)](boost::system::error_code error) mutable {
		if (!error && !*gone)
			let_in(std::move(came));
	});
}

} // namespace lguest
