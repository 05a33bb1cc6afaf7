/* SPDX-License-Identifier: GPL-2.0-only
 *
 * vm-stats PID: the module's counters of the guest that the launcher PID runs, as JSON, at any moment: root may borrow the launcher's
 * file descriptor of the VM.
 */
#include <lguest/ioctl_abi.h>

#include <cstdio>
#include <cstdlib>
#include <dirent.h>
#include <string>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc != 2)
		return fprintf(stderr, "usage: vm-stats PID\n"), 2;
	std::string folder = std::string("/proc/") + argv[1] + "/fd";
	int process = syscall(SYS_pidfd_open, atoi(argv[1]), 0);
	DIR *handles = opendir(folder.c_str());
	while (dirent *entry = process >= 0 && handles ? readdir(handles) : nullptr) {
		char target[64] = "";
		if (readlink((folder + '/' + entry->d_name).c_str(), target, sizeof target - 1) < 0 || !std::string(target).starts_with("anon_inode:"))
			continue;
		int handle = syscall(SYS_pidfd_getfd, process, atoi(entry->d_name), 0);
		lg_stats stats;
		if (handle >= 0 && ioctl(handle, LG_GET_STATS, &stats) == 0) {
			const char *comma = "{";
#define X(name) printf("%s\"" #name "\": %llu", comma, (unsigned long long)stats.name), comma = ", ";
			LG_COUNTERS(X)
#undef X
			printf("}\n");
			return 0;
		}
		close(handle);
	}
	fprintf(stderr, "vm-stats: process %s has no VM\n", argv[1]);
	return 1;
}
