// SPDX-License-Identifier: GPL-2.0-only
// Relocating a kernel image, see relocations.h.
#include "relocations.h"

#include "error.h"

#include <cstring>

namespace lguest {
namespace {

using Word = std::int32_t;	// sign-extended to an address

std::vector<std::uint64_t> take_list(std::span<const std::byte> &table)
{
	std::vector<std::uint64_t> list;
	while (table.size() >= sizeof(Word)) {
		Word word;
		std::memcpy(&word, table.last(sizeof(Word)).data(), sizeof(Word));
		table = table.first(table.size() - sizeof(Word));
		if (word == 0)
			return list;
		list.push_back(static_cast<std::uint64_t>(std::int64_t{word}));
	}
	fail("relocations: truncated: a list does not end");
}

template <typename Number, typename Change>
void apply(std::span<std::byte> image, std::uint64_t link_address, const std::vector<std::uint64_t> &list, Change change)
{
	for (std::uint64_t address : list) {
		std::uint64_t offset = address - link_address;	// wraps to something large if below
		if (image.size() < sizeof(Number) || offset > image.size() - sizeof(Number))
			fail("relocations: {:#x} is outside the kernel image; they belong to another kernel", address);
		Number number;
		std::memcpy(&number, image.data() + offset, sizeof(Number));
		number = change(number);
		std::memcpy(image.data() + offset, &number, sizeof(Number));
	}
}

} // namespace

Relocations parse_relocations(std::span<const std::byte> table)
{
	if (table.size() % sizeof(Word))
		fail("relocations: damaged: {} bytes are not whole words", table.size());
	Relocations relocations;
	relocations.add32 = take_list(table);
	relocations.subtract32 = take_list(table);
	relocations.add64 = take_list(table);
	return relocations;
}

void relocate(std::span<std::byte> image, std::uint64_t link_address, const Relocations &relocations,
	      std::uint64_t distance)
{
	auto low = static_cast<std::uint32_t>(distance);
	apply<std::uint32_t>(image, link_address, relocations.add32, [=](std::uint32_t n) { return n + low; });
	apply<std::uint32_t>(image, link_address, relocations.subtract32, [=](std::uint32_t n) { return n - low; });
	apply<std::uint64_t>(image, link_address, relocations.add64, [=](std::uint64_t n) { return n + distance; });
}

} // namespace lguest
