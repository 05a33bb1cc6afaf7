/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The host going about its business while a guest runs: signals, exits, preemption,
 * migration, NMIs, and memory that comes and goes.
 */
#include <fcntl.h>
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

#include "guest.hpp"
#include "runner.hpp"

extern "C" const char spins_in_the_kernel[], spins_in_user_mode[], halts_for_ever[], stops_its_vcpu[],
	halts_until_interrupted[], keeps_sse_state[], keeps_avx_state[], keeps_registers_while_computing[],
	switches_all_the_time[], waits_for_memory_to_be_zero[], writes_all_the_time[], just_passes[], starts_another_vcpu[],
	flushes_while_another_vcpu_reads[], writes_to_argument[];

using namespace payloads;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace
{

constexpr u64 kPage = 4096;

/* Something done again and again in another thread, as long as this lives. */
class Meanwhile {
public:
	template <class Action>
	explicit Meanwhile(Action action) : thread_([this, action] {
		while (!over_)
			action();
	})
	{
	}
	~Meanwhile()
	{
		over_ = true;
		thread_.join();
	}

private:
	std::atomic<bool> over_{false};
	std::thread thread_;
};

/* Once, after a while. */
template <class Action> std::jthread after(std::chrono::milliseconds time, Action action)
{
	return std::jthread([=] {
		std::this_thread::sleep_for(time);
		action();
	});
}

void catch_signal(int number)
{
	struct sigaction action{};

	action.sa_handler = [](int) {};
	sigaction(number, &action, nullptr);
}

/* Run a payload that ends when bit 0 of its argument is set, for so long. */
Exit run_for(Guest &guest, std::chrono::milliseconds time)
{
	std::jthread stop = after(time, [&] { __atomic_store_n(&guest.data().argument, 1, __ATOMIC_RELAXED); });
	Exit exit = guest.run();

	stop.join();
	return exit;
}

void move_to_cpu(pthread_t thread, unsigned cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu % sysconf(_SC_NPROCESSORS_ONLN), &set);
	pthread_setaffinity_np(thread, sizeof(set), &set);
}

} // namespace

/* -- getting a guest to stop ------------------------------------------------------------- */

static void is_stopped_by_signal(const char *code)
{
	Guest guest;
	Exit exit;
	pthread_t self = pthread_self();

	catch_signal(SIGUSR1);
	guest.start_at(code);
	EXPECT_EQ(guest.run().address, PORT_SYNC);

	Clock::time_point sent;
	std::jthread signal = after(200ms, [self, &sent] {
		sent = Clock::now();
		pthread_kill(self, SIGUSR1);
	});
	int error = guest.run_once(exit);
	Clock::time_point back = Clock::now();

	signal.join();
	EXPECT_EQ(error, EINTR);
	EXPECT(back - sent < 1s);
}

TEST(signal_stops_a_spinning_kernel) { is_stopped_by_signal(spins_in_the_kernel); }
TEST(signal_stops_a_spinning_user) { is_stopped_by_signal(spins_in_user_mode); }
TEST(signal_stops_a_halted_guest) { is_stopped_by_signal(halts_for_ever); }
TEST(signal_stops_a_vcpu_that_is_down) { is_stopped_by_signal(stops_its_vcpu); }

TEST(launcher_interrupt_ends_halt)
{
	Guest guest;

	guest.start_at(halts_until_interrupted);
	EXPECT_EQ(guest.run().address, PORT_SYNC);

	std::jthread interrupt = after(100ms, [&] { guest.interrupt(0x77); });
	Exit exit = guest.run();

	interrupt.join();
	EXPECT_EQ(exit.reason, LG_EXIT_SHUTDOWN);
}

/* A process that is killed in LG_RUN leaves a host that goes on making guests. */
TEST(launcher_is_killed_while_the_guest_runs)
{
	for (const char *code : {spins_in_the_kernel, spins_in_user_mode, halts_for_ever}) {
		int ready[2], status;
		char byte;

		check_system(pipe(ready), "pipe");

		pid_t child = fork();

		if (child == 0) {
			Guest guest;

			guest.start_at(code).run();
			check_system(write(ready[1], "", 1), "write");
			guest.run();
			_exit(0);
		}
		check_system(read(ready[0], &byte, 1), "read");
		usleep(20000);
		kill(child, SIGKILL);
		waitpid(child, &status, 0);
		EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	}
	Guest guest;

	EXPECT_EQ(guest.start_at(just_passes).run().reason, LG_EXIT_SHUTDOWN);
}

