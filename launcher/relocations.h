// SPDX-License-Identifier: GPL-2.0-only
// KASLR's relocation table, and moving a kernel image with it.
//
// arch/x86/tools/relocs makes it; it is appended to a bzImage's payload, or lies
// beside a vmlinux.  32-bit words, read from the end, each a virtual address with
// its upper half (all ones) left out:
//
//     0, 64-bit ..., 0, inverse 32-bit ..., 0, 32-bit ...
//
// "inverse": places relative to the per-CPU area, which does not move, so the
// distance to it shrinks by as much as the image moves up.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace lguest {

struct Relocations {
	std::vector<std::uint64_t> add64, subtract32, add32;	// linked virtual addresses
};

// Throws Error if the table has no such form.
Relocations parse_relocations(std::span<const std::byte> table);

// Relocate a loaded image by `distance` bytes.  image[0] is linked at `link_address`.
// Throws Error if a place to relocate is not inside the image; it is half done then.
void relocate(std::span<std::byte> image, std::uint64_t link_address, const Relocations &relocations,
	      std::uint64_t distance);

} // namespace lguest
