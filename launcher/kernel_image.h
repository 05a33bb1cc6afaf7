// SPDX-License-Identifier: GPL-2.0-only
// A kernel file, taken apart and checked: what of it goes where in guest memory.
//
//     bzImage --bzimage.h--> compressed payload --decompress.h--> ELF [+ relocations]
//     vmlinux ------------------------------------------------->  ELF
//                                                                  |
//                                            parse_kernel() -> KernelImage --> boot.h
//
// What the segments hold stays in the file until boot.h reads it to its place.
// Every byte of a kernel file is untrusted: numbers are checked against the file
// and against each other before use.  Errors are lguest::Error, one line each.
#pragma once

#include "file.h"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace lguest {

// Where Linux links itself: KERNEL_MAP + x is x physically, if nothing is moved.
constexpr std::uint64_t kernel_map = 0xffffffff80000000;
constexpr std::uint64_t kernel_map_size = 1ull << 30;

struct Segment {
	std::uint64_t address;			// gpa
	std::uint64_t memory_size;		// zeros from file_size on
	std::uint64_t file_offset, file_size;	// inside KernelImage::elf
};

struct KernelImage {
	InputFile elf;				// the file itself, or what was unpacked
	std::vector<Segment> segments;		// ascending, not overlapping
	std::uint64_t start = 0;		// gpa of the first byte and
	std::uint64_t end = 0;			// past the last, bss included
	std::uint64_t entry = 0;		// virtual address, from the note
	Bytes relocations;			// as arch/x86/tools/relocs makes them; may be empty
	Bytes setup_header;			// bzImage: from 0x1f1 on; may be empty
};

// Load the kernel in `path`, ELF or bzImage; for an ELF `<path>.relocs` too, if it is there.
KernelImage load_kernel(const std::string &path);

// The same for an open file, alone.
KernelImage parse_kernel(InputFile file);

} // namespace lguest
