// SPDX-License-Identifier: GPL-2.0-only
// A virtiofsd of our own, see virtiofsd.h.
//
// Between fork and exec there are system calls only: other threads may hold locks.
#include "virtiofsd.h"

#include "error.h"
#include "over_reboot.h"
#include "user_namespace.h"
#include "vhost_user.h"

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace lguest {
namespace {

namespace fs = std::filesystem;

// A listening socket for one client, which is connected already: nobody else gets in, and
// the path is gone before anybody could know it.
struct SocketPair {
	SocketPair()
	{
		std::string directory = (fs::temp_directory_path() / "lguest.XXXXXX").string();
		if (!mkdtemp(directory.data()))
			fail("cannot make a directory in {}: {}", fs::temp_directory_path().string(), std::strerror(errno));
		struct Remove {
			std::string path;
			~Remove()
			{
				std::error_code ignored;
				fs::remove_all(path, ignored);
			}
		} remove{directory};
		sockaddr_un address{};
		address.sun_family = AF_UNIX;
		std::string path = directory + "/s";
		if (path.size() >= sizeof(address.sun_path))
			fail("TMPDIR is too long for a socket: {}", path);
		std::copy(path.begin(), path.end(), address.sun_path);
		listener = Descriptor{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
		if (bind(listener.get(), reinterpret_cast<sockaddr *>(&address), sizeof(address)) < 0 || listen(listener.get(), 1) < 0)
			fail("cannot listen on {}: {}", path, std::strerror(errno));
		client = connect_unix(path);
	}

	Descriptor listener, client;
};

constexpr int daemon_socket = 3;	// its number in virtiofsd
constexpr int farewell_ms = 5000;

// The daemon's process until it is virtiofsd.
class Child {
public:
	Child(const Virtiofsd::Settings &settings, const std::string &program, int socket, int complaints, int mapped)
		: settings_{settings}, socket_{socket}, complaints_{complaints}, mapped_{mapped}, program_{program}
	{
		words_ = {program, fmt::format("--fd={}", daemon_socket), "-f",
			  "-o", fmt::format("source={}", escaped(settings.directory)),
			  "-o", fmt::format("cache={}", settings.cache),
			  "-o", "sandbox=chroot", "-o", "log_level=err"};
		for (char **variable = environ; *variable; variable++)
			variables_.emplace_back(*variable);
		if (geteuid() != 0) {
			// It cannot raise the limit by itself then.
			words_.push_back("--rlimit-nofile=0");
			std::erase_if(variables_, [](const std::string &variable) { return variable.starts_with("LD_PRELOAD="); });
			variables_.push_back("LD_PRELOAD=" + installed_file("noatime_preload.so"));
		}
		arguments_ = pointers_to(words_);
		environment_ = pointers_to(variables_);
	}

	[[noreturn]] void run()
	{
		// No signal from the terminal is for it: it ends with us.
		setsid();
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal_defaults();
		place_descriptors();
		enter_namespaces();
		if (settings_.read_only)
			make_read_only();
		raise_file_limit();
		execve(program_.c_str(), arguments_.data(), environment_.data());
		give_up("cannot be started");
	}

private:
	static std::vector<char *> pointers_to(std::vector<std::string> &words)
	{
		std::vector<char *> pointers;
		for (std::string &word : words)
			pointers.push_back(word.data());
		pointers.push_back(nullptr);
		return pointers;
	}

	// A comma ends a value in its options.
	static std::string escaped(const std::string &path)
	{
		if (path.find(',') != path.npos)
			fail("{}: virtiofsd takes no directory with a comma in its name", path);
		return path;
	}

	[[noreturn]] static void give_up(const char *what)
	{
		const char *why = strerrordesc_np(errno);
		for (const char *text : {what, ": ", why ? why : "unknown error", "\n"})
			if (write(STDERR_FILENO, text, std::strlen(text)) < 0)
				break;
		_exit(1);
	}

	static void signal_defaults()
	{
		sigset_t none;
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, nullptr);
		std::signal(SIGPIPE, SIG_DFL);
	}

	// First out of each other's way, then where they belong, without CLOEXEC.
	void place_descriptors()
	{
		int socket = fcntl(socket_, F_DUPFD_CLOEXEC, 10);
		int complaints = fcntl(complaints_, F_DUPFD_CLOEXEC, 10);
		mapped_ = fcntl(mapped_, F_DUPFD_CLOEXEC, 10);
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);
		dup2(complaints, STDERR_FILENO);
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		dup2(socket, daemon_socket);
	}

	void enter_namespaces()
	{
		bool root = geteuid() == 0;
		if (!root) {
			if (unshare(CLONE_NEWUSER) < 0)
				give_up("cannot have a user namespace");
			// Our parent sees us waiting, and gives us ids.
			char byte = 0;
			if (write(mapped_, &byte, 1) != 1 || read(mapped_, &byte, 1) != 1)
				_exit(1);	// our parent has said why
			if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
				give_up("cannot be root of its user namespace");
			prctl(PR_SET_PDEATHSIG, SIGKILL);	// a change of ids clears it
		}
		// In a container even root may be without this; then the chroot has to do.
		if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC) < 0) {
			if (settings_.read_only)
				give_up("cannot have a mount namespace, which ro needs");
			return;
		}
		if (mount("", "/", nullptr, MS_REC | MS_SLAVE, nullptr) < 0)
			give_up("cannot detach its mounts");
	}

	void make_read_only()
	{
		const char *path = settings_.directory.c_str();
		bool is_root = settings_.directory == "/";
		if (!is_root && mount(path, path, nullptr, MS_BIND | MS_REC, nullptr) < 0)
			give_up("cannot bind the directory");
		mount_attr attributes{};
		attributes.attr_set = MOUNT_ATTR_RDONLY;
		if (syscall(SYS_mount_setattr, AT_FDCWD, path, AT_RECURSIVE, &attributes, sizeof(attributes)) < 0)
			give_up("cannot make the directory read-only");
	}

	// It holds a descriptor for each file that the guest knows of.
	static void raise_file_limit()
	{
		rlimit limit;
		if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
			limit.rlim_cur = limit.rlim_max;
			setrlimit(RLIMIT_NOFILE, &limit);
		}
	}

	const Virtiofsd::Settings &settings_;
	int socket_, complaints_, mapped_;
	std::string program_;
	std::vector<std::string> words_, variables_;
	std::vector<char *> arguments_, environment_;
};

} // namespace

