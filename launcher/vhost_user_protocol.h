// SPDX-License-Identifier: GPL-2.0-only
// The messages of vhost-user, the front end's side: what is asked of the process that
// serves a device's queues, and the strict reading of what it answers.
//
// vhost_user.h sends and receives them over a socket; here are bytes only, so that
// tests and the fuzzer need none.
//
//     | request | flags | size | payload ...        and descriptors beside (SCM_RIGHTS)
//       u32       u32     u32    size bytes
//
// The back end is not trusted with more than the guest's memory, which it has: a
// wrong answer is a BackEndError, which ends the device and nothing else.
#pragma once

#include "vhost_back_end.h"

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace lguest::vhost_user {

using lguest::BackEndError;

enum class Request : std::uint32_t {
	get_features = 1,
	set_features = 2,
	set_owner = 3,
	set_memory_table = 5,
	set_ring_size = 8,
	set_ring_addresses = 9,
	set_ring_base = 10,
	get_ring_base = 11,		// which stops the ring
	set_ring_kick = 12,
	set_ring_call = 13,
	get_protocol_features = 15,
	set_protocol_features = 16,
	get_queue_count = 17,
	set_ring_enable = 18,
	get_config = 24,
	set_config = 25,
};

constexpr std::uint64_t feature_protocol_features = 1ull << 30;	// beside virtio's own

constexpr std::uint64_t protocol_multiqueue = 1ull << 0;	// protocol features
constexpr std::uint64_t protocol_reply_ack = 1ull << 3;
constexpr std::uint64_t protocol_config = 1ull << 9;

struct Header {
	std::uint32_t request;
	std::uint32_t flags;
	std::uint32_t size;		// of the payload
};
static_assert(sizeof(Header) == 12);

constexpr std::uint32_t flag_version = 1;
constexpr std::uint32_t flag_version_mask = 3;
constexpr std::uint32_t flag_reply = 4;
constexpr std::uint32_t flag_need_reply = 8;

struct RingState {
	std::uint32_t index;
	std::uint32_t number;
};

// Where a ring is, as addresses in our own address space.
struct RingAddresses {
	std::uint32_t index;
	std::uint32_t flags;
	std::uint64_t descriptors;
	std::uint64_t used;
	std::uint64_t available;
	std::uint64_t log;
};
static_assert(sizeof(RingAddresses) == 40);

// One piece of the guest's memory: where the guest has it, where we have it, where it
// is in the descriptor that goes along.
struct MemoryRegion {
	std::uint64_t gpa;
	std::uint64_t size;
	std::uint64_t address;
	std::uint64_t offset;
};
static_assert(sizeof(MemoryRegion) == 32);

struct ConfigHeader {
	std::uint32_t offset;
	std::uint32_t size;
	std::uint32_t flags;
};

constexpr std::size_t max_config = 256;
constexpr std::size_t max_reply = sizeof(ConfigHeader) + max_config;
constexpr int no_descriptor = -1;

// A message ready to be sent.
struct Message {
	Request request;
	Bytes bytes;				// header and payload
	int descriptor = no_descriptor;		// goes along; not owned

	// Ask for an answer, 0 for success, where the request has none of its own.
	void demand_reply();
};

Message plain(Request request);
Message number(Request request, std::uint64_t value);
Message ring_state(Request request, RingState state);
Message ring_addresses(const RingAddresses &addresses);
Message ring_descriptor(Request request, std::uint32_t index, int descriptor);
Message memory_table(const MemoryRegion &region, int descriptor);
Message get_config(std::uint32_t size);
Message set_config(std::uint32_t offset, std::span<const std::byte> bytes);

// The answer to a request.  Both throw BackEndError.
// From its header: the size of the payload that follows, at most max_reply.
std::size_t reply_size(Request request, std::span<const std::byte, sizeof(Header)> header);
// Its payload, by what it is.
std::uint64_t reply_number(std::span<const std::byte> payload);
std::uint32_t reply_ring_base(std::span<const std::byte> payload, std::uint32_t index);
Bytes reply_config(std::span<const std::byte> payload, std::uint32_t size);

} // namespace lguest::vhost_user
