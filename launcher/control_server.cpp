// SPDX-License-Identifier: GPL-2.0-only
// The control socket in the event loop, see control_server.h.
#include "control_server.h"

#include "descriptor_reserve.h"
#include "error.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>

namespace lguest {

struct ControlServer::Client {
	explicit Client(Protocol::socket s) : socket{std::move(s)} {}

	Protocol::socket socket;
	std::array<char, 1024> chunk;
	LineReader lines;
	ControlReply reply;
};

namespace {

Descriptor duplicate(int listener)
{
	Descriptor own{fcntl(listener, F_DUPFD_CLOEXEC, 3)};
	if (!own)
		fail("cannot use the control socket: {}", std::strerror(errno));
	return own;
}

} // namespace

ControlServer::ControlServer(boost::asio::io_context &loop, int listener, ControlTarget &target, ConsoleRelay *relay)
	: loop_{loop}, listener_{loop, duplicate(listener), "control socket"}, target_{target}, relay_{relay}
{
	accept();
}

ControlServer::~ControlServer() = default;

void ControlServer::accept()
{
	listener_.next([this](Descriptor connection) {
		came(std::move(connection));
		accept();
	});
}

void ControlServer::came(Descriptor connection)
{
	if (clients_.size() >= max_clients)
		drop(clients_.front());
	clients_.push_back(std::make_shared<Client>(Protocol::socket{loop_, Protocol{}, connection.release()}));
	read(clients_.back());
}

void ControlServer::read(const std::shared_ptr<Client> &client)
{
	client->socket.async_read_some(boost::asio::buffer(client->chunk),
				       [this, client](boost::system::error_code error, std::size_t size) {
		if (error || !client->lines.feed({client->chunk.data(), size}))
			drop(client);
		else
			answer_next(client);
	});
}

void ControlServer::answer_next(const std::shared_ptr<Client> &client)
{
	auto line = client->lines.next();
	if (!line) {
		read(client);
		return;
	}
	{
		DescriptorReserve::Opened reserve;	// some of the answers are in files
		client->reply = answer(*line, target_);
	}
	boost::asio::async_write(client->socket, boost::asio::buffer(client->reply.line),
				 [this, client](boost::system::error_code error, std::size_t) {
		if (error)
			drop(client);
		else
			replied(client);
	});
}

void ControlServer::replied(const std::shared_ptr<Client> &client)
{
	if (!client->reply.to_console || !relay_) {
		answer_next(client);
		return;
	}
	relay_->attach(std::move(client->socket), client->lines.take_rest());
	std::erase(clients_, client);
}

void ControlServer::drop(std::shared_ptr<Client> client)
{
	boost::system::error_code ignored;
	client->socket.close(ignored);
	std::erase(clients_, client);
}

} // namespace lguest
