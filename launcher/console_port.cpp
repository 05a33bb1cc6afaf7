// SPDX-License-Identifier: GPL-2.0-only
// The host's side of the console, see console_port.h.
#include "console_port.h"

#include "descriptor_reserve.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <fcntl.h>
#include <poll.h>

namespace lguest {
namespace {

constexpr std::size_t output_limit = 64 << 10;
constexpr std::size_t last_output_limit = 16 << 20;	// Linux queues half of it
constexpr std::size_t input_chunk = 32 << 10;
constexpr std::byte end_of_file{0x04};	// ^D, as the guest's terminal takes it

// Nobody is at the other end, in neither direction.
bool hung_up(int fd)
{
	pollfd state{fd, 0, 0};
	return poll(&state, 1, 0) > 0 && (state.revents & (POLLHUP | POLLERR));
}

} // namespace

ConsolePort::ConsolePort(boost::asio::io_context &loop, Settings settings)
	: loop_{loop}, settings_{std::move(settings)}, foreground_{loop}, connected_{!settings_.peer}
{
	if (settings_.input >= 0)
		in_.emplace(loop, settings_.input);
	if (settings_.file)
		out_.emplace(loop, std::move(settings_.file));
	else if (settings_.output >= 0)
		out_.emplace(loop, settings_.output);
	sink_ = out_ ? Sink::write : nobody();
}

void ConsolePort::start(RegisterFile &registers, Console &console)
{
	registers_ = &registers;
	console_ = &console;
	if (settings_.peer)
		wait_for_peer();
	else
		read();
}

// --- somebody comes and goes --------------------------------------------------

ConsolePort::Sink ConsolePort::nobody() const
{
	return settings_.peer && settings_.port != 0 ? Sink::hold : Sink::drop;
}

bool ConsolePort::connected()
{
	std::scoped_lock guard{output_lock_};
	return connected_;
}

void ConsolePort::wait_for_peer()
{
	settings_.peer->wait([this](Descriptor connection) { came(std::move(connection)); });
}

void ConsolePort::came(Descriptor connection)
{
	Descriptor second;
	{
		DescriptorReserve::Opened reserve;
		second = Descriptor{fcntl(connection.get(), F_DUPFD_CLOEXEC, 3)};
	}
	if (!connection || !second) {
		spdlog::warn("console: out of descriptors; a port is of no use any more");
		return;
	}
	in_.emplace(loop_, std::move(second));
	out_.emplace(loop_, std::move(connection));
	{
		std::scoped_lock guard{output_lock_};
		sink_ = Sink::write;
		connected_ = true;
	}
	registers_->with_device([this](Transport &transport) {
		console_->connection_changed(transport, settings_.port);
		console_->resume_output(transport, settings_.port);
	});
	read();
}

// He who was there will not write any more, and all he wrote is with the guest.
void ConsolePort::gone()
{
	{
		std::scoped_lock guard{output_lock_};
		if (flushing_)
			return;		// flushed() comes back
		connected_ = false;
	}
	out_.reset();
	at_end_ = false;
	registers_->with_device([this](Transport &transport) { console_->connection_changed(transport, settings_.port); });
	wait_for_peer();
}

// --- guest to host ------------------------------------------------------------

std::size_t ConsolePort::write(std::span<const std::byte> bytes)
{
	return take(bytes, output_limit);
}

void ConsolePort::write_last(std::span<const std::byte> bytes)
{
	take(bytes, last_output_limit);
}

std::size_t ConsolePort::take(std::span<const std::byte> bytes, std::size_t limit)
{
	std::scoped_lock guard{output_lock_};
	if (sink_ == Sink::drop)
		return bytes.size();
	if (sink_ == Sink::hold)
		return 0;	// came() resumes
	std::size_t room = limit - std::min(output_.size(), limit);
	std::size_t taken = std::min(room, bytes.size());
	output_.insert(output_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(taken));
	stalled_ |= taken < bytes.size();
	if (!flushing_ && !output_.empty()) {
		flushing_ = true;
		boost::asio::post(loop_, [this] { flush(); });
	}
	return taken;
}

void ConsolePort::flush()
{
	{
		std::scoped_lock guard{output_lock_};
		writing_.clear();
		std::swap(writing_, output_);
	}
	boost::asio::async_write(out_->descriptor(), boost::asio::buffer(writing_),
				 [this](boost::system::error_code error, std::size_t) {
		if (error) {
			if (!settings_.peer && error != boost::asio::error::operation_aborted)
				spdlog::warn("output is lost from here: {}", error.message());
			{
				std::scoped_lock guard{output_lock_};
				sink_ = nobody();
				output_.clear();
			}
			if (settings_.broken)
				settings_.broken();
		}
		flushed();
	});
}

void ConsolePort::flushed()
{
	bool resume, more;
	{
		std::scoped_lock guard{output_lock_};
		resume = std::exchange(stalled_, false);
		more = flushing_ = !output_.empty();
	}
	if (more)
		flush();
	if (resume)
		registers_->with_device([this](Transport &transport) { console_->resume_output(transport, settings_.port); });
	if (at_end_ && settings_.peer)
		delivered();
	if (drained_)
		drain(std::move(drained_));
}

void ConsolePort::drain(std::function<void()> done)
{
	// What the guest has made available without a doorbell having reached us.
	registers_->process(Console::transmit_queue(settings_.port));
	bool idle;
	{
		std::scoped_lock guard{output_lock_};
		idle = !flushing_;
	}
	if (idle)
		done();
	else
		drained_ = std::move(done);
}

void ConsolePort::resize(TerminalSize size)
{
	registers_->with_device([&](Transport &transport) { console_->resize(transport, size.columns, size.rows); });
}

// --- host to guest ------------------------------------------------------------

void ConsolePort::input_wanted()
{
	boost::asio::post(loop_, [this] { deliver(); });
}

void ConsolePort::read()
{
	if (reading_ || !in_ || at_end_ || !input_.empty())
		return;
	reading_ = true;
	chunk_.resize(input_chunk);
	in_->descriptor().async_read_some(boost::asio::buffer(chunk_), [this](boost::system::error_code error, std::size_t size) {
		reading_ = false;
		if (error == boost::asio::error::operation_aborted)
			return;
		// From the other end of a pseudo-terminal of ours it means that its user has gone.
		if (error.value() == EIO && !settings_.peer && in_background(in_->descriptor().native_handle())) {
			read_later();
			return;
		}
		if (error) {
			end_of_input();
			return;
		}
		auto bytes = std::span{chunk_}.first(size);
		if (!settings_.terminal)
			input_.assign(bytes.begin(), bytes.end());
		else if (escape_.filter(bytes, input_)) {
			settings_.escape();
			return;
		}
		if (!input_.empty())
			at_line_start_ = input_.back() == std::byte{'\n'};
		deliver();
	});
}

// What is typed into a terminal is for those in the foreground.  When we come there is not told.
void ConsolePort::read_later()
{
	foreground_.expires_after(std::chrono::seconds{1});
	foreground_.async_wait([this](boost::system::error_code error) {
		if (!error)
			read();
	});
}

// The guest's terminal has no end of file of its own, only ^D: it makes the reader
// return with what the line has so far, and with nothing, EOF, at the line's start.
void ConsolePort::end_of_input()
{
	at_end_ = true;
	// What is not a peer's stays open: it may be one socket with stdout, and not block for that one's sake (host_stream.h).
	if (settings_.peer) {
		in_.reset();
		// What he has not read until now he may still want, unless he has gone for good.
		std::scoped_lock guard{output_lock_};
		sink_ = nobody();
		if (hung_up(out_->descriptor().native_handle())) {
			output_.clear();
			out_->descriptor().cancel();
		}
	} else if (settings_.port == 0 && !settings_.terminal) {
		input_.assign(at_line_start_ ? 1 : 2, end_of_file);
	}
	deliver();
}

void ConsolePort::deliver()
{
	if (!registers_)
		return;
	if (!input_.empty())
		registers_->with_device([this](Transport &transport) {
			input_taken_ += console_->input(transport, settings_.port, std::span{input_}.subspan(input_taken_));
		});
	if (input_taken_ == input_.size()) {
		input_.clear();
		input_taken_ = 0;
		if (at_end_)
			delivered();
	}
	read();
}

// There is no more input.  A port that is told so is closed in both directions: the guest's
// writers would wait for ever, so one that has an output stays open.
void ConsolePort::delivered()
{
	if (!input_.empty())
		return;
	if (settings_.peer)
		gone();
	else if (settings_.port != 0 && !out_)
		registers_->with_device([this](Transport &transport) { console_->hang_up(transport, settings_.port); });
}

} // namespace lguest
