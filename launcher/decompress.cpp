// SPDX-License-Identifier: GPL-2.0-only
// Decompression with the formats' own libraries, see decompress.h.
//
// Each format is a Step: "use some input, fill some output, say whether that was
// the end".  run() does what is the same for all of them: growing, limits, errors.
#include "decompress.h"

#include <bzlib.h>
#include <lz4.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>

namespace lguest {
namespace {

struct Buffers {
	std::span<const std::byte> in;
	std::span<std::byte> out;
};

enum class Progress { more, end, error };

class Step {
public:
	virtual ~Step() = default;
	// Shortens both buffers by what was used.
	virtual Progress run(Buffers &buffers) = 0;
	// How much room there must be in `out` for it to go on.
	virtual std::size_t least_room() const { return std::size_t{64} << 10; }
};

// What zlib, liblzma and bzlib have in common: next_in, avail_in and so on.
template <typename Stream, typename Call>
auto with_stream(Stream &stream, Buffers &buffers, Call call)
{
	using In = decltype(stream.next_in);
	using Out = decltype(stream.next_out);
	constexpr std::size_t part = std::size_t{1} << 30;	// their counters may have 32 bits
	std::size_t in = std::min(buffers.in.size(), part), out = std::min(buffers.out.size(), part);
	stream.next_in = (In)buffers.in.data();			// a cast that may have to drop const
	stream.avail_in = static_cast<decltype(stream.avail_in)>(in);
	stream.next_out = (Out)buffers.out.data();
	stream.avail_out = static_cast<decltype(stream.avail_out)>(out);
	auto result = call();
	buffers.in = buffers.in.subspan(in - stream.avail_in);
	buffers.out = buffers.out.subspan(out - stream.avail_out);
	return result;
}

class Gzip final : public Step {
public:
	Gzip()
	{
		constexpr int gzip_only = 16;
		if (inflateInit2(&stream_, MAX_WBITS + gzip_only) != Z_OK)
			throw std::runtime_error{"zlib does not start"};
	}
	~Gzip() override { inflateEnd(&stream_); }
	Progress run(Buffers &buffers) override
	{
		int result = with_stream(stream_, buffers, [&] { return inflate(&stream_, Z_NO_FLUSH); });
		if (result == Z_STREAM_END)
			return Progress::end;
		return result == Z_OK || result == Z_BUF_ERROR ? Progress::more : Progress::error;
	}

private:
	z_stream stream_{};
};

class Lzma final : public Step {
public:
	explicit Lzma(bool xz)
	{
		lzma_ret result = xz ? lzma_stream_decoder(&stream_, memory_limit, 0)
				     : lzma_alone_decoder(&stream_, memory_limit);
		if (result != LZMA_OK)
			throw std::runtime_error{"liblzma does not start"};
	}
	~Lzma() override { lzma_end(&stream_); }
	Progress run(Buffers &buffers) override
	{
		lzma_ret result = with_stream(stream_, buffers, [&] { return lzma_code(&stream_, LZMA_RUN); });
		if (result == LZMA_STREAM_END)
			return Progress::end;
		return result == LZMA_OK || result == LZMA_BUF_ERROR ? Progress::more : Progress::error;
	}

private:
	static constexpr std::uint64_t memory_limit = 256ull << 20;
	lzma_stream stream_ = LZMA_STREAM_INIT;
};

class Bzip2 final : public Step {
public:
	Bzip2()
	{
		if (BZ2_bzDecompressInit(&stream_, 0, 0) != BZ_OK)
			throw std::runtime_error{"bzlib does not start"};
	}
	~Bzip2() override { BZ2_bzDecompressEnd(&stream_); }
	Progress run(Buffers &buffers) override
	{
		int result = with_stream(stream_, buffers, [&] { return BZ2_bzDecompress(&stream_); });
		if (result == BZ_STREAM_END)
			return Progress::end;
		return result == BZ_OK ? Progress::more : Progress::error;
	}

private:
	bz_stream stream_{};
};

class Zstd final : public Step {
public:
	Zstd() : stream_{ZSTD_createDStream()}
	{
		if (!stream_)
			throw std::runtime_error{"zstd does not start"};
		// Linux compresses with up to -22 --ultra: a window of 128 MiB.
		ZSTD_DCtx_setParameter(stream_.get(), ZSTD_d_windowLogMax, 27);
	}
	Progress run(Buffers &buffers) override
	{
		ZSTD_inBuffer in{buffers.in.data(), buffers.in.size(), 0};
		ZSTD_outBuffer out{buffers.out.data(), buffers.out.size(), 0};
		std::size_t result = ZSTD_decompressStream(stream_.get(), &out, &in);
		buffers.in = buffers.in.subspan(in.pos);
		buffers.out = buffers.out.subspan(out.pos);
		if (ZSTD_isError(result))
			return Progress::error;
		return result == 0 ? Progress::end : Progress::more;
	}

private:
	struct Free {
		void operator()(ZSTD_DStream *stream) const { ZSTD_freeDStream(stream); }
	};
	std::unique_ptr<ZSTD_DStream, Free> stream_;
};

// The legacy frame of `lz4 -l`, which Linux uses: a magic, then blocks of a length
// and up to 8 MiB of contents.  It has no end mark; Linux's appended size follows.
class Lz4Legacy final : public Step {
public:
	static constexpr std::uint32_t magic = 0x184c2102;
	static constexpr std::size_t block = std::size_t{8} << 20;

