// SPDX-License-Identifier: GPL-2.0-only
// The ioctls of the host module, see module.h.
#include "module.h"

#include "error.h"
#include "signals_blocked.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

namespace lguest {
namespace {

constexpr const char *device = "/dev/lguest";
constexpr std::size_t run_page_size = 4096;
static_assert(sizeof(lg_run) <= run_page_size);

[[noreturn]] void ioctl_failed(const char *what)
{
	fail("{}: {}; see dmesg for the module's reason", what, std::strerror(errno));
}

} // namespace

Module::Module() : fd_{open(device, O_RDWR | O_CLOEXEC)}
{
	if (!fd_) {
		switch (errno) {
		case ENOENT:
		case ENXIO:
		case ENODEV:
			fail("no {}: load the module (insmod lg.ko, or modprobe lg)", device);
		case EACCES:
		case EPERM:
			fail("no permission for {}: run as root, or join the group it belongs to", device);
		default:
			fail("{}: {}; see dmesg for the module's reason", device, std::strerror(errno));
		}
	}
	int version = ioctl(fd_.get(), LG_GET_VERSION);
	if (version < 0)
		fail("{} is not the device of lg.ko: load the module of this release", device);
	if (version != LG_IOCTL_VERSION)
		fail("lg.ko speaks version {} of its interface, this launcher {}: load the module of the same release",
		     version, LG_IOCTL_VERSION);
}

Vm Module::create_vm()
{
	SignalsBlocked blocked;
	Descriptor vm{ioctl(fd_.get(), LG_CREATE_VM)};
	if (!vm)
		ioctl_failed("cannot create a VM");
	return Vm{std::move(vm)};
}

std::vector<Window> Module::host_windows() const
{
	lg_host_windows windows{};
	if (ioctl(fd_.get(), LG_GET_HOST_WINDOWS, &windows) < 0)
		ioctl_failed("cannot learn the host's address windows");
	std::vector<Window> result;
	for (unsigned index = 0; index < std::min<unsigned>(windows.count, LG_MAX_WINDOWS); index++)
		result.push_back({windows.window[index].start, windows.window[index].end});
	return result;
}

void Vm::set_memory(std::span<std::byte> memory)
{
	lg_memory_slot slot{};
	slot.size = memory.size();
	slot.userspace_addr = reinterpret_cast<std::uint64_t>(memory.data());
	if (ioctl(fd_.get(), LG_SET_MEMORY_SLOT, &slot) < 0)
		ioctl_failed("cannot give the guest its memory");
}

Descriptor Vm::create_vcpu(unsigned index)
{
	Descriptor vcpu{ioctl(fd_.get(), LG_CREATE_VCPU, index)};
	if (!vcpu)
		ioctl_failed("cannot create a vCPU");
	return vcpu;
}

void Vm::interrupt(unsigned vcpu, unsigned vector) noexcept
{
	lg_interrupt interrupt{vcpu, vector};
	ioctl(fd_.get(), LG_INTERRUPT, &interrupt);	// fails only for numbers out of range
}

bool Vm::bind_interrupt(int eventfd, unsigned vcpu, unsigned vector) noexcept
{
	lg_irqfd bind{eventfd, 0, vcpu, vector};
	return ioctl(fd_.get(), LG_IRQFD, &bind) == 0;
}

bool Vm::bind_doorbell(int eventfd, unsigned slot, unsigned queue) noexcept
{
	lg_ioeventfd bind{eventfd, 0, slot, queue};
	return ioctl(fd_.get(), LG_IOEVENTFD, &bind) == 0;
}

lg_stats Vm::stats() const
{
	lg_stats stats{};
	if (ioctl(fd_.get(), LG_GET_STATS, &stats) < 0)
		ioctl_failed("cannot read the module's counters");
	return stats;
}

Vcpu::Vcpu(Descriptor fd) : fd_{std::move(fd)}
{
	void *page = mmap(nullptr, run_page_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0);
	if (page == MAP_FAILED)
		ioctl_failed("cannot map the run page of a vCPU");
	page_ = static_cast<lg_run *>(page);
}

Vcpu::~Vcpu()
{
	munmap(page_, run_page_size);
}

int Vcpu::run()
{
	return ioctl(fd_.get(), LG_RUN) < 0 ? errno : 0;
}

void Vcpu::set_registers(const lg_regs &registers)
{
	if (ioctl(fd_.get(), LG_SET_REGS, &registers) < 0)
		ioctl_failed("the module refuses the registers of a vCPU");
}

lg_regs Vcpu::registers() const
{
	lg_regs registers{};
	if (ioctl(fd_.get(), LG_GET_REGS, &registers) < 0)
		ioctl_failed("cannot read the registers of a vCPU");
	return registers;
}

} // namespace lguest
