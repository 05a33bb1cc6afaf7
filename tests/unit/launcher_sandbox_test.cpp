// SPDX-License-Identifier: GPL-2.0-only
// The sandbox, in a child that goes into it and tries what a launcher should not do.
#include "sandbox.h"

#include "error.h"
#include "net_options.h"
#include "private_directory.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <functional>
#include <linux/landlock.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <thread>
#include <unistd.h>

#define VIRTIO_RING_NO_LEGACY	// what that has besides does not compile as C++
#include <linux/vhost.h>

namespace lguest::test {
namespace {

// What a check says when all is well.
const std::string good;

std::string denied(const char *what, long result)
{
	return result < 0 && (errno == EPERM || errno == EACCES) ? good : fmt::format("{}: {}, errno {}; ", what, result, errno);
}

std::string works(const char *what, long result)
{
	return result >= 0 ? good : fmt::format("{}: errno {}; ", what, errno);
}

// Returns what `tries` complained of, in a sandbox.
std::string inside(const SandboxRequest &request, const std::function<std::string()> &tries)
{
	int ends[2];
	EXPECT_EQ(pipe(ends), 0);
	pid_t child = fork();
	if (child == 0) {
		std::string text;
		try {
			enter_sandbox(request);
			text = tries();
		} catch (const std::exception &error) {
			text = error.what();
		}
		[[maybe_unused]] ssize_t told = write(ends[1], text.data(), text.size());
		_exit(0);
	}
	close(ends[1]);
	std::string text;
	char chunk[256];
	for (ssize_t got; (got = read(ends[0], chunk, sizeof(chunk))) > 0;)
		text.append(chunk, static_cast<std::size_t>(got));
	close(ends[0]);
	int status;
	waitpid(child, &status, 0);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		text += fmt::format("ended with {:#x}", status);
	return text;
}

bool have_landlock()
{
	return syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION) > 0;
}

TEST(Sandbox, TheFilterBites)
{
	EXPECT_EQ(inside({}, [] {
		char *words[] = {nullptr};
		std::string wrong;
		wrong += denied("socket(AF_INET)", socket(AF_INET, SOCK_STREAM, 0));
		wrong += denied("socket(AF_INET6)", socket(AF_INET6, SOCK_DGRAM, 0));
		wrong += denied("socket(AF_NETLINK)", socket(AF_NETLINK, SOCK_RAW, 0));
		wrong += denied("socket(AF_PACKET)", socket(AF_PACKET, SOCK_RAW, 0));
		wrong += denied("ptrace", ptrace(PTRACE_TRACEME, 0, nullptr, nullptr));
		wrong += denied("execve", execve("/bin/true", words, words));
		wrong += denied("open to write", open("/tmp/lguest-sandbox-test", O_WRONLY | O_CREAT, 0600));
		wrong += denied("open to change", open("/dev/null", O_RDWR));
		wrong += denied("mount", mount("none", "/mnt", "tmpfs", 0, nullptr));
		wrong += denied("unshare", unshare(CLONE_NEWUSER));
		wrong += denied("setuid", setuid(0));
		wrong += denied("kill", kill(getppid(), 0));
		wrong += denied("chmod", chmod("/tmp", 0777));
		wrong += denied("TIOCSTI", ioctl(0, TIOCSTI, "x"));
		wrong += denied("process_vm_readv", syscall(SYS_process_vm_readv, getppid(), nullptr, 0, nullptr, 0, 0));
		wrong += denied("bpf", syscall(SYS_bpf, 0, nullptr, 0));
		wrong += denied("io_uring_setup", syscall(SYS_io_uring_setup, 1, nullptr));
		wrong += denied("code in memory",
				mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0);
		wrong += denied("fork", syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, 0));
		return wrong;
	}), good);
}

