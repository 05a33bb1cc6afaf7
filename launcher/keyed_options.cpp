// SPDX-License-Identifier: GPL-2.0-only
// Settings as key and value, see keyed_options.h.
#include "keyed_options.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

namespace lguest {
namespace {

// Cuts off and returns what is before the first single comma; two commas stand for one.
std::string cut_item(std::string_view &text)
{
	std::string item;
	while (!text.empty()) {
		char character = text.front();
		text.remove_prefix(1);
		if (character == ',') {
			if (text.empty() || text.front() != ',')
				break;
			text.remove_prefix(1);
		}
		item += character;
	}
	return item;
}

} // namespace

KeyedOptions KeyedOptions::from_text(std::string_view option, std::string_view text)
{
	KeyedOptions options{std::string{option}};
	bool more = !text.empty();
	while (more) {
		more = text.find(',') != text.npos;
		std::string item = cut_item(text);
		more = more && !text.empty();
		auto equals = item.find('=');
		std::string key = item.substr(0, equals);
		if (key.empty())
			throw Error{fmt::format("{} {}: a key is missing; it is key=value,key=value", option, item), exit_usage};
		if (options.has(key))
			throw Error{fmt::format("{} {}: given twice", option, key), exit_usage};
		options.set(key, equals == item.npos ? "on" : item.substr(equals + 1), fmt::format("{} {}", option, key));
	}
	return options;
}

void KeyedOptions::set(const std::string &key, std::string value, std::string where)
{
	entries_[key] = {std::move(value), std::move(where)};
}

std::string KeyedOptions::where_of(const std::string &key) const
{
	auto entry = entries_.find(key);
	return entry == entries_.end() ? fmt::format("{} {}", where_, key) : entry->second.where;
}

std::optional<std::string> KeyedOptions::take(const std::string &key)
{
	if (std::ranges::find(known_, key) == known_.end())
		known_.push_back(key);
	auto entry = entries_.find(key);
	if (entry == entries_.end())
		return std::nullopt;
	entry->second.taken = true;
	return entry->second.value;
}

std::string KeyedOptions::take_text(const std::string &key, std::string otherwise)
{
	return take(key).value_or(std::move(otherwise));
}

std::string KeyedOptions::take_required(const std::string &key)
{
	auto value = take(key);
	if (!value || value->empty())
		reject(key, "must be given");
	return *value;
}

bool KeyedOptions::take_flag(const std::string &key, bool otherwise)
{
	auto value = take(key);
	if (!value)
		return otherwise;
	if (*value == "on" || *value == "off")
		return *value == "on";
	reject(key, "'{}' is neither on nor off", *value);
}

std::uint64_t KeyedOptions::take_number(const std::string &key, std::uint64_t otherwise, std::uint64_t low, std::uint64_t high)
{
	auto value = take(key);
	if (!value)
		return otherwise;
	std::uint64_t number = 0;
	auto [rest, error] = std::from_chars(value->data(), value->data() + value->size(), number);
	if (error != std::errc{} || rest != value->data() + value->size() || number < low || number > high)
		reject(key, "'{}' is not a number from {} to {}", *value, low, high);
	return number;
}

std::uint64_t KeyedOptions::take_size(const std::string &key, std::uint64_t otherwise)
{
	auto value = take(key);
	if (!value)
		return otherwise;
	try {
		return parse_size(*value);
	} catch (const Error &error) {
		reject(key, "{}", error.what());
	}
}

std::string KeyedOptions::take_word(const std::string &key, std::string otherwise, std::initializer_list<const char *> words)
{
	auto value = take(key);
	if (!value)
		return otherwise;
	if (std::ranges::none_of(words, [&](const char *word) { return *value == word; }))
		reject(key, "'{}' is not one of {}", *value, fmt::join(words, ", "));
	return *value;
}

void KeyedOptions::finish() const
{
	for (const auto &[key, entry] : entries_)
		if (!entry.taken)
			throw Error{fmt::format("{}: not known; there are {}", entry.where, fmt::join(known_, ", ")), exit_usage};
}

std::uint64_t parse_size(const std::string &text)
{
	std::uint64_t number = 0;
	auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
	std::string_view suffix{rest, static_cast<std::size_t>(text.data() + text.size() - rest)};
	unsigned shift = 0;
	if (suffix == "K" || suffix == "k")
		shift = 10;
	else if (suffix == "M" || suffix == "m")
		shift = 20;
	else if (suffix == "G" || suffix == "g")
		shift = 30;
	else if (suffix == "T" || suffix == "t")
		shift = 40;
	else if (!suffix.empty())
		error = std::errc::invalid_argument;
	if (error != std::errc{} || number > UINT64_MAX >> shift)
		throw Error{fmt::format("'{}' is not a size: give a number and K, M, G or T, as in 256M", text), exit_usage};
	return number << shift;
}

std::string format_size(std::uint64_t bytes)
{
	constexpr const char *suffixes[] = {"", "K", "M", "G", "T"};
	unsigned unit = 0;
	while (unit < 4 && bytes && bytes % 1024 == 0) {
		bytes /= 1024;
		unit++;
	}
	return fmt::format("{}{}", bytes, suffixes[unit]);
}

} // namespace lguest
