// SPDX-License-Identifier: GPL-2.0-only
// The kernel loader: ELF headers and notes, see kernel_image.h.
//
// libelf decodes; each number it hands out is still the file's, and checked here.
#include "kernel_image.h"

#include "bzimage.h"
#include "decompress.h"
#include "error.h"

#include <lguest/guest_abi.h>

#include <algorithm>
#include <cstring>
#include <gelf.h>
#include <memory>
#include <optional>
#include <string_view>
#include <unistd.h>

namespace lguest {
namespace {

constexpr std::uint64_t lowest_load_address = 1ull << 20;	// below are the launcher's structures
constexpr std::uint64_t kernel_limit = kernel_map_size;		// no segment at or above

struct ElfEnd {
	void operator()(Elf *elf) const { elf_end(elf); }
};
using ElfHandle = std::unique_ptr<Elf, ElfEnd>;

template <typename T>
T copy_of(const char *bytes)
{
	T object;
	std::memcpy(&object, bytes, sizeof(T));
	return object;
}

class ElfParser {
public:
	explicit ElfParser(KernelImage &image) : image_{image}, name_{image.elf.name}, size_{image.elf.size} {}

	void parse();
	// Where in the file the ELF ends: past the last thing its headers point at.
	std::uint64_t file_end() const { return file_end_; }

private:
	[[noreturn]] void bad(const char *what) const { fail("kernel {}: {}", name_, what); }
	void check_identity() const;
	void add_segment(const GElf_Phdr &header);
	void read_notes(const GElf_Phdr &header);
	void check_overlaps();
	bool inside(std::uint64_t offset, std::uint64_t size) const
	{
		return offset <= size_ && size <= size_ - offset;
	}
	void reach(std::uint64_t end) { file_end_ = std::max(file_end_, end); }

