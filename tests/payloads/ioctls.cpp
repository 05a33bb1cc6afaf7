/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The launcher's side of a guest: how LG_RUN ends, registers, memory slots, who may use
 * a VM, and what the counters say.
 */
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "guest.hpp"
#include "runner.hpp"

extern "C" const char smoke[], bus_values_pass_both_ways[], says_hello_and_panics[], reboots[],
	just_passes[], null_syscalls[], reads_free_memory[], writes_free_memory[], halts_until_interrupted[],
	many_hypercalls[], moves_to_another_vm[], rings_its_own_bell[];

using namespace payloads;

namespace
{

constexpr u64 kPage = 4096;

void *new_memory(u64 size)
{
	void *memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	check_system(memory == MAP_FAILED ? -1 : 0, "mmap");
	return memory;
}

} // namespace

TEST(smoke_computes_tells_and_shuts_down)
{
	Guest guest;
	Exit exit = guest.start_at(smoke).unregistered().run();

	EXPECT_EQ(guest.told().at(0), 55);
	EXPECT_EQ(exit.reason, LG_EXIT_SHUTDOWN);
	EXPECT_EQ(exit.status, 42);
}

/* -- exits ----------------------------------------------------------------------------- */

TEST(bus_accesses_pass_values_both_ways)
{
	Guest guest;
	Exit exit = guest.start_at(bus_values_pass_both_ways).run();

	EXPECT_EQ(exit.reason, LG_EXIT_BUS_READ);
	EXPECT_EQ(exit.address, 0x3010);
	EXPECT_EQ(guest.run_page().u.bus.width, 4);
	guest.run_page().u.bus.value = 0xfedcba9876543210;
	exit = guest.run();
	EXPECT_EQ(exit.reason, LG_EXIT_BUS_WRITE);
	EXPECT_EQ(exit.address, 0x3018);
	EXPECT_EQ(exit.value, 0x0123456789abcdef);
	exit = guest.run();
	EXPECT_EQ(exit.reason, LG_EXIT_DOORBELL);
	EXPECT_EQ(exit.address, 3);
	EXPECT_EQ(exit.value, 2);
	EXPECT_EQ(guest.run().reason, LG_EXIT_SHUTDOWN);
}

TEST(console_and_panic_text)
{
	Guest guest;
	Exit exit = guest.start_at(says_hello_and_panics).run();

	EXPECT_EQ(exit.reason, LG_EXIT_CONSOLE);
	EXPECT(exit.text == "hello");
	exit = guest.run();
	EXPECT_EQ(exit.reason, LG_EXIT_PANIC);
	EXPECT(exit.text == "ouc");
}

TEST(reboot)
{
	Guest guest;

	EXPECT_EQ(guest.start_at(reboots).run().reason, LG_EXIT_REBOOT);
}

/* The launcher's memory is no place for surprises: a dead guest stays dead. */
TEST(killed_guest_stays_dead)
{
	Guest guest;
	Exit exit = guest.start_at(just_passes).registers([](lg_regs &r) { r.rip = 0; }).unregistered().run();

	EXPECT_EQ(exit.reason, LG_EXIT_KILLED);
	EXPECT_EQ(exit.vector, 14);
	EXPECT_EQ(guest.run().reason, LG_EXIT_KILLED);
}

TEST(immediate_exit)
{
	Guest guest;
	Exit exit;

	guest.start_at(just_passes);
	guest.run_page().immediate_exit = 1;
	EXPECT_EQ(guest.run_once(exit), EINTR);
	EXPECT_EQ(guest.run_once(exit), EINTR);
	guest.run_page().immediate_exit = 0;
	EXPECT_EQ(guest.run().reason, LG_EXIT_SHUTDOWN);
}

