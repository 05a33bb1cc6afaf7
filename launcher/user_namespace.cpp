// SPDX-License-Identifier: GPL-2.0-only
// The ids of a user namespace, see user_namespace.h.
#include "user_namespace.h"

#include "error.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <pwd.h>
#include <spawn.h>
#include <sstream>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

extern char **environ;

namespace lguest {
namespace {

struct Range {
	std::string start, count;
};

// The user's line of /etc/subuid or /etc/subgid: "name:100000:65536".
std::optional<Range> subordinate_ids(const char *file)
{
	const passwd *user = getpwuid(geteuid());
	std::string name = user ? user->pw_name : "", number = std::to_string(geteuid());
	std::ifstream lines{file};
	for (std::string line; std::getline(lines, line);) {
		std::istringstream parts{line};
		std::string owner;
		Range range;
		if (std::getline(parts, owner, ':') && std::getline(parts, range.start, ':') && std::getline(parts, range.count) &&
		    (owner == name || owner == number))
			return range;
	}
	return std::nullopt;
}

bool run(std::vector<std::string> words)
{
	std::vector<char *> arguments;
	for (std::string &word : words)
		arguments.push_back(word.data());
	arguments.push_back(nullptr);
	pid_t process;
	int status = 0;
	if (posix_spawnp(&process, arguments[0], nullptr, nullptr, arguments.data(), environ) != 0)
		return false;
	while (waitpid(process, &status, 0) < 0 && errno == EINTR) {
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void write_file(const std::string &path, const std::string &text)
{
	std::ofstream file{path};
	if (!(file << text << std::flush))
		fail("cannot give virtiofsd a user id: {}: {}", path, std::strerror(errno));
}

} // namespace

void map_user_namespace(pid_t process)
{
	std::string user = std::to_string(geteuid()), group = std::to_string(getegid()), pid = std::to_string(process);
	auto users = subordinate_ids("/etc/subuid"), groups = subordinate_ids("/etc/subgid");
	if (users && groups && run({"newuidmap", pid, "0", user, "1", "1", users->start, users->count}) &&
	    run({"newgidmap", pid, "0", group, "1", "1", groups->start, groups->count}))
		return;
	std::string proc = "/proc/" + pid;
	write_file(proc + "/setgroups", "deny");
	write_file(proc + "/uid_map", "0 " + user + " 1");
	write_file(proc + "/gid_map", "0 " + group + " 1");
}

} // namespace lguest
