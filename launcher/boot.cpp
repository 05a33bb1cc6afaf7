// SPDX-License-Identifier: GPL-2.0-only
// Preparing a guest's memory and registers, see boot.h.
#include "boot.h"

#include "boot_tables.h"
#include "error.h"
#include "relocations.h"

#include <asm/bootparam.h>

#include <algorithm>
#include <array>

namespace lguest {
namespace {

constexpr std::uint64_t page = 4096;
constexpr std::uint64_t high_memory = 1ull << 20;
constexpr std::uint8_t undefined_loader = 0xff;
constexpr std::uint32_t header_magic = 0x53726448;	// "HdrS"
constexpr std::uint16_t header_version = 0x020f;
constexpr std::uint16_t header_boot_flag = 0xaa55;
constexpr std::uint32_t e820_ram = 1;

struct Layout {
	std::vector<Mapping> mappings;
	Gpa tables;
	std::uint64_t tables_size;
	Gpa initrd;
};

// The mappings lg_boot_info promises.  phys_base = -text_offset: the image keeps its
// place in memory however far it moves virtually.
std::vector<Mapping> start_up_mappings(const GuestMemory &memory, const BootRequest &request)
{
	const Placement &placement = request.placement;
	std::uint64_t image = std::min(kernel_map_size - placement.text_offset, memory.size());
	// A guest beside the host must not map the whole GiB, in which the host is, too.
	if (placement.modules_vaddr)
		image = placement.modules_vaddr - kernel_map - placement.text_offset;
	std::uint64_t image_start = placement.modules_vaddr ? request.kernel.start / large_page * large_page : 0;
	image = std::min(image, memory.size());
	return {
		{kernel_map + placement.text_offset + image_start, image_start, image - image_start},
		{placement.page_offset_base, 0, memory.size()},
	};
}

Layout lay_out(const GuestMemory &memory, const BootRequest &request)
{
	Layout layout;
	std::uint64_t top = memory.size();
	auto take_from_top = [&](std::uint64_t size, const char *what) {
		if (size > top || top - size < request.kernel.end)
			fail("{} MiB of memory are too little for the kernel and its {}; give more with --memory",
			     memory.size() >> 20, what);
		top = (top - size) / page * page;
		return Gpa{top};
	};
	if (request.kernel.end > top)
		fail("{} MiB of memory are too little, the kernel alone needs {} MiB; give more with --memory",
		     memory.size() >> 20, (request.kernel.end >> 20) + 1);

	layout.initrd = take_from_top(request.initrd.size(), "initrd");
	layout.mappings = start_up_mappings(memory, request);
	layout.tables_size = boot_tables_size(layout.mappings);
	bool low = layout.tables_size <= value(low_memory_end) - value(low_tables);
	layout.tables = low ? low_tables : take_from_top(layout.tables_size, "page tables");
	return layout;
}

std::span<std::byte> must(std::optional<std::span<std::byte>> bytes)
{
	if (!bytes)
		throw std::logic_error{"boot layout outside memory"};
	return *bytes;
}

void copy(const GuestMemory &memory, Gpa to, std::span<const std::byte> from)
{
	std::ranges::copy(from, must(memory.range(to, from.size())).begin());
}

void load_image(const GuestMemory &memory, const BootRequest &request)
{
	const KernelImage &kernel = request.kernel;
	for (const Segment &segment : kernel.segments)
		kernel.elf.read(segment.file_offset, must(memory.range(Gpa{segment.address}, segment.file_size)));
	if (request.placement.text_offset)
		relocate(must(memory.range(Gpa{kernel.start}, kernel.end - kernel.start)), kernel_map + kernel.start,
			 parse_relocations(kernel.relocations), request.placement.text_offset);
}

void write_zero_page(const GuestMemory &memory, const BootRequest &request, const Layout &layout)
{
	boot_params params{};
	const Bytes &given = request.kernel.setup_header;
	std::copy_n(given.begin(), std::min(given.size(), sizeof(params.hdr)), reinterpret_cast<std::byte *>(&params.hdr));
	if (given.empty()) {
		params.hdr.boot_flag = header_boot_flag;
		params.hdr.header = header_magic;
		params.hdr.version = header_version;
	}
	params.hdr.type_of_loader = undefined_loader;
	params.hdr.loadflags |= LOADED_HIGH;
	params.hdr.cmd_line_ptr = static_cast<std::uint32_t>(value(command_line));
	params.hdr.cmdline_size = max_command_line;
	params.hdr.setup_data = 0;
	params.hdr.hardware_subarch = LG_HARDWARE_SUBARCH;
	params.hdr.hardware_subarch_data = value(boot_info);
	if (!request.initrd.empty()) {
		params.hdr.ramdisk_image = static_cast<std::uint32_t>(value(layout.initrd));
		params.ext_ramdisk_image = static_cast<std::uint32_t>(value(layout.initrd) >> 32);
		params.hdr.ramdisk_size = static_cast<std::uint32_t>(request.initrd.size());
		params.ext_ramdisk_size = static_cast<std::uint32_t>(request.initrd.size() >> 32);
	}
	params.e820_table[0] = {0, value(low_memory_end), e820_ram};
	params.e820_table[1] = {high_memory, memory.size() - high_memory, e820_ram};
	params.e820_entries = 2;
	copy(memory, zero_page, std::as_bytes(std::span{&params, 1}));
}

void write_boot_info(const GuestMemory &memory, const BootRequest &request, const Layout &layout)
{
	const Placement &placement = request.placement;
	lg_boot_info info{};
	info.version = LG_ABI_VERSION;
	info.vcpus = request.vcpus;
	info.page_offset_base = placement.page_offset_base;
	info.vmalloc_base = placement.vmalloc_base;
	info.vmemmap_base = placement.vmemmap_base;
	info.phys_base = -placement.text_offset;
	info.text_offset = placement.text_offset;
	info.modules_vaddr = placement.modules_vaddr;
	info.modules_end = placement.modules_end;
	info.fixmap_top = placement.fixmap_top;
	info.tables_start = value(layout.tables);
	info.tables_end = value(layout.tables) + layout.tables_size;
	copy(memory, boot_info, std::as_bytes(std::span{&info, 1}));
}

} // namespace

lg_regs prepare_boot(const GuestMemory &memory, const BootRequest &request)
{
	if (request.command_line.size() > max_command_line)
		fail("the kernel command line has {} characters, {} are possible; shorten --append",
		     request.command_line.size(), max_command_line);
	Layout layout = lay_out(memory, request);
	load_image(memory, request);
	copy(memory, command_line, std::as_bytes(std::span{request.command_line}));
	copy(memory, layout.initrd, request.initrd);
	write_zero_page(memory, request, layout);
	write_boot_info(memory, request, layout);
	build_boot_tables(memory, layout.tables, layout.mappings);

	lg_regs registers{};
	registers.rip = request.kernel.entry + request.placement.text_offset;
	registers.rsi = request.placement.page_offset_base + value(zero_page);
	registers.rflags = LG_ENTRY_RFLAGS;
	registers.cs = LG_USER_CS;
	registers.ss = LG_USER_DS;
	registers.cr3 = value(layout.tables);
	registers.vcpu_page = registers.time_page = ~0ull;
	return registers;
}

} // namespace lguest
