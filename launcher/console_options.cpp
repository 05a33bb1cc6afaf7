// SPDX-License-Identifier: GPL-2.0-only
// `--console`, see console_options.h.
#include "console_options.h"

#include <algorithm>

namespace lguest {
namespace {

using To = ConsoleOptions::To;

constexpr std::size_t most_ports = 30;
constexpr std::size_t longest_name = 63;

// It becomes the name of a file in the guest, below /dev.
void check_name(const KeyedOptions &options, const std::string &name)
{
	bool letters = std::ranges::all_of(name, [](char c) {
		return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
	});
	if (!letters || name.empty() || name.starts_with('.') || name.size() > longest_name)
		options.reject("port", "'{}': a name has up to {} letters, digits, and . _ - between them", name, longest_name);
	if (name.starts_with("lguest."))
		options.reject("port", "'{}': names with lguest. are the command's own", name);
}

} // namespace

ConsoleOptions read_console_options(KeyedOptions &options, const std::vector<ConsoleOptions> &others)
{
	ConsoleOptions console;
	bool named = options.has("port");
	console.port = options.take_text("port");
	if (named)
		check_name(options, console.port);

	unsigned given = 0;
	for (auto [word, to] : {std::pair{"stdio", To::stdio}, {"none", To::none}, {"pty", To::pty}})
		if (options.take_flag(word)) {
			console.to = to;
			given++;
		}
	for (auto [word, to] : {std::pair{"file", To::file}, {"socket", To::socket}})
		if (options.has(word)) {
			console.path = options.take_required(word);
			console.to = to;
			given++;
		}
	console.append = options.take_flag("append");
	if (given != 1)
		throw Error{options.where() + ": must lead to one of stdio, none, pty, file=PATH, socket=PATH", exit_usage};
	if (console.append && console.to != To::file)
		options.reject("append", "is for file=PATH");

	for (const ConsoleOptions &other : others) {
		if (other.port == console.port)
			throw Error{fmt::format("{}: {} is given twice", options.where(),
						named ? "port " + console.port : std::string{"the console"}), exit_usage};
		if (console.to == To::stdio && other.to == To::stdio)
			options.reject("stdio", "there is only one, and another port has it");
	}
	if (others.size() >= most_ports)
		throw Error{fmt::format("{}: too many, a guest can have {}", options.where(), most_ports), exit_usage};
	return console;
}

bool port_is_stdio(const std::vector<ConsoleOptions> &consoles)
{
	return std::ranges::any_of(consoles, [](const ConsoleOptions &one) { return !one.port.empty() && one.to == To::stdio; });
}

bool console_is_stdio(const std::vector<ConsoleOptions> &consoles)
{
	auto console = std::ranges::find(consoles, std::string{}, &ConsoleOptions::port);
	return console == consoles.end() ? !port_is_stdio(consoles) : console->to == To::stdio;
}

} // namespace lguest
