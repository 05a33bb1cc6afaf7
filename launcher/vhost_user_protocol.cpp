// SPDX-License-Identifier: GPL-2.0-only
// The messages of vhost-user, see vhost_user_protocol.h.
#include "vhost_user_protocol.h"

#include <fmt/format.h>

#include <cstring>

namespace lguest::vhost_user {
namespace {

constexpr std::uint64_t no_descriptor_flag = 1 << 8;	// of set_ring_kick and set_ring_call
constexpr std::uint64_t ring_index_mask = 0xff;

template <typename T>
std::span<const std::byte> raw(const T &object)
{
	return std::as_bytes(std::span{&object, 1});
}

void append(Bytes &bytes, std::span<const std::byte> more) { bytes.insert(bytes.end(), more.begin(), more.end()); }

template <typename... Parts>
Message message(Request request, Parts... parts)
{
	Message message{request, {}};
	std::size_t size = (std::size_t{0} + ... + parts.size());
	append(message.bytes, raw(Header{static_cast<std::uint32_t>(request), flag_version, static_cast<std::uint32_t>(size)}));
	(append(message.bytes, parts), ...);
	return message;
}

template <typename T>
T payload_as(std::span<const std::byte> payload)
{
	if (payload.size() != sizeof(T))
		throw BackEndError{fmt::format("it answers with {} bytes instead of {}", payload.size(), sizeof(T))};
	T object;
	std::memcpy(&object, payload.data(), sizeof(T));
	return object;
}

} // namespace

void Message::demand_reply()
{
	Header header;
	std::memcpy(&header, bytes.data(), sizeof(header));
	header.flags |= flag_need_reply;
	std::memcpy(bytes.data(), &header, sizeof(header));
}

Message plain(Request request) { return message(request); }
Message number(Request request, std::uint64_t value) { return message(request, raw(value)); }
Message ring_state(Request request, RingState state) { return message(request, raw(state)); }
Message ring_addresses(const RingAddresses &addresses) { return message(Request::set_ring_addresses, raw(addresses)); }

Message ring_descriptor(Request request, std::uint32_t index, int descriptor)
{
	std::uint64_t value = (index & ring_index_mask) | (descriptor == no_descriptor ? no_descriptor_flag : 0);
	Message result = message(request, raw(value));
	result.descriptor = descriptor;
	return result;
}

Message memory_table(const MemoryRegion &region, int descriptor)
{
	const std::uint32_t count[] = {1, 0};	// regions, padding
	Message result = message(Request::set_memory_table, raw(count), raw(region));
	result.descriptor = descriptor;
	return result;
}

Message get_config(std::uint32_t size)
{
	Bytes room(size);	// the request is as long as its answer
	return message(Request::get_config, raw(ConfigHeader{0, size, 0}), std::span<const std::byte>{room});
}

Message set_config(std::uint32_t offset, std::span<const std::byte> bytes)
{
	return message(Request::set_config, raw(ConfigHeader{offset, static_cast<std::uint32_t>(bytes.size()), 0}), bytes);
}

std::size_t reply_size(Request request, std::span<const std::byte, sizeof(Header)> bytes)
{
	Header header;
	std::memcpy(&header, bytes.data(), sizeof(header));
	if (header.request != static_cast<std::uint32_t>(request))
		throw BackEndError{fmt::format("it answers {} when asked {}", header.request, static_cast<std::uint32_t>(request))};
	// Some repeat our flag, which says nothing in an answer.
	if ((header.flags & ~flag_need_reply) != (flag_version | flag_reply))
		throw BackEndError{fmt::format("it answers with flags {:#x}", header.flags)};
	if (header.size > max_reply)
		throw BackEndError{fmt::format("it answers with {} bytes", header.size)};
	return header.size;
}

std::uint64_t reply_number(std::span<const std::byte> payload) { return payload_as<std::uint64_t>(payload); }

std::uint32_t reply_ring_base(std::span<const std::byte> payload, std::uint32_t index)
{
	auto state = payload_as<RingState>(payload);
	if (state.index != index)
		throw BackEndError{fmt::format("it stops ring {} when asked to stop {}", state.index, index)};
	return state.number;
}

Bytes reply_config(std::span<const std::byte> payload, std::uint32_t size)
{
	if (payload.empty())	// how the protocol says no
		throw BackEndError{fmt::format("it does not have {} bytes of configuration", size)};
	if (payload.size() != sizeof(ConfigHeader) + size)
		throw BackEndError{fmt::format("it answers with {} bytes of configuration instead of {}",
					       payload.size() - std::min(payload.size(), sizeof(ConfigHeader)), size)};
	auto header = payload_as<ConfigHeader>(payload.first(sizeof(ConfigHeader)));
	if (header.offset != 0 || header.size != size)
		throw BackEndError{fmt::format("it answers with {} bytes at {} of the configuration", header.size, header.offset)};
	auto bytes = payload.subspan(sizeof(ConfigHeader));
	return {bytes.begin(), bytes.end()};
}

} // namespace lguest::vhost_user
