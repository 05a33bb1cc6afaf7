// SPDX-License-Identifier: GPL-2.0-only
// A device in the running launcher, see device_slot.h.
#include "device_slot.h"

#include "error.h"

#include <spdlog/spdlog.h>
#include <sys/eventfd.h>

#include <bit>

namespace lguest {
namespace {

constexpr unsigned interrupt_vcpu = 0;	// the guest's bus driver does not spread them yet
constexpr std::uint64_t all_logged = 8;		// breaks of a device

} // namespace

DeviceSlot::DeviceSlot(boost::asio::io_context &loop, const GuestMemory &memory, Device &device, Bus &bus, Vm *vm,
		       std::string name, unsigned elsewhere)
	: name_{std::move(name)}, vm_{vm}, registers_{memory, device, *this}, interrupt_{new_eventfd()}
{
	auto slot = bus.attach(registers_, name_);
	if (!slot)
		fail("too many devices: the bus has {} slots", LG_BUS_SLOTS);
	slot_ = *slot;
	if (vm_)
		interrupt_bound_ = vm_->bind_interrupt(interrupt_.get(), interrupt_vcpu, LG_VECTOR_BUS + slot_);
	for (unsigned queue = 0; queue < registers_.queue_count(); queue++) {
		doorbells_.push_back(new_eventfd());
		if (vm_)
			vm_->bind_doorbell(doorbells_.back().get(), slot_, queue);
	}
	for (unsigned queue = elsewhere; queue < registers_.queue_count(); queue++)
		waiters_.push_back({queue, {loop, doorbells_[queue].get()}});
	for (std::size_t index = 0; index < waiters_.size(); index++)
		wait(index);
}

DeviceSlot::~DeviceSlot()
{
	for (Waiter &waiter : waiters_)
		waiter.doorbell.release();
}

VhostEvents DeviceSlot::events() const
{
	if (vm_ && !interrupt_bound_)
		fail("{}: the module takes no interrupt from another process: load the module of this release", name_);
	VhostEvents events{{}, interrupt_.get()};
	for (const Descriptor &doorbell : doorbells_)
		events.doorbells.push_back(doorbell.get());
	return events;
}

void DeviceSlot::interrupt()
{
	if (interrupt_bound_)
		eventfd_write(interrupt_.get(), 1);
	else if (vm_)
		vm_->interrupt(interrupt_vcpu, LG_VECTOR_BUS + slot_);
}

void DeviceSlot::doorbell(unsigned queue)
{
	eventfd_write(doorbells_.at(queue).get(), 1);
}

// A guest can go on like that for ever: each time is logged at first, then the 16th, the 32nd and so on.
void DeviceSlot::broken(std::string_view reason)
{
	times_broken_++;
	if (times_broken_ <= all_logged)
		spdlog::warn("{}: stopped until the guest resets it: {}", name_, reason);
	else if (std::has_single_bit(times_broken_))
		spdlog::warn("{}: stopped until the guest resets it: {}; {} times by now", name_, reason, times_broken_);
}

void DeviceSlot::wait(std::size_t index)
{
	auto &doorbell = waiters_[index].doorbell;
	doorbell.async_wait(doorbell.wait_read, [this, index](boost::system::error_code error) {
		if (error)
			return;
		unsigned queue = waiters_[index].queue;
		eventfd_t count;
		eventfd_read(doorbells_[queue].get(), &count);
		registers_.process(queue);
		wait(index);
	});
}

} // namespace lguest
