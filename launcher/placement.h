// SPDX-License-Identifier: GPL-2.0-only
// Where in the upper half of the address space the guest's kernel lives.
//
// The host's global mappings survive the world switch, so a guest with an address
// in common with the host needs the slow global-pages fallback.  Placement finds
// room beside the windows the host uses (LG_GET_HOST_WINDOWS); boot.cpp tells the
// guest in lg_boot_info and relocates its image.
//
//     ffff8000'00000000  hypervisor's hole: the switcher
//     ffff8800'00000000 +----------------------------------+
//                       |  direct map, vmalloc, vmemmap,   |  in this order, in
//                       |  each in a gap between windows   |  1 GiB steps
//     fffffe00'00000000 +----------------------------------+
//     ffffffff'00000000  the 2 GiB nobody uses: fixmap, cpu_entry_area
//     ffffffff'80000000  1 GiB for images: text, then modules
//     ffffffff'c0000000
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace lguest {

// Virtual addresses [start, end); an end of 0 is the end of the address space.
struct Window {
	std::uint64_t start;
	std::uint64_t end;
};

// The fields of lg_boot_info of the same names.
struct Placement {
	std::uint64_t page_offset_base = 0xffff888000000000;	// the values are Linux's own
	std::uint64_t vmalloc_base = 0xffffc90000000000;
	std::uint64_t vmemmap_base = 0xffffea0000000000;
	std::uint64_t text_offset = 0;
	std::uint64_t modules_vaddr = 0;
	std::uint64_t modules_end = 0;
	std::uint64_t fixmap_top = 0;

	bool operator==(const Placement &) const = default;
};

struct PlacementRequest {
	std::uint64_t memory;		// bytes of guest memory
	std::uint64_t image_start;	// gpa of the kernel image, which is linked at
	std::uint64_t image_end;	// kernel_map + these
	bool relocatable;		// whether the image may be moved
};

struct PlacementResult {
	Placement placement;
	// Empty if all of the guest is beside the host, else what is not, for the log.
	std::string overlap;
};

// `host` is sorted and its windows do not touch.  Never fails: what finds no room
// stays where Linux has it.
PlacementResult place(std::span<const Window> host, const PlacementRequest &request);

} // namespace lguest
