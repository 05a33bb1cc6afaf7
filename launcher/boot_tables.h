// SPDX-License-Identifier: GPL-2.0-only
// The page tables the guest starts on, as struct lg_boot_info describes them:
// ranges of 2 MiB pages, writable, executable, for CPL 3.  boot.cpp asks for them.
#pragma once

#include "guest_memory.h"

#include <cstdint>
#include <span>

namespace lguest {

// Virtual [start, start + size) -> physical [physical, physical + size).
// All multiples of 2 MiB, inside the upper half, none touching the address space's end.
struct Mapping {
	std::uint64_t start;
	std::uint64_t physical;
	std::uint64_t size;
};

constexpr std::uint64_t large_page = 2ull << 20;

// Bytes to set aside for the tables of these mappings: enough, and not much more.
std::uint64_t boot_tables_size(std::span<const Mapping> mappings);

// Write the tables to [root, root + boot_tables_size()), which is zero; the root
// table comes first.
void build_boot_tables(const GuestMemory &memory, Gpa root, std::span<const Mapping> mappings);

} // namespace lguest
