// SPDX-License-Identifier: GPL-2.0-only
// The virtio-mmio registers, see register_file.h.
#include "register_file.h"

#define VIRTIO_MMIO_NO_LEGACY
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <lguest/guest_abi.h>

#include <atomic>

namespace lguest {
namespace {

constexpr std::uint32_t magic = 0x74726976;	// "virt"
constexpr std::uint32_t version = 2;
constexpr std::uint32_t vendor = 0x7367756c;	// "lugs"

constexpr std::uint64_t bit(unsigned feature) { return 1ull << feature; }
constexpr std::uint64_t transport_features =
	bit(VIRTIO_F_VERSION_1) | bit(ring::feature_indirect) | bit(ring::feature_event_idx);

constexpr std::uint32_t known_status =
	VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK |
	VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_FAILED;

std::uint32_t half(std::uint64_t whole, std::uint32_t select)
{
	return select > 1 ? 0 : static_cast<std::uint32_t>(whole >> (32 * select));
}

void set_half(std::uint64_t &whole, std::uint32_t select, std::uint32_t value)
{
	if (select > 1)
		return;
	unsigned shift = 32 * select;
	whole = (whole & ~(0xffffffffull << shift)) | (std::uint64_t{value} << shift);
}

} // namespace

RegisterFile::RegisterFile(const GuestMemory &memory, Device &device, Wires &wires)
	: memory_{memory}, device_{device}, wires_{wires}, offered_{device.features() | (transport_features & device.ring_features())}
{
	for (std::uint16_t size : device.queue_sizes())
		queues_.emplace_back(memory, size);
}

bool RegisterFile::active() const
{
	return (status_ & VIRTIO_CONFIG_S_DRIVER_OK) &&
	       !(status_ & (VIRTIO_CONFIG_S_NEEDS_RESET | VIRTIO_CONFIG_S_FAILED));
}

std::uint64_t RegisterFile::read(std::uint64_t offset, unsigned width)
{
	std::scoped_lock guard{lock_};
	if (offset >= VIRTIO_MMIO_CONFIG)
		return device_.read_config(offset - VIRTIO_MMIO_CONFIG, width);
	if (width != 4 || offset % 4)
		return 0;
	return read_register(offset);
}

void RegisterFile::write(std::uint64_t offset, unsigned width, std::uint64_t value)
{
	std::scoped_lock guard{lock_};
	try {
		if (offset >= VIRTIO_MMIO_CONFIG)
			device_.write_config(offset - VIRTIO_MMIO_CONFIG, width, value);
		else if (width == 4 && offset % 4 == 0)
			write_register(offset, static_cast<std::uint32_t>(value));
	} catch (const DriverError &error) {
		needs_reset(error.what());
	}
}

void RegisterFile::process(unsigned queue)
{
	with_device([&](Transport &transport) {
		if (queue < queues_.size())
			device_.process(transport, queue);
	});
}

void RegisterFile::with_device(const std::function<void(Transport &)> &work)
{
	std::scoped_lock guard{lock_};
	if (!active())
		return;
	try {
		work(*this);
	} catch (const DriverError &error) {
		needs_reset(error.what());
	}
}

Virtqueue::Counters RegisterFile::counters(unsigned queue)
{
	std::scoped_lock guard{lock_};
	return queues_.at(queue).counters();
}

void RegisterFile::raise(std::uint32_t cause)
{
	interrupt_status_ |= cause;
	if (status_mirror_)
		std::atomic_ref{*status_mirror_}.fetch_or(cause);
	wires_.interrupt();
}

void RegisterFile::set_status_word(std::uint64_t gpa)
{
	status_mirror_ = nullptr;
	if (gpa == 0)
		return;
	auto word = memory_.range(Gpa{gpa}, sizeof(std::uint32_t));
	if (!word || gpa % sizeof(std::uint32_t))
		throw DriverError{"status word misaligned or outside memory"};
	status_mirror_ = reinterpret_cast<std::uint32_t *>(word->data());
	if (interrupt_status_)
		std::atomic_ref{*status_mirror_}.fetch_or(interrupt_status_);
}

void RegisterFile::queue_used(unsigned index)
{
	if (queues_.at(index).interrupt_wanted())
		raise(VIRTIO_MMIO_INT_VRING);
}

void RegisterFile::look_again(unsigned index)
{
	wires_.doorbell(index);
}

void RegisterFile::config_changed()
{
	config_generation_++;
	raise(VIRTIO_MMIO_INT_CONFIG);
}

void RegisterFile::needs_reset(std::string_view reason)
{
	bool had_driver = status_ & VIRTIO_CONFIG_S_DRIVER_OK;
	status_ |= VIRTIO_CONFIG_S_NEEDS_RESET;
	if (had_driver)
		raise(VIRTIO_MMIO_INT_CONFIG);
	wires_.broken(reason);
}

Virtqueue *RegisterFile::selected()
{
	return queue_select_ < queues_.size() ? &queues_[queue_select_] : nullptr;
}

std::uint32_t RegisterFile::read_register(std::uint64_t offset)
{
	Virtqueue *queue = selected();
	switch (offset) {
	case VIRTIO_MMIO_MAGIC_VALUE:		return magic;
	case VIRTIO_MMIO_VERSION:		return version;
	case VIRTIO_MMIO_DEVICE_ID:		return device_.id();
	case VIRTIO_MMIO_VENDOR_ID:		return vendor;
	case VIRTIO_MMIO_DEVICE_FEATURES:	return half(offered_, offered_select_);
	case VIRTIO_MMIO_QUEUE_NUM_MAX:		return queue ? queue->max_size() : 0;
	case VIRTIO_MMIO_QUEUE_READY:		return queue && queue->ready();
	case VIRTIO_MMIO_INTERRUPT_STATUS:	return interrupt_status_;
	case VIRTIO_MMIO_STATUS:		return status_;
	case VIRTIO_MMIO_CONFIG_GENERATION:	return config_generation_;
	// A shared memory region that does not exist has length and base -1.
	case VIRTIO_MMIO_SHM_LEN_LOW:
	case VIRTIO_MMIO_SHM_LEN_HIGH:
	case VIRTIO_MMIO_SHM_BASE_LOW:
	case VIRTIO_MMIO_SHM_BASE_HIGH:		return ~0u;
	default:				return 0;
	}
}

void RegisterFile::write_register(std::uint64_t offset, std::uint32_t value)
{
	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		offered_select_ = value;
		return;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		accepted_select_ = value;
		return;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		if (!(status_ & VIRTIO_CONFIG_S_FEATURES_OK))
			set_half(accepted_, accepted_select_, value);
		return;
	case VIRTIO_MMIO_QUEUE_SEL:
		queue_select_ = value;
		return;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		if (active() && value < queues_.size())
			wires_.doorbell(value);
		return;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		interrupt_status_ &= ~value;
		return;
	case VIRTIO_MMIO_STATUS:
		write_status(value);
		return;
	case LG_BUS_STATUS_WORD_LOW:
		set_half(status_word_, 0, value);
		return;
	case LG_BUS_STATUS_WORD_HIGH:
		set_half(status_word_, 1, value);
		set_status_word(status_word_);
		return;
	default:
		if (Virtqueue *queue = selected())
			write_queue_register(*queue, offset, value);
	}
}

