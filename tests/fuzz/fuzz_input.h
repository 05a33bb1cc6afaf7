// SPDX-License-Identifier: GPL-2.0-only
// A fuzzer's input, taken apart from the front.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace lguest::test {

class Input {
public:
	Input(const std::uint8_t *data, std::size_t size) : rest_{data, size} {}
	bool empty() const { return rest_.empty(); }
	// The next object; bytes that are missing are 0.
	template <typename T>
	T take()
	{
		T value{};
		std::size_t size = std::min(sizeof(T), rest_.size());
		std::memcpy(&value, rest_.data(), size);
		rest_ = rest_.subspan(size);
		return value;
	}

private:
	std::span<const std::uint8_t> rest_;
};

} // namespace lguest::test
