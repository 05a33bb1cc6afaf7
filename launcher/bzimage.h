// SPDX-License-Identifier: GPL-2.0-only
// The outer layer of a bzImage: the setup header and the compressed payload
// (Documentation/arch/x86/boot.rst).  kernel_image.cpp goes on from there.
#pragma once

#include "file.h"

#include <span>
#include <string>

namespace lguest {

struct BzImage {
	Bytes setup_header;			// from 0x1f1 on, as long as the file says it is
	std::span<const std::byte> payload;	// inside the file
};

bool is_bzimage(const InputFile &file);

// The whole of one; throws Error if it is broken or too old.
BzImage parse_bzimage(std::span<const std::byte> file, const std::string &name);

} // namespace lguest
