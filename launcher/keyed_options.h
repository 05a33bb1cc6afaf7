// SPDX-License-Identifier: GPL-2.0-only
// The settings of one thing, a disk for example, as key and value: from the command
// line (`--disk path=a.img,ro`) or from an object of a JSON configuration.
//
//     --disk path=a.img,ro  ------+
//                                 +--> KeyedOptions --take--> DiskOptions
//     {"disk": [{"path": ...}]} --+
//
// Every value knows where it was written, so that a complaint can point at it:
//
//     --disk ro: 'maybe' is neither on nor off
//     vm.json: disk[0].ro: 'maybe' is neither on nor off
//
// The reader takes the keys it knows and calls finish(), which complains of the rest.
#pragma once

#include "error.h"

#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lguest {

class KeyedOptions {
public:
	// `where` names the whole in messages: "--disk", "vm.json: disk[0]".
	explicit KeyedOptions(std::string where) : where_{std::move(where)} {}

	// "key=value,flag,...": a key alone is `on`; two commas are one in a value.  An empty
	// text has no keys.  Throws Error for an empty or a repeated key.
	static KeyedOptions from_text(std::string_view option, std::string_view text);

	// Replaces an earlier value.  `where` names the value in messages.
	void set(const std::string &key, std::string value, std::string where);
	bool has(const std::string &key) const { return entries_.contains(key); }
	const std::string &where() const { return where_; }

	// The value of a key, taken: finish() is content with it.  All throw Error.
	std::optional<std::string> take(const std::string &key);
	std::string take_text(const std::string &key, std::string otherwise = {});
	std::string take_required(const std::string &key);	// neither missing nor empty
	bool take_flag(const std::string &key, bool otherwise = false);		// on, off
	std::uint64_t take_number(const std::string &key, std::uint64_t otherwise, std::uint64_t low, std::uint64_t high);
	std::uint64_t take_size(const std::string &key, std::uint64_t otherwise);	// parse_size()
	// One of the words.
	std::string take_word(const std::string &key, std::string otherwise, std::initializer_list<const char *> words);

	// Complain of keys that nobody took, naming those that there are.
	void finish() const;

	// Complain of the value of a key, taken or not, or of its absence.
	template <typename... Arguments>
	[[noreturn]] void reject(const std::string &key, fmt::format_string<Arguments...> format, Arguments &&...arguments) const
	{
		throw Error{where_of(key) + ": " + fmt::format(format, std::forward<Arguments>(arguments)...), exit_usage};
	}

private:
	struct Entry {
		std::string value;
		std::string where;
		bool taken = false;
	};

	std::string where_of(const std::string &key) const;

	std::string where_;
	std::map<std::string, Entry> entries_;
	std::vector<std::string> known_;	// keys that were asked for
};

// "64M" -> bytes; suffixes K, M, G, T, powers of 1024, bytes without.  Throws Error.
std::uint64_t parse_size(const std::string &text);
// The other way, with the largest suffix that fits: for messages.
std::string format_size(std::uint64_t bytes);

} // namespace lguest