/* A child that inherited the VM's files outlives the launcher, or becomes another program
 * with them: they are of no use to it, and do no harm. */
TEST(files_outlive_their_process)
{
	int alive[2];
	char byte;

	check_system(pipe(alive), "pipe");
	for (bool exec : {false, true}) {
		pid_t child = fork();

		if (child == 0) {
			Guest guest;

			guest.start_at(spins_in_the_kernel).run();
			if (exec) {
				dup(guest.vm());	/* without CLOEXEC */
				dup(guest.vcpu());
				execl("/bin/sleep", "sleep", "0.2", nullptr);
				_exit(1);
			}
			if (fork() == 0) {
				usleep(200000);
				_exit(0);
			}
			kill(getpid(), SIGKILL);
		}
		waitpid(child, nullptr, 0);
	}
	close(alive[1]);
	check_system(read(alive[0], &byte, 1), "read");		/* the end: all are gone */

	Guest guest;

	EXPECT_EQ(guest.start_at(just_passes).run().reason, LG_EXIT_SHUTDOWN);
}

/* The VM lives as long as one of its files. */
TEST(vm_file_closed_while_the_guest_runs)
{
	Guest guest;

	guest.start_at(keeps_registers_while_computing);

	std::jthread closer = after(50ms, [&] { guest.close_vm(); });
	Exit exit = run_for(guest, 200ms);

	closer.join();
	EXPECT_EQ(exit.reason, LG_EXIT_SHUTDOWN);
}

static long long memory(const std::string &what)
{
	std::ifstream file("/proc/meminfo");
	std::string name, unit;
	long long kilobytes;

	while (file >> name >> kilobytes >> unit)
		if (name == what)
			return kilobytes * 1024;
	throw Failure("no %s", what.c_str());
}

/* What a VM takes it gives back.  Two pages for each are what shows for certain; where KASAN
 * holds back a thirty-second of all memory, what guests run on. */
LASTING_TEST(a_thousand_vms_come_and_go, 120)
{
	long long before = memory("MemAvailable:");
	long long tolerable = (8 << 20) + (on_debug_kernel() ? memory("MemTotal:") / 32 : 0);

	for (int i = 0; i < 1000; i++) {
		Fd device = open_device();
		Fd vm(check_system(ioctl(device.get(), LG_CREATE_VM), "LG_CREATE_VM"));
		Fd vcpu(check_system(ioctl(vm.get(), LG_CREATE_VCPU, i % LG_MAX_VCPUS), "LG_CREATE_VCPU"));
	}
	for (int i = 0; i < 60; i++) {
		Guest guest;

		EXPECT_EQ(guest.start_at(just_passes).run().reason, LG_EXIT_SHUTDOWN);
	}
	EXPECT(before - memory("MemAvailable:") < tolerable);
}

/* A signal can end a VM's creation; all that was made until then is gone, and the process can have
 * its VM afterwards. */
LASTING_TEST(signals_may_interrupt_a_creation, 20)
{
	Fd device = open_device();
	pthread_t self = pthread_self();

	catch_signal(SIGUSR1);
	{
		Meanwhile signals([self] {
			pthread_kill(self, SIGUSR1);
			usleep(200);
		});

		for (int i = 0; i < 300; i++) {
			Fd vm(ioctl(device.get(), LG_CREATE_VM));

			EXPECT(vm.get() >= 0 || errno == EINTR);
		}
	}
	check_system(Fd(ioctl(device.get(), LG_CREATE_VM)).get(), "LG_CREATE_VM");
}

static void module_is_held()
{
	EXPECT_EQ(syscall(SYS_delete_module, "lg", O_NONBLOCK), -1ull);
	EXPECT(errno == EAGAIN || errno == EBUSY);
}

/* As long as anything of a VM is open. */
TEST(module_cannot_be_unloaded_under_a_vm)
{
	Fd device = open_device();

	module_is_held();

	Fd vm(check_system(ioctl(device.get(), LG_CREATE_VM), "LG_CREATE_VM"));

	device.reset();
	module_is_held();

	Fd vcpu(check_system(ioctl(vm.get(), LG_CREATE_VCPU, 0), "LG_CREATE_VCPU"));

	vm.reset();
	module_is_held();

	void *page = mmap(nullptr, kPage, PROT_READ, MAP_SHARED, vcpu.get(), 0);

	check_system(page == MAP_FAILED ? -1 : 0, "mmap");
	vcpu.reset();
	module_is_held();
}

