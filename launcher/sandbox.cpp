// SPDX-License-Identifier: GPL-2.0-only
// The sandbox, see sandbox.h.  In two parts: files, then system calls.
#include "sandbox.h"

#include "error.h"
#include "file.h"

#include <linux/landlock.h>
#include <linux/if_tun.h>
#include <seccomp.h>
#include <spdlog/spdlog.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <sched.h>

#define VIRTIO_RING_NO_LEGACY	// what that has besides does not compile as C++
#include <linux/vhost.h>

namespace lguest {
namespace {

constexpr const char *entered_variable = "LGUEST_SANDBOXED";

// --- files: Landlock ---------------------------------------------------------------

constexpr std::uint64_t read_rights = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
constexpr std::uint64_t write_rights = LANDLOCK_ACCESS_FS_WRITE_FILE;
constexpr std::uint64_t directory_rights =
	read_rights | write_rights | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REMOVE_FILE;
constexpr std::uint64_t file_rights = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_EXECUTE;
// All of the first version; what is handled and not allowed is denied.
constexpr std::uint64_t handled_rights = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;

class Ruleset {
public:
	Ruleset()
	{
		landlock_ruleset_attr attributes{};
		attributes.handled_access_fs = handled_rights;
		fd_ = Descriptor{static_cast<int>(syscall(SYS_landlock_create_ruleset, &attributes, sizeof(attributes), 0))};
	}

	explicit operator bool() const { return static_cast<bool>(fd_); }

	// What does not exist needs no rule.
	void allow(const std::string &path, std::uint64_t rights)
	{
		if (Descriptor file{open(path.c_str(), O_PATH | O_CLOEXEC)})
			allow(file.get(), rights);
	}

	void allow(int file, std::uint64_t rights)
	{
		struct stat status;
		if (fstat(file, &status) < 0)
			return;
		landlock_path_beneath_attr rule{};
		rule.allowed_access = S_ISDIR(status.st_mode) ? rights : rights & file_rights;
		rule.parent_fd = file;
		// Fails for what is in no file system, such as pipes; these need no rule.
		syscall(SYS_landlock_add_rule, fd_.get(), LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
	}

	void enforce()
	{
		if (syscall(SYS_landlock_restrict_self, fd_.get(), 0) < 0)
			fail("cannot enter the sandbox: Landlock: {}; --sandbox off does without", std::strerror(errno));
	}

private:
	Descriptor fd_;
};

// What is open may be opened again: by /proc/self/fd, and by a reboot.
void allow_open_files(Ruleset &rules)
{
	std::error_code ignored;
	for (const auto &entry : std::filesystem::directory_iterator{"/proc/self/fd", ignored}) {
		int fd = std::atoi(entry.path().filename().c_str());
		int mode = fcntl(fd, F_GETFL);
		struct stat status;
		if (mode < 0 || fstat(fd, &status) < 0 || S_ISDIR(status.st_mode))
			continue;
		std::uint64_t rights = (mode & O_ACCMODE) == O_RDONLY ? LANDLOCK_ACCESS_FS_READ_FILE
									: LANDLOCK_ACCESS_FS_READ_FILE | write_rights;
		rules.allow(entry.path(), rights);
	}
}

void restrict_files(const SandboxRequest &request)
{
	Ruleset rules;
	if (!rules) {
		spdlog::debug("sandbox: this host has no Landlock");
		return;
	}
	allow_open_files(rules);
	for (const char *path : {"/proc/self", "/sys/devices/system/cpu", "/etc/resolv.conf", "/run/systemd/resolve"})
		rules.allow(path, read_rights);
	for (const std::string &directory : request.needs.directories)
		rules.allow(directory, directory_rights);
	for (const std::string &socket : request.needs.sockets)
		rules.allow(std::filesystem::absolute(socket).parent_path(), LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REMOVE_FILE);
	if (request.reboot) {
		rules.allow("/proc/self/exe", read_rights | LANDLOCK_ACCESS_FS_EXECUTE);
		// The loader is executed, libraries are read.
		for (const char *path : {"/lib", "/lib64", "/usr/lib", "/usr/local/lib"})
			rules.allow(path, read_rights | LANDLOCK_ACCESS_FS_EXECUTE);
		// The addresses of network cards are made of the latter two (net_options.h).
		for (const char *path : {"/etc/ld.so.cache", "/dev/urandom", "/etc/machine-id", "/proc/sys/kernel/random/boot_id"})
			rules.allow(path, read_rights);
		for (const char *path : {"/dev/null", "/dev/lguest", "/dev/net/tun", "/dev/ptmx", "/dev/pts"})
			rules.allow(path, read_rights | write_rights);
		if (request.needs.vhost)
			for (const char *path : {"/dev/vhost-net", "/dev/vhost-vsock"})
				rules.allow(path, read_rights | write_rights);
		for (const std::string &file : request.files)
			rules.allow(file, read_rights);
	}
	rules.enforce();
}

// --- system calls: seccomp ---------------------------------------------------------

// Any arguments.
constexpr int memory[] = {SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(brk), SCMP_SYS(msync), SCMP_SYS(mincore),
			  SCMP_SYS(membarrier)};
constexpr int threads[] = {SCMP_SYS(futex), SCMP_SYS(set_robust_list), SCMP_SYS(rseq), SCMP_SYS(set_tid_address),
			   SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity), SCMP_SYS(sched_setaffinity), SCMP_SYS(gettid),
			   SCMP_SYS(getcpu), SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(restart_syscall), SCMP_SYS(wait4),
			   SCMP_SYS(waitid)};
constexpr int signals[] = {SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigtimedwait),
			   SCMP_SYS(sigaltstack)};
constexpr int time_and_events[] = {SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep),
				   SCMP_SYS(gettimeofday), SCMP_SYS(time), SCMP_SYS(timerfd_create), SCMP_SYS(timerfd_settime),
				   SCMP_SYS(timerfd_gettime), SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait),
				   SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_pwait2), SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(select),
				   SCMP_SYS(pselect6), SCMP_SYS(eventfd2), SCMP_SYS(pipe2)};
