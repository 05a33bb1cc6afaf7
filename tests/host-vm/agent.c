// SPDX-License-Identifier: GPL-2.0-only
//
// PID 1 of the throw-away host: runs one command for `run`, which sits outside QEMU, and carries its
// stdin, stdout, stderr, window size, signals and exit status over one virtio-serial port.
// Started by `init` (same folder) once the root filesystem stands. Static, so that it starts at once.
//
// Every message is a frame: type (1 byte), length (4 bytes, little-endian), payload.
//
//   from outside   S  start: NUL-separated  tty(0|1) rows cols cwd nenv env... arg...
//                  I  stdin bytes; an empty frame is end of file
//                  W  window size: rows, cols (2 bytes each)
//                  K  signal number (1 byte), to the command's process group
//                  Q  power off
//   from here      R  ready; the payload is what went wrong while booting, empty when all is well
//                  A  acknowledge: count (4 bytes) of stdin bytes passed on; outside keeps at most WINDOW unacknowledged
//                  O  stdout bytes      E  stderr bytes      X  exit status (1 byte)

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum {
	HEADER = 5,		// type and length
	CHUNK  = 32 * 1024,	// most output bytes per frame
	WINDOW = 64 * 1024,	// most stdin bytes on their way; `run` knows it too
	FRAME_MAX = 1024 * 1024	// the start frame carries a whole environment
};

static int port;
static pid_t child;
static int child_in = -1, child_out = -1, child_err = -1;	// child_in == child_out when on a terminal
static bool on_tty;

static char stdin_buffer[WINDOW];
static size_t stdin_used;
static bool stdin_eof;

static void die(const char *what)
{
	fprintf(stderr, "host-vm: agent: %s: %s\n", what, strerror(errno));
	sync();
	reboot(RB_POWER_OFF);
	_exit(1);
}

static void write_all(int fd, const void *data, size_t size)
{
	const char *at = data;

	while (size) {
		ssize_t n = write(fd, at, size);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			die("write to port");
		at += n;
		size -= n;
	}
}

static void send_frame(char type, const void *payload, uint32_t size)
{
	static char frame[HEADER + CHUNK];

	frame[0] = type;
	memcpy(frame + 1, &size, 4);
	memcpy(frame + HEADER, payload, size);
	write_all(port, frame, HEADER + size);
}

static void send_boot_report(const char *path)
{
	static char text[CHUNK];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text);

	send_frame('R', text, n > 0 ? n : 0);
	if (fd >= 0)
		close(fd);
}

static void set_window_size(int rows, int cols)
{
	struct winsize size = { .ws_row = rows, .ws_col = cols };

	if (on_tty && child_in >= 0)
		ioctl(child_in, TIOCSWINSZ, &size);
}

// The child's side of start(): descriptors in place, then exec.
static void run_child(char *cwd, char **env, char **argv, int in, int out, int err)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);	// which we ignore
	setsid();
	if (on_tty)
		ioctl(in, TIOCSCTTY, 0);
	dup2(in, 0);
	dup2(out, 1);
	dup2(err, 2);
	close_range(3, ~0U, 0);
	if (chdir(cwd) && chdir("/"))
		_exit(126);
	execve(argv[0], argv, env);
	dprintf(2, "host-vm: %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

static char *next_string(char **at, char *end)
{
	char *string = *at;

	if (string >= end)
		die("short start frame");
	*at += strlen(string) + 1;
	return string;
}

static void start(char *payload, uint32_t size)
{
	char *at = payload, *end = payload + size;
	int in[2], out[2], err[2];

	on_tty = *next_string(&at, end) == '1';
	int rows = atoi(next_string(&at, end));
	int cols = atoi(next_string(&at, end));
	char *cwd = next_string(&at, end);
	int nenv = atoi(next_string(&at, end));
	char **env = calloc(nenv + 1, sizeof *env);
	for (int i = 0; i < nenv; i++)
		env[i] = next_string(&at, end);
	char *argv[64] = { 0 };
	for (int i = 0; i < 63 && at < end; i++)
		argv[i] = next_string(&at, end);

	if (on_tty) {
		child_in = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
		if (child_in < 0 || grantpt(child_in) || unlockpt(child_in))
			die("pseudo terminal");
		int slave = open(ptsname(child_in), O_RDWR | O_NOCTTY | O_CLOEXEC);
		if (slave < 0)
			die("pseudo terminal");
		in[0] = out[1] = err[1] = slave;
		set_window_size(rows, cols);
		child_out = child_in;
	} else {
		if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
			die("pipe");
		child_in = in[1];
		child_out = out[0];
		child_err = err[0];
		fcntl(child_err, F_SETFL, O_NONBLOCK);
	}
	fcntl(child_in, F_SETFL, O_NONBLOCK);
	fcntl(child_out, F_SETFL, O_NONBLOCK);

	child = fork();
	if (child < 0)
		die("fork");
	if (child == 0)
		run_child(cwd, env, argv, in[0], out[1], err[1]);
	close(in[0]);
	if (!on_tty) {
		close(out[1]);
		close(err[1]);
	}
	free(env);
}

static void acknowledge(uint32_t count)
{
	send_frame('A', &count, 4);
}

static void close_stdin(void)
{
	if (child_in >= 0 && !on_tty) {
		close(child_in);
		child_in = -1;
	}
}

// Pass buffered stdin to the command; whatever it no longer wants is dropped but acknowledged.
static void feed_stdin(void)
{
	if (stdin_used) {
		ssize_t n = child_in < 0 ? (ssize_t)stdin_used : write(child_in, stdin_buffer, stdin_used);
		if (n < 0) {
			if (errno == EAGAIN || errno == EINTR)
				return;
			close_stdin();
			n = stdin_used;
		}
		stdin_used -= n;
		memmove(stdin_buffer, stdin_buffer + n, stdin_used);
		acknowledge(n);
	}
	if (stdin_eof && !stdin_used)
		close_stdin();
}

static void take_stdin(const char *data, uint32_t size)
{
	if (size == 0)
		stdin_eof = true;
	if (size > WINDOW - stdin_used)
		die("stdin beyond the window");
	memcpy(stdin_buffer + stdin_used, data, size);
	stdin_used += size;
	feed_stdin();
}

// Returns false once the other end is closed.
static bool forward(int fd, char type)
{
	static char data[CHUNK];
	ssize_t n = read(fd, data, sizeof data);

	if (n > 0)
		send_frame(type, data, n);
	return n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN));
}

