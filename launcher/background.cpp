// SPDX-License-Identifier: GPL-2.0-only
// Going into the background, see background.h.
#include "background.h"

#include "error.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace lguest {
namespace {

constexpr const char *entered_variable = "LGUEST_DETACHED";

// What the command does: wait for the launcher, and end as it says.
[[noreturn]] void wait_for(pid_t child, int told, const std::string &name)
{
	char byte;
	ssize_t got;
	do
		got = read(told, &byte, 1);
	while (got < 0 && errno == EINTR);
	if (got == 1) {
		fmt::print("{}\n", name.empty() ? fmt::format("lguest-{}", child) : name);
		std::fflush(stdout);
		_exit(0);
	}
	int status = 0;
	waitpid(child, &status, 0);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

void use_null(int fd, int flags)
{
	Descriptor null{open("/dev/null", flags | O_CLOEXEC)};
	dup2(null.get(), fd);
}

} // namespace

void Background::enter(const std::string &name)
{
	if (std::getenv(entered_variable))
		return;
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		fail("--detach: {}", std::strerror(errno));
	Descriptor told{ends[0]};
	tell_ = Descriptor{ends[1]};
	pid_t child = fork();
	if (child < 0)
		fail("--detach: {}", std::strerror(errno));
	if (child > 0) {
		close(tell_.release());
		wait_for(child, told.get(), name);
	}
	setsid();
	use_null(STDIN_FILENO, O_RDONLY);
	use_null(STDOUT_FILENO, O_WRONLY);
	setenv(entered_variable, "1", 1);
}

void Background::ready()
{
	if (!tell_)
		return;
	use_null(STDERR_FILENO, O_WRONLY);
	[[maybe_unused]] ssize_t told = write(tell_.get(), "r", 1);
	close(tell_.release());
}

} // namespace lguest