/* A hypercall by the last two bytes of the address space goes on at address 0. */
TEST(hypercall_at_the_end_of_the_address_space)
{
	constexpr u64 last_page = ~u64(0) - kPage + 1;
	Guest guest;

	guest.map(guest.data().root, last_page, GPA_PLAY, kKernelPage);
	guest.map(guest.data().root, 0, GPA_PLAY, kKernelPage);
	guest.at<unsigned short>(GPA_PLAY + kPage - 2) = 0x050f;
	guest.registers([&](lg_regs &r) {
		r.rax = LG_HC_WALLCLOCK;
		r.rip = ~u64(0) - 1;
	});
	try {
		guest.run();
		throw std::logic_error("it went on");
	} catch (const Failure &failure) {
		/* The handler of unexpected events tells. */
		EXPECT_CONTAINS(failure.what(), "unexpected event 14");
	}
	EXPECT_EQ(guest.page().kernel_rip, 0);
	EXPECT_EQ(guest.page().event_address, 0);
}

/* -- registers ---------------------------------------------------------------------------- */

TEST(registers_go_in_and_come_out)
{
	Guest guest;
	Exit exit;

	guest.start_at(just_passes).registers([](lg_regs &r) {
		r.rbx = 0x1b;
		r.r13 = 0x13;
		r.fs_base = 0x7fff0000;
		r.tls[1] = 0;
	});
	guest.run_page().immediate_exit = 1;
	guest.run_once(exit);

	lg_regs out = guest.get_registers();

	EXPECT_EQ(out.rbx, 0x1b);
	EXPECT_EQ(out.r13, 0x13);
	EXPECT_EQ(out.fs_base, 0x7fff0000);
	EXPECT_EQ(out.rip, guest.kernel_address(just_passes));
	EXPECT_EQ(out.vcpu_page, GPA_VCPU_PAGE);
	guest.set_registers(out);
	guest.run_page().immediate_exit = 0;
	EXPECT_EQ(guest.run().reason, LG_EXIT_SHUTDOWN);
}

TEST(bad_registers_are_refused)
{
	Guest guest;
	Exit exit;

	guest.start_at(just_passes);
	guest.run_page().immediate_exit = 1;
	guest.run_once(exit);

	const lg_regs good = guest.get_registers();
	const u64 hole = 1ull << 47;

#define REFUSED(field, wrong)							\
	do {									\
		lg_regs bad = good;						\
		bad.field = wrong;						\
		EXPECT_EQ(ioctl(guest.vcpu(), LG_SET_REGS, &bad), -1ull);	\
		EXPECT_EQ(errno, EINVAL);					\
	} while (0)
	REFUSED(rip, hole);
	REFUSED(fs_base, hole);
	REFUSED(gs_base, hole);
	REFUSED(kernel_gs_base, hole);
	REFUSED(event_from_user, hole);
	REFUSED(event_from_kernel, hole);
	REFUSED(syscall_from_user, hole);
	REFUSED(return_to_user, hole);
	REFUSED(cs, 0x10);
	REFUSED(cs, 0);
	REFUSED(ss, 0x18);
	REFUSED(ds, 0x10);
	REFUSED(fs, 0x40);
	REFUSED(rflags, 0x3202);	/* IOPL */
	REFUSED(rflags, 0x20202);	/* VM */
	REFUSED(rflags, 0x4202);	/* NT */
	REFUSED(user_mode, 2);
	REFUSED(halted, 2);
	REFUSED(vcpu_page, MEMORY_SIZE);
	REFUSED(vcpu_page, GPA_VCPU_PAGE + 8);
	REFUSED(time_page, MEMORY_SIZE);
#undef REFUSED
}

/* Roots are checked when the guest is to run on them. */
TEST(bad_root_in_registers)
{
	for (u64 root : {u64(MEMORY_SIZE), u64(1) << 45, ~u64(0)}) {
		Guest guest;
		Exit exit;

		guest.start_at(just_passes).registers([&](lg_regs &r) { r.cr3 = root; });
		EXPECT_EQ(guest.run_once(exit), EINVAL);
	}
}

