/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Building and running the tiny guests (guest.hpp, layout.h).
 */
#include "guest.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "runner.hpp"
#include "vcpu_page.h"

#define OFFSET_IS(field) static_assert(offsetof(lg_vcpu_page, field) == VCPU_##field)
OFFSET_IS(irq_flags);
OFFSET_IS(irq_pending);
OFFSET_IS(event_busy);
OFFSET_IS(event_vector);
OFFSET_IS(event_error);
OFFSET_IS(event_address);
OFFSET_IS(kernel_rip);
OFFSET_IS(kernel_rsp);
OFFSET_IS(kernel_rflags);
OFFSET_IS(user_rip);
OFFSET_IS(user_rsp);
OFFSET_IS(user_rflags);
OFFSET_IS(user_rcx);
OFFSET_IS(user_r11);
OFFSET_IS(user_gs_base);
OFFSET_IS(user_cs);
OFFSET_IS(user_ss);
OFFSET_IS(batch_count);
OFFSET_IS(batch);

/* All payloads: the linker gathers them. */
extern "C" const char __start_payload[], __stop_payload[];
extern "C" const char event_from_kernel[], event_from_user[], syscall_from_user[], return_to_user[];
extern "C" const char unexpected_kernel[], unexpected_user[], unexpected_syscall[];

namespace payloads
{

namespace
{

constexpr u64 kPage = 4096, kGigabyte = 1ull << 30;
constexpr u64 kKernelSpan = 3 * kGigabyte;	/* direct map, KPLAY, DATA */
constexpr u64 kFirstUsable = 0xffff808000000000ull;	/* behind the hypervisor's slot */
constexpr u64 kAddress = 0x000ffffffffff000ull;

unsigned slot_of(u64 gva, unsigned level)
{
	return gva >> (12 + 9 * (level - 1)) & 511;
}

lg_host_windows host_windows()
{
	Fd device = open_device();
	lg_host_windows windows{};

	check_system(ioctl(device.get(), LG_GET_HOST_WINDOWS, &windows), "LG_GET_HOST_WINDOWS");
	return windows;
}

} // namespace

/* -- small things ------------------------------------------------------------------- */

void Fd::reset()
{
	if (fd_ >= 0)
		close(fd_);
	fd_ = -1;
}

Fd &Fd::operator=(Fd &&other) noexcept
{
	reset();
	fd_ = other.fd_;
	other.fd_ = -1;
	return *this;
}

Fd open_device()
{
	return Fd(check_system(open("/dev/lguest", O_RDWR | O_CLOEXEC), "open /dev/lguest"));
}

u64 free_gap(u64 size)
{
	lg_host_windows windows = host_windows();
	u64 start = kFirstUsable;

	for (u32 i = 0; i < windows.count; i++) {
		const lg_window &window = windows.window[i];

		if (window.start >= start && window.start - start >= size)
			return start;
		if (!window.end)
			break;
		if (window.end > start)
			start = (window.end + kGigabyte - 1) & ~(kGigabyte - 1);
	}
	throw Failure("no gap between the host's mappings");
}

u64 host_mapped()
{
	lg_host_windows windows = host_windows();

	if (!windows.count || windows.window[0].start < kFirstUsable + GPA_TEXT)
		throw Failure("%u host windows, the first at %#llx", windows.count, windows.window[0].start);
	return windows.window[0].start;
}

/* -- building ----------------------------------------------------------------------- */

Guest::Guest(Place place, Memory memory)
{
	device_ = open_device();
	vm_ = Fd(check_system(ioctl(device_.get(), LG_CREATE_VM), "LG_CREATE_VM"));
	memory_ = static_cast<unsigned char *>(mmap(nullptr, MEMORY_SIZE, PROT_READ | PROT_WRITE,
						    (memory == Memory::shared ? MAP_SHARED : MAP_PRIVATE) |
						    MAP_ANONYMOUS, -1, 0));
	check_system(memory_ == MAP_FAILED ? -1 : 0, "mmap of guest memory");

	if (set_slot(0, 0, MEMORY_SIZE, memory_))
		throw Failure("LG_SET_MEMORY_SLOT: %s", strerror(errno));
	vcpu_ = Fd(check_system(ioctl(vm_.get(), LG_CREATE_VCPU, 0), "LG_CREATE_VCPU"));

	void *page = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_.get(), 0);

	check_system(page == MAP_FAILED ? -1 : 0, "mmap of the run page");
	run_ = static_cast<lg_run *>(page);
	immediate_exit_on_alarm(run_);