static void forward_output(int *fd, char type)
{
	if (forward(*fd, type))
		return;
	if (*fd != child_in)
		close(*fd);
	*fd = -1;
}

static void drain(int fd, char type)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	while (fd >= 0 && poll(&poll_fd, 1, 0) > 0 && (poll_fd.revents & POLLIN))
		if (!forward(fd, type))
			return;
}

static void reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid != child)
			continue;
		uint8_t code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		drain(child_out, 'O');
		drain(child_err, 'E');
		send_frame('X', &code, 1);
		child = 0;
	}
}

// Unloading lg.ko patches the scheduler, and QEMU now and then trips over text that is patched under another CPU (emulator_tripped()
// in `run`). A command that has ended well should not end so.
static void leave_one_cpu(void)
{
	char path[64];
	int fd;

	for (int cpu = 1;; cpu++) {
		snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/online", cpu);
		fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd < 0)
			return;
		if (write(fd, "0", 1) < 0)
			perror(path);
		close(fd);
	}
}

// Leave as a healthy host would: no process survives SIGKILL, and lg.ko lets itself be unloaded. What fails
// here goes to the kernel log, where `run` finds it.
static void power_off(int kmsg)
{
	int tenths = 0;

	kill(-1, SIGKILL);
	while (waitpid(-1, NULL, WNOHANG) >= 0 && tenths++ < 50)
		usleep(100 * 1000);
	if (tenths > 50)
		dprintf(kmsg, "<2>host-vm: a process survives SIGKILL\n");
	leave_one_cpu();
	if (syscall(SYS_delete_module, "lg", O_NONBLOCK) && errno != ENOENT)
		dprintf(kmsg, "<2>host-vm: lg.ko does not unload: %s\n", strerror(errno));
	sync();
	reboot(RB_POWER_OFF);
}

static void handle_frame(char type, char *payload, uint32_t size, int kmsg)
{
	switch (type) {
	case 'S':
		start(payload, size);
		break;
	case 'I':
		take_stdin(payload, size);
		break;
	case 'W':
		set_window_size(((uint16_t *)payload)[0], ((uint16_t *)payload)[1]);
		break;
	case 'K':
		if (child > 0)
			kill(-child, payload[0]);
		break;
	case 'Q':
		power_off(kmsg);
	}
}

// Read what the port has and handle every frame that is complete.
static void read_port(int kmsg)
{
	static char buffer[HEADER + FRAME_MAX];
	static size_t used;
	ssize_t n = read(port, buffer + used, sizeof buffer - used);

	if (n == 0)
		power_off(kmsg);
	if (n < 0) {
		if (errno == EAGAIN || errno == EINTR)
			return;
		die("read from port");
	}
	used += n;
	for (;;) {
		uint32_t size;

		if (used < HEADER)
			return;
		memcpy(&size, buffer + 1, 4);
		if (size > FRAME_MAX)
			die("frame too long");
		if (used < HEADER + size)
			return;
		char type = buffer[0];
		char *payload = malloc(size + 8);	// a copy, for its alignment
		memcpy(payload, buffer + HEADER, size);
		used -= HEADER + size;
		memmove(buffer, buffer + HEADER + size, used);
		handle_frame(type, payload, size, kmsg);
		free(payload);
	}
}

int main(int argc, char **argv)
{
	sigset_t child_signal;
	struct signalfd_siginfo info;

	if (argc != 3)
		die("usage: agent PORT BOOT-REPORT");
	int kmsg = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	port = open(argv[1], O_RDWR | O_CLOEXEC);
	if (port < 0)
		die(argv[1]);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&child_signal);
	sigaddset(&child_signal, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child_signal, NULL);
	int children = signalfd(-1, &child_signal, SFD_CLOEXEC | SFD_NONBLOCK);

	send_boot_report(argv[2]);
	for (;;) {
		struct pollfd fds[] = {
			{ .fd = port, .events = POLLIN },
			{ .fd = children, .events = POLLIN },
			{ .fd = child_out, .events = POLLIN },
			{ .fd = child_err, .events = POLLIN },
			{ .fd = stdin_used ? child_in : -1, .events = POLLOUT },
		};
		if (poll(fds, 5, -1) < 0 && errno != EINTR)
			die("poll");
		if (fds[2].revents)
			forward_output(&child_out, 'O');
		if (fds[3].revents)
			forward_output(&child_err, 'E');
		if (fds[4].revents)
			feed_stdin();
		if (fds[1].revents) {
			while (read(children, &info, sizeof info) > 0)
				;
			reap();
		}
		if (fds[0].revents)
			read_port(kmsg);
	}
}