/* A descriptor no guest may have is none for a launcher either. */
TEST(bad_tls_in_registers)
{
	for (u64 descriptor : {0x00cf93000000ffffull /* DPL 0 */, 0x0000ec0000330000ull /* call gate */,
			       0x0000890000000067ull /* TSS */, 0x00affb000000ffffull /* 64-bit code */}) {
		Guest guest;
		Exit exit;

		guest.start_at(just_passes);
		guest.run_page().immediate_exit = 1;
		guest.run_once(exit);

		lg_regs regs = guest.get_registers();

		regs.tls[2] = descriptor;
		EXPECT_EQ(ioctl(guest.vcpu(), LG_SET_REGS, &regs), -1ull);
		EXPECT_EQ(errno, EINVAL);
	}
}

/* Registers and memory are all there is to a guest: it goes on in another VM. */
TEST(guest_moves_to_another_vm)
{
	std::vector<unsigned char> memory;
	lg_regs regs;
	{
		Guest guest;

		guest.start_at(moves_to_another_vm);
		EXPECT_EQ(guest.run().address, PORT_SYNC);
		regs = guest.get_registers();
		memory.assign(guest.memory(), guest.memory() + MEMORY_SIZE);
	}
	Guest guest;

	memcpy(guest.memory(), memory.data(), MEMORY_SIZE);
	guest.set_registers(regs);
	EXPECT_EQ(guest.run().reason, LG_EXIT_SHUTDOWN);
}

/* -- eventfds ------------------------------------------------------------------------------ */

namespace
{

int bind_irqfd(Guest &guest, int fd, u32 vector, u32 flags = 0, u32 vcpu = 0)
{
	lg_irqfd argument{fd, flags, vcpu, vector};

	return ioctl(guest.vm(), LG_IRQFD, &argument) < 0 ? errno : 0;
}

int bind_ioeventfd(Guest &guest, int fd, u32 slot, u32 queue, u32 flags = 0)
{
	lg_ioeventfd argument{fd, flags, slot, queue};

	return ioctl(guest.vm(), LG_IOEVENTFD, &argument) < 0 ? errno : 0;
}

} // namespace

TEST(doorbell_comes_back_as_an_interrupt)
{
	Guest guest;
	Fd event(eventfd(0, EFD_CLOEXEC));

	EXPECT_EQ(bind_ioeventfd(guest, event.get(), 3, 2), 0);
	EXPECT_EQ(bind_irqfd(guest, event.get(), 0x77), 0);

	Exit exit = guest.start_at(rings_its_own_bell).run();

	EXPECT_EQ(exit.reason, LG_EXIT_DOORBELL);
	EXPECT_EQ(exit.value, 1);
	EXPECT_EQ(guest.stats().exits_to_launcher, 1);
	EXPECT_EQ(guest.run().reason, LG_EXIT_SHUTDOWN);
}

TEST(irqfd_ends_halt)
{
	Guest guest;
	Fd event(eventfd(0, EFD_CLOEXEC));
	u64 one = 1;

	EXPECT_EQ(bind_irqfd(guest, event.get(), 0x77), 0);
	guest.start_at(halts_until_interrupted);
	EXPECT_EQ(guest.run().address, PORT_SYNC);

	/* From another process, which has nothing but the fd. */
	if (fork() == 0) {
		usleep(50000);
		_exit(write(event.get(), &one, sizeof(one)) != sizeof(one));
	}
	EXPECT_EQ(guest.run().reason, LG_EXIT_SHUTDOWN);
	wait(nullptr);
}

TEST(irqfd_that_was_signalled_before)
{
	Guest guest;
	Fd event(eventfd(1, EFD_CLOEXEC));

	guest.start_at(halts_until_interrupted);
	EXPECT_EQ(guest.run().address, PORT_SYNC);
	EXPECT_EQ(bind_irqfd(guest, event.get(), 0x77), 0);
	EXPECT_EQ(guest.run().reason, LG_EXIT_SHUTDOWN);
}

