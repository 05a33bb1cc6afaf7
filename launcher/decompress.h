// SPDX-License-Identifier: GPL-2.0-only
// Decompression of a bzImage's payload, by its magic: gzip, xz, lzma, zstd, lz4, bzip2.
#pragma once

#include "file.h"

#include <span>

namespace lguest {

// A payload that grows beyond this is no kernel.
constexpr std::size_t max_decompressed = std::size_t{256} << 20;

// Bytes behind the compressed stream are ignored (Linux appends the size there).
// An ELF payload, CONFIG_KERNEL_UNCOMPRESSED, comes back as it is.
// Throws std::runtime_error saying what is wrong.
Bytes decompress(std::span<const std::byte> payload, std::size_t limit = max_decompressed);

} // namespace lguest
