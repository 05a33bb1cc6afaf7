// SPDX-License-Identifier: GPL-2.0-only
// Round trips of one byte over TCP: `pingpong serve PORT`, and `pingpong ADDRESS PORT COUNT`, which prints the
// nanoseconds of the fastest tenth of them, per round trip.  Static, so that it runs natively and in any guest.
#include <algorithm>
#include <arpa/inet.h>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string_view>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace {

[[noreturn]] void fail(const char *what)
{
	std::perror(what);
	std::exit(1);
}

sockaddr_in address(const char *host, const char *port)
{
	sockaddr_in result{};
	result.sin_family = AF_INET;
	result.sin_port = htons(static_cast<std::uint16_t>(std::atoi(port)));
	if (inet_pton(AF_INET, host, &result.sin_addr) != 1)
		fail(host);
	return result;
}

int new_socket()
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
	if (fd < 0)
		fail("socket");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	return fd;
}

// For ever, one client after another.
int serve(const char *port)
{
	int listener = new_socket();
	sockaddr_in any = address("0.0.0.0", port);
	if (bind(listener, reinterpret_cast<sockaddr *>(&any), sizeof(any)) || listen(listener, 1))
		fail("listen");
	for (;;) {
		int client = accept(listener, nullptr, nullptr), on = 1;
		if (client < 0)
			fail("accept");
		setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		for (char byte; read(client, &byte, 1) == 1;)
			if (write(client, &byte, 1) != 1)
				break;
		close(client);
	}
}

int measure(const char *host, const char *port, int count)
{
	using clock = std::chrono::steady_clock;
	int fd = new_socket();
	sockaddr_in server = address(host, port);
	if (connect(fd, reinterpret_cast<sockaddr *>(&server), sizeof(server)))
		fail("connect");
	std::vector<long long> times;
	for (int i = 0; i < count; i++) {
		char byte = 'x';
		auto begin = clock::now();
		if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1)
			fail("round trip");
		times.push_back(std::chrono::nanoseconds{clock::now() - begin}.count());
	}
	std::sort(times.begin(), times.end());
	std::printf("%lld\n", times[times.size() / 10]);
	return 0;
}

} // namespace

int main(int argc, char **argv)
{
	if (argc == 3 && std::string_view{argv[1]} == "serve")
		return serve(argv[2]);
	if (argc == 4)
		return measure(argv[1], argv[2], std::max(1, std::atoi(argv[3])));
	std::fprintf(stderr, "usage: pingpong serve PORT | pingpong ADDRESS PORT COUNT\n");
	return 2;
}