TEST(eventfds_are_checked_and_unbound)
{
	Guest guest;
	Fd event(eventfd(0, EFD_CLOEXEC)), device = open_device();

	EXPECT_EQ(bind_irqfd(guest, -1, 0x77), EBADF);
	EXPECT_EQ(bind_irqfd(guest, device.get(), 0x77), EINVAL);
	EXPECT_EQ(bind_irqfd(guest, event.get(), 31), EINVAL);
	EXPECT_EQ(bind_irqfd(guest, event.get(), 256), EINVAL);
	EXPECT_EQ(bind_irqfd(guest, event.get(), 0x77, 2), EINVAL);
	EXPECT_EQ(bind_irqfd(guest, event.get(), 0x77, 0, 1), ENOENT);
	EXPECT_EQ(bind_irqfd(guest, event.get(), 0x77, 0, ~0u), ENOENT);
	EXPECT_EQ(bind_irqfd(guest, event.get(), 0x77, LG_FD_UNBIND), ENOENT);
	EXPECT_EQ(bind_ioeventfd(guest, -1, 0, 0), EBADF);
	EXPECT_EQ(bind_ioeventfd(guest, device.get(), 0, 0), EINVAL);
	EXPECT_EQ(bind_ioeventfd(guest, event.get(), LG_BUS_SLOTS, 0), EINVAL);
	EXPECT_EQ(bind_ioeventfd(guest, event.get(), 0, 0, 2), EINVAL);
	EXPECT_EQ(bind_ioeventfd(guest, event.get(), 3, 2, LG_FD_UNBIND), ENOENT);

	EXPECT_EQ(bind_ioeventfd(guest, event.get(), 3, 2), 0);
	EXPECT_EQ(bind_ioeventfd(guest, event.get(), 3, 2), EEXIST);
	EXPECT_EQ(bind_irqfd(guest, event.get(), 0x77), 0);
	EXPECT_EQ(bind_irqfd(guest, event.get(), 0x77), EEXIST);
	EXPECT_EQ(bind_irqfd(guest, event.get(), 0x78), EEXIST);
	EXPECT_EQ(bind_irqfd(guest, event.get(), 0x77, LG_FD_UNBIND), 0);
	EXPECT_EQ(bind_ioeventfd(guest, event.get(), 3, 2, LG_FD_UNBIND), 0);

	Exit exit = guest.start_at(rings_its_own_bell).run();

	EXPECT_EQ(exit.reason, LG_EXIT_DOORBELL);
	EXPECT_EQ(exit.value, 2);
}

/* The eventfd is closed first, the VM goes with both bound. */
TEST(eventfds_outlive_their_files)
{
	Guest guest;
	{
		Fd event(eventfd(0, EFD_CLOEXEC));

		EXPECT_EQ(bind_ioeventfd(guest, event.get(), 3, 2), 0);
		EXPECT_EQ(bind_irqfd(guest, event.get(), 0x77), 0);
	}
	EXPECT_EQ(guest.start_at(rings_its_own_bell).run().reason, LG_EXIT_DOORBELL);
}

/* -- who may do what ------------------------------------------------------------------------ */

TEST(second_vm_of_a_process_is_refused)
{
	Guest guest;
	Fd device = open_device();

	EXPECT_EQ(ioctl(device.get(), LG_CREATE_VM), -1ull);
	EXPECT_EQ(errno, EBUSY);
	EXPECT_EQ(ioctl(guest.vm(), LG_CREATE_VCPU, 0), -1ull);
	EXPECT_EQ(errno, EEXIST);
	EXPECT_EQ(ioctl(guest.vm(), LG_CREATE_VCPU, LG_MAX_VCPUS), -1ull);
	EXPECT_EQ(errno, EINVAL);
	EXPECT_EQ(guest.start_at(just_passes).run().reason, LG_EXIT_SHUTDOWN);
}

