// SPDX-License-Identifier: GPL-2.0-only
// A hostile vhost-user back end: the input is what it answers.  The reading of each kind
// of answer alone, then a whole life of a connection whose answers lie ready.  Nothing but
// BackEndError may come of it.
#include "vhost_user.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <sys/socket.h>

namespace {

using namespace lguest;
using namespace lguest::vhost_user;

template <typename Work>
void attempt(Work work)
{
	try {
		work();
	} catch (const BackEndError &) {
	}
}

// The answers to a driver that comes, writes configuration, and goes.
void live(std::span<const std::byte> answers)
{
	int ends[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		std::abort();
	Descriptor ours{ends[0]}, theirs{ends[1]};
	answers = answers.first(std::min<std::size_t>(answers.size(), 16384));
	if (!answers.empty() && send(theirs.get(), answers.data(), answers.size(), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		std::abort();
	shutdown(theirs.get(), SHUT_WR);
	attempt([&] {
		static std::byte memory[4096];
		VhostUser back_end{std::move(ours)};
		if (back_end.has_config()) {
			attempt([&] { back_end.read_config(60); });
			attempt([&] { back_end.write_config(32, std::span{memory}.first(1)); });
		}
		const VhostRing rings[] = {{0, 8, 0, 128, 256, theirs.get(), theirs.get()}, {1, 8, 0, 128, 256, theirs.get(), theirs.get()}};
		attempt([&] { back_end.start(~0ull, {memory, theirs.get()}, rings); });
		attempt([&] { back_end.check(); });
		attempt([&] { back_end.stop(); });
	});
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size)
{
	std::span input = std::as_bytes(std::span{data, size});
	if (size > sizeof(Header)) {
		auto request = static_cast<Request>(data[0]);
		std::span payload = input.subspan(sizeof(Header));
		attempt([&] {
			if (reply_size(request, input.first<sizeof(Header)>()) > max_reply)
				std::abort();
		});
		attempt([&] { reply_number(payload); });
		attempt([&] { reply_ring_base(payload, 1); });
		attempt([&] {
			std::uint32_t wanted = data[1];
			if (reply_config(payload, wanted).size() != wanted)
				std::abort();
		});
	}
	live(input);
	return 0;
}