constexpr int descriptors[] = {SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(pread64), SCMP_SYS(pwrite64),
			       SCMP_SYS(preadv), SCMP_SYS(pwritev), SCMP_SYS(preadv2), SCMP_SYS(pwritev2), SCMP_SYS(lseek),
			       SCMP_SYS(close), SCMP_SYS(close_range), SCMP_SYS(dup), SCMP_SYS(dup2), SCMP_SYS(dup3), SCMP_SYS(fcntl),
			       SCMP_SYS(fstat), SCMP_SYS(fstatfs)};
// Of disks: io_uring's own opening and connecting is Landlock's to stop.
constexpr int disks[] = {SCMP_SYS(fsync), SCMP_SYS(fdatasync), SCMP_SYS(sync_file_range), SCMP_SYS(fallocate), SCMP_SYS(ftruncate),
			 SCMP_SYS(flock), SCMP_SYS(fadvise64), SCMP_SYS(copy_file_range), SCMP_SYS(io_uring_enter), SCMP_SYS(io_uring_register)};
// Which sockets there can be is decided where they are made.
constexpr int sockets[] = {SCMP_SYS(accept), SCMP_SYS(accept4), SCMP_SYS(connect), SCMP_SYS(bind), SCMP_SYS(listen), SCMP_SYS(shutdown),
			   SCMP_SYS(sendto), SCMP_SYS(sendmsg), SCMP_SYS(sendmmsg), SCMP_SYS(recvfrom), SCMP_SYS(recvmsg),
			   SCMP_SYS(recvmmsg), SCMP_SYS(getsockopt), SCMP_SYS(setsockopt), SCMP_SYS(getsockname),
			   SCMP_SYS(getpeername)};
