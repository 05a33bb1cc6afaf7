// SPDX-License-Identifier: GPL-2.0-only
// JSON configurations, see config_file.h.
#include "config_file.h"

#include "file.h"

#include <boost/json.hpp>

#include <algorithm>

namespace lguest {
namespace {

namespace json = boost::json;

template <typename... Arguments>
[[noreturn]] void wrong(const std::string &where, fmt::format_string<Arguments...> format, Arguments &&...arguments)
{
	throw Error{where + ": " + fmt::format(format, std::forward<Arguments>(arguments)...), exit_usage};
}

std::string text_of(const json::value &value, const std::string &where)
{
	if (value.is_string())
		return std::string{value.get_string()};
	if (value.is_bool())
		return value.get_bool() ? "on" : "off";
	if (value.is_number())
		return json::serialize(value);
	wrong(where, "must be a string, a number, true or false");
}

KeyedOptions device_from(const json::value &value, const std::string &where)
{
	KeyedOptions options{where};
	// A device without settings: "rng": true.
	if (value.is_bool() && value.get_bool())
		return options;
	if (!value.is_object())
		wrong(where, "must be an object");
	for (const auto &[key, member] : value.get_object()) {
		std::string where_member = fmt::format("{}.{}", where, std::string{key});
		options.set(key, text_of(member, where_member), where_member);
	}
	return options;
}

void add_devices(Config &config, const std::string &noun, const json::value &value, const std::string &where)
{
	if (!value.is_array()) {
		config.devices.push_back({noun, device_from(value, where)});
		return;
	}
	std::size_t index = 0;
	for (const json::value &one : value.get_array())
		config.devices.push_back({noun, device_from(one, fmt::format("{}[{}]", where, index++))});
}

std::vector<std::string> words_from(const json::value &value, const std::string &where)
{
	if (!value.is_array())
		wrong(where, "must be an array of strings");
	std::vector<std::string> words;
	for (const json::value &word : value.get_array())
		words.push_back(text_of(word, where));
	return words;
}

} // namespace

Config parse_config(const std::string &name, std::string_view text, const std::function<bool(const std::string &)> &is_device)
{
	json::error_code error;
	json::stream_parser parser;
	std::size_t parsed = parser.write_some(text.data(), text.size(), error);
	if (!error && parsed == text.size())
		parser.finish(error);
	if (error || parsed < text.size()) {
		auto line = 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(parsed), '\n');
		wrong(name, "line {}: not JSON: {}", line, error ? error.message() : "more after its end");
	}
	json::value root = parser.release();
	if (!root.is_object())
		wrong(name, "must be one JSON object");

	Config config;
	for (const auto &[key_view, value] : root.get_object()) {
		std::string key{key_view};
		std::string where = fmt::format("{}: {}", name, key);
		if (is_device(key))
			add_devices(config, key, value, where);
		else if (key == "command")
			config.command = words_from(value, where);
		else
			config.machine.set(key, text_of(value, where), where);
	}
	return config;
}

Config read_config(const std::string &path, const std::function<bool(const std::string &)> &is_device)
{
	Bytes bytes = read_file(path, "configuration");
	return parse_config(path, {reinterpret_cast<const char *>(bytes.data()), bytes.size()}, is_device);
}

} // namespace lguest
