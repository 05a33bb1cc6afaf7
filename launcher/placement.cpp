// SPDX-License-Identifier: GPL-2.0-only
// Finding room beside the host, see placement.h.
#include "placement.h"

#include "kernel_image.h"

#include <algorithm>

namespace lguest {
namespace {

constexpr std::uint64_t MiB = 1ull << 20;
constexpr std::uint64_t GiB = 1ull << 30;
constexpr std::uint64_t TiB = 1ull << 40;

constexpr Window areas{0xffff880000000000, 0xfffffe0000000000};		// direct map, vmalloc, vmemmap
constexpr Window fixmap_hole{0xffffffff00000000, kernel_map};
constexpr Window images{kernel_map, kernel_map + kernel_map_size};

constexpr std::uint64_t area_step = GiB;	// Linux's KASLR moves them by PUDs as well
constexpr std::uint64_t image_step = 2 * MiB;	// and text by PMDs
constexpr std::uint64_t vmalloc_size = TiB;
constexpr std::uint64_t page_struct = 64;	// bytes of vmemmap for a page
constexpr std::uint64_t page = 4096;
constexpr std::uint64_t most_modules = 256 * MiB;
constexpr std::uint64_t least_modules = 64 * MiB;
constexpr std::uint64_t fixmap_size = 64 * MiB;	// a guess at what fixmap and cpu_entry_area need, generous

constexpr std::uint64_t up(std::uint64_t number, std::uint64_t step) { return (number + step - 1) / step * step; }

// The last byte instead of the end, which may be 0.
constexpr std::uint64_t last(const Window &window) { return window.end - 1; }

// The lowest multiple of `step` in `range` from `from` on with `size` bytes free of
// the host's windows.  `range` does not end with the address space.
std::optional<std::uint64_t> lowest_free(std::span<const Window> host, const Window &range, std::uint64_t from,
					 std::uint64_t size, std::uint64_t step)
{
	std::uint64_t address = up(std::max(from, range.start), step);
	for (const Window &window : host) {
		if (last(window) < address)
			continue;
		if (address > range.end || size > range.end - address)
			return std::nullopt;
		if (address + size <= window.start)
			return address;
		if (last(window) >= range.end)
			return std::nullopt;
		address = up(window.end, step);
	}
	if (address > range.end || size > range.end - address)
		return std::nullopt;
	return address;
}

// The end of the free room `address` lies in.
std::uint64_t free_until(std::span<const Window> host, std::uint64_t address, std::uint64_t limit)
{
	for (const Window &window : host)
		if (window.start >= address)
			return std::min(limit, window.start);
	return limit;
}

bool place_areas(std::span<const Window> host, const PlacementRequest &request, Placement &placement)
{
	std::uint64_t direct = up(request.memory, area_step);
	std::uint64_t structs = up(request.memory / page * page_struct, area_step);
	auto page_offset = lowest_free(host, areas, areas.start, direct, area_step);
	if (!page_offset)
		return false;
	auto vmalloc = lowest_free(host, areas, *page_offset + direct, vmalloc_size, area_step);
	if (!vmalloc)
		return false;
	auto vmemmap = lowest_free(host, areas, *vmalloc + vmalloc_size, structs, area_step);
	if (!vmemmap)
		return false;
	placement.page_offset_base = *page_offset;
	placement.vmalloc_base = *vmalloc;
	placement.vmemmap_base = *vmemmap;
	return true;
}

bool place_fixmap(std::span<const Window> host, Placement &placement)
{
	// From the top, because the guest's static tables begin there.
	for (std::uint64_t top = fixmap_hole.end; top - fixmap_hole.start >= fixmap_size; top -= image_step) {
		if (lowest_free(host, {top - fixmap_size, top}, top - fixmap_size, fixmap_size, image_step)) {
			placement.fixmap_top = top - page;
			return true;
		}
	}
	return false;
}

bool place_image(std::span<const Window> host, const PlacementRequest &request, Placement &placement)
{
	std::uint64_t linked = kernel_map + request.image_start / image_step * image_step;
	std::uint64_t size = up(kernel_map + request.image_end - linked, image_step);
	auto text = lowest_free(host, images, linked, size + least_modules, image_step);
	if (!text || (*text != linked && !request.relocatable))
		return false;
	placement.text_offset = *text - linked;
	placement.modules_vaddr = *text + size;
	placement.modules_end = std::min(free_until(host, *text + size, images.end), *text + size + most_modules);
	return true;
}

} // namespace

PlacementResult place(std::span<const Window> host, const PlacementRequest &request)
{
	PlacementResult result;
	auto note = [&](bool placed, const char *what) {
		if (!placed)
			result.overlap += (result.overlap.empty() ? "" : ", ") + std::string{what};
	};
	note(place_areas(host, request, result.placement), "direct map, vmalloc and vmemmap");
	note(place_fixmap(host, result.placement), "fixmap");
	note(place_image(host, request, result.placement),
	     request.relocatable ? "kernel image and modules" : "kernel image and modules (no relocations)");
	return result;
}

} // namespace lguest