	std::size_t least_room() const override { return block; }
	Progress run(Buffers &buffers) override
	{
		if (!begun_) {
			begun_ = true;
			buffers.in = buffers.in.subspan(sizeof(magic));
		}
		if (buffers.in.size() <= sizeof(std::uint32_t))
			return Progress::end;
		std::uint32_t length;
		std::memcpy(&length, buffers.in.data(), sizeof(length));
		if (length == 0 || length > buffers.in.size() - sizeof(length))
			return Progress::error;
		int made = LZ4_decompress_safe(reinterpret_cast<const char *>(buffers.in.data()) + sizeof(length),
					       reinterpret_cast<char *>(buffers.out.data()),
					       static_cast<int>(length), static_cast<int>(block));
		if (made < 0)
			return Progress::error;
		buffers.in = buffers.in.subspan(sizeof(length) + length);
		buffers.out = buffers.out.subspan(static_cast<std::size_t>(made));
		return Progress::more;
	}

private:
	bool begun_ = false;
};

Bytes run(Step &step, const char *format, std::span<const std::byte> payload, std::size_t limit)
{
	Bytes bytes;
	std::size_t done = 0;
	const std::size_t room = step.least_room();
	Buffers buffers{payload, {}};
	for (;;) {
		if (bytes.size() - done < room) {
			if (done > limit)
				throw std::runtime_error{std::string{format} + ": grows beyond all bounds"};
			bytes.resize(done + std::max(room, done));
		}
		buffers.out = std::span{bytes}.subspan(done);
		std::size_t in_before = buffers.in.size(), out_before = buffers.out.size();
		Progress progress = step.run(buffers);
		done = bytes.size() - buffers.out.size();
		if (progress == Progress::error)
			throw std::runtime_error{std::string{format} + ": damaged"};
		if (progress == Progress::end)
			break;
		bool stuck = buffers.in.size() == in_before && buffers.out.size() == out_before;
		if (stuck)
			throw std::runtime_error{std::string{format} + ": truncated"};
	}
	if (done > limit)
		throw std::runtime_error{std::string{format} + ": grows beyond all bounds"};
	bytes.resize(done);
	return bytes;
}

template <typename Format>
bool starts_with(std::span<const std::byte> payload, const Format &magic)
{
	return payload.size() > magic.size() &&
	       std::equal(magic.begin(), magic.end(), payload.begin(),
			  [](unsigned char a, std::byte b) { return std::byte{a} == b; });
}

using Magic2 = std::array<unsigned char, 2>;
using Magic3 = std::array<unsigned char, 3>;
using Magic4 = std::array<unsigned char, 4>;

} // namespace

Bytes decompress(std::span<const std::byte> payload, std::size_t limit)
{
	auto with = [&](auto &&step, const char *format) { return run(step, format, payload, limit); };
	if (starts_with(payload, Magic2{0x1f, 0x8b}))
		return with(Gzip{}, "gzip");
	if (starts_with(payload, Magic4{0xfd, '7', 'z', 'X'}))
		return with(Lzma{true}, "xz");
	if (starts_with(payload, Magic4{0x28, 0xb5, 0x2f, 0xfd}))
		return with(Zstd{}, "zstd");
	if (starts_with(payload, Magic4{0x02, 0x21, 0x4c, 0x18}))
		return with(Lz4Legacy{}, "lz4");
	if (starts_with(payload, Magic3{'B', 'Z', 'h'}))
		return with(Bzip2{}, "bzip2");
	if (starts_with(payload, Magic3{0x5d, 0x00, 0x00}))
		return with(Lzma{false}, "lzma");
	if (starts_with(payload, Magic4{0x7f, 'E', 'L', 'F'}))
		return Bytes(payload.begin(), payload.end());
	if (starts_with(payload, Magic2{0x89, 'L'}))
		throw std::runtime_error{"lzo is not supported; use another CONFIG_KERNEL_* compression"};
	throw std::runtime_error{"unknown compression"};
}

} // namespace lguest
