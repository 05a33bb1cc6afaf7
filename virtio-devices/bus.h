// SPDX-License-Identifier: GPL-2.0-only
// The device bus: LG_BUS_SLOTS windows of registers, reached by hypercall.
//
// launcher/vcpu.cpp brings the accesses, register_file.h answers them.
//
//     address = slot * LG_BUS_SLOT_SIZE + offset
//
// Locking: slots are filled before the first vCPU runs and not changed after.
#pragma once

#include "register_file.h"

#include <lguest/guest_abi.h>

#include <array>
#include <optional>
#include <string>

namespace lguest {

class Bus {
public:
	// Put a device's registers into the first free slot; nothing if all are taken.
	std::optional<unsigned> attach(RegisterFile &registers, std::string name = {});
	// What is in a slot, and by what name; null for nothing.
	RegisterFile *device(unsigned slot) const { return at(slot); }
	const std::string &name(unsigned slot) const { return names_.at(slot); }

	// All arguments are guest-controlled.  An empty slot reads as zeros.
	std::uint64_t read(std::uint64_t address, unsigned width);
	void write(std::uint64_t address, unsigned width, std::uint64_t value);
	void doorbell(std::uint64_t slot, std::uint64_t queue);

private:
	// What is in a slot, which is guest-controlled; null for nothing.
	RegisterFile *at(std::uint64_t slot) const { return slot < slots_.size() ? slots_[slot] : nullptr; }

	std::array<RegisterFile *, LG_BUS_SLOTS> slots_{};
	std::array<std::string, LG_BUS_SLOTS> names_;
};

} // namespace lguest