LASTING_TEST(two_guests_in_two_processes, 20)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		Guest guest;

		_exit(run_for(guest.start_at(switches_all_the_time), 500ms).reason != LG_EXIT_SHUTDOWN);
	}
	{
		Guest guest;

		EXPECT_EQ(run_for(guest.start_at(switches_all_the_time), 500ms).reason, LG_EXIT_SHUTDOWN);
	}
	waitpid(child, &status, 0);
	EXPECT_EQ(status, 0);
}

/* -- state across preemption and migration --------------------------------------------------- */

/* Other threads want the CPU, use its FPU, and the vCPU is moved to and fro. */
static void is_kept(const char *code)
{
	Guest guest;
	pthread_t self = pthread_self();
	unsigned cpu = 0;

	Meanwhile busy([] {
		volatile double x = 1;

		for (int i = 0; i < 10000; i++)
			x = x * 1.0000001 + 0.5;
	});
	Meanwhile moving([&] {
		move_to_cpu(self, cpu++);
		usleep(3000);
	});
	Exit exit = run_for(guest.start_at(code), 600ms);

	EXPECT_EQ(exit.reason, LG_EXIT_SHUTDOWN);
}

LASTING_TEST(sse_state_is_kept, 20) { is_kept(keeps_sse_state); }

LASTING_TEST(avx_state_is_kept, 20)
{
	if (!__builtin_cpu_supports("avx"))
		throw Skip("this CPU has no AVX");
	is_kept(keeps_avx_state);
}

/* Each signal ends an LG_RUN. */
LASTING_TEST(signals_do_no_harm, 20)
{
	Guest guest;
	pthread_t self = pthread_self();

	catch_signal(SIGUSR1);

	Meanwhile signals([self] {
		pthread_kill(self, SIGUSR1);
		usleep(1000);
	});
	EXPECT_EQ(run_for(guest.start_at(switches_all_the_time), 500ms).reason, LG_EXIT_SHUTDOWN);
}

LASTING_TEST(general_registers_are_kept, 20) { is_kept(keeps_registers_while_computing); }
LASTING_TEST(switches_are_exact_whatever_interrupts, 20) { is_kept(switches_all_the_time); }

/* A debugger's breakpoint on the launcher's memory is none on the guest's, though both
 * have something at that address. */
TEST(breakpoints_of_the_launcher_do_not_hit_the_guest)
{
	alignas(4096) static volatile u32 watched[1024];
	perf_event_attr attributes{};
	u64 hits;

	attributes.type = PERF_TYPE_BREAKPOINT;
	attributes.size = sizeof(attributes);
	attributes.bp_type = HW_BREAKPOINT_W;
	attributes.bp_addr = reinterpret_cast<u64>(watched);
	attributes.bp_len = HW_BREAKPOINT_LEN_4;

	Fd event(syscall(SYS_perf_event_open, &attributes, 0, -1, -1, PERF_FLAG_FD_CLOEXEC));

	if (event.get() < 0)
		throw Skip("no hardware breakpoints");

	Guest guest;

	guest.map(guest.data().root, attributes.bp_addr, GPA_FREE, kUserPage);
	EXPECT_EQ(guest.start_at(writes_to_argument).argument(attributes.bp_addr).run().reason, LG_EXIT_SHUTDOWN);
	EXPECT_EQ(guest.at<u32>(GPA_FREE), 7);
	check_system(read(event.get(), &hits, sizeof(hits)), "read");
	EXPECT_EQ(hits, 0);
	watched[0] = 1;
	check_system(read(event.get(), &hits, sizeof(hits)), "read");
	EXPECT_EQ(hits, 1);
}

LASTING_TEST(cpu_goes_offline_and_comes_back, 60)
{
	const char *const path = "/sys/devices/system/cpu/cpu1/online";

	if (access(path, W_OK))
		throw Skip("no CPU to take offline");

	Guest guest;
	std::atomic<unsigned> changes{0};
	{
		Meanwhile plugging([&] {
			std::ofstream(path) << 0;
			std::ofstream(path) << 1;
			changes++;
		});

		EXPECT_EQ(run_for(guest.start_at(switches_all_the_time), 1s).reason, LG_EXIT_SHUTDOWN);
	}
	EXPECT(changes > 0);
}

