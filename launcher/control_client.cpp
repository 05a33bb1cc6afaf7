// SPDX-License-Identifier: GPL-2.0-only
// Commands on running guests, see control_client.h.
#include "control_client.h"

#include "control_protocol.h"
#include "control_socket.h"
#include "error.h"
#include "keyed_options.h"
#include "private_directory.h"
#include "terminal.h"

#include <boost/json.hpp>

#include <array>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstring>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

namespace lguest {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto reply_limit = 10s;
constexpr auto ending_limit = 10s;	// a guest that was ended writes its last output

// One connection to a guest.
class Guest {
public:
	Guest(const ControlDirectory &guests, const std::string &name) : name_{name}, socket_{guests.connect(name)} {}

	// Throws Error with what the guest complains of.
	json::object ask(const json::object &request, std::chrono::milliseconds limit = reply_limit)
	{
		send_all(json::serialize(request) + '\n');
		auto until = Clock::now() + limit;
		std::string line;
		for (char c; receive_one(c, until) && c != '\n';)
			line += c;
		json::error_code error;
		json::value reply = json::parse(line, error);
		if (error || !reply.is_object())
			fail("the launcher of '{}' gives no proper answer", name_);
		json::object object = reply.get_object();
		if (const json::value *ok = object.if_contains("ok"); ok && ok->is_bool() && ok->get_bool())
			return object;
		const json::value *why = object.if_contains("error");
		fail("{}: {}", name_, why && why->is_string() ? std::string{why->get_string()} : "refused");
	}

	// Wait until the launcher is gone; false if it is not.
	bool wait_for_end(std::chrono::milliseconds limit)
	{
		auto until = Clock::now() + limit;
		char c;
		try {
			while (receive_one(c, until))
				;
			return true;
		} catch (const Error &) {
			return false;
		}
	}

	int fd() const { return socket_.get(); }

private:
	void send_all(std::string_view text)
	{
		while (!text.empty()) {
			ssize_t sent = ::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL);
			if (sent < 0 && errno == EINTR)
				continue;
			if (sent < 0)
				fail("the launcher of '{}' hung up", name_);
			text.remove_prefix(static_cast<std::size_t>(sent));
		}
	}

	// A byte at a time: what follows a reply may be the console's.  False at the end.
	bool receive_one(char &c, Clock::time_point until)
	{
		for (;;) {
			auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
			pollfd ready{socket_.get(), POLLIN, 0};
			int count = left.count() > 0 ? poll(&ready, 1, static_cast<int>(left.count())) : 0;
			if (count == 0)
				fail("the launcher of '{}' does not answer", name_);
			if (count > 0)
				return recv(socket_.get(), &c, 1, 0) == 1;
		}
	}

	std::string name_;
	Descriptor socket_;
};

std::string text_in(const json::object &object, const char *key)
{
	const json::value *value = object.if_contains(key);
	if (!value)
		return "-";
	return value->is_string() ? std::string{value->get_string()} : json::serialize(*value);
}

std::uint64_t number_in(const json::object &object, const char *key)
{
	json::error_code error;
	const json::value *value = object.if_contains(key);
	return value && value->is_number() ? value->to_number<std::uint64_t>(error) : 0;
}

std::string duration(std::uint64_t seconds)
{
	std::uint64_t minutes = seconds / 60, hours = minutes / 60, days = hours / 24;
	return days ? fmt::format("{}d{:02}h", days, hours % 24)
		    : hours ? fmt::format("{}h{:02}m", hours, minutes % 60) : fmt::format("{}m{:02}s", minutes, seconds % 60);
}

json::object without_ok(json::object object)
{
	object.stable_erase("ok");
	return object;
}

int list(const ControlDirectory &guests, bool as_json)
{
	json::array all;
	for (const std::string &name : guests.names())
		try {
			all.push_back(without_ok(Guest{guests, name}.ask({{"command", "status"}}, 3s)));
		} catch (const Error &) {
			all.push_back({{"name", name}, {"state", "not answering"}});
		}
	if (as_json) {
		fmt::print("{}\n", json::serialize(all));
		return 0;
	}
	fmt::print("{:<24} {:>8}  {:<9} {:>8} {:>5} {:>8}\n", "NAME", "PID", "STATE", "MEMORY", "VCPUS", "UPTIME");
	for (const json::value &one : all) {
		const json::object &guest = one.get_object();
		fmt::print("{:<24} {:>8}  {:<9} {:>8} {:>5} {:>8}\n", text_in(guest, "name"), text_in(guest, "pid"),
			   text_in(guest, "state"), format_size(number_in(guest, "memory")), text_in(guest, "vcpus"),
			   duration(number_in(guest, "uptime")));
	}
	return 0;
}

