// SPDX-License-Identifier: GPL-2.0-only
// Kernel files for tests and for the fuzzers' seeds: an ELF with segments and notes,
// and a bzImage round any payload.
#pragma once

#include "file.h"
#include "kernel_image.h"

#include <lguest/guest_abi.h>

#include <asm/bootparam.h>

#include <cstring>
#include <elf.h>
#include <string>
#include <string_view>
#include <vector>

namespace lguest::test {

inline Bytes bytes_of(std::string_view text)
{
	auto bytes = std::as_bytes(std::span{text});
	return {bytes.begin(), bytes.end()};
}

template <typename T>
void append_object(Bytes &bytes, const T &object)
{
	auto raw = std::as_bytes(std::span{&object, 1});
	bytes.insert(bytes.end(), raw.begin(), raw.end());
}

struct TestSegment {
	std::uint64_t address;
	std::string contents;
	std::uint64_t memory_size;
};

// The members are what goes into the file; change them to make it wrong.
struct ElfBuilder {
	std::vector<TestSegment> segments{{0x1000000, std::string(64, 'T'), 0x1000}, {0x1200000, "data", 0x2000}};
	std::uint32_t abi_version = LG_ABI_VERSION;
	std::uint64_t entry = kernel_map + 0x1000000;
	std::string note_name{"lguest", 7};
	bool notes = true;
	Elf64_Half machine = EM_X86_64;
	Elf64_Half type = ET_EXEC;
	unsigned char elf_class = ELFCLASS64;

	Bytes build() const
	{
		Bytes note_bytes;
		add_note(note_bytes, LG_NOTE_ABI_VERSION, abi_version);
		add_note(note_bytes, LG_NOTE_ENTRY, entry);
		std::size_t count = segments.size() + notes;
		std::uint64_t offset = sizeof(Elf64_Ehdr) + count * sizeof(Elf64_Phdr);

		Bytes file, contents;
		Elf64_Ehdr header{};
		std::memcpy(header.e_ident, ELFMAG, SELFMAG);
		header.e_ident[EI_CLASS] = elf_class;
		header.e_ident[EI_DATA] = ELFDATA2LSB;
		header.e_ident[EI_VERSION] = EV_CURRENT;
		header.e_type = type;
		header.e_machine = machine;
		header.e_version = EV_CURRENT;
		header.e_phoff = sizeof(Elf64_Ehdr);
		header.e_ehsize = sizeof(Elf64_Ehdr);
		header.e_phentsize = sizeof(Elf64_Phdr);
		header.e_phnum = static_cast<Elf64_Half>(count);
		append_object(file, header);
		auto add = [&](std::uint32_t kind, std::uint64_t address, std::span<const std::byte> data, std::uint64_t memory) {
			Elf64_Phdr program{};
			program.p_type = kind;
			program.p_offset = offset + contents.size();
			program.p_vaddr = kernel_map + address;
			program.p_paddr = address;
			program.p_filesz = data.size();
			program.p_memsz = memory;
			program.p_align = 4;
			append_object(file, program);
			contents.insert(contents.end(), data.begin(), data.end());
		};
		for (const TestSegment &segment : segments)
			add(PT_LOAD, segment.address, std::as_bytes(std::span{segment.contents}), segment.memory_size);
		if (notes)
			add(PT_NOTE, 0, note_bytes, note_bytes.size());
		file.insert(file.end(), contents.begin(), contents.end());
		return file;
	}

private:
	template <typename T>
	void add_note(Bytes &bytes, std::uint32_t kind, const T &value) const
	{
		append_object(bytes, Elf64_Nhdr{static_cast<Elf64_Word>(note_name.size()), sizeof(T), kind});
		Bytes name = bytes_of(note_name);
		bytes.insert(bytes.end(), name.begin(), name.end());
		bytes.resize((bytes.size() + 3) / 4 * 4);
		append_object(bytes, value);
	}
};

inline KernelImage parse_kernel(const Bytes &bytes) { return lguest::parse_kernel(file_in_memory(bytes, "kernel", "K")); }

inline Bytes build_bzimage(const Bytes &payload, std::uint16_t version = 0x020f)
{
	constexpr std::size_t code = 5 * 512;
	constexpr std::uint32_t payload_offset = 64;
	Bytes file(code + payload_offset);
	setup_header header{};
	header.setup_sects = 4;
	header.boot_flag = 0xaa55;
	header.jump = 0x66eb;			// the header ends at 0x202 + 0x66
	header.header = 0x53726448;
	header.version = version;
	header.payload_offset = payload_offset;
	header.payload_length = static_cast<std::uint32_t>(payload.size());
	header.kernel_alignment = 0x200000;
	std::memcpy(file.data() + 0x1f1, &header, sizeof(header));
	file.insert(file.end(), payload.begin(), payload.end());
	return file;
}

} // namespace lguest::test
