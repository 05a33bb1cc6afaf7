// SPDX-License-Identifier: GPL-2.0-only
// The device bus, see bus.h.
#include "bus.h"

#include <linux/virtio_mmio.h>

#include <algorithm>
#include <bit>

namespace lguest {
namespace {

// Whether an access of that width stays inside one window.
bool valid(std::uint64_t address, unsigned width)
{
	return std::has_single_bit(width) && width <= 8 && address % LG_BUS_SLOT_SIZE + width <= LG_BUS_SLOT_SIZE;
}

} // namespace

std::optional<unsigned> Bus::attach(RegisterFile &registers, std::string name)
{
	auto slot = std::ranges::find(slots_, nullptr);
	if (slot == slots_.end())
		return std::nullopt;
	*slot = &registers;
	auto index = static_cast<unsigned>(slot - slots_.begin());
	names_[index] = std::move(name);
	return index;
}

std::uint64_t Bus::read(std::uint64_t address, unsigned width)
{
	RegisterFile *registers = at(address / LG_BUS_SLOT_SIZE);
	if (!registers || !valid(address, width))
		return 0;
	return registers->read(address % LG_BUS_SLOT_SIZE, width);
}

void Bus::write(std::uint64_t address, unsigned width, std::uint64_t value)
{
	RegisterFile *registers = at(address / LG_BUS_SLOT_SIZE);
	if (registers && valid(address, width))
		registers->write(address % LG_BUS_SLOT_SIZE, width, value);
}

void Bus::doorbell(std::uint64_t slot, std::uint64_t queue)
{
	// As the ABI says: the same as writing the register.
	if (RegisterFile *registers = at(slot); registers && queue <= UINT32_MAX)
		registers->write(VIRTIO_MMIO_QUEUE_NOTIFY, 4, queue);
}

} // namespace lguest
