/* SPDX-License-Identifier: GPL-2.0-only
 *
 * Files on tmpfs, and what /proc and /dev say of the machine.
 */
#include "test.hpp"

#include <dirent.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <vector>

using test::spawn, test::wait_for;

static std::string text_of(const char *path)
{
	std::string text;
	char buffer[4096];
	int file = open(path, O_RDONLY);
	for (ssize_t n; (n = read(file, buffer, sizeof buffer)) > 0; )
		text.append(buffer, n);
	close(file);
	return text;
}

/* A folder of its own for each case. */
static void enter_folder()
{
	char name[] = "/tmp/lguest-XXXXXX";
	REQUIRE(mkdtemp(name) && chdir(name) == 0);
}

static void write_file(const char *name, const std::string &text)
{
	int file = open(name, O_CREAT | O_TRUNC | O_WRONLY, 0644);
	EXPECT(write(file, text.data(), text.size()) == ssize_t(text.size()));
	close(file);
}

TEST("write, read, append, truncate, holes")
{
	enter_folder();
	std::string text;
	for (int i = 0; i < 50'000; i++)
		text += std::to_string(i) + ' ';
	write_file("data", text);
	EXPECT(text_of("data") == text);
	int file = open("data", O_WRONLY | O_APPEND);
	write(file, "end", 3);
	EXPECT(text_of("data") == text + "end");
	truncate("data", 10);
	EXPECT(text_of("data") == text.substr(0, 10));
	truncate("data", 10'000'000);
	pwrite(file, "x", 1, 0);
	struct stat status;
	stat("data", &status);
	EXPECT(status.st_size == 10'000'001 && status.st_blocks < 100);
	unlink("data");
}

TEST("500 files: created, listed, renamed, removed")
{
	enter_folder();
	for (int i = 0; i < 500; i++)
		write_file(std::to_string(i).c_str(), std::to_string(i * i));
	for (int i = 0; i < 500; i++)
		EXPECT(rename(std::to_string(i).c_str(), ("n" + std::to_string(i)).c_str()) == 0);
	int count = 0;
	DIR *folder = opendir(".");
	while (dirent *entry = readdir(folder))
		if (entry->d_name[0] == 'n') {
			long n = atoi(entry->d_name + 1);
			EXPECT(text_of(entry->d_name) == std::to_string(n * n));
			count++;
		}
	EXPECT(count == 500);
	for (int i = 0; i < 500; i++)
		EXPECT(unlink(("n" + std::to_string(i)).c_str()) == 0);
}

TEST("links, folders in folders, an open file that was removed")
{
	enter_folder();
	write_file("file", "content");
	EXPECT(link("file", "hard") == 0 && symlink("file", "soft") == 0);
	EXPECT(text_of("hard") == "content" && text_of("soft") == "content");
	int file = open("file", O_RDONLY);
	unlink("file");
	EXPECT(text_of("soft") == "" && text_of("hard") == "content");
	char text[8]{};
	EXPECT(read(file, text, 7) == 7 && !strcmp(text, "content"));
	std::string path = ".";
	for (int i = 0; i < 50; i++)
		EXPECT(mkdir((path += "/d").c_str(), 0755) == 0);
	EXPECT(rmdir("d") == -1 && errno == ENOTEMPTY);
	for (; path != "."; path.resize(path.size() - 2))
		EXPECT(rmdir(path.c_str()) == 0);
}

TEST("locks between processes")
{
	enter_folder();
	int file = open("lock", O_CREAT | O_RDWR, 0644);
	EXPECT(flock(file, LOCK_EX) == 0);
	EXPECT(wait_for(spawn([] {
		int mine = open("lock", O_RDWR);
		return flock(mine, LOCK_EX | LOCK_NB) == -1 && errno == EWOULDBLOCK ? 0 : 1;
	})) == 0);
	struct flock range{};
	range.l_type = F_WRLCK, range.l_whence = SEEK_SET, range.l_start = 10, range.l_len = 10;
	EXPECT(fcntl(file, F_SETLK, &range) == 0);
	EXPECT(wait_for(spawn([=] {
		struct flock other = range;
		other.l_start = 15;
		return fcntl(file, F_GETLK, &other) == 0 && other.l_type == F_WRLCK && other.l_pid == getppid() ? 0 : 1;
	})) == 0);
}

TEST("two processes append to one file")
{
	enter_folder();
	pid_t pids[2];
	for (int i = 0; i < 2; i++)
		pids[i] = spawn([=] {
			int file = open("log", O_CREAT | O_WRONLY | O_APPEND, 0644);
			std::string line(99, 'a' + i);
			line += '\n';
			for (int n = 0; n < 500; n++)
				write(file, line.data(), 100);
			return 0;
		});
	for (auto pid : pids)
		EXPECT(wait_for(pid) == 0);
	std::string text = text_of("log");
	EXPECT(text.size() == 100'000);
	for (size_t i = 0; i < text.size(); i += 100)
		EXPECT(text.find_first_not_of(text[i], i) == i + 99);
}

TEST("device files: null, zero, full, urandom")
{
	char buffer[64] = "x", other[64];
	int zero = open("/dev/zero", O_RDONLY), null = open("/dev/null", O_RDWR), random = open("/dev/urandom", O_RDONLY);
	EXPECT(read(zero, buffer, 64) == 64 && buffer[0] == 0);
	EXPECT(write(null, buffer, 64) == 64 && read(null, buffer, 64) == 0);
	EXPECT(write(open("/dev/full", O_WRONLY), "x", 1) == -1 && errno == ENOSPC);
	EXPECT(read(random, buffer, 64) == 64 && read(random, other, 64) == 64 && memcmp(buffer, other, 64));
}

TEST("/proc/cpuinfo: what a guest may use, and nothing it may not")
{
	std::string text = text_of("/proc/cpuinfo");
	size_t at = text.find("flags");
	REQUIRE(at != std::string::npos);
	std::string flags = text.substr(at, text.find('\n', at) - at) + ' ';
	for (const char *needed : {"fpu", "tsc", "cx8", "fxsr", "sse", "sse2", "syscall", "nx", "lm", "constant_tsc"})
		if (flags.find(std::string(" ") + needed + ' ') == std::string::npos)
			printf("# missing: %s\n", needed), EXPECT(!strcmp(needed, "constant_tsc"));
	if (test::in_lguest()) {
		for (const char *hidden : {"vmx", "svm", "pku", "ospke", "smap", "smep", "umip", "rdpid", "mtrr", "xsaves", "la57",
					   "ibrs_enhanced", "user_shstk", "invpcid", "monitor"})
			if (flags.find(std::string(" ") + hidden + ' ') != std::string::npos)
				printf("# %s\n", hidden), EXPECT(!"a feature that the guest cannot have");
		EXPECT(flags.find(" hypervisor ") != std::string::npos);
	}
	EXPECT(text.find("model name") != std::string::npos && text.find("vendor_id") != std::string::npos);
	size_t mhz = text.find("cpu MHz");
	EXPECT(mhz == std::string::npos || atof(text.c_str() + text.find(':', mhz) + 1) > 1);
}

TEST("CPUID in a user program agrees with the kernel")
{
	unsigned a = 1, b, c = 0, d;
	asm volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	EXPECT((d & 1) && (d & 1 << 26));
	EXPECT(!(c & 1 << 27) || (c & 1 << 26));	/* OSXSAVE only with XSAVE */
}

TEST("/proc of processes and of the system")
{
	std::string maps = text_of("/proc/self/maps");
	EXPECT(maps.find("[stack]") != std::string::npos && maps.find("[vdso]") != std::string::npos);
	struct sysinfo info;
	EXPECT(sysinfo(&info) == 0 && info.totalram * info.mem_unit > 30ul << 20 && info.freeram <= info.totalram);
	EXPECT(text_of("/proc/meminfo").find("MemAvailable") != std::string::npos);
	EXPECT(!text_of("/proc/interrupts").empty() && !text_of("/proc/stat").empty() && !text_of("/proc/vmstat").empty());
	EXPECT(text_of("/proc/self/status").find("VmRSS") != std::string::npos);
	EXPECT(sysconf(_SC_NPROCESSORS_ONLN) >= 1);
}

/* Reading each file of the kernel's self-description runs much code that nothing else here does. */
TEST("every readable file of /proc and /sys is read")
{
	std::vector<std::string> folders{"/sys", "/proc/self", "/proc/sys", "/proc/net", "/proc/fs", "/proc/irq"};
	int files = 0;
	for (size_t i = 0; i < folders.size() && files < 3000; i++) {
		DIR *folder = opendir(folders[i].c_str());
		while (dirent *entry = folder ? readdir(folder) : nullptr) {
			std::string path = folders[i] + '/' + entry->d_name;
			if (entry->d_type == DT_DIR && entry->d_name[0] != '.' && path.find("/task") == std::string::npos)
				folders.push_back(path);
			if (entry->d_type != DT_REG)
				continue;
			int file = open(path.c_str(), O_RDONLY | O_NONBLOCK);
			char buffer[4096];
			for (int n = 0; n < 16 && read(file, buffer, sizeof buffer) > 0; n++)
				;
			close(file), files++;
		}
		if (folder)
			closedir(folder);
	}
	printf("# %d files\n", files);
	EXPECT(files > 100);
}