/* -- NMIs --------------------------------------------------------------------------------------- */

static u64 nmi_count()
{
	std::ifstream file("/proc/interrupts");
	u64 sum = 0, value;

	for (std::string line; std::getline(file, line);) {
		std::istringstream words(line);
		std::string name;

		words >> name;
		if (name == "NMI:")
			while (words >> value)
				sum += value;
	}
	return sum;
}

/* Needs somebody who sends NMIs to CPU 0: `tests/host-vm/run --nmi-storm`. */
LASTING_TEST(nmi_storm, 60)
{
	u64 start = nmi_count();

	usleep(200000);
	if (nmi_count() - start < 5)
		throw Skip("no NMIs come");

	Guest guest;

	move_to_cpu(pthread_self(), 0);
	start = nmi_count();
	EXPECT_EQ(run_for(guest.start_at(switches_all_the_time), 15s).reason, LG_EXIT_SHUTDOWN);

	lg_stats stats = guest.stats();

	printf("# %llu NMIs, of which %llu met the guest or the switcher; %llu system calls, %llu exceptions\n",
	       static_cast<unsigned long long>(nmi_count() - start),
	       static_cast<unsigned long long>(stats.exit_nmi),
	       static_cast<unsigned long long>(guest.told().at(0)),
	       static_cast<unsigned long long>(guest.told().at(1)));
	fflush(stdout);
	EXPECT(stats.exit_nmi > 10);
}

/* -- memory that comes and goes -------------------------------------------------------------------- */

static void becomes_zero(Guest::Memory memory, int advice)
{
	Guest guest(Guest::Place::beside_host, memory);

	guest.start_at(waits_for_memory_to_be_zero);
	EXPECT_EQ(guest.run().address, PORT_SYNC);

	std::jthread take = after(50ms, [&] {
		madvise(guest.memory() + GPA_PLAY, kPage, advice);
	});
	Exit exit = guest.run();

	take.join();
	EXPECT_EQ(exit.reason, LG_EXIT_SHUTDOWN);
}

TEST(madvise_dontneed_on_private_memory) { becomes_zero(Guest::Memory::private_, MADV_DONTNEED); }
TEST(madvise_remove_on_shared_memory) { becomes_zero(Guest::Memory::shared, MADV_REMOVE); }

/* The guest counts in 16 pages while the host does something to them; no count is lost. */
template <class Action> static void counts_survive(Guest::Memory memory, Action action)
{
	Guest guest(Guest::Place::beside_host, memory);

	guest.start_at(writes_all_the_time);
	EXPECT_EQ(guest.run().address, PORT_SYNC);
	{
		Meanwhile meddling([&] {
			action(guest);
			/* A miss fills a whole leaf table, which takes a slow emulator 5 ms. */
			usleep(40000);
		});

		EXPECT_EQ(run_for(guest, 800ms).reason, LG_EXIT_SHUTDOWN);
	}
	u64 count = guest.at<u64>(GPA_PLAY);

	EXPECT(count > 20);
	for (u64 page = 1; page < 16; page++)
		EXPECT_EQ(guest.at<u64>(GPA_PLAY + page * kPage), count);
}

LASTING_TEST(memory_paged_out_under_a_guest, 20)
{
	counts_survive(Guest::Memory::private_, [](Guest &guest) {
		madvise(guest.memory() + GPA_PLAY, 16 * kPage, MADV_PAGEOUT);
	});
}

LASTING_TEST(shared_memory_unmapped_under_a_guest, 20)
{
	counts_survive(Guest::Memory::shared, [](Guest &guest) {
		madvise(guest.memory(), MEMORY_SIZE, MADV_DONTNEED);
	});
}

/* Fork write-protects the launcher's pages and hands out copies. */
LASTING_TEST(launcher_forks_under_a_guest, 20)
{
	counts_survive(Guest::Memory::private_, [](Guest &) {
		pid_t child = fork();

		if (child == 0)
			_exit(0);
		waitpid(child, nullptr, 0);
	});
}

