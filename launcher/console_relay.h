// SPDX-License-Identifier: GPL-2.0-only
// The console of a guest that has no terminal (`lguest run --detach`): a pair of
// sockets stands where stdin and stdout would be, and whoever asks for the console
// by the control socket is put behind it.
//
//     ConsolePort <--> guest's end | relay's end <--> relay <--> client, at most one
//                                                       |
//                    early text --> tail: the last 64 KiB, shown to a new client
//
// Without a client the output goes into the tail alone; the guest never waits for
// anybody.  A client that does not take what it is sent is dropped, and one that
// comes replaces the one before it.
//
// Threads: the event loop's, but early_text(), which vCPU threads call.
#pragma once

#include "file.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>

#include <array>
#include <memory>
#include <mutex>
#include <span>
#include <string>

namespace lguest {

class ConsoleRelay {
public:
	explicit ConsoleRelay(boost::asio::io_context &loop);	// throws Error
	~ConsoleRelay();

	// For ConsolePort::Settings, as input and output.
	int guest_end() const { return guest_end_.get(); }
	// The kernel's messages.
	void early_text(std::span<const char> text);
	// Serve this client from now on; `typed` is what it has sent already.
	void attach(boost::asio::local::stream_protocol::socket client, std::string typed);

private:
	using Socket = boost::asio::local::stream_protocol::socket;
	struct Client;

	void read_guest();
	void read_client(const std::shared_ptr<Client> &client);
	void show(std::string_view text);
	void write_client(const std::shared_ptr<Client> &client);
	void drop(std::shared_ptr<Client> client);

	boost::asio::io_context &loop_;
	Descriptor guest_end_;
	Socket socket_;
	std::array<char, 4096> chunk_;
	std::string tail_;
	std::shared_ptr<Client> client_;

	std::mutex early_lock_;		// guards the next one
	std::string early_;		// not yet shown
};

} // namespace lguest
