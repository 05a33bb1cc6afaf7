// SPDX-License-Identifier: GPL-2.0-only
// Everything a guest finds in its memory and registers when it starts.
//
//     0        0x7000       0x8000        0x9000      0x10000        640K    1M
//     | unused | zero page | lg_boot_info | command  | start-up     | hole |
//     |        |           |              | line     | page tables  |      |
//
//     1M          image.start ... image.end           top of memory
//     | free ... | kernel        | free ...  | [tables] initrd |
//
// Tables too large for below 640K (memory beyond about 100 GiB) go under the initrd.
// Neighbours: kernel_image.h and placement.h before it, module.h takes the registers.
#pragma once

#include "guest_memory.h"
#include "kernel_image.h"
#include "placement.h"

#include <lguest/guest_abi.h>
#include <lguest/ioctl_abi.h>

#include <span>
#include <string>

namespace lguest {

struct BootRequest {
	const KernelImage &kernel;
	std::span<const std::byte> initrd;	// may be empty
	std::string command_line;
	Placement placement;
	unsigned vcpus = 1;
};

// Write all of it into the memory, which is still zero; returns the registers of the
// first vCPU.  Throws Error if something does not fit.
lg_regs prepare_boot(const GuestMemory &memory, const BootRequest &request);

// Where prepare_boot() puts things, for tests.
constexpr Gpa zero_page{0x7000};
constexpr Gpa boot_info{0x8000};
constexpr Gpa command_line{0x9000};
constexpr Gpa low_tables{0x10000};
constexpr Gpa low_memory_end{0xa0000};
constexpr std::uint64_t max_command_line = 2047;	// Linux's COMMAND_LINE_SIZE without its NUL

} // namespace lguest
