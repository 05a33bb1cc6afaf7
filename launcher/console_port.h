// SPDX-License-Identifier: GPL-2.0-only
// The host's side of a port of the console: descriptors of the launcher, stdin and
// stdout for one, in the event loop.
//
//     Console::process() --> write() --> output_ --> stdout
//     Console::input() <-- deliver() <-- input_  <-- stdin
//
// Both buffers are bounded, and each side waits for the other: a guest that writes
// faster than stdout takes has to wait, and stdin is not read while the guest takes
// nothing.  At the end drain() waits until all output is out.
//
// With a peer (console_peer.h) somebody comes and goes:
//
//     waiting --came()--> connected --he stops writing--> what he wrote is delivered, what
//        ^                                                he is to get is written
//        +--------------------------- both done ------------------+
//
// While nobody is there the guest's writers wait; only the console itself, whose kernel
// would wait spinning, has its output dropped.
//
// Threads: ConsoleHost's functions come from any thread with the device's lock held,
// all others from the event loop's.  Lock order: the device's, then output_lock_.
#pragma once

#include "console.h"
#include "console_peer.h"
#include "host_stream.h"
#include "register_file.h"
#include "terminal.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

namespace lguest {

class ConsolePort final : public ConsoleHost {
public:
	struct Settings {
		unsigned port = 0;
		int input = -1;			// descriptors, -1: none, nowhere
		int output = -1;
		bool terminal = false;		// input is a terminal: watch for the escape, send no EOF
		std::function<void()> escape{};	// the user typed it
		std::function<void()> broken{};	// nobody reads the output any more
		Descriptor file{};		// for the output, instead of a descriptor that is shared
		std::unique_ptr<ConsolePeer> peer{};	// for both, instead
	};

	ConsolePort(boost::asio::io_context &loop, Settings settings);

	// Begin; both must outlive the event loop's last step.
	void start(RegisterFile &registers, Console &console);
	// Call `done` once everything the guest has sent is written, or cannot be.  The
	// guest does not run any more.
	void drain(std::function<void()> done);
	void resize(TerminalSize size);

private:
	// What becomes of the guest's bytes.
	enum class Sink { write, drop, hold };

	std::size_t write(std::span<const std::byte> bytes) override;
	void write_last(std::span<const std::byte> bytes) override;
	void input_wanted() override;
	bool connected() override;

	Sink nobody() const;
	void wait_for_peer();
	void came(Descriptor connection);
	void gone();

	std::size_t take(std::span<const std::byte> bytes, std::size_t limit);
	void flush();
	void flushed();
	void read();
	void read_later();
	void deliver();
	void end_of_input();
	void delivered();

	boost::asio::io_context &loop_;
	Settings settings_;
	std::optional<HostStream> in_, out_;
	RegisterFile *registers_ = nullptr;
	Console *console_ = nullptr;

	// input, only used by the event loop
	std::vector<std::byte> chunk_;		// what is being read
	std::vector<std::byte> input_;		// read, for the guest
	std::size_t input_taken_ = 0;		// by the guest
	bool reading_ = false;
	bool at_end_ = false;			// there is no more to read
	bool at_line_start_ = true;
	EscapeFilter escape_;
	boost::asio::steady_timer foreground_;	// when to look whether we are there

	std::mutex output_lock_;		// guards the next five
	std::vector<std::byte> output_;		// to be written
	bool flushing_ = false;			// a flush() is posted or under way
	bool stalled_ = false;			// write() had to refuse something
	Sink sink_ = Sink::drop;
	bool connected_ = true;			// there is a peer, or there need not be one

	std::vector<std::byte> writing_;	// what the loop is writing now
	std::function<void()> drained_;
};

} // namespace lguest
