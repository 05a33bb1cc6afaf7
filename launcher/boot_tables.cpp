// SPDX-License-Identifier: GPL-2.0-only
// Building the start-up page tables, see boot_tables.h.
//
//     virtual address  | 47..39 | 38..30 | 29..21 | 20..0  |
//                        root      |        |       2 MiB page
//                         +--> directory    |
//                                 pointers  |
//                                   +--> directory --> leaf
#include "boot_tables.h"

#include <stdexcept>

namespace lguest {
namespace {

constexpr std::uint64_t table_size = 4096;
constexpr unsigned leaf_shift = 21, directory_shift = 30, root_shift = 39;

constexpr std::uint64_t present = 1 << 0, writable = 1 << 1, user = 1 << 2;
constexpr std::uint64_t accessed = 1 << 5, dirty = 1 << 6, large = 1 << 7;
constexpr std::uint64_t table_flags = present | writable | user | accessed;
constexpr std::uint64_t leaf_flags = table_flags | dirty | large;	// so that no fault has to set them
constexpr std::uint64_t address_mask = 0x000ffffffffff000;

// How many blocks of 1 << shift bytes [start, start + size) touches.
constexpr std::uint64_t touched(const Mapping &mapping, unsigned shift)
{
	return mapping.size ? ((mapping.start + mapping.size - 1) >> shift) - (mapping.start >> shift) + 1 : 0;
}

class Builder {
public:
	Builder(const GuestMemory &memory, Gpa root) : memory_{memory}, root_{root}, next_free_{root + table_size} {}

	void map(std::uint64_t address, std::uint64_t physical)
	{
		Gpa pointers = table_behind(root_, address >> root_shift);
		Gpa directory = table_behind(pointers, address >> directory_shift);
		store(entry_at(directory, address >> leaf_shift), physical | leaf_flags);
	}

private:
	static Gpa entry_at(Gpa table, std::uint64_t index) { return table + index % 512 * sizeof(std::uint64_t); }

	// The table an entry points to; made if there is none.
	Gpa table_behind(Gpa table, std::uint64_t index)
	{
		Gpa at = entry_at(table, index);
		std::uint64_t entry = load(at);
		if (!(entry & present)) {
			entry = value(next_free_) | table_flags;
			next_free_ = next_free_ + table_size;
			store(at, entry);
		}
		return Gpa{entry & address_mask};
	}

	std::uint64_t load(Gpa gpa) const
	{
		auto entry = memory_.read<std::uint64_t>(gpa);
		if (!entry)
			throw std::logic_error{"start-up page tables outside memory"};
		return *entry;
	}
	void store(Gpa gpa, std::uint64_t entry) const
	{
		if (!memory_.write(gpa, entry))
			throw std::logic_error{"start-up page tables outside memory"};
	}

	const GuestMemory &memory_;
	Gpa root_;
	Gpa next_free_;
};

} // namespace

std::uint64_t boot_tables_size(std::span<const Mapping> mappings)
{
	std::uint64_t tables = 1;
	for (const Mapping &mapping : mappings)
		tables += touched(mapping, root_shift) + touched(mapping, directory_shift);
	return tables * table_size;
}

void build_boot_tables(const GuestMemory &memory, Gpa root, std::span<const Mapping> mappings)
{
	Builder builder{memory, root};
	for (const Mapping &mapping : mappings)
		for (std::uint64_t done = 0; done < mapping.size; done += large_page)
			builder.map(mapping.start + done, mapping.physical + done);
}

} // namespace lguest