TEST(another_process_is_refused)
{
	Guest guest;
	int status;

	guest.start_at(just_passes);
	if (fork() == 0) {
		lg_regs regs;
		lg_stats stats;
		lg_interrupt interrupt{0, 0x77};

		/* Watching is all right. */
		_exit(ioctl(guest.vcpu(), LG_RUN) == -1 && errno == EIO &&
		      ioctl(guest.vcpu(), LG_GET_REGS, &regs) == -1 && errno == EIO &&
		      ioctl(guest.vm(), LG_INTERRUPT, &interrupt) == -1 && errno == EIO &&
		      ioctl(guest.vm(), LG_CREATE_VCPU, 1) == -1 && errno == EIO &&
		      ioctl(guest.vm(), LG_GET_STATS, &stats) == 0 ? 0 : 1);
	}
	wait(&status);
	EXPECT_EQ(status, 0);
	EXPECT_EQ(guest.run().reason, LG_EXIT_SHUTDOWN);
}

TEST(unknown_ioctls_and_bad_pointers)
{
	Guest guest;
	Fd device = open_device();

	for (int fd : {device.get(), guest.vm(), guest.vcpu()}) {
		for (unsigned long number : {0ul, 0xB77Ful, 0xfffffffful, 0x5401ul}) {
			EXPECT_EQ(ioctl(fd, number, 0), -1ull);
			EXPECT_EQ(errno, ENOTTY);
		}
	}
	EXPECT_EQ(ioctl(device.get(), LG_GET_VERSION), LG_IOCTL_VERSION);
	EXPECT_EQ(ioctl(guest.vm(), LG_SET_MEMORY_SLOT, 8), -1ull);
	EXPECT_EQ(errno, EFAULT);
	EXPECT_EQ(ioctl(guest.vm(), LG_GET_STATS, ~0ul), -1ull);
	EXPECT_EQ(errno, EFAULT);
	EXPECT_EQ(ioctl(guest.vcpu(), LG_GET_REGS, 8), -1ull);
	EXPECT_EQ(errno, EFAULT);
	EXPECT_EQ(ioctl(guest.vcpu(), LG_SET_REGS, 8), -1ull);
	EXPECT_EQ(errno, EFAULT);
	EXPECT(mmap(nullptr, 2 * kPage, PROT_READ, MAP_SHARED, guest.vcpu(), 0) == MAP_FAILED);
	EXPECT(mmap(nullptr, kPage, PROT_READ, MAP_SHARED, guest.vcpu(), kPage) == MAP_FAILED);
}

TEST(a_vm_without_memory_does_not_run)
{
	Fd device = open_device();
	Fd vm(check_system(ioctl(device.get(), LG_CREATE_VM), "LG_CREATE_VM"));
	Fd vcpu(check_system(ioctl(vm.get(), LG_CREATE_VCPU, 0), "LG_CREATE_VCPU"));

	EXPECT_EQ(ioctl(vcpu.get(), LG_RUN), -1ull);
	EXPECT_EQ(errno, EINVAL);
}

/* -- memory slots ----------------------------------------------------------------------------- */

