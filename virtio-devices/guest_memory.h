// SPDX-License-Identifier: GPL-2.0-only
// A bounds-checked view of the guest's memory, and the type of addresses in it.
//
// Everything that follows an address the guest wrote goes through here: the
// virtqueues (virtqueue.h), the devices, and the launcher's boot set-up
// (launcher/boot.cpp).  The memory is shared with running vCPUs: whatever is
// read may change right after, so read once, then check, then use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <type_traits>

namespace lguest {

// A guest-physical address, in bytes.  Not an integer, so that it can be mixed
// neither with guest-virtual addresses nor with lengths.
enum class Gpa : std::uint64_t {};

constexpr std::uint64_t value(Gpa gpa) { return static_cast<std::uint64_t>(gpa); }
constexpr Gpa operator+(Gpa gpa, std::uint64_t bytes) { return Gpa{value(gpa) + bytes}; }

class GuestMemory {
public:
	// `bytes` is the guest's memory from gpa 0 on; it must outlive the view.
	explicit GuestMemory(std::span<std::byte> bytes) : bytes_{bytes} {}

	std::uint64_t size() const { return bytes_.size(); }

	// The bytes [gpa, gpa + size), or nothing if not all of them are memory.
	std::optional<std::span<std::byte>> range(Gpa gpa, std::uint64_t size) const
	{
		// Written so that no sum of guest-controlled numbers can wrap.
		if (value(gpa) > bytes_.size() || size > bytes_.size() - value(gpa))
			return std::nullopt;
		return bytes_.subspan(value(gpa), size);
	}

	// A copy of the object at gpa.
	template <typename T>
	std::optional<T> read(Gpa gpa) const
	{
		static_assert(std::is_trivially_copyable_v<T>);
		auto from = range(gpa, sizeof(T));
		if (!from)
			return std::nullopt;
		T object;
		std::memcpy(&object, from->data(), sizeof(T));
		return object;
	}

	// False, and nothing written, if the object does not fit into memory.
	template <typename T>
	[[nodiscard]] bool write(Gpa gpa, const T &object) const
	{
		static_assert(std::is_trivially_copyable_v<T>);
		auto to = range(gpa, sizeof(T));
		if (!to)
			return false;
		std::memcpy(to->data(), &object, sizeof(T));
		return true;
	}

private:
	std::span<std::byte> bytes_;
};

} // namespace lguest
