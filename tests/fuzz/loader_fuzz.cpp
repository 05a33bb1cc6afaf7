// SPDX-License-Identifier: GPL-2.0-only
// Fuzzes the way of a kernel file into guest memory: bzImage, decompression, ELF,
// notes, relocations.  Whatever the bytes are, the outcome is a guest or an Error.
#include "boot.h"
#include "error.h"
#include "guest_ram.h"
#include "kernel_image.h"

#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size)
{
	using namespace lguest;
	auto bytes = std::as_bytes(std::span{data, size});
	try {
		KernelImage kernel = parse_kernel(file_in_memory(bytes, "kernel", "fuzz"));
		GuestRam ram{64ull << 20};
		GuestMemory memory{ram.bytes()};
		Placement placement;
		if (!kernel.relocations.empty())
			placement.text_offset = 4ull << 20;
		prepare_boot(memory, {kernel, bytes, "", placement, 1});
	} catch (const Error &) {
	}
	return 0;
}