void RegisterFile::write_queue_register(Virtqueue &queue, std::uint64_t offset, std::uint32_t value)
{
	if (offset == VIRTIO_MMIO_QUEUE_READY) {
		if (!(value & 1))
			queue.stop();
		else if (!queue.ready() && (status_ & VIRTIO_CONFIG_S_FEATURES_OK))
			queue.start(accepted_ & bit(ring::feature_event_idx));
		return;
	}
	// Everything below was checked by start(), so it may not change after it.
	if (queue.ready())
		return;
	switch (offset) {
	case VIRTIO_MMIO_QUEUE_NUM:		queue.set_size(value); break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:	set_half(queue.rings.descriptors, 0, value); break;
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:	set_half(queue.rings.descriptors, 1, value); break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:	set_half(queue.rings.available, 0, value); break;
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:	set_half(queue.rings.available, 1, value); break;
	case VIRTIO_MMIO_QUEUE_USED_LOW:	set_half(queue.rings.used, 0, value); break;
	case VIRTIO_MMIO_QUEUE_USED_HIGH:	set_half(queue.rings.used, 1, value); break;
	}
}

// The driver goes ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK; 0 resets.  It cannot
// take a bit back, and FEATURES_OK stays clear if we do not like its choice.
void RegisterFile::write_status(std::uint32_t value)
{
	if (value == 0) {
		reset();
		return;
	}
	std::uint32_t added = value & known_status & ~status_;
	if (added & VIRTIO_CONFIG_S_FEATURES_OK) {
		bool acceptable = (accepted_ & bit(VIRTIO_F_VERSION_1)) && !(accepted_ & ~offered_);
		if (!acceptable)
			added &= ~VIRTIO_CONFIG_S_FEATURES_OK;
	}
	if (!((status_ | added) & VIRTIO_CONFIG_S_FEATURES_OK))
		added &= ~VIRTIO_CONFIG_S_DRIVER_OK;
	status_ |= added;
	if ((added & VIRTIO_CONFIG_S_DRIVER_OK) && active()) {
		device_.activate(accepted_);
		device_.hand_over(*this);
		for (unsigned queue = 0; queue < queues_.size(); queue++)
			wires_.doorbell(queue);
	}
}

void RegisterFile::reset()
{
	try {
		if (active())
			device_.before_reset(*this);
	} catch (const DriverError &) {
		// It is reset anyway.
	}
	device_.reset();
	for (Virtqueue &queue : queues_)
		queue.reset();
	status_ = interrupt_status_ = 0;
	status_word_ = 0;
	status_mirror_ = nullptr;
	accepted_ = 0;
	offered_select_ = accepted_select_ = queue_select_ = 0;
}

} // namespace lguest