	choose_place(place);
	memcpy(memory_ + GPA_TEXT, __start_payload, __stop_payload - __start_payload);
	build_tables();

	data().direct = direct_;
	data().user_delta = USER_TEXT - (direct_ + GPA_TEXT);
	data().on_kernel = kernel_address(unexpected_kernel);
	data().on_user = kernel_address(unexpected_user);
	data().on_syscall = kernel_address(unexpected_syscall);
	data().root = root_;
	data().other_root = other_root_;
	for (unsigned level = 1; level <= 4; level++) {
		data().play_entry[level - 1] = direct_ + entry(root_, PLAY, level);
		data().kplay_entry[level - 1] = direct_ + entry(root_, direct_ + KPLAY, level);
	}

	regs_.rflags = 0x202;
	regs_.cs = 0x33;
	regs_.ss = 0x2b;
	regs_.rsp = direct_ + GPA_STACK + 4 * kPage;
	regs_.gs_base = regs_.kernel_gs_base = direct_ + DATA;
	regs_.r15 = direct_;
	regs_.cr3 = root_;
	regs_.vcpu_page = GPA_VCPU_PAGE;
	regs_.time_page = ~0ull;
	regs_.event_from_kernel = kernel_address(event_from_kernel);
	regs_.event_from_user = kernel_address(event_from_user);
	regs_.syscall_from_user = kernel_address(syscall_from_user);
	regs_.return_to_user = kernel_address(return_to_user);
}

Guest::~Guest()
{
	immediate_exit_on_alarm(nullptr);
	munmap(run_, kPage);
	munmap(memory_, MEMORY_SIZE);
}

void Guest::choose_place(Place place)
{
	/* In the second case it is the payloads that the host's mappings meet. */
	direct_ = place == Place::beside_host ? free_gap(kKernelSpan) : host_mapped() - GPA_TEXT;
}

u64 Guest::new_table()
{
	u64 table = next_table_;

	next_table_ += kPage;
	if (next_table_ > GPA_TEXT)
		throw Failure("no room for page tables");
	return table;
}

u64 Guest::entry(u64 root, u64 gva, unsigned level)
{
	u64 table = root;

	for (unsigned l = 4; l > level; l--) {
		u64 &link = at<u64>(table + 8 * slot_of(gva, l));

		if (!(link & kPresent))
			link = new_table() | kUserPage;
		table = link & kAddress;
	}
	return table + 8 * slot_of(gva, level);
}

Guest &Guest::map(u64 root, u64 gva, u64 gpa, u64 bits)
{
	at<u64>(entry(root, gva, 1)) = gpa | bits;
	return *this;
}

void Guest::build_tables()
{
	u64 text_size = __stop_payload - __start_payload;

	root_ = new_table();
	other_root_ = new_table();
	for (u64 gpa = 0; gpa < MEMORY_SIZE; gpa += kPage)
		map(root_, direct_ + gpa, gpa, kKernelPage);
	map(root_, direct_ + DATA, GPA_DATA, kKernelPage);
	map(root_, direct_ + VCPU_PAGE, GPA_VCPU_PAGE, kKernelPage);
	for (u64 i = 0; i < 16; i++)
		map(root_, direct_ + KPLAY + i * kPage, GPA_PLAY + i * kPage, kKernelPage);
	/* The kernel half is shared, as it is among Linux's processes. */
	for (u64 slot = 256; slot < 512; slot++)
		at<u64>(other_root_ + 8 * slot) = at<u64>(root_ + 8 * slot);

	for (u64 root : {root_, other_root_}) {
		for (u64 offset = 0; offset < text_size; offset += kPage)
			map(root, USER_TEXT + offset, GPA_TEXT + offset, kUserPage & ~kWrite);
		map(root, USER_STACK, GPA_USER_STACK, kUserPage | kNoExecute);
		for (u64 i = 0; i < 2; i++)
			map(root, USER_DATA + i * kPage, GPA_USER_DATA + i * kPage,
			    kUserPage | kNoExecute);
	}
	for (u64 i = 0; i < 16; i++)
		map(root_, PLAY + i * kPage, GPA_PLAY + i * kPage, kUserPage);
}

u64 Guest::kernel_address(const char *code) const
{
	return direct_ + GPA_TEXT + (code - __start_payload);
}

Guest &Guest::start_at(const char *code)
{
	regs_.rip = kernel_address(code);
	return *this;
}

