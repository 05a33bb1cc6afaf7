// SPDX-License-Identifier: GPL-2.0-only
// From a kernel image to a prepared guest: relocations, placement, page tables, boot
// parameters.
#include "launcher_kernel_builder.h"

#include "boot.h"
#include "boot_tables.h"
#include "error.h"
#include "guest_ram.h"
#include "placement.h"
#include "relocations.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace lguest::test {
namespace {

constexpr std::uint64_t MiB = 1 << 20, GiB = 1 << 30, TiB = 1ull << 40;

// --- relocations -------------------------------------------------------------

Bytes table_of(std::vector<std::int32_t> words)
{
	Bytes bytes;
	for (std::int32_t word : words)
		append_object(bytes, word);
	return bytes;
}

std::int32_t word(std::uint64_t address) { return static_cast<std::int32_t>(address); }

TEST(Relocations, ReadFromTheEnd)
{
	std::uint64_t base = kernel_map + 0x1000000;
	Relocations relocations = parse_relocations(table_of(
		{99, 0, word(base + 8), word(base + 16), 0, word(base + 24), 0, word(base + 32), word(base + 40)}));
	EXPECT_EQ(relocations.add64, (std::vector{base + 16, base + 8}));
	EXPECT_EQ(relocations.subtract32, (std::vector{base + 24}));
	EXPECT_EQ(relocations.add32, (std::vector{base + 40, base + 32}));
}

TEST(Relocations, RefuseOtherForms)
{
	EXPECT_THROW(parse_relocations({}), Error);
	EXPECT_THROW(parse_relocations(table_of({0, 0})), Error);
	EXPECT_THROW(parse_relocations(table_of({1, 0, 2, 0, 3})), Error);
	Bytes odd = table_of({0, 0, 0});
	odd.push_back({});
	EXPECT_THROW(parse_relocations(odd), Error);
	EXPECT_NO_THROW(parse_relocations(table_of({0, 0, 0})));
}

TEST(Relocations, MoveAnImage)
{
	std::uint64_t base = kernel_map + 0x1000000;
	std::vector<std::uint64_t> words{base + 100, 0xffffffff81000010, 50, 0};
	auto image = std::as_writable_bytes(std::span{words});
	relocate(image, base, {{base}, {base + 16}, {base + 8}}, 0x4000000);
	EXPECT_EQ(words[0], base + 100 + 0x4000000);
	EXPECT_EQ(words[1], 0xffffffff85000010);	// the low half moved
	EXPECT_EQ(words[2], 0xfc000032u);		// 50 - 0x4000000 in 32 bits
	EXPECT_EQ(words[3], 0u);
}

TEST(Relocations, RefusePlacesOutside)
{
	std::uint64_t base = kernel_map + 0x1000000;
	std::vector<std::uint64_t> words(2);
	auto image = std::as_writable_bytes(std::span{words});
	EXPECT_THROW(relocate(image, base, {{base + 9}, {}, {}}, 1), Error);
	EXPECT_THROW(relocate(image, base, {{base - 1}, {}, {}}, 1), Error);
	EXPECT_THROW(relocate(image, base, {{}, {base + 13}, {}}, 1), Error);
	EXPECT_THROW(relocate(image, base, {{}, {}, {~0ull}}, 1), Error);
	EXPECT_THROW(relocate(image.first(2), base, {{}, {}, {base}}, 1), Error);
	EXPECT_NO_THROW(relocate(image, base, {{base + 8}, {base + 12}, {}}, 1));
}

// --- placement ---------------------------------------------------------------

bool overlaps(const std::vector<Window> &host, std::uint64_t start, std::uint64_t size)
{
	for (const Window &window : host)
		if (start <= window.end - 1 && window.start <= start + size - 1)
			return true;
	return false;
}

// Whatever place() says it found must be so.
void check(const std::vector<Window> &host, const PlacementRequest &request)
{
	auto [placement, overlap] = place(host, request);
	auto found = [&, &overlap = overlap](const char *what) { return overlap.find(what) == std::string::npos; };
	if (found("direct map")) {
		EXPECT_EQ(placement.page_offset_base % GiB, 0u);
		EXPECT_EQ(placement.vmalloc_base % GiB, 0u);
		EXPECT_EQ(placement.vmemmap_base % GiB, 0u);
		EXPECT_GE(placement.page_offset_base, 0xffff880000000000);
		EXPECT_LE(placement.page_offset_base + request.memory, placement.vmalloc_base);
		EXPECT_LE(placement.vmalloc_base + TiB, placement.vmemmap_base);
		EXPECT_LE(placement.vmemmap_base + request.memory / 64, 0xfffffe0000000000);
		EXPECT_FALSE(overlaps(host, placement.page_offset_base, request.memory));
		EXPECT_FALSE(overlaps(host, placement.vmalloc_base, TiB));
		EXPECT_FALSE(overlaps(host, placement.vmemmap_base, request.memory / 64));
	}
	if (found("fixmap")) {
		EXPECT_EQ(placement.fixmap_top % (2 * MiB), 2 * MiB - 4096);
		EXPECT_FALSE(overlaps(host, placement.fixmap_top + 4096 - 64 * MiB, 64 * MiB));
	}
	if (found("kernel image")) {
		std::uint64_t image = kernel_map + request.image_start + placement.text_offset;
		EXPECT_EQ(placement.text_offset % (2 * MiB), 0u);
		EXPECT_FALSE(overlaps(host, image, placement.modules_end - image));
		EXPECT_GE(placement.modules_vaddr, kernel_map + request.image_end + placement.text_offset);
		EXPECT_GE(placement.modules_end, placement.modules_vaddr + 64 * MiB);
		EXPECT_LE(placement.modules_end, kernel_map + kernel_map_size);
		EXPECT_TRUE(request.relocatable || placement.text_offset == 0);
	} else {
		EXPECT_EQ(placement.text_offset, 0u);
	}
}

// A host like a Debian one without KASLR: everything at Linux's own addresses.
const std::vector<Window> plain_host{
	{0xffff888000000000, 0xffff888140000000}, {0xffffc90000000000, 0xffffe90000000000},
	{0xffffea0000000000, 0xffffea0006000000}, {0xfffffe0000000000, 0xfffffe8000000000},
	{0xffffff0000000000, 0xffffff8000000000}, {0xffffffff81000000, 0xffffffff83600000},
	{0xffffffffc0000000, 0},
};
const PlacementRequest small{256 * MiB, 0x1000000, 0x3000000, true};

TEST(Placement, BesideAPlainHost)
{
	check(plain_host, small);
	auto [placement, overlap] = place(plain_host, small);
	EXPECT_EQ(overlap, "");
	EXPECT_EQ(placement.page_offset_base, 0xffff880000000000);
	EXPECT_EQ(placement.text_offset, 0x2600000u);
	EXPECT_EQ(placement.modules_vaddr, 0xffffffff81000000 + 0x2600000 + 0x2000000);
	EXPECT_EQ(placement.fixmap_top, 0xffffffff7ffff000);
}

TEST(Placement, WithoutRelocationsOnlyTheImageStays)
{
	PlacementRequest request = small;
	request.relocatable = false;
	check(plain_host, request);
	EXPECT_NE(place(plain_host, request).overlap.find("no relocations"), std::string::npos);
	EXPECT_EQ(place(plain_host, request).overlap.find("direct"), std::string::npos);
}

TEST(Placement, OnAnEmptyHostTheImageDoesNotMove)
{
	check({}, small);
	EXPECT_EQ(place({}, small).placement.text_offset, 0u);
	EXPECT_EQ(place({}, small).overlap, "");
}

TEST(Placement, FullHostsLeaveLinuxsAddresses)
{
	std::vector<Window> full{{0xffff800000000000, 0}};
	auto [placement, overlap] = place(full, small);
	EXPECT_EQ(placement, Placement{});
	EXPECT_EQ(overlap, "direct map, vmalloc and vmemmap, fixmap, kernel image and modules");
}

TEST(Placement, AnyHost)
{
	std::mt19937_64 random{42};
	for (unsigned round = 0; round < 20000; round++) {
		std::vector<Window> host;
		std::uint64_t at = 0xffff800000000000;
		while (host.size() < 40) {
			unsigned shift = 21 + random() % 24;
			std::uint64_t gap = (1 + random() % 64) << shift, size = (1 + random() % 16) << (21 + random() % 20);
			if (at + gap < at || at + gap + size < at)
				break;
			host.push_back({at + gap, at + gap + size});
			at += gap + size;
			if (host.size() == 10)
				at = std::max<std::uint64_t>(at, kernel_map - GiB);
		}
		check(host, {(1 + random() % 2048) * 2 * MiB, 0x1000000, 0x1000000 + (1 + random() % 100) * MiB, random() % 4 != 0});
		if (HasFailure()) {
			ADD_FAILURE() << "round " << round;
			break;
		}
	}
}

// --- page tables -------------------------------------------------------------

// What the hardware would make of the tables: nothing, or the physical address.
std::optional<std::uint64_t> walk(const GuestMemory &memory, std::uint64_t root, std::uint64_t address)
{
	std::uint64_t table = root;
	for (unsigned shift = 39; shift >= 21; shift -= 9) {
		auto entry = memory.read<std::uint64_t>(Gpa{table + (address >> shift) % 512 * 8});
		if (!entry || !(*entry & 1))
			return std::nullopt;
		EXPECT_EQ(*entry & 0x27, 0x27u) << "present, writable, user, accessed";
		EXPECT_EQ(*entry >> 63, 0u) << "executable";
		std::uint64_t next = *entry & 0xffffffffff000;
		if (shift == 21) {
			EXPECT_EQ(*entry & 0xc0, 0xc0u) << "dirty, large";
			return next + address % large_page;
		}
		EXPECT_EQ(*entry & 0x80, 0u);
		table = next;
	}
	return std::nullopt;
}

TEST(BootTables, TranslateAndFit)
{
	GuestRam ram{64 * MiB};
	GuestMemory memory{ram.bytes()};
	std::vector<Mapping> mappings{{0xffff888000000000 - 4 * MiB, 0, 8 * MiB}, {kernel_map + 1022 * MiB, 0x40000000, 2 * MiB}};
	build_boot_tables(memory, Gpa{0x100000}, mappings);
	for (const Mapping &mapping : mappings) {
		for (std::uint64_t at = 0; at < mapping.size; at += 0x1ff000)
			EXPECT_EQ(walk(memory, 0x100000, mapping.start + at), mapping.physical + at);
		EXPECT_FALSE(walk(memory, 0x100000, mapping.start - 1));
		EXPECT_FALSE(walk(memory, 0x100000, mapping.start + mapping.size));
	}
	std::uint64_t size = boot_tables_size(mappings);
	auto behind = *memory.range(Gpa{0x100000 + size}, 4096);
	EXPECT_TRUE(std::ranges::all_of(behind, [](std::byte byte) { return byte == std::byte{}; }));
}

// --- boot --------------------------------------------------------------------

struct Booted {
	Booted(std::uint64_t size, const BootRequest &request)
		: ram{size}, memory{ram.bytes()}, registers{prepare_boot(memory, request)},
		  params{*memory.read<boot_params>(zero_page)}, info{*memory.read<lg_boot_info>(boot_info)}
	{
	}
	GuestRam ram;
	GuestMemory memory;
	lg_regs registers;
	boot_params params;
	lg_boot_info info;
};

TEST(Boot, PreparesAGuest)
{
	KernelImage kernel = parse_kernel(ElfBuilder{}.build());
	Bytes initrd = bytes_of("the initrd");
	Booted guest{64 * MiB, {kernel, initrd, "console=lg0 quiet", {}, 3}};

	EXPECT_EQ(guest.registers.rip, kernel_map + 0x1000000);
	EXPECT_EQ(guest.registers.rsi, 0xffff888000000000 + value(zero_page));
	EXPECT_EQ(guest.registers.cs, 0x33u);
	EXPECT_EQ(guest.registers.ss, 0x2bu);
	EXPECT_EQ(guest.registers.vcpu_page, ~0ull);
	EXPECT_EQ(guest.registers.cr3, guest.info.tables_start);

	EXPECT_EQ(guest.params.hdr.hardware_subarch, std::uint32_t{LG_HARDWARE_SUBARCH});
	EXPECT_EQ(guest.params.hdr.hardware_subarch_data, value(boot_info));
	EXPECT_STREQ(reinterpret_cast<const char *>(guest.memory.range(Gpa{guest.params.hdr.cmd_line_ptr}, 64)->data()),
		     "console=lg0 quiet");
	EXPECT_EQ(guest.params.e820_entries, 2);
	EXPECT_EQ(guest.params.e820_table[1].addr + guest.params.e820_table[1].size, 64 * MiB);
	std::uint64_t at = guest.params.hdr.ramdisk_image | std::uint64_t{guest.params.ext_ramdisk_image} << 32;
	EXPECT_EQ(at % 4096, 0u);
	EXPECT_EQ(guest.params.hdr.ramdisk_size, initrd.size());
	EXPECT_TRUE(std::ranges::equal(*guest.memory.range(Gpa{at}, initrd.size()), initrd));

	EXPECT_EQ(guest.info.version, std::uint32_t{LG_ABI_VERSION});
	EXPECT_EQ(guest.info.vcpus, 3u);
	EXPECT_EQ(guest.info.phys_base, 0u);
	EXPECT_GT(guest.info.tables_end, guest.info.tables_start);
	EXPECT_EQ(guest.memory.read<char>(Gpa{0x1000000}), 'T');
	EXPECT_EQ(guest.memory.read<char>(Gpa{0x1200000}), 'd');

	for (std::uint64_t address = 0; address < 64 * MiB; address += MiB) {
		EXPECT_EQ(walk(guest.memory, guest.registers.cr3, kernel_map + address), address);
		EXPECT_EQ(walk(guest.memory, guest.registers.cr3, 0xffff888000000000 + address), address);
	}
	EXPECT_FALSE(walk(guest.memory, guest.registers.cr3, kernel_map + 64 * MiB));
}

TEST(Boot, MovesAnImage)
{
	ElfBuilder builder;
	std::uint64_t pointer = kernel_map + 0x1200000;
	std::memcpy(builder.segments[0].contents.data(), &pointer, sizeof(pointer));
	KernelImage kernel = parse_kernel(builder.build());
	kernel.relocations = table_of({0, word(kernel_map + 0x1000000), 0, 0});
	Placement placement = place(plain_host, {64 * MiB, kernel.start, kernel.end, true}).placement;
	ASSERT_NE(placement.text_offset, 0u);
	Booted guest{64 * MiB, {kernel, {}, "", placement, 1}};
	std::uint64_t text = kernel_map + 0x1000000 + placement.text_offset;

	EXPECT_EQ(guest.registers.rip, text);
	EXPECT_EQ(guest.info.text_offset + guest.info.phys_base, 0u);
	EXPECT_EQ(guest.memory.read<std::uint64_t>(Gpa{0x1000000}), pointer + placement.text_offset);
	EXPECT_EQ(walk(guest.memory, guest.registers.cr3, text), 0x1000000u);
	EXPECT_EQ(walk(guest.memory, guest.registers.cr3, text + 0x201fff), 0x1201fffu);
	EXPECT_EQ(walk(guest.memory, guest.registers.cr3, placement.page_offset_base + 0x7000), 0x7000u);
	for (const Window &window : plain_host) {
		EXPECT_FALSE(walk(guest.memory, guest.registers.cr3, window.start));
		EXPECT_FALSE(walk(guest.memory, guest.registers.cr3, window.end - 1));
	}
}

TEST(Boot, LargeMemories)
{
	KernelImage kernel = parse_kernel(ElfBuilder{}.build());
	for (std::uint64_t size : {4 * GiB, 300 * GiB}) {
		Booted guest{size, {kernel, bytes_of("initrd"), "", {}, 1}};
		EXPECT_EQ(walk(guest.memory, guest.registers.cr3, 0xffff888000000000 + size - 1), size - 1);
		EXPECT_EQ(walk(guest.memory, guest.registers.cr3, kernel_map + GiB - 1), GiB - 1);
		EXPECT_LE(guest.info.tables_end, size);
		EXPECT_EQ(guest.params.ext_ramdisk_image, (size - 4096) >> 32);
	}
}

TEST(Boot, SaysWhatDoesNotFit)
{
	KernelImage kernel = parse_kernel(ElfBuilder{}.build());
	GuestRam ram{32 * MiB};
	GuestMemory memory{ram.bytes()};
	auto complaint = [&](BootRequest request) {
		try {
			prepare_boot(memory, request);
			return std::string{};
		} catch (const Error &error) {
			return std::string{error.what()};
		}
	};
	Bytes initrd(20 * MiB);
	EXPECT_EQ(complaint({kernel, initrd, "", {}, 1}),
		  "32 MiB of memory are too little for the kernel and its initrd; give more with --memory");
	EXPECT_NE(complaint({kernel, {}, std::string(3000, 'x'), {}, 1}).find("shorten --append"), std::string::npos);
	ElfBuilder builder;
	builder.segments[1].memory_size = 32 * MiB;
	KernelImage large = parse_kernel(builder.build());
	EXPECT_EQ(complaint({large, {}, "", {}, 1}),
		  "32 MiB of memory are too little, the kernel alone needs 51 MiB; give more with --memory");
}

} // namespace
} // namespace lguest::test
