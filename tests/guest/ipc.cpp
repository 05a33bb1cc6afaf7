/* SPDX-License-Identifier: GPL-2.0-only
 *
 * Ways for processes to talk: pipes, sockets, epoll, eventfd, System V and POSIX IPC. What is sent is checked on arrival.
 */
#include "test.hpp"

#include <arpa/inet.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <thread>
#include <vector>

using test::spawn, test::wait_for;

/* Pseudo-random bytes, as a stream that both ends can make. */
struct Stream {
	uint32_t state;
	explicit Stream(uint32_t seed) : state(seed) {}
	void next(char *to, size_t n) { while (n--) state = state * 1664525 + 1013904223, *to++ = state >> 24; }
};

static bool send_stream(int handle, uint32_t seed, size_t total, size_t piece)
{
	Stream stream(seed);
	std::vector<char> buffer(piece);
	for (size_t done = 0; done < total; done += piece) {
		stream.next(buffer.data(), piece);
		for (size_t at = 0; at < piece; ) {
			ssize_t n = write(handle, buffer.data() + at, piece - at);
			if (n <= 0)
				return false;
			at += n;
		}
	}
	return true;
}

static bool receive_stream(int handle, uint32_t seed, size_t total)
{
	Stream stream(seed);
	std::vector<char> buffer(50'000), expected(50'000);
	while (total) {
		ssize_t n = read(handle, buffer.data(), std::min(buffer.size(), total));
		if (n <= 0)
			return false;
		stream.next(expected.data(), n);
		if (memcmp(buffer.data(), expected.data(), n))
			return false;
		total -= n;
	}
	return true;
}