constexpr int questions[] = {SCMP_SYS(getpid), SCMP_SYS(getppid), SCMP_SYS(getpgrp), SCMP_SYS(getuid), SCMP_SYS(geteuid),
			     SCMP_SYS(getgid), SCMP_SYS(getegid), SCMP_SYS(uname), SCMP_SYS(sysinfo), SCMP_SYS(getrandom),
			     SCMP_SYS(getrusage), SCMP_SYS(getcwd), SCMP_SYS(newfstatat), SCMP_SYS(stat), SCMP_SYS(lstat),
			     SCMP_SYS(statx), SCMP_SYS(statfs), SCMP_SYS(access), SCMP_SYS(faccessat), SCMP_SYS(faccessat2),
			     SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(getdents64)};
constexpr int removal[] = {SCMP_SYS(unlink), SCMP_SYS(unlinkat)};
constexpr int starting_again[] = {SCMP_SYS(execve), SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(mmap), SCMP_SYS(mprotect),
				  SCMP_SYS(arch_prctl), SCMP_SYS(memfd_create), SCMP_SYS(mkdirat), SCMP_SYS(io_uring_setup),
				  SCMP_SYS(prctl), SCMP_SYS(getpgid), SCMP_SYS(inotify_init1), SCMP_SYS(inotify_add_watch)};

// Terminals and taps; TIOCSTI, which types into the user's shell, is not among them.
constexpr std::uint64_t ioctls[] = {TCGETS, TCSETS, TCSETSW, TCSETSF, TIOCGWINSZ, TIOCSWINSZ, TIOCGPGRP, FIONREAD, FIONBIO, FIOCLEX, TUNSETIFF,
				    TUNSETOFFLOAD, TUNSETVNETHDRSZ, TUNGETFEATURES, TUNGETIFF, TUNSETVNETLE, TUNSETQUEUE,
				    TIOCGPTN, TIOCSPTLCK};
// Of vhost: a driver that comes or goes, and what a reboot has to set up again.
constexpr std::uint64_t vhost_ioctls[] = {VHOST_GET_FEATURES, VHOST_SET_FEATURES, VHOST_SET_OWNER, VHOST_SET_MEM_TABLE,
					  VHOST_SET_VRING_NUM, VHOST_SET_VRING_BASE, VHOST_SET_VRING_ADDR, VHOST_SET_VRING_KICK,
					  VHOST_SET_VRING_CALL, VHOST_SET_VRING_ERR, VHOST_NET_SET_BACKEND,
					  VHOST_VSOCK_SET_GUEST_CID, VHOST_VSOCK_SET_RUNNING};
// All of a kind: lg.ko's, block devices', sockets'.
constexpr std::uint64_t ioctl_kinds[] = {0xB7, 0x12, 0x89};

constexpr std::uint64_t namespaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;
constexpr std::uint64_t low_half = 0xffffffff;

class Filter {
public:
	Filter() : context_{seccomp_init(SCMP_ACT_ERRNO(EPERM))}
	{
		if (!context_)
			failed(-ENOMEM);
		// Threads that devices have started already, too.
		check(seccomp_attr_set(context_, SCMP_FLTATR_CTL_TSYNC, 1));
		check(seccomp_attr_set(context_, SCMP_FLTATR_CTL_OPTIMIZE, 2));	// a binary tree
	}
	~Filter() { seccomp_release(context_); }
	Filter(const Filter &) = delete;
	Filter &operator=(const Filter &) = delete;

	template <std::size_t count>
	void allow(const int (&calls)[count])
	{
		for (int call : calls)
			check(seccomp_rule_add(context_, SCMP_ACT_ALLOW, call, 0));
	}
	// With some bits of an argument as given.
	void allow_if(int call, unsigned argument, std::uint64_t mask, std::uint64_t value)
	{
		check(seccomp_rule_add(context_, SCMP_ACT_ALLOW, call, 1,
				       SCMP_CMP64(argument, SCMP_CMP_MASKED_EQ, mask, value)));
	}
	void refuse(int call, std::uint32_t error) { check(seccomp_rule_add(context_, SCMP_ACT_ERRNO(error), call, 0)); }
	void load() { check(seccomp_load(context_)); }

private:
	[[noreturn]] static void failed(int result)
	{
		fail("cannot enter the sandbox: seccomp: {}; --sandbox off does without", std::strerror(-result));
	}
	// -EEXIST: an earlier rule allows more.
	static void check(int result)
	{
		if (result < 0 && result != -EEXIST)
			failed(result);
	}