TEST(memory_slots_are_checked)
{
	Guest guest;
	void *memory = new_memory(16 * kPage);
	const u64 gpa = MEMORY_SIZE;

	EXPECT_EQ(guest.set_slot(LG_MAX_SLOTS, gpa, kPage, memory), EINVAL);
	EXPECT_EQ(guest.set_slot(1, gpa + 1, kPage, memory), EINVAL);
	EXPECT_EQ(guest.set_slot(1, gpa, kPage + 1, memory), EINVAL);
	EXPECT_EQ(guest.set_slot(1, gpa, kPage, static_cast<char *>(memory) + 1), EINVAL);
	EXPECT_EQ(guest.set_slot(1, gpa, kPage, memory, 2), EINVAL);
	EXPECT_EQ(guest.set_slot(1, gpa, LG_MAX_GPA, memory), EINVAL);
	EXPECT_EQ(guest.set_slot(1, ~0ull - 4095, 2 * kPage, memory), EINVAL);
	EXPECT_EQ(guest.set_slot(1, LG_MAX_GPA, kPage, memory), EINVAL);
	EXPECT_EQ(guest.set_slot(1, gpa, kPage, reinterpret_cast<void *>(0xffff888000000000)), EINVAL);
	EXPECT_EQ(guest.set_slot(1, 0, kPage, memory), EEXIST);
	EXPECT_EQ(guest.set_slot(1, gpa - kPage, 2 * kPage, memory), EEXIST);
	EXPECT_EQ(guest.set_slot(1, gpa, kPage, memory), 0);
	EXPECT_EQ(guest.set_slot(1, gpa, 0, memory), 0);
	EXPECT_EQ(guest.set_slot(1, kPage, 0, memory), 0);	/* inside another */
	EXPECT_EQ(guest.start_at(just_passes).run().reason, LG_EXIT_SHUTDOWN);
}

/* The guest has read a page of a slot; then the slot changes. */
TEST(slot_replaced_under_a_guest)
{
	Guest guest;
	auto *memory = static_cast<u32 *>(new_memory(MEMORY_SIZE));

	guest.start_at(reads_free_memory);
	EXPECT_EQ(guest.run().address, PORT_SYNC);
	memcpy(memory, guest.memory(), MEMORY_SIZE);
	memory[GPA_FREE / 4] = 0x1234;
	EXPECT_EQ(guest.set_slot(0, 0, MEMORY_SIZE, memory), 0);
	EXPECT_EQ(guest.run().reason, LG_EXIT_SHUTDOWN);
	EXPECT_EQ(guest.told().at(0), 0x1234);
}

TEST(slot_removed_under_a_guest)
{
	Guest guest;

	guest.start_at(reads_free_memory);
	EXPECT_EQ(guest.run().address, PORT_SYNC);
	EXPECT_EQ(guest.set_slot(0, 0, 0, nullptr), 0);

	Exit exit = guest.run();

	EXPECT_EQ(exit.reason, LG_EXIT_KILLED);
	EXPECT_CONTAINS(exit.text, "no memory of the guest");
}

TEST(memory_behind_a_slot_is_unmapped)
{
	Guest guest;

	guest.start_at(reads_free_memory);
	EXPECT_EQ(guest.run().address, PORT_SYNC);
	check_system(munmap(guest.memory() + GPA_FREE, kPage), "munmap");

	Exit exit = guest.run();

	EXPECT_EQ(exit.reason, LG_EXIT_KILLED);
	EXPECT_CONTAINS(exit.text, "not accessible");
}

TEST(read_only_slot)
{
	Guest guest;
	auto *memory = static_cast<u64 *>(new_memory(kPage));

	memory[0] = 0x77;
	EXPECT_EQ(guest.set_slot(1, MEMORY_SIZE, kPage, memory, LG_MEM_READONLY), 0);
	guest.map(guest.data().root, PLAY, MEMORY_SIZE, kUserPage);
	guest.start_at(writes_free_memory);

	Exit exit = guest.run();

	EXPECT_EQ(guest.told().at(0), 0x77);
	EXPECT_EQ(exit.reason, LG_EXIT_KILLED);
	EXPECT_EQ(memory[0], 0x77);
}

/* -- counters ------------------------------------------------------------------------------------ */

/* Runs until the next value is told. */
static lg_stats stats_when_told(Guest &guest, u64 value)
{
	Exit exit;
	int error;

	do
		error = guest.run_once(exit);
	while (error == EINTR && !timed_out());
	EXPECT_EQ(error, 0);
	EXPECT_EQ(exit.address, PORT_VALUE);
	EXPECT_EQ(exit.value, value);
	return guest.stats();
}

