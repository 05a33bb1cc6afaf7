// SPDX-License-Identifier: GPL-2.0-only
// Requests and replies of the control socket, see control_protocol.h.
#include "control_protocol.h"

#include "error.h"

#include <boost/json.hpp>

#include <algorithm>
#include <array>
#include <cmath>

namespace lguest {
namespace {

namespace json = boost::json;

constexpr double max_grace = 24 * 60 * 60;

const json::value &member(const json::object &request, const char *key)
{
	const json::value *value = request.if_contains(key);
	if (!value)
		fail("\"{}\" is missing", key);
	return *value;
}

std::uint64_t size_in(const json::object &request, const char *key)
{
	const json::value &value = member(request, key);
	if (value.is_uint64())
		return value.get_uint64();
	if (value.is_int64() && value.get_int64() >= 0)
		return static_cast<std::uint64_t>(value.get_int64());
	fail("\"{}\" must be a number of bytes", key);
}

std::optional<double> grace_in(const json::object &request)
{
	const json::value *value = request.if_contains("timeout");
	if (!value)
		return std::nullopt;
	json::error_code error;
	double seconds = value->is_number() ? value->to_number<double>(error) : -1;
	if (!(seconds >= 0 && seconds <= max_grace))
		fail("\"timeout\" must be a number of seconds, at most {}", max_grace);
	return seconds;
}

struct Command {
	const char *name;
	json::object (*run)(const json::object &request, ControlTarget &target);
};

constexpr std::array commands{
	Command{"status", [](const json::object &, ControlTarget &target) { return target.status(); }},
	Command{"stat", [](const json::object &, ControlTarget &target) { return target.statistics(); }},
	Command{"stop", [](const json::object &request, ControlTarget &target) {
		return json::object{{"grace", target.stop(grace_in(request))}};
	}},
	Command{"kill", [](const json::object &, ControlTarget &target) {
		target.kill();
		return json::object{};
	}},
	Command{"pause", [](const json::object &, ControlTarget &target) {
		target.pause();
		return json::object{};
	}},
	Command{"resume", [](const json::object &, ControlTarget &target) {
		target.resume();
		return json::object{};
	}},
	Command{"balloon", [](const json::object &request, ControlTarget &target) {
		target.set_balloon(size_in(request, "size"));
		return json::object{};
	}},
	Command{"console", [](const json::object &, ControlTarget &target) {
		if (!target.has_console())
			fail("its console is where lguest run was started; only a guest started with --detach can be attached to");
		return json::object{};
	}},
};

json::object parsed(std::string_view request)
{
	json::error_code error;
	json::parse_options options;
	options.max_depth = 4;
	json::value value = json::parse({request.data(), request.size()}, error, {}, options);
	if (error)
		fail("not JSON: {}", error.message());
	if (!value.is_object())
		fail("not a JSON object");
	return std::move(value.get_object());
}

ControlReply reply_of(json::object object, bool to_console = false)
{
	return {json::serialize(object) + '\n', to_console};
}

} // namespace

bool LineReader::feed(std::string_view bytes)
{
	buffer_ += bytes;
	return buffer_.find('\n') <= max_line || buffer_.size() <= max_line;
}

std::optional<std::string> LineReader::next()
{
	auto end = buffer_.find('\n');
	if (end == buffer_.npos)
		return std::nullopt;
	std::string line = buffer_.substr(0, end);
	buffer_.erase(0, end + 1);
	return line;
}

ControlReply answer(std::string_view request, ControlTarget &target)
{
	try {
		json::object object = parsed(request);
		const json::value &name = member(object, "command");
		auto command = std::ranges::find_if(commands, [&](const Command &one) { return name == one.name; });
		if (command == commands.end())
			fail("no such command");
		json::object reply{{"ok", true}};
		for (auto &[key, value] : command->run(object, target))
			reply[key] = std::move(value);
		return reply_of(std::move(reply), command->name == std::string_view{"console"});
	} catch (const Error &error) {
		return reply_of({{"ok", false}, {"error", error.what()}});
	}
}

} // namespace lguest