Guest &Guest::unregistered()
{
	regs_.vcpu_page = ~0ull;
	return *this;
}

Guest &Guest::argument(u64 value)
{
	data().argument = value;
	return *this;
}

/* -- running -------------------------------------------------------------------------- */

int Guest::run_once(Exit &exit)
{
	if (!registers_set_)
		set_registers(regs_);
	if (ioctl(vcpu_.get(), LG_RUN) < 0)
		return errno;

	const lg_run &run = *run_;

	exit = Exit{static_cast<lg_exit_reason>(run.exit_reason), 0, 0, 0, "", 0, 0};
	switch (exit.reason) {
	case LG_EXIT_SHUTDOWN:
		exit.status = run.u.shutdown.status;
		break;
	case LG_EXIT_BUS_READ:
	case LG_EXIT_BUS_WRITE:
	case LG_EXIT_DOORBELL:
		exit.address = run.u.bus.address;
		exit.value = run.u.bus.value;
		break;
	case LG_EXIT_CONSOLE:
	case LG_EXIT_PANIC:
		exit.text.assign(run.u.text.data, run.u.text.length);
		break;
	case LG_EXIT_KILLED:
		exit.text = run.u.killed.reason;
		exit.vector = run.u.killed.vector;
		exit.rip = run.u.killed.rip;
		break;
	default:
		break;
	}
	return 0;
}

Exit Guest::run()
{
	Exit exit;

	for (;;) {
		int error = run_once(exit);

		if (error == EINTR && timed_out()) {
			lg_regs regs = get_registers();

			throw Failure("still running at %s mode rip %#llx (text + %#llx) when its time was over",
				      regs.user_mode ? "user" : "kernel", regs.rip,
				      regs.rip - (regs.user_mode ? USER_TEXT : direct_ + GPA_TEXT));
		}
		if (error == EINTR)
			continue;
		if (error)
			throw Failure("LG_RUN: %s", strerror(error));
		if (exit.reason != LG_EXIT_BUS_WRITE)
			return exit;
		switch (exit.address) {
		case PORT_FAIL:
			report_failed_check();
		case PORT_EVENT:
			report_event(exit.value);
		case PORT_VALUE:
			told_.push_back(exit.value);
			break;
		default:
			return exit;
		}
	}
}

void Guest::report_failed_check()
{
	lg_regs regs = get_registers();

	throw Failure("line %llu: found %#llx, expected %#llx", regs.rdx, regs.r10, regs.r8);
}

void Guest::report_event(u64 kind)
{
	const lg_vcpu_page &p = page();
	const char *mode = kind == 0 ? "kernel" : "user";

	if (kind == 2)
		throw Failure("unexpected system call from rip %#llx (text + %#llx)", p.user_rip,
			      p.user_rip - USER_TEXT);

	u64 rip = kind == 0 ? p.kernel_rip : p.user_rip;

	throw Failure("unexpected event %u, error code %#llx, address %#llx, from %s mode rip %#llx (text + %#llx)",
		      p.event_vector, p.event_error, p.event_address, mode, rip,
		      rip - (kind == 0 ? direct_ + GPA_TEXT : USER_TEXT));
}

/* -- looking and meddling --------------------------------------------------------------- */

lg_regs Guest::get_registers() const
{
	lg_regs regs;

	check_system(ioctl(vcpu_.get(), LG_GET_REGS, &regs), "LG_GET_REGS");
	return regs;
}

void Guest::set_registers(const lg_regs &regs)
{
	check_system(ioctl(vcpu_.get(), LG_SET_REGS, &regs), "LG_SET_REGS");
	registers_set_ = true;
}

lg_stats Guest::stats() const
{
	lg_stats stats;

	check_system(ioctl(vm_.get(), LG_GET_STATS, &stats), "LG_GET_STATS");
	return stats;
}

int Guest::set_slot(u32 slot, u64 gpa, u64 size, const void *address, u32 flags)
{
	lg_memory_slot argument{slot, flags, gpa, size, reinterpret_cast<u64>(address)};

	return ioctl(vm_.get(), LG_SET_MEMORY_SLOT, &argument) < 0 ? errno : 0;
}

void Guest::interrupt(u32 vector)
{
	lg_interrupt interrupt{0, vector};

	check_system(ioctl(vm_.get(), LG_INTERRUPT, &interrupt), "LG_INTERRUPT");
}

} // namespace payloads