std::string Virtiofsd::find()
{
	if (const char *given = std::getenv("LGUEST_VIRTIOFSD"); given && *given)
		return given;
	std::string_view path = std::getenv("PATH") ? std::getenv("PATH") : "";
	while (!path.empty()) {
		auto colon = path.find(':');
		std::string file = std::string{path.substr(0, colon)} + "/virtiofsd";
		if (file.front() == '/' && access(file.c_str(), X_OK) == 0)
			return file;
		path.remove_prefix(colon == path.npos ? path.size() : colon + 1);
	}
	for (const char *file : {"/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd"})
		if (access(file, X_OK) == 0)
			return file;
	return {};
}

Virtiofsd::Virtiofsd(const Settings &given)
{
	Settings settings = given;
	std::error_code error;
	fs::path directory = fs::canonical(settings.directory, error);
	if (error)
		fail("{}: {}", settings.directory, error.message());
	if (!fs::is_directory(directory, error))
		fail("{}: not a directory", settings.directory);
	settings.directory = directory.string();
	std::string program = find();
	if (program.empty())
		fail("no virtiofsd, which serves directories: install qemu-system-common or virtiofsd, or name it in LGUEST_VIRTIOFSD");
	if (access(program.c_str(), X_OK) < 0)
		fail("{}: {}", program, std::strerror(errno));

	SocketPair sockets;
	int complaints[2], mapped[2];
	if (pipe2(complaints, O_CLOEXEC) < 0)
		fail("cannot start virtiofsd: {}", std::strerror(errno));
	complaints_ = Descriptor{complaints[0]};
	Descriptor said{complaints[1]};
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, mapped) < 0)
		fail("cannot start virtiofsd: {}", std::strerror(errno));
	Descriptor ours{mapped[0]}, theirs{mapped[1]};

	Child child{settings, program, sockets.listener.get(), said.get(), theirs.get()};
	process_ = fork();
	if (process_ < 0)
		fail("cannot start virtiofsd: {}", std::strerror(errno));
	if (process_ == 0)
		child.run();
	theirs = Descriptor{};
	socket_ = std::move(sockets.client);
	char byte;
	// It waits for its ids, if it needs any, else or if it failed this is the end.
	if (geteuid() != 0 && read(ours.get(), &byte, 1) == 1) {
		map_user_namespace(process_);
		if (write(ours.get(), &byte, 1) != 1)
			fail("virtiofsd: {}", last_words());
	}
}

std::unique_ptr<Virtiofsd> Virtiofsd::kept(const std::string &name)
{
	auto process = over_reboot::take_number(name + " process");
	if (!process || *process <= 1)
		return nullptr;
	std::unique_ptr<Virtiofsd> daemon{new Virtiofsd};
	daemon->process_ = *process;
	daemon->complaints_ = over_reboot::take(name + " complaints");
	return daemon;
}

void Virtiofsd::keep_for_reboot(const std::string &name, Descriptor complaints)
{
	over_reboot::keep(name + " process", std::exchange(process_, -1));
	over_reboot::keep(name + " complaints", std::move(complaints));
}

void Virtiofsd::end()
{
	if (process_ < 0)
		return;
	kill(process_, SIGKILL);	// it has nothing of its own to lose
	while (waitpid(process_, nullptr, 0) < 0 && errno == EINTR) {
	}
	process_ = -1;
}

Virtiofsd::~Virtiofsd() { end(); }

std::string Virtiofsd::last_words()
{
	std::string said, line, last;
	char buffer[512];
	ssize_t size;
	// It may still be about to say why it goes: it has gone when the pipe ends.
	socket_ = Descriptor{};
	pollfd more{complaints_.get(), POLLIN, 0};
	while (poll(&more, 1, farewell_ms) > 0 && (size = read(complaints_.get(), buffer, sizeof(buffer))) > 0)
		said.append(buffer, static_cast<std::size_t>(size));
	end();
	for (char character : said + '\n') {
		if (character != '\n')
			line += character;
		else if (!line.empty())
			last = std::exchange(line, {});
	}
	return last.empty() ? "ended without a word" : last;
}

} // namespace lguest