	scmp_filter_ctx context_;
};

std::vector<std::uint64_t> children()
{
	std::vector<std::uint64_t> pids;
	std::error_code ignored;
	for (const auto &thread : std::filesystem::directory_iterator{"/proc/self/task", ignored}) {
		std::ifstream file{thread.path() / "children"};
		for (std::uint64_t pid; file >> pid;)
			pids.push_back(pid);
	}
	return pids;
}

void restrict_calls(const SandboxRequest &request)
{
	Filter filter;
	filter.allow(memory);
	filter.allow(threads);
	filter.allow(signals);
	filter.allow(time_and_events);
	filter.allow(descriptors);
	filter.allow(disks);
	filter.allow(sockets);
	filter.allow(questions);
	filter.allow(removal);
	if (request.reboot)
		filter.allow(starting_again);

	// Memory that is code does not appear any more; files are opened for reading, at most.
	for (int call : {SCMP_SYS(mmap), SCMP_SYS(mprotect)})
		filter.allow_if(call, 2, PROT_EXEC, 0);
	constexpr std::uint64_t changes = O_ACCMODE | O_CREAT | O_TRUNC;
	filter.allow_if(SCMP_SYS(open), 1, changes, O_RDONLY);
	filter.allow_if(SCMP_SYS(openat), 2, changes, O_RDONLY);

	// Threads, but no processes and no namespaces.  clone3 hides its flags in memory: the C library then takes clone.
	filter.allow_if(SCMP_SYS(clone), 0, CLONE_THREAD | namespaces, CLONE_THREAD);
	filter.refuse(SCMP_SYS(clone3), ENOSYS);

	// Signals to ourselves and to helpers that devices have started; our limits only.
	for (std::uint64_t child : children())
		filter.allow_if(SCMP_SYS(kill), 0, low_half, child);
	auto self = static_cast<std::uint64_t>(getpid());
	filter.allow_if(SCMP_SYS(tgkill), 0, low_half, self);
	filter.allow_if(SCMP_SYS(kill), 0, low_half, self);
	filter.allow_if(SCMP_SYS(prlimit64), 0, low_half, 0);
	filter.allow_if(SCMP_SYS(prctl), 0, low_half, PR_SET_NAME);
	filter.allow_if(SCMP_SYS(prctl), 0, low_half, PR_GET_NAME);

	for (int call : {SCMP_SYS(socket), SCMP_SYS(socketpair)})
		filter.allow_if(call, 0, low_half, AF_UNIX);
	if (request.needs.internet)
		for (std::uint64_t family : {AF_INET, AF_INET6})
			filter.allow_if(SCMP_SYS(socket), 0, low_half, family);

	if (request.needs.interface_events)
		filter.allow_if(SCMP_SYS(socket), 0, low_half, AF_NETLINK);

	for (std::uint64_t request_number : ioctls)
		filter.allow_if(SCMP_SYS(ioctl), 1, low_half, request_number);
	if (request.needs.vhost)
		for (std::uint64_t request_number : vhost_ioctls)
			filter.allow_if(SCMP_SYS(ioctl), 1, low_half, request_number);
	for (std::uint64_t kind : ioctl_kinds)
		filter.allow_if(SCMP_SYS(ioctl), 1, 0xff00, kind << 8);
	filter.load();
}

} // namespace

void enter_sandbox(const SandboxRequest &request)
{
	if (std::getenv(entered_variable))
		return;
	setenv(entered_variable, "1", 1);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		fail("cannot enter the sandbox: {}; --sandbox off does without", std::strerror(errno));
	restrict_files(request);
	restrict_calls(request);
	spdlog::debug("in the sandbox");
}

} // namespace lguest