/* 100,000 system calls and returns, and the host has nothing to do with them but for
 * its own interrupts. */
TEST(null_system_calls_do_not_leave_the_guest)
{
	Guest guest;

	guest.start_at(null_syscalls);

	lg_stats before = stats_when_told(guest, 1), after = stats_when_told(guest, 2);
	u64 host = after.exit_interrupt - before.exit_interrupt + after.exit_nmi - before.exit_nmi;

	EXPECT_EQ(after.exit_syscall - before.exit_syscall, 0);
	EXPECT_EQ(after.exit_hypercall - before.exit_hypercall, 1);
	EXPECT(after.exit_page_fault - before.exit_page_fault < 10);
	EXPECT(after.exit_return_to_user - before.exit_return_to_user < 2);
	EXPECT(after.enters - before.enters < host + 14);
	EXPECT_EQ(guest.run().reason, LG_EXIT_SHUTDOWN);
}

TEST(host_windows_are_sorted_and_apart)
{
	Fd device = open_device();
	lg_host_windows windows{};
	u64 end = 0xffff800000000000;

	EXPECT_EQ(ioctl(device.get(), LG_GET_HOST_WINDOWS, &windows), 0);
	EXPECT(windows.count >= 2 && windows.count <= LG_MAX_WINDOWS);
	for (u32 i = 0; i < windows.count; i++) {
		const lg_window &window = windows.window[i];

		EXPECT(end && window.start > end);
		EXPECT_EQ(window.start % (1 << 21), 0);
		EXPECT(window.end - 1 > window.start);
		end = window.end;
	}
}

TEST(guest_beside_the_host_keeps_global_pages)
{
	Guest guest(Guest::Place::beside_host);

	EXPECT_EQ(guest.start_at(null_syscalls).run().reason, LG_EXIT_SHUTDOWN);
	EXPECT_EQ(guest.stats().global_pages_fallback, 0);
}

TEST(guest_on_top_of_the_host_runs_without_global_pages)
{
	Guest guest(Guest::Place::on_host);

	EXPECT_EQ(guest.start_at(null_syscalls).run().reason, LG_EXIT_SHUTDOWN);
	EXPECT(guest.stats().global_pages_fallback > 0);
}

/* One line, and the address in it is the guest's. */
TEST(fallback_is_logged_once)
{
	Fd log(open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC));

	if (log.get() < 0)
		throw Skip("no /dev/kmsg to read");
	check_system(lseek(log.get(), 0, SEEK_END), "lseek /dev/kmsg");

	Guest guest(Guest::Place::on_host);

	EXPECT_EQ(guest.start_at(null_syscalls).run().reason, LG_EXIT_SHUTDOWN);

	const std::string ours = "lguest: process " + std::to_string(getpid()) + ": ";
	std::string line;
	char record[1024];
	unsigned count = 0;

	for (ssize_t size; (size = read(log.get(), record, sizeof(record))) > 0;) {
		std::string text(record, size);

		if (text.find(ours) == text.npos)
			continue;
		line = text.substr(text.find(ours));
		count++;
	}
	EXPECT_EQ(count, 1);

	unsigned long long start = 0, end = 0;

	EXPECT_EQ(std::sscanf(line.c_str(), "%*[^[][%llx, %llx)", &start, &end), 2);
	EXPECT_EQ(end - start, 1 << 21);
	EXPECT(end > host_mapped() && start < guest.direct() + MEMORY_SIZE);
}

LASTING_TEST(many_hypercalls_preserve_registers, 60)
{
	Guest guest;

	EXPECT_EQ(guest.start_at(many_hypercalls).argument(100000).run().reason, LG_EXIT_SHUTDOWN);
	EXPECT(guest.stats().exit_hypercall >= 100000);
}
