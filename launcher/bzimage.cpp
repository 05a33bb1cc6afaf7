// SPDX-License-Identifier: GPL-2.0-only
// The outer layer of a bzImage, see bzimage.h.
//
//     0      0x1f1          (setup_sects + 1) * 512
//     | boot | setup header | ... | 64-bit code | payload | ...
//     |sector|  up to 0x202 +     ^             ^
//              byte at 0x201      |             + payload_offset from here
#include "bzimage.h"

#include "error.h"

#include <asm/bootparam.h>

#include <algorithm>
#include <cstring>

namespace lguest {
namespace {

constexpr std::size_t header_start = 0x1f1;
constexpr std::size_t header_length_byte = 0x201;	// low byte of the jump: the header ends that far from 0x202
constexpr std::size_t sector = 512;
constexpr std::uint32_t header_magic = 0x53726448;	// "HdrS"
constexpr std::uint16_t boot_flag = 0xaa55;
constexpr std::uint16_t payload_version = 0x0208;	// the first with payload_offset and _length
constexpr std::uint8_t default_setup_sectors = 4;	// what 0 means

} // namespace

bool is_bzimage(const InputFile &file)
{
	setup_header header;
	if (file.size < header_start + sizeof(header))
		return false;
	file.read(header_start, std::as_writable_bytes(std::span{&header, 1}));
	return header.header == header_magic && header.boot_flag == boot_flag;
}

BzImage parse_bzimage(std::span<const std::byte> file, const std::string &name)
{
	setup_header header;
	std::memcpy(&header, file.data() + header_start, sizeof(header));
	if (header.version < payload_version)
		fail("kernel {}: boot protocol {}.{:02} is too old, 2.08 is needed", name, header.version >> 8,
		     header.version & 0xff);
	std::uint64_t code = (header.setup_sects ? header.setup_sects : default_setup_sectors) * sector + sector;
	std::uint64_t payload = code + header.payload_offset;
	if (header.payload_length == 0)
		fail("kernel {}: damaged: the bzImage has no payload", name);
	if (payload > file.size() || header.payload_length > file.size() - payload)
		fail("kernel {}: truncated: the payload ends beyond the file", name);

	std::size_t header_end = 0x202 + static_cast<std::size_t>(file[header_length_byte]);
	header_end = std::min(header_end, header_start + sizeof(setup_header));
	return BzImage{Bytes(file.begin() + header_start, file.begin() + static_cast<std::ptrdiff_t>(header_end)),
		       file.subspan(payload, header.payload_length)};
}

} // namespace lguest