LASTING_TEST(slot_set_again_under_a_guest, 20)
{
	counts_survive(Guest::Memory::shared, [](Guest &guest) {
		guest.set_slot(0, 0, MEMORY_SIZE, guest.memory());
	});
}

/* Page tables included: whatever was shadowed is found again. */
LASTING_TEST(all_memory_paged_out_under_a_guest, 20)
{
	counts_survive(Guest::Memory::private_, [](Guest &guest) {
		madvise(guest.memory(), MEMORY_SIZE, MADV_PAGEOUT);
	});
}

/* Pages that melt into huge ones and fall apart again. */
LASTING_TEST(memory_collapsed_and_paged_out_under_a_guest, 20)
{
	bool collapse = true;

	counts_survive(Guest::Memory::private_, [&collapse](Guest &guest) {
		constexpr int kCollapse = 25;	/* MADV_COLLAPSE, Linux 6.1 */

		madvise(guest.memory(), MEMORY_SIZE, collapse ? kCollapse : MADV_PAGEOUT);
		collapse = !collapse;
	});
}

/* Changes of protection: the guest's writes wait for none of them, so only to what it
 * does not write. */
LASTING_TEST(launcher_changes_protections_under_a_guest, 20)
{
	counts_survive(Guest::Memory::shared, [](Guest &guest) {
		mprotect(guest.memory() + GPA_FREE, MEMORY_SIZE - GPA_FREE, PROT_READ);
		mprotect(guest.memory() + GPA_FREE, MEMORY_SIZE - GPA_FREE, PROT_READ | PROT_WRITE);
		mprotect(guest.memory() + GPA_TEXT, GPA_FREE - GPA_TEXT, PROT_READ);
		mprotect(guest.memory() + GPA_TEXT, GPA_FREE - GPA_TEXT, PROT_READ | PROT_WRITE);
	});
}

/* -- two vCPUs ------------------------------------------------------------------------------------- */

/* vCPU 0 starts vCPU 1, which counts and then goes down; both leave by themselves. */
TEST(second_vcpu_starts_and_stops)
{
	Guest guest;
	Fd second(check_system(ioctl(guest.vm(), LG_CREATE_VCPU, 1), "LG_CREATE_VCPU"));
	std::atomic<bool> over{false}, ended{false};
	int error = 0;

	catch_signal(SIGUSR1);

	/* Down, up, down: only a signal brings it back from there. */
	std::jthread thread([&] {
		do
			error = ioctl(second.get(), LG_RUN) < 0 ? errno : 0;
		while (error == EINTR && !over);
		ended = true;
	});
	Exit exit = guest.start_at(starts_another_vcpu).run();

	over = true;
	while (!ended && !timed_out()) {
		pthread_kill(thread.native_handle(), SIGUSR1);
		usleep(10000);
	}
	EXPECT_EQ(exit.reason, LG_EXIT_SHUTDOWN);
	EXPECT_EQ(guest.told().at(0), 1000);
	EXPECT_EQ(error, EINTR);
}

LASTING_TEST(flush_reaches_the_other_vcpu, 60)
{
	Guest guest;
	Fd second(check_system(ioctl(guest.vm(), LG_CREATE_VCPU, 1), "LG_CREATE_VCPU"));
	void *page = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, second.get(), 0);

	check_system(page == MAP_FAILED ? -1 : 0, "mmap");

	auto *run = static_cast<lg_run *>(page);
	u64 saw = 0, expected = 0;

	catch_signal(SIGUSR1);

	std::jthread thread([&] {
		lg_regs regs;

		while (ioctl(second.get(), LG_RUN) < 0 && errno == EINTR && !run->immediate_exit)
			;
		if (run->exit_reason == LG_EXIT_BUS_WRITE && !ioctl(second.get(), LG_GET_REGS, &regs)) {
			saw = regs.r10;
			expected = regs.r8;
		}
	});
	Exit exit;

	guest.start_at(flushes_while_another_vcpu_reads);
	try {
		exit = guest.run();
	} catch (const Failure &) {
		run->immediate_exit = 1;
		pthread_kill(thread.native_handle(), SIGUSR1);
		thread.join();
		EXPECT_EQ(saw, expected);
		throw;
	}
	thread.join();
	EXPECT_EQ(exit.reason, LG_EXIT_SHUTDOWN);
	EXPECT_EQ(run->exit_reason, LG_EXIT_SHUTDOWN);
}
