// SPDX-License-Identifier: GPL-2.0-only
// The connection to a vhost-user back end: another process that serves a device's
// queues, in the guest's memory, which it is given as a descriptor.
//
//     VhostUser(socket)     owner, features, protocol features
//     start(), stop()       memory, rings, eventfds; each time a driver comes or goes
//     check()               whether it is still there
//
// vhost_device.h makes a virtio device of it.  Nothing of Asio in here: a request
// is sent and its answer awaited, for a bounded time.
//
// Threads: any; one request at a time, by a lock of its own, taken last.
#pragma once

#include "vhost_user_protocol.h"

#include <mutex>

namespace lguest {

class VhostUser final : public VhostBackEnd {
public:
	// The longest that an answer may take: a back end that stops a queue finishes what is
	// under way, on a slow machine with a slow disk.
	static constexpr int patience_ms = 30'000;

	// All throw BackEndError, after which the connection is of no use.
	// `kept`: the back end knows this connection from before a reboot.
	explicit VhostUser(Descriptor socket, bool kept = false);

	std::uint64_t features() const override { return features_; }
	unsigned queue_count() const override { return queue_count_; }
	bool has_config() const override { return protocol_ & vhost_user::protocol_config; }

	Bytes read_config(std::uint32_t size) override;
	bool write_config(std::uint32_t offset, std::span<const std::byte> bytes) override;

	void start(std::uint64_t features, const VhostMemory &memory, std::span<const VhostRing> rings) override;
	void stop() override;

	// For an event loop: the socket becomes readable when the back end is gone.
	int descriptor() const { return socket_.get(); }
	void check();

private:
	// Alone on the connection; a BackEndError ends it, so that nobody waits for it again.
	template <typename Work>
	auto exclusively(Work work);
	void send(const vhost_user::Message &message);
	Bytes receive(vhost_user::Request request);
	void receive_bytes(std::span<std::byte> bytes);
	Bytes ask(const vhost_user::Message &message);
	std::uint64_t ask_number(vhost_user::Request request);
	bool tell(vhost_user::Message message);
	void demand(vhost_user::Message message);
	void start_ring(const VhostRing &ring);

	std::mutex lock_;
	Descriptor socket_;
	std::uint64_t features_ = 0;
	std::uint64_t protocol_ = 0;		// agreed on
	unsigned queue_count_ = 0;
	std::vector<unsigned> started_;		// rings
};

// Connect to a listening back end.  Throws Error naming the path.
Descriptor connect_unix(const std::string &path);

} // namespace lguest
