// SPDX-License-Identifier: GPL-2.0-only
// The console of a detached guest, see console_relay.h.
#include "console_relay.h"

#include "error.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>

#include <cerrno>
#include <cstring>
#include <sys/socket.h>

namespace lguest {
namespace {

constexpr std::size_t tail_limit = 64 << 10;
constexpr std::size_t client_limit = 256 << 10;		// not yet taken by it

void keep_last(std::string &text, std::size_t size)
{
	if (text.size() > 2 * size)
		text.erase(0, text.size() - size);
}

} // namespace

struct ConsoleRelay::Client {
	explicit Client(Socket s) : socket{std::move(s)} {}

	Socket socket;
	std::array<char, 1024> chunk;
	std::string waiting, writing;
};

ConsoleRelay::ConsoleRelay(boost::asio::io_context &loop) : loop_{loop}, socket_{loop}
{
	int ends[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		fail("cannot make the console's sockets: {}", std::strerror(errno));
	guest_end_ = Descriptor{ends[0]};
	socket_.assign(boost::asio::local::stream_protocol{}, ends[1]);
	read_guest();
}

ConsoleRelay::~ConsoleRelay() = default;

void ConsoleRelay::early_text(std::span<const char> text)
{
	std::scoped_lock guard{early_lock_};
	bool posted = !early_.empty();
	early_.append(text.data(), text.size());
	keep_last(early_, tail_limit);
	if (!posted)
		boost::asio::post(loop_, [this] {
			std::string text;
			{
				std::scoped_lock guard{early_lock_};
				std::swap(text, early_);
			}
			show(text);
		});
}

void ConsoleRelay::read_guest()
{
	socket_.async_read_some(boost::asio::buffer(chunk_), [this](boost::system::error_code error, std::size_t size) {
		if (error)
			return;
		show({chunk_.data(), size});
		read_guest();
	});
}

void ConsoleRelay::show(std::string_view text)
{
	tail_ += text;
	keep_last(tail_, tail_limit);
	if (!client_)
		return;
	client_->waiting += text;
	if (client_->waiting.size() > client_limit)
		drop(client_);
	else if (client_->writing.empty())
		write_client(client_);
}

void ConsoleRelay::attach(Socket socket, std::string typed)
{
	if (client_)
		drop(client_);
	client_ = std::make_shared<Client>(std::move(socket));
	client_->waiting = tail_.substr(tail_.size() - std::min(tail_.size(), tail_limit));
	write_client(client_);
	if (typed.empty()) {
		read_client(client_);
		return;
	}
	auto bytes = std::make_shared<std::string>(std::move(typed));
	boost::asio::async_write(socket_, boost::asio::buffer(*bytes),
				 [this, bytes, client = client_](boost::system::error_code error, std::size_t) {
		if (!error)
			read_client(client);
	});
}

// One piece at a time: while the guest does not take it, no more is read.
void ConsoleRelay::read_client(const std::shared_ptr<Client> &client)
{
	client->socket.async_read_some(boost::asio::buffer(client->chunk),
				       [this, client](boost::system::error_code error, std::size_t size) {
		if (error) {
			drop(client);
			return;
		}
		boost::asio::async_write(socket_, boost::asio::buffer(client->chunk, size),
					 [this, client](boost::system::error_code failed, std::size_t) {
			if (!failed && client == client_)
				read_client(client);
		});
	});
}

void ConsoleRelay::write_client(const std::shared_ptr<Client> &client)
{
	if (client->waiting.empty())
		return;
	std::swap(client->writing, client->waiting);
	boost::asio::async_write(client->socket, boost::asio::buffer(client->writing),
				 [this, client](boost::system::error_code error, std::size_t) {
		client->writing.clear();
		if (error)
			drop(client);
		else
			write_client(client);
	});
}

void ConsoleRelay::drop(std::shared_ptr<Client> client)
{
	boost::system::error_code ignored;
	client->socket.close(ignored);
	if (client == client_)
		client_.reset();
}

} // namespace lguest
