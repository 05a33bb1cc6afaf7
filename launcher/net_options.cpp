// SPDX-License-Identifier: GPL-2.0-only
// `--net`, see net_options.h.
#include "net_options.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <climits>
#include <cstdio>
#include <fstream>

namespace lguest {
namespace {

constexpr std::uint64_t min_mtu = 68;		// virtio 1.2; IPv4's too
constexpr std::uint64_t max_mtu = 65521;	// what libslirp can do; others could 14 bytes more

NetOptions::Vhost take_vhost(KeyedOptions &options, bool tap)
{
	std::string word = options.take_word("vhost", "auto", {"auto", "on", "off"});
	if (options.has("vhost") && !tap)
		options.reject("vhost", "only with tap or tap-fd");
	using enum NetOptions::Vhost;
	return word == "on" ? on : word == "off" ? off : automatic;
}

// A whole number in all of `text`, of at most `high`.
std::optional<unsigned> number(std::string_view text, unsigned high, int base = 10)
{
	unsigned value = 0;
	auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
	if (error != std::errc{} || rest != text.data() + text.size() || value > high)
		return std::nullopt;
	return value;
}

std::optional<MacAddress> parse_mac(std::string_view text)
{
	MacAddress mac;
	if (text.size() != 3 * mac.size() - 1)
		return std::nullopt;
	for (std::size_t index = 0; index < mac.size(); index++) {
		auto byte = number(text.substr(3 * index, 2), 0xff, 16);
		if (!byte || (index && text[3 * index - 1] != ':'))
			return std::nullopt;
		mac[index] = static_cast<std::uint8_t>(*byte);
	}
	bool multicast = mac[0] & 1;
	bool zero = std::ranges::all_of(mac, [](std::uint8_t byte) { return byte == 0; });
	return multicast || zero ? std::nullopt : std::optional{mac};
}

// tcp:[ADDRESS:]PORT-PORT
std::optional<Forward> parse_forward(std::string_view text)
{
	Forward forward;
	if (text.starts_with("udp:"))
		forward.udp = true;
	else if (!text.starts_with("tcp:"))
		return std::nullopt;
	text.remove_prefix(4);
	if (auto colon = text.rfind(':'); colon != text.npos) {
		forward.address = text.substr(0, colon);
		text.remove_prefix(colon + 1);
	}
	in_addr address;
	auto dash = text.find('-');
	if (dash == text.npos || inet_pton(AF_INET, forward.address.c_str(), &address) != 1)
		return std::nullopt;
	auto host = number(text.substr(0, dash), UINT16_MAX), guest = number(text.substr(dash + 1), UINT16_MAX);
	if (!host || !guest || *host == 0 || *guest == 0)
		return std::nullopt;
	forward.host_port = static_cast<std::uint16_t>(*host);
	forward.guest_port = static_cast<std::uint16_t>(*guest);
	return forward;
}

std::vector<Forward> take_forwards(KeyedOptions &options)
{
	std::vector<Forward> forwards;
	auto value = options.take("forward");
	if (!value)
		return forwards;
	std::string_view rest = *value;
	for (bool more = true; more;) {
		auto plus = rest.find('+');
		auto forward = parse_forward(rest.substr(0, plus));
		if (!forward)
			options.reject("forward", "'{}' is not tcp:[ADDRESS:]HOSTPORT-GUESTPORT, or udp: and the same; "
				       "several are joined by +", rest.substr(0, plus));
		forwards.push_back(*forward);
		more = plus != rest.npos;
		rest.remove_prefix(more ? plus + 1 : rest.size());
	}
	return forwards;
}

std::string take_interface(KeyedOptions &options, const std::string &key)
{
	std::string name = options.take_required(key);
	bool fits = name.size() < IFNAMSIZ && name != "." && name != "..";
	if (!fits || std::ranges::any_of(name, [](unsigned char c) { return c <= ' ' || c == '/' || c == ':' || c == '%' || c > '~'; }))
		options.reject(key, "'{}' cannot be the name of an interface: it has 1 to {} characters, no / : %", name, IFNAMSIZ - 1);
	return name;
}

// It becomes the name of a directory.
std::string take_link(KeyedOptions &options)
{
	constexpr std::size_t longest = 32;
	std::string name = options.take_required("link");
	bool plain = std::ranges::all_of(name, [](unsigned char c) { return std::isalnum(c) || c == '-' || c == '_' || c == '.'; });
	if (!plain || name.front() == '.' || name.size() > longest)
		options.reject("link", "'{}' cannot be the name of a link: it has up to {} letters, digits, - _ .", name, longest);
	return name;
}

void read_kind(KeyedOptions &options, NetOptions &net)
{
	bool user = options.take_flag("user");
	unsigned kinds = user + options.has("tap") + options.has("tap-fd") + options.has("link");
	for (const char *key : {"tap", "tap-fd", "link"})
		options.take(key);	// so that all are named to who mistypes one
	if (kinds != 1)
		throw Error{fmt::format("{}: must be one of user, tap=NAME, tap-fd=N, link=NAME", options.where()), exit_usage};
	if (options.has("tap")) {
		net.kind = NetOptions::Kind::tap;
		net.name = take_interface(options, "tap");
	} else if (options.has("tap-fd")) {
		net.kind = NetOptions::Kind::tap_fd;
		net.fd = static_cast<int>(options.take_number("tap-fd", 0, 0, INT_MAX));
	} else if (options.has("link")) {
		net.kind = NetOptions::Kind::link;
		net.name = take_link(options);
	}
}

std::string first_line(const char *path)
{
	std::string line;
	std::ifstream file{path};
	std::getline(file, line);
	return line;
}

// FNV-1a: any spread will do, but it may not change with the compiler.
std::uint64_t hash(std::string_view text)
{
	std::uint64_t state = 0xcbf29ce484222325;
	for (unsigned char character : text)
		state = (state ^ character) * 0x100000001b3;
	return state;
}

} // namespace

NetOptions read_net_options(KeyedOptions &options)
{
	NetOptions net;
	read_kind(options, net);
	bool tap = net.kind == NetOptions::Kind::tap || net.kind == NetOptions::Kind::tap_fd;
	net.forwards = take_forwards(options);
	if (!net.forwards.empty() && net.kind != NetOptions::Kind::user)
		options.reject("forward", "only with user; the guest can be reached as it is otherwise");
	if (options.has("bridge"))
		net.bridge = take_interface(options, "bridge");
	options.take("bridge");
	if (!net.bridge.empty() && !tap)
		options.reject("bridge", "only with tap or tap-fd");
	net.vhost = take_vhost(options, tap);
	if (auto text = options.take("mac")) {
		net.mac = parse_mac(*text);
		if (!net.mac)
			options.reject("mac", "'{}' is not the address of a card, such as 02:00:00:00:00:01", *text);
	}
	net.mtu = static_cast<std::uint16_t>(options.take_number("mtu", 0, min_mtu, max_mtu));
	net.id = options.take_text("id");
	return net;
}

// Mixed with what tells this machine, or this start of it, from others on the same wire.
MacAddress card_address(const std::string &guest, std::size_t index)
{
	std::string seed = guest.empty() ? fmt::format("{}/{}", first_line("/proc/sys/kernel/random/boot_id"), getpid())
					 : fmt::format("{}/{}", first_line("/etc/machine-id"), guest);
	std::uint64_t bits = hash(fmt::format("{}/net{}", seed, index));
	MacAddress mac;
	for (std::uint8_t &byte : mac) {
		byte = static_cast<std::uint8_t>(bits);
		bits >>= 8;
	}
	mac[0] = static_cast<std::uint8_t>((mac[0] & ~1u) | 2u);	// one card, not by a manufacturer
	return mac;
}

std::string format_mac(const MacAddress &mac)
{
	return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

} // namespace lguest
