// SPDX-License-Identifier: GPL-2.0-only
// What outlives a reboot, see over_reboot.h.
#include "over_reboot.h"

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <cstdlib>
#include <fcntl.h>

namespace lguest::over_reboot {
namespace {

namespace json = boost::json;

constexpr const char *variable = "LGUEST_OVER_REBOOT";	// {"control": 5, "share lguest-root": 7}

// Anything but an object is not ours.
json::object kept()
{
	const char *text = std::getenv(variable);
	json::error_code error;
	json::value value = json::parse(text ? text : "{}", error);
	return !error && value.is_object() ? std::move(value.get_object()) : json::object{};
}

void store(const json::object &kept)
{
	if (kept.empty())
		unsetenv(variable);
	else
		setenv(variable, json::serialize(kept).c_str(), 1);
}

} // namespace

void keep(const std::string &name, int number)
{
	json::object all = kept();
	all[name] = number;
	store(all);
}

void keep(const std::string &name, Descriptor descriptor)
{
	if (!descriptor || fcntl(descriptor.get(), F_SETFD, 0) < 0)
		return;
	keep(name, descriptor.release());
}

std::optional<int> take_number(const std::string &name)
{
	json::object all = kept();
	auto entry = all.find(name);
	if (entry == all.end())
		return {};
	json::error_code error;
	int number = entry->value().to_number<int>(error);
	all.erase(entry);
	store(all);
	return error ? std::nullopt : std::optional{number};
}

Descriptor take(const std::string &name)
{
	auto number = take_number(name);
	if (!number || *number < 0 || fcntl(*number, F_SETFD, FD_CLOEXEC) < 0)
		return {};
	return Descriptor{*number};
}

} // namespace lguest::over_reboot