TEST("2 MB through a pipe")
{
	int ends[2];
	pipe(ends);
	pid_t pid = spawn([&] { return send_stream(ends[1], 1, 2'000'000, 10'000) ? 0 : 1; });
	EXPECT(receive_stream(ends[0], 1, 2'000'000));
	EXPECT(wait_for(pid) == 0);
}

TEST("2000 turns of ping-pong between two processes")
{
	int there[2], here[2];
	pipe(there), pipe(here);
	pid_t pid = spawn([&] {
		int n;
		for (int i = 0; i < 2000; i++)
			if (read(there[0], &n, 4) != 4 || (n++, write(here[1], &n, 4)) != 4)
				return 1;
		return 0;
	});
	for (int i = 0, n; i < 2000; i++) {
		n = i * 2;
		write(there[1], &n, 4);
		REQUIRE(read(here[0], &n, 4) == 4 && n == i * 2 + 1);
	}
	EXPECT(wait_for(pid) == 0);
}

TEST("a pipe without a reader, and one without a writer")
{
	int ends[2];
	pipe(ends);
	close(ends[0]);
	EXPECT(wait_for(spawn([&] { write(ends[1], "x", 1); return 0; })) == -SIGPIPE);
	signal(SIGPIPE, SIG_IGN);
	EXPECT(write(ends[1], "x", 1) == -1 && errno == EPIPE);
	pipe(ends);
	close(ends[1]);
	char byte;
	EXPECT(read(ends[0], &byte, 1) == 0);
}

TEST("splice, tee, vmsplice and sendfile")
{
	int one[2], two[2], file = memfd_create("file", 0);
	pipe(one), pipe(two);
	EXPECT(send_stream(file, 2, 40'000, 10'000));
	off_t offset = 0;
	EXPECT(sendfile(one[1], file, &offset, 40'000) == 40'000);
	EXPECT(tee(one[0], two[1], 40'000, 0) > 0);
	EXPECT(receive_stream(one[0], 2, 40'000));
	EXPECT(receive_stream(two[0], 2, 4096));
}

TEST("socketpair: stream and datagrams, and a file descriptor sent along")
{
	int ends[2];
	REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
	pid_t pid = spawn([&] {
		int file = memfd_create("passed", 0);
		write(file, "passed on", 9);
		char control[CMSG_SPACE(sizeof(int))]{};
		iovec data{const_cast<char *>("f"), 1};
		msghdr message{};
		message.msg_iov = &data, message.msg_iovlen = 1, message.msg_control = control, message.msg_controllen = sizeof control;
		cmsghdr *head = CMSG_FIRSTHDR(&message);
		head->cmsg_level = SOL_SOCKET, head->cmsg_type = SCM_RIGHTS, head->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(head), &file, sizeof file);
		if (sendmsg(ends[1], &message, 0) != 1)
			return 1;
		return send_stream(ends[1], 3, 500'000, 5'000) ? 0 : 2;
	});
	char control[CMSG_SPACE(sizeof(int))], byte, text[16]{};
	iovec data{&byte, 1};
	msghdr message{};
	message.msg_iov = &data, message.msg_iovlen = 1, message.msg_control = control, message.msg_controllen = sizeof control;
	REQUIRE(recvmsg(ends[0], &message, 0) == 1 && CMSG_FIRSTHDR(&message));
	int file;
	memcpy(&file, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof file);
	EXPECT(pread(file, text, 16, 0) == 9 && !strcmp(text, "passed on"));
	EXPECT(receive_stream(ends[0], 3, 500'000));
	EXPECT(wait_for(pid) == 0);
	REQUIRE(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) == 0);
	for (int i = 0; i < 5; i++)
		EXPECT(write(ends[0], "datagram", i + 1) == i + 1);
	for (int i = 0; i < 5; i++)
		EXPECT(read(ends[1], text, 16) == i + 1);
}

static int tcp_listener(sockaddr_in &address)
{
	int handle = socket(AF_INET, SOCK_STREAM, 0);
	address = {};
	address.sin_family = AF_INET, address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	socklen_t length = sizeof address;
	if (bind(handle, reinterpret_cast<sockaddr *>(&address), length) || listen(handle, 50) ||
	    getsockname(handle, reinterpret_cast<sockaddr *>(&address), &length))
		SKIP("no loopback network");
	return handle;
}

static int tcp_connect(const sockaddr_in &address)
{
	int handle = socket(AF_INET, SOCK_STREAM, 0);
	return connect(handle, reinterpret_cast<const sockaddr *>(&address), sizeof address) ? -1 : handle;
}

TEST("TCP over loopback: 2 MB there and back")
{
	sockaddr_in address;
	int listener = tcp_listener(address);
	pid_t pid = spawn([&] {
		int handle = tcp_connect(address);
		return send_stream(handle, 4, 2'000'000, 20'000) && receive_stream(handle, 5, 2'000'000) ? 0 : 1;
	});
	int handle = accept(listener, nullptr, nullptr);
	EXPECT(receive_stream(handle, 4, 2'000'000));
	EXPECT(send_stream(handle, 5, 2'000'000, 10'000));
	EXPECT(wait_for(pid) == 0);
}

TEST("40 TCP clients and one server with epoll")
{
	sockaddr_in address;
	int listener = tcp_listener(address), epoll = epoll_create1(0), finished = 0;
	std::vector<pid_t> pids;
	for (int i = 0; i < 40; i++)
		pids.push_back(spawn([&] {
			int handle = tcp_connect(address), n = i, back = 0;
			for (int turn = 0; turn < 5; turn++) {
				if (write(handle, &n, 4) != 4 || read(handle, &back, 4) != 4 || back != n + 1000)
					return 1;
				n = back;
			}
			return 0;
		}));
	epoll_event event{EPOLLIN, {.fd = listener}}, ready[16];
	epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
	while (finished < 40) {
		int n = epoll_wait(epoll, ready, 16, 30'000);
		REQUIRE(n > 0);
		for (int i = 0; i < n; i++) {
			int handle = ready[i].data.fd, number;
			if (handle == listener) {
				event.data.fd = accept(listener, nullptr, nullptr);
				epoll_ctl(epoll, EPOLL_CTL_ADD, event.data.fd, &event);
			} else if (read(handle, &number, 4) == 4) {
				number += 1000;
				write(handle, &number, 4);
			} else {
				close(handle), finished++;
			}
		}
	}
	for (auto pid : pids)
		EXPECT(wait_for(pid) == 0);
}

TEST("UDP over loopback, and a named Unix socket")
{
	int one = socket(AF_INET, SOCK_DGRAM, 0), two = socket(AF_INET, SOCK_DGRAM, 0);
	sockaddr_in address{};
	address.sin_family = AF_INET, address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	socklen_t length = sizeof address;
	if (bind(one, reinterpret_cast<sockaddr *>(&address), length))
		SKIP("no loopback network");
	getsockname(one, reinterpret_cast<sockaddr *>(&address), &length);
	std::vector<char> sent(20'000), got(20'000);
	Stream(6).next(sent.data(), sent.size());
	EXPECT(sendto(two, sent.data(), sent.size(), 0, reinterpret_cast<sockaddr *>(&address), length) == ssize_t(sent.size()));
	EXPECT(recv(one, got.data(), got.size(), 0) == ssize_t(sent.size()) && got == sent);
	sockaddr_un name{AF_UNIX, "\0lguest-test"};
	int listener = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
	EXPECT(bind(listener, reinterpret_cast<sockaddr *>(&name), sizeof name) == 0 && listen(listener, 1) == 0);
	EXPECT(connect(client, reinterpret_cast<sockaddr *>(&name), sizeof name) == 0);
	EXPECT(write(client, "hi", 2) == 2);
	int server = accept(listener, nullptr, nullptr);
	char text[2];
	EXPECT(read(server, text, 2) == 2 && !memcmp(text, "hi", 2));
}

TEST("epoll: level, edge, and one-shot")
{
	int ends[2], epoll = epoll_create1(0);
	pipe(ends);
	epoll_event event{EPOLLIN, {}}, seen;
	epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event);
	write(ends[1], "ab", 2);
	EXPECT(epoll_wait(epoll, &seen, 1, 0) == 1 && epoll_wait(epoll, &seen, 1, 0) == 1);
	event.events = EPOLLIN | EPOLLET;
	epoll_ctl(epoll, EPOLL_CTL_MOD, ends[0], &event);
	EXPECT(epoll_wait(epoll, &seen, 1, 0) == 1 && epoll_wait(epoll, &seen, 1, 0) == 0);
	event.events = EPOLLIN | EPOLLONESHOT;
	epoll_ctl(epoll, EPOLL_CTL_MOD, ends[0], &event);
	EXPECT(epoll_wait(epoll, &seen, 1, 0) == 1 && epoll_wait(epoll, &seen, 1, 0) == 0);
}

TEST("eventfd between threads")
{
	int handle = eventfd(0, EFD_SEMAPHORE);
	std::thread thread([=] {
		uint64_t one = 1;
		for (int i = 0; i < 500; i++)
			write(handle, &one, 8);
	});
	uint64_t value, sum = 0;
	while (sum < 500 && read(handle, &value, 8) == 8)
		sum += value;
	EXPECT(sum == 500);
	thread.join();
}

TEST("System V shared memory, semaphores and messages")
{
	int memory = shmget(IPC_PRIVATE, 65536, IPC_CREAT | 0600), lock = semget(IPC_PRIVATE, 1, IPC_CREAT | 0600),
	    queue = msgget(IPC_PRIVATE, IPC_CREAT | 0600);
	REQUIRE(memory >= 0 && lock >= 0 && queue >= 0);
	auto *count = static_cast<volatile long *>(shmat(memory, nullptr, 0));
	semctl(lock, 0, SETVAL, 1);
	struct Message { long type; int number; };
	for (int i = 0; i < 4; i++)
		spawn([=] {
			sembuf take{0, -1, 0}, give{0, 1, 0};
			for (int n = 0; n < 200; n++) {
				semop(lock, &take, 1);
				long old = *count;
				if (n % 20 == 0)
					sched_yield();
				*count = old + 1;
				semop(lock, &give, 1);
			}
			Message message{1, i};
			return msgsnd(queue, &message, sizeof(int), 0);
		});
	int sum = 0;
	for (int i = 0; i < 4; i++) {
		Message message;
		REQUIRE(msgrcv(queue, &message, sizeof(int), 0, 0) == sizeof(int));
		sum += message.number;
	}
	EXPECT(sum == 6 && *count == 800);
	shmctl(memory, IPC_RMID, nullptr), semctl(lock, 0, IPC_RMID), msgctl(queue, IPC_RMID, nullptr);
}

TEST("POSIX shared memory, semaphores and messages")
{
	struct Shared { sem_t semaphore; int value; };
	int file = shm_open("/lguest-test", O_CREAT | O_RDWR, 0600);
	if (file < 0)
		SKIP("no /dev/shm");
	ftruncate(file, sizeof(Shared));
	auto *shared = static_cast<Shared *>(mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0));
	sem_init(&shared->semaphore, 1, 0);
	pid_t pid = spawn([=] { shared->value = 5; return sem_post(&shared->semaphore); });
	EXPECT(sem_wait(&shared->semaphore) == 0 && shared->value == 5);
	EXPECT(wait_for(pid) == 0);
	shm_unlink("/lguest-test");
	mq_attr attributes{};
	attributes.mq_maxmsg = 5, attributes.mq_msgsize = 100;
	mqd_t queue = mq_open("/lguest-test", O_CREAT | O_RDWR, 0600, &attributes);
	if (queue == mqd_t(-1))
		return;
	mq_unlink("/lguest-test");
	mq_send(queue, "low", 4, 1), mq_send(queue, "high", 5, 9);
	char text[100];
	EXPECT(mq_receive(queue, text, 100, nullptr) == 5 && !strcmp(text, "high"));
}

TEST("a pseudo terminal")
{
	int master = posix_openpt(O_RDWR | O_NOCTTY);
	if (master < 0 || grantpt(master) || unlockpt(master))
		SKIP("no /dev/ptmx");
	int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
	REQUIRE(slave >= 0);
	char text[32];
	write(master, "line\n", 5);
	EXPECT(read(slave, text, 32) == 5 && !memcmp(text, "line\n", 5));
	EXPECT(read(master, text, 32) == 6 && !memcmp(text, "line\r\n", 6));	/* its echo */
}