	KernelImage &image_;
	const std::string &name_;
	std::uint64_t size_;
	std::uint64_t file_end_ = 0;
	ElfHandle elf_;
	bool has_version_ = false, has_entry_ = false;	// whether the notes were there
	std::uint32_t version_ = 0;
};

void ElfParser::check_identity() const
{
	if (size_ < sizeof(Elf64_Ehdr))
		bad("truncated: shorter than an ELF header");
	Elf64_Ehdr header;
	image_.elf.read(0, std::as_writable_bytes(std::span{&header, 1}));
	if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
		bad("neither an ELF file nor a bzImage; give a vmlinux or a bzImage");
	if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
	    header.e_machine != EM_X86_64)
		bad("wrong architecture; give a kernel for 64-bit x86");
	if (header.e_type != ET_EXEC && header.e_type != ET_DYN)
		bad("an ELF file, but not an executable");
	if (header.e_phentsize != sizeof(Elf64_Phdr))
		bad("damaged: program header size");
	if (!inside(header.e_phoff, std::uint64_t{header.e_phnum} * sizeof(Elf64_Phdr)))
		bad("truncated: program headers outside the file");
}

void ElfParser::parse()
{
	check_identity();
	elf_version(EV_CURRENT);
	elf_.reset(elf_begin(image_.elf.fd.get(), ELF_C_READ, nullptr));
	std::size_t count = 0;
	if (!elf_ || elf_kind(elf_.get()) != ELF_K_ELF || elf_getphdrnum(elf_.get(), &count) != 0)
		bad("damaged ELF header");

	GElf_Ehdr header;
	if (!gelf_getehdr(elf_.get(), &header))
		bad("damaged ELF header");
	reach(sizeof(Elf64_Ehdr));
	reach(header.e_phoff + count * sizeof(Elf64_Phdr));
	if (header.e_shoff && inside(header.e_shoff, std::uint64_t{header.e_shnum} * sizeof(Elf64_Shdr)))
		reach(header.e_shoff + std::uint64_t{header.e_shnum} * sizeof(Elf64_Shdr));

	for (std::size_t index = 0; index < count; index++) {
		GElf_Phdr program;
		if (!gelf_getphdr(elf_.get(), static_cast<int>(index), &program))
			bad("damaged: program header");
		if (program.p_type != PT_LOAD && program.p_type != PT_NOTE)
			continue;
		if (!inside(program.p_offset, program.p_filesz))
			bad("truncated: a segment ends beyond the file");
		reach(program.p_offset + program.p_filesz);
		if (program.p_type == PT_LOAD)
			add_segment(program);
		else
			read_notes(program);
	}

	if (!has_version_ || !has_entry_)
		bad("not an lguest kernel: build with CONFIG_LGUEST_GUEST");
	if (version_ != LG_ABI_VERSION)
		fail("kernel {}: speaks version {} of the guest ABI, this launcher {}; build both from one source",
		     name_, version_, LG_ABI_VERSION);
	if (image_.segments.empty())
		bad("damaged: nothing to load");
	check_overlaps();
	if (image_.entry < kernel_map + image_.start || image_.entry - kernel_map >= image_.end)
		bad("damaged: entry point outside the image");
}

void ElfParser::add_segment(const GElf_Phdr &header)
{
	if (header.p_filesz > header.p_memsz)
		bad("damaged: a segment is larger in the file than in memory");
	if (header.p_memsz == 0)
		return;
	if (header.p_paddr < lowest_load_address)
		bad("damaged: a segment wants the first MiB of memory");
	if (header.p_paddr >= kernel_limit || header.p_memsz > kernel_limit - header.p_paddr)
		bad("damaged: a segment lies above 1 GiB");
	image_.segments.push_back({header.p_paddr, header.p_memsz, header.p_offset, header.p_filesz});
}

void ElfParser::check_overlaps()
{
	std::ranges::sort(image_.segments, {}, &Segment::address);
	std::uint64_t end = 0;
	for (const Segment &segment : image_.segments) {
		if (segment.address < end)
			bad("damaged: segments overlap");
		end = segment.address + segment.memory_size;
	}
	image_.start = image_.segments.front().address;
	image_.end = end;
}

void ElfParser::read_notes(const GElf_Phdr &header)
{
	if (header.p_filesz == 0)
		return;
	Elf_Data *notes = elf_getdata_rawchunk(elf_.get(), static_cast<std::int64_t>(header.p_offset), header.p_filesz,
					       header.p_align == 8 ? ELF_T_NHDR8 : ELF_T_NHDR);
	if (!notes)
		return;
	const char *bytes = static_cast<const char *>(notes->d_buf);
	GElf_Nhdr note;
	std::size_t name, contents;
	for (std::size_t offset = 0; (offset = gelf_getnote(notes, offset, &note, &name, &contents)) > 0;) {
		if (std::string_view{bytes + name, note.n_namesz} != std::string_view{"lguest", sizeof("lguest")})
			continue;
		if (note.n_type == LG_NOTE_ABI_VERSION && note.n_descsz == sizeof(std::uint32_t))
			has_version_ = true, version_ = copy_of<std::uint32_t>(bytes + contents);
		if (note.n_type == LG_NOTE_ENTRY && note.n_descsz == sizeof(std::uint64_t))
			has_entry_ = true, image_.entry = copy_of<std::uint64_t>(bytes + contents);
	}
}

KernelImage parse_elf(InputFile file, bool relocations_appended)
{
	KernelImage image;
	image.elf = std::move(file);
	ElfParser parser{image};
	parser.parse();
	if (relocations_appended && parser.file_end() < image.elf.size) {
		image.relocations.resize(image.elf.size - parser.file_end());
		image.elf.read(parser.file_end(), image.relocations);
	}
	return image;
}

} // namespace

KernelImage parse_kernel(InputFile file)
{
	if (file.size == 0)
		fail("kernel {}: empty file", file.name);
	if (!is_bzimage(file))
		return parse_elf(std::move(file), false);

	Bytes bytes = file.read_all();
	BzImage bzimage = parse_bzimage(bytes, file.name);
	Bytes elf;
	try {
		elf = decompress(bzimage.payload);
	} catch (const std::runtime_error &error) {
		fail("kernel {}: payload of the bzImage: {}", file.name, error.what());
	}
	KernelImage image = parse_elf(file_in_memory(elf, file.what, file.name), true);
	image.setup_header = std::move(bzimage.setup_header);
	return image;
}

KernelImage load_kernel(const std::string &path)
{
	KernelImage image = parse_kernel(open_file(path, "kernel"));
	std::string beside = path + ".relocs";
	if (image.setup_header.empty() && access(beside.c_str(), F_OK) == 0)
		image.relocations = read_file(beside, "relocations");
	return image;
}

} // namespace lguest