TEST(Sandbox, TheLauncherWorksOn)
{
	EXPECT_EQ(inside({}, [] {
		std::string wrong;
		std::atomic<bool> ran = false;
		std::thread{[&] { ran = true; }}.join();
		wrong += works("thread", ran ? 0 : -1);
		wrong += works("eventfd", eventfd(0, EFD_CLOEXEC));
		wrong += works("socket(AF_UNIX)", socket(AF_UNIX, SOCK_STREAM, 0));
		wrong += works("mmap", mmap(nullptr, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0);
		wrong += works("own signal", raise(0));
		wrong += works("reading /proc/self", open("/proc/self/status", O_RDONLY));
		std::string text(1 << 20, 'x');
		wrong += works("allocation", text.back() == 'x' ? 0 : -1);
		return wrong;
	}), good);
}

TEST(Sandbox, HelpersCanBeEnded)
{
	int status = -1;
	pid_t launcher = fork();
	if (launcher == 0) {
		pid_t helper = fork();
		if (helper == 0) {
			pause();
			_exit(0);
		}
		enter_sandbox({});
		bool ended = kill(helper, SIGKILL) == 0 && waitpid(helper, nullptr, 0) == helper;
		_exit(ended ? 0 : 1);
	}
	waitpid(launcher, &status, 0);
	EXPECT_EQ(status, 0);
}

// Also in a thread that was there before.
TEST(Sandbox, HoldsForAllThreads)
{
	pid_t child = fork();
	if (child == 0) {
		std::atomic<int> step = 0;
		std::thread early{[&] {
			step.wait(0);
			_exit(socket(AF_INET, SOCK_STREAM, 0) < 0 && errno == EPERM ? 0 : 1);
		}};
		enter_sandbox({});
		step = 1;
		step.notify_all();
		early.join();
	}
	int status;
	waitpid(child, &status, 0);
	EXPECT_EQ(status, 0);
}

TEST(Sandbox, SocketsOfAKindAreForThoseWhoNeedThem)
{
	SandboxRequest internet, news;
	internet.needs.internet = true;
	news.needs.interface_events = true;
	EXPECT_EQ(inside(internet, [] {
		return works("AF_INET", socket(AF_INET, SOCK_STREAM, 0)) + denied("AF_NETLINK", socket(AF_NETLINK, SOCK_RAW, 0));
	}), good);
	EXPECT_EQ(inside(news, [] {
		return works("AF_NETLINK", socket(AF_NETLINK, SOCK_RAW, 0)) + denied("AF_INET", socket(AF_INET, SOCK_STREAM, 0));
	}), good);
}

// An ioctl that passes finds that this is no such device.
TEST(Sandbox, VhostIsForThoseWhoNeedIt)
{
	auto set_owner = [] { return ioctl(0, VHOST_SET_OWNER) < 0 && errno != EPERM ? good : fmt::format("errno {}", errno); };
	EXPECT_EQ(inside({}, [] { return denied("VHOST_SET_OWNER", ioctl(0, VHOST_SET_OWNER)); }), good);
	SandboxRequest request;
	request.needs.vhost = true;
	EXPECT_EQ(inside(request, set_owner), good);
	EXPECT_EQ(inside(request, [] { return denied("VHOST_SET_LOG_FD", ioctl(0, VHOST_SET_LOG_FD, nullptr)); }), good);
}

// Where the sockets are: they are set up once more, without a place to make directories in.
TEST(Sandbox, ARebootFindsThePrivateDirectory)
{
	char runtime[] = "/tmp/lguest-test.XXXXXX";
	ASSERT_NE(mkdtemp(runtime), nullptr);
	setenv("XDG_RUNTIME_DIR", runtime, 1);
	open_private_directory({"link", "lab"});
	SandboxRequest request;
	request.reboot = true;
	request.needs.directories.push_back(private_directory());
	EXPECT_EQ(inside(request, [] {
		return works("directory", open_private_directory({"link", "lab"}).fd.get()) +
		       works("itself", open_private_directory(private_directory(), true).get());
	}), good);
	unsetenv("XDG_RUNTIME_DIR");
	std::filesystem::remove_all(runtime);
}

class SandboxFiles : public testing::Test {
protected:
	void SetUp() override
	{
		if (!have_landlock())
			GTEST_SKIP() << "no Landlock here";
		char pattern[] = "/var/tmp/lguest-test.XXXXXX";
		top_ = mkdtemp(pattern);
		for (const char *name : {"/open", "/other", "/kernel"})
			std::ofstream{top_ + name} << "x";
		std::filesystem::create_directory(top_ + "/sockets");
	}
	void TearDown() override
	{
		if (!top_.empty())
			std::filesystem::remove_all(top_);
	}
	std::string top_;
};

TEST_F(SandboxFiles, OnlyThoseThatAreOpen)
{
	int disk = open((top_ + "/open").c_str(), O_RDONLY);
	ASSERT_GE(disk, 0);
	SandboxRequest request;
	request.needs.directories.push_back(top_ + "/sockets");
	EXPECT_EQ(inside(request, [&] {
		std::string wrong;
		wrong += works("again", open((top_ + "/open").c_str(), O_RDONLY));
		wrong += denied("another", open((top_ + "/other").c_str(), O_RDONLY));
		wrong += denied("passwords", open("/etc/passwd", O_RDONLY));
		wrong += denied("a directory", open("/", O_RDONLY | O_DIRECTORY));
		wrong += denied("removal", unlink((top_ + "/other").c_str()));
		sockaddr_un address{};
		address.sun_family = AF_UNIX;
		int socket = ::socket(AF_UNIX, SOCK_STREAM, 0);
		std::snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", top_.c_str());
		wrong += denied("a socket", bind(socket, reinterpret_cast<sockaddr *>(&address), sizeof(address)));
		std::snprintf(address.sun_path, sizeof(address.sun_path), "%s/sockets/s", top_.c_str());
		wrong += works("a socket among the guests", bind(socket, reinterpret_cast<sockaddr *>(&address), sizeof(address)));
		wrong += works("its removal", unlink(address.sun_path));
		return wrong;
	}), good);
	close(disk);
}

// /bin/true stands for the launcher: what is executed is not what /proc/self/exe was.
TEST_F(SandboxFiles, AfterARebootTheSame)
{
	int disk = open((top_ + "/open").c_str(), O_RDWR);
	ASSERT_GE(disk, 0);
	SandboxRequest request;
	request.reboot = true;
	request.files.push_back(top_ + "/kernel");
	MacAddress named = card_address("web", 0);
	EXPECT_EQ(inside(request, [&] {
		char *words[] = {nullptr};
		std::string wrong;
		wrong += works("the address of a card", card_address("web", 0) == named ? 0 : -1);
		wrong += works("the kernel", open((top_ + "/kernel").c_str(), O_RDONLY));
		wrong += works("what tells this start of the host", open("/proc/sys/kernel/random/boot_id", O_RDONLY));
		wrong += works("the disk", open((top_ + "/open").c_str(), O_RDWR));
		wrong += denied("the kernel, to change it", open((top_ + "/kernel").c_str(), O_RDWR));
		wrong += denied("passwords", open("/etc/passwd", O_RDONLY));
		wrong += denied("another program", execve("/usr/bin/id", words, words));
		wrong += denied("ptrace", ptrace(PTRACE_TRACEME, 0, nullptr, nullptr));
		wrong += denied("socket(AF_INET)", socket(AF_INET, SOCK_STREAM, 0));
		return wrong;
	}), good);
	close(disk);
}

TEST(Sandbox, TheLauncherCanBeExecutedAgain)
{
	SandboxRequest request;
	request.reboot = true;
	int ends[2];
	ASSERT_EQ(pipe(ends), 0);
	pid_t child = fork();
	if (child == 0) {
		enter_sandbox(request);
		setenv("ASAN_OPTIONS", "detect_leaks=0", 1);	// that needs ptrace
		dup2(ends[1], STDOUT_FILENO);
		execl("/proc/self/exe", "launcher-test", "--gtest_list_tests", "--gtest_filter=Sandbox.TheFilterBites", nullptr);
		_exit(1);
	}
	close(ends[1]);
	std::string text;
	char chunk[256];
	for (ssize_t got; (got = read(ends[0], chunk, sizeof(chunk))) > 0;)
		text.append(chunk, static_cast<std::size_t>(got));
	int status;
	waitpid(child, &status, 0);
	EXPECT_EQ(status, 0);
	EXPECT_NE(text.find("TheFilterBites"), std::string::npos) << text;
	close(ends[0]);
}

} // namespace
} // namespace lguest::test
