// SPDX-License-Identifier: GPL-2.0-only
// The kernel loader: good files, and every way in which a file can be bad.
#include "complaint.h"

#include "launcher_kernel_builder.h"

#include "boot.h"
#include "decompress.h"
#include "error.h"
#include "guest_ram.h"

#include <bzlib.h>
#include <gtest/gtest.h>
#include <lz4hc.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <cstdlib>
#include <fstream>
#include <random>
#include <unistd.h>

namespace lguest::test {
namespace {

// What the loader says; empty if it accepts the file.
std::string complaint(const Bytes &file)
{
	return test::complaint([&] { parse_kernel(file); }, exit_failure);
}

TEST(Elf, Loads)
{
	KernelImage image = parse_kernel(ElfBuilder{}.build());
	ASSERT_EQ(image.segments.size(), 2u);
	EXPECT_EQ(image.segments[0].address, 0x1000000u);
	ASSERT_EQ(image.segments[0].file_size, 64u);
	Bytes text(64);
	image.elf.read(image.segments[0].file_offset, text);
	EXPECT_EQ(text, bytes_of(std::string(64, 'T')));
	EXPECT_EQ(image.segments[1].memory_size, 0x2000u);
	EXPECT_EQ(image.start, 0x1000000u);
	EXPECT_EQ(image.end, 0x1202000u);
	EXPECT_EQ(image.entry, kernel_map + 0x1000000);
	EXPECT_TRUE(image.relocations.empty());
}

TEST(Elf, SortsSegments)
{
	ElfBuilder builder;
	std::swap(builder.segments[0], builder.segments[1]);
	EXPECT_EQ(parse_kernel(builder.build()).segments[0].address, 0x1000000u);
}

TEST(Elf, NamesWhatIsWrong)
{
	auto with = [](auto change) {
		ElfBuilder builder;
		change(builder);
		return complaint(builder.build());
	};
	EXPECT_EQ(with([](auto &b) { b.notes = false; }), "kernel K: not an lguest kernel: build with CONFIG_LGUEST_GUEST");
	EXPECT_EQ(with([](auto &b) { b.note_name = std::string{"Xen", 4}; }),
		  "kernel K: not an lguest kernel: build with CONFIG_LGUEST_GUEST");
	EXPECT_NE(with([](auto &b) { b.abi_version = 77; }).find("version 77"), std::string::npos);
	EXPECT_NE(with([](auto &b) { b.machine = EM_AARCH64; }).find("wrong architecture"), std::string::npos);
	EXPECT_NE(with([](auto &b) { b.elf_class = ELFCLASS32; }).find("wrong architecture"), std::string::npos);
	EXPECT_NE(with([](auto &b) { b.type = ET_REL; }).find("not an executable"), std::string::npos);
	EXPECT_NE(with([](auto &b) { b.entry = kernel_map; }).find("entry point"), std::string::npos);
	EXPECT_NE(with([](auto &b) { b.entry = 0x1000000; }).find("entry point"), std::string::npos);
	EXPECT_NE(with([](auto &b) { b.entry = ~0ull; }).find("entry point"), std::string::npos);
	EXPECT_NE(with([](auto &b) { b.segments.clear(); }).find("nothing to load"), std::string::npos);
	EXPECT_NE(with([](auto &b) { b.segments[0].address = 0x1000; }).find("first MiB"), std::string::npos);
	EXPECT_NE(with([](auto &b) { b.segments[1].address = 0x1000fff; }).find("overlap"), std::string::npos);
	EXPECT_NE(with([](auto &b) { b.segments[1].address = 1ull << 30; }).find("above 1 GiB"), std::string::npos);
	EXPECT_NE(with([](auto &b) { b.segments[1].memory_size = ~0ull; }).find("above 1 GiB"), std::string::npos);
	EXPECT_NE(with([](auto &b) { b.segments[1].memory_size = 3; }).find("larger in the file"), std::string::npos);
}

TEST(Elf, TruncatedAnywhereIsAnError)
{
	Bytes file = ElfBuilder{}.build();
	for (std::size_t size = 0; size < file.size(); size++)
		EXPECT_NE(complaint({file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size)}), "no complaint") << size;
}

TEST(Elf, AnyByteChangedIsAcceptedOrRefusedButNoMore)
{
	Bytes file = ElfBuilder{}.build();
	for (std::size_t at = 0; at < file.size(); at++)
		for (unsigned change : {0x01, 0x80, 0xff}) {
			Bytes changed = file;
			changed[at] ^= static_cast<std::byte>(change);
			complaint(changed);
		}
}

TEST(Elf, RandomBytesAreAnError)
{
	std::mt19937 random{1};
	for (std::size_t size : {0, 1, 63, 64, 512, 4096, 100000}) {
		Bytes file(size);
		for (std::byte &byte : file)
			byte = static_cast<std::byte>(random());
		EXPECT_NE(complaint(file), "no complaint") << size;
		if (size < 4)
			continue;
		std::memcpy(file.data(), ELFMAG, SELFMAG);
		EXPECT_NE(complaint(file), "no complaint") << size;
	}
}

// --- bzImage -----------------------------------------------------------------

using Compress = Bytes (*)(const Bytes &);

Bytes gzip(const Bytes &in)
{
	z_stream stream{};
	deflateInit2(&stream, 9, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY);
	Bytes out(deflateBound(&stream, in.size()) + 64);
	stream.next_in = (Bytef *)in.data();
	stream.avail_in = static_cast<uInt>(in.size());
	stream.next_out = (Bytef *)out.data();
	stream.avail_out = static_cast<uInt>(out.size());
	deflate(&stream, Z_FINISH);
	out.resize(stream.total_out);
	deflateEnd(&stream);
	return out;
}

Bytes xz(const Bytes &in)
{
	Bytes out(lzma_stream_buffer_bound(in.size()));
	std::size_t size = 0;
	EXPECT_EQ(lzma_easy_buffer_encode(6, LZMA_CHECK_CRC32, nullptr, (const std::uint8_t *)in.data(), in.size(),
					  (std::uint8_t *)out.data(), &size, out.size()), LZMA_OK);
	out.resize(size);
	return out;
}

Bytes lzma(const Bytes &in)
{
	lzma_options_lzma options;
	lzma_lzma_preset(&options, 6);
	lzma_stream stream = LZMA_STREAM_INIT;
	EXPECT_EQ(lzma_alone_encoder(&stream, &options), LZMA_OK);
	Bytes out(in.size() + 4096);
	stream.next_in = (const std::uint8_t *)in.data();
	stream.avail_in = in.size();
	stream.next_out = (std::uint8_t *)out.data();
	stream.avail_out = out.size();
	EXPECT_EQ(lzma_code(&stream, LZMA_FINISH), LZMA_STREAM_END);
	out.resize(stream.total_out);
	lzma_end(&stream);
	return out;
}

Bytes zstd(const Bytes &in)
{
	Bytes out(ZSTD_compressBound(in.size()));
	out.resize(ZSTD_compress(out.data(), out.size(), in.data(), in.size(), 19));
	return out;
}

Bytes bzip2(const Bytes &in)
{
	Bytes out(in.size() + in.size() / 100 + 600);
	unsigned size = static_cast<unsigned>(out.size());
	EXPECT_EQ(BZ2_bzBuffToBuffCompress((char *)out.data(), &size, (char *)in.data(), static_cast<unsigned>(in.size()), 9, 0, 0),
		  BZ_OK);
	out.resize(size);
	return out;
}

Bytes lz4(const Bytes &in)
{
	constexpr std::size_t block = 8 << 20;
	Bytes out;
	append_object(out, std::uint32_t{0x184c2102});
	for (std::size_t at = 0; at < in.size(); at += block) {
		std::size_t size = std::min(block, in.size() - at);
		Bytes part(static_cast<std::size_t>(LZ4_compressBound(static_cast<int>(size))));
		part.resize(static_cast<std::size_t>(LZ4_compress_HC((const char *)in.data() + at, (char *)part.data(),
								     static_cast<int>(size), static_cast<int>(part.size()), 1)));
		append_object(out, static_cast<std::uint32_t>(part.size()));
		out.insert(out.end(), part.begin(), part.end());
	}
	return out;
}

Bytes plain(const Bytes &in) { return in; }

class BzImage : public testing::TestWithParam<std::pair<const char *, Compress>> {};

TEST_P(BzImage, LoadsWithRelocations)
{
	Bytes elf = ElfBuilder{}.build();
	Bytes relocations = bytes_of(std::string_view{"\0\0\0\0\0\0\0\0\0\0\0\0rel.", 16});
	Bytes whole = elf;
	whole.insert(whole.end(), relocations.begin(), relocations.end());
	Bytes payload = GetParam().second(whole);
	append_object(payload, static_cast<std::uint32_t>(whole.size()));	// as Linux's build does
	if (GetParam().second == plain)
		payload.resize(payload.size() - 4);

	KernelImage image = parse_kernel(build_bzimage(payload));
	EXPECT_EQ(image.segments.size(), 2u);
	EXPECT_EQ(image.relocations, relocations);
	EXPECT_FALSE(image.setup_header.empty());
}

TEST_P(BzImage, TruncatedPayloadIsAnError)
{
	Bytes payload = GetParam().second(ElfBuilder{}.build());
	for (std::size_t size = 0; size + 8 < payload.size(); size += 7) {
		Bytes cut{payload.begin(), payload.begin() + static_cast<std::ptrdiff_t>(size)};
		EXPECT_NE(complaint(build_bzimage(cut)), "no complaint") << size;
	}
}

TEST_P(BzImage, DamagedPayloadIsAcceptedOrRefusedButNoMore)
{
	Bytes payload = GetParam().second(ElfBuilder{}.build());
	for (std::size_t at = 0; at < payload.size(); at++) {
		Bytes changed = payload;
		changed[at] ^= std::byte{0x55};
		complaint(build_bzimage(changed));
	}
}

TEST_P(BzImage, LargePayloadsCrossTheBuffers)
{
	std::mt19937 random{7};
	Bytes large(std::size_t{9} << 20);
	for (std::size_t at = 0; at < large.size(); at += 64)
		large[at] = static_cast<std::byte>(random());
	std::memcpy(large.data(), ELFMAG, SELFMAG);
	EXPECT_EQ(decompress(GetParam().second(large)), large);
}

TEST_P(BzImage, BombsAreAnError)
{
	if (GetParam().second == plain)
		return;
	Bytes payload = GetParam().second(Bytes(std::size_t{12} << 20));
	EXPECT_THROW(decompress(payload, std::size_t{2} << 20), std::runtime_error);
}

INSTANTIATE_TEST_SUITE_P(Formats, BzImage,
			 testing::Values(std::pair{"gzip", &gzip}, std::pair{"xz", &xz}, std::pair{"lzma", &lzma},
					 std::pair{"zstd", &zstd}, std::pair{"bzip2", &bzip2}, std::pair{"lz4", &lz4},
					 std::pair{"plain", &plain}),
			 [](const auto &info) { return std::string{info.param.first}; });

TEST(BzImageHeader, NamesWhatIsWrong)
{
	Bytes elf = ElfBuilder{}.build();
	EXPECT_EQ(complaint(build_bzimage(elf)), "no complaint");
	EXPECT_NE(complaint(build_bzimage(elf, 0x0207)).find("2.07 is too old"), std::string::npos);
	EXPECT_NE(complaint(build_bzimage({})).find("no payload"), std::string::npos);
	EXPECT_NE(complaint(build_bzimage(bytes_of("what is this?"))).find("unknown compression"), std::string::npos);
	EXPECT_NE(complaint(build_bzimage(bytes_of("\x89LZO...."))).find("lzo"), std::string::npos);
	Bytes cut = build_bzimage(elf);
	cut.resize(cut.size() - 1);
	EXPECT_NE(complaint(cut).find("truncated"), std::string::npos);
	cut.resize(700);
	EXPECT_NE(complaint(cut).find("truncated"), std::string::npos);
}

// --- files -------------------------------------------------------------------

TEST(KernelFile, TakesRelocationsBesideIt)
{
	std::string path = testing::TempDir() + "lguest-kernel-" + std::to_string(getpid());
	Bytes file = ElfBuilder{}.build();
	std::ofstream{path}.write(reinterpret_cast<const char *>(file.data()), static_cast<std::streamsize>(file.size()));
	EXPECT_TRUE(load_kernel(path).relocations.empty());
	std::ofstream{path + ".relocs"} << "four";
	EXPECT_EQ(load_kernel(path).relocations, bytes_of("four"));
	unlink(path.c_str());
	unlink((path + ".relocs").c_str());
	EXPECT_THROW(load_kernel(path), Error);
	EXPECT_THROW(load_kernel("/"), Error);
}

TEST(KernelFile, SaysWhenItBecomesShorter)
{
	KernelImage image = parse_kernel(ElfBuilder{}.build());
	ASSERT_EQ(ftruncate(image.elf.fd.get(), 1), 0);
	GuestRam ram{64 << 20};
	EXPECT_EQ(test::complaint([&] { prepare_boot(GuestMemory{ram.bytes()}, {image, {}, "", {}, 1}); }, exit_failure),
		  "kernel K: became shorter while it was read");
}

// The fuzzers start from here: LGUEST_CORPUS=<directory> makes this write them.
TEST(Corpus, Seeds)
{
	const char *directory = std::getenv("LGUEST_CORPUS");
	if (!directory)
		GTEST_SKIP() << "LGUEST_CORPUS is not set";
	auto save = [&](const char *name, const Bytes &bytes) {
		std::ofstream file{std::string{directory} + "/" + name};
		file.write(reinterpret_cast<const char *>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
		EXPECT_TRUE(file.good());
	};
	Bytes elf = ElfBuilder{}.build();
	save("elf", elf);
	for (auto [name, compress] : {std::pair{"gzip", &gzip}, {"xz", &xz}, {"lzma", &lzma}, {"zstd", &zstd},
				      {"bzip2", &bzip2}, {"lz4", &lz4}, {"plain", &plain}})
		save(name, build_bzimage(compress(elf)));
}

} // namespace
} // namespace lguest::test