// Nested objects as a.b.c, one number a line.
void print_flat(const std::string &prefix, const json::value &value)
{
	if (value.is_object()) {
		for (const auto &[key, member] : value.get_object())
			print_flat(prefix.empty() ? std::string{key} : prefix + '.' + std::string{key}, member);
	} else if (value.is_array()) {
		std::size_t index = 0;
		for (const json::value &member : value.get_array())
			print_flat(fmt::format("{}.{}", prefix, index++), member);
	} else {
		fmt::print("{:<40} {}\n", prefix,
			   value.is_string() ? std::string{value.get_string()} : json::serialize(value));
	}
}

int stat(Guest &guest, bool as_json)
{
	json::object numbers = without_ok(guest.ask({{"command", "stat"}}));
	if (as_json)
		fmt::print("{}\n", json::serialize(numbers));
	else
		print_flat({}, numbers);
	return 0;
}

// Returns when the guest is gone.
int stop(Guest &guest, const ManageOptions &options)
{
	json::object request{{"command", "stop"}};
	if (options.timeout)
		request["timeout"] = *options.timeout;
	json::object reply = guest.ask(request);
	json::error_code error;
	const json::value *grace = reply.if_contains("grace");
	double seconds = grace && grace->is_number() ? grace->to_number<double>(error) : 0;
	if (!guest.wait_for_end(std::chrono::milliseconds{std::llround(1000 * seconds)} + ending_limit))
		fail("'{}' still runs; end it with lguest kill {}", options.name, options.name);
	return 0;
}

int kill(Guest &guest, const ManageOptions &options)
{
	guest.ask({{"command", "kill"}});
	if (!guest.wait_for_end(ending_limit))
		fail("'{}' does not end: somebody has stopped reading its output", options.name);
	return 0;
}

bool write_all(int fd, std::span<const std::byte> bytes)
{
	while (!bytes.empty()) {
		ssize_t done = ::write(fd, bytes.data(), bytes.size());
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return false;
		bytes = bytes.subspan(static_cast<std::size_t>(done));
	}
	return true;
}

// Until Ctrl-] d, the end of stdin if that is no terminal, or the end of the guest.
int console(Guest &guest)
{
	guest.ask({{"command", "console"}});
	std::signal(SIGPIPE, SIG_IGN);
	std::optional<RawTerminal> raw;
	if (RawTerminal::usable(STDIN_FILENO)) {
		fmt::print(stderr, "lguest: Ctrl-] d leaves the guest's console\n");
		raw.emplace(STDIN_FILENO);
	}
	EscapeFilter escape{'d'};
	std::array<std::byte, 4096> chunk;
	std::vector<std::byte> typed;
	std::array<pollfd, 2> sources{{{guest.fd(), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}}};
	for (;;) {
		if (poll(sources.data(), sources.size(), -1) < 0 && errno != EINTR)
			return exit_failure;
		if (sources[0].revents) {
			ssize_t got = ::read(guest.fd(), chunk.data(), chunk.size());
			if (got <= 0 || !write_all(STDOUT_FILENO, std::span{chunk}.first(static_cast<std::size_t>(got))))
				return 0;
		}
		if (sources[1].revents) {
			ssize_t got = ::read(STDIN_FILENO, chunk.data(), chunk.size());
			typed.clear();
			bool leave = got <= 0;
			auto keys = std::span{chunk}.first(leave ? 0 : static_cast<std::size_t>(got));
			if (raw)
				leave |= escape.filter(keys, typed);
			else
				typed.assign(keys.begin(), keys.end());
			if (!write_all(guest.fd(), typed) || leave)
				return 0;
		}
	}
}

} // namespace

int manage_guests(const ManageOptions &options)
{
	ControlDirectory guests{private_directory(), false};
	using Command = ManageOptions::Command;
	if (options.command == Command::list)
		return list(guests, options.json);
	Guest guest{guests, options.name};
	switch (options.command) {
	case Command::stop:
		return stop(guest, options);
	case Command::kill:
		return kill(guest, options);
	case Command::pause:
		guest.ask({{"command", "pause"}});
		return 0;
	case Command::resume:
		guest.ask({{"command", "resume"}});
		return 0;
	case Command::stat:
		return stat(guest, options.json);
	case Command::balloon:
		guest.ask({{"command", "balloon"}, {"size", options.size}});
		return 0;
	default:
		return console(guest);
	}
}

} // namespace lguest
