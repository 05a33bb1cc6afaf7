// SPDX-License-Identifier: GPL-2.0-only
// The host's side of the console, see console_port.h.
#include "console_port.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <spdlog/spdlog.h>

#include <algorithm>

namespace lguest {
namespace {

constexpr std::size_t output_limit = 64 << 10;
constexpr std::size_t input_chunk = 4 << 10;
constexpr std::byte end_of_file{0x04};	// ^D, as the guest's terminal takes it

} // namespace

ConsolePort::ConsolePort(boost::asio::io_context &loop, Settings settings) : loop_{loop}, settings_{std::move(settings)}
{
	if (settings_.input >= 0)
		in_.emplace(loop, settings_.input);
	if (settings_.output >= 0)
		out_.emplace(loop, settings_.output);
}

void ConsolePort::start(RegisterFile &registers, Console &console)
{
	registers_ = &registers;
	console_ = &console;
	read();
}

// --- guest to host ------------------------------------------------------------

std::size_t ConsolePort::write(std::span<const std::byte> bytes)
{
	std::scoped_lock guard{output_lock_};
	if (output_broken_ || !out_)
		return bytes.size();
	std::size_t room = output_limit - std::min(output_.size(), output_limit);
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
		if (error && error != boost::asio::error::operation_aborted) {
			spdlog::warn("output is lost from here: {}", error.message());
			{
				std::scoped_lock guard{output_lock_};
				output_broken_ = true;
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
	if (reading_ || !in_ || !input_.empty())
		return;
	reading_ = true;
	auto chunk = std::make_shared<std::vector<std::byte>>(input_chunk);
	in_->descriptor().async_read_some(boost::asio::buffer(*chunk),
					  [this, chunk](boost::system::error_code error, std::size_t size) {
		reading_ = false;
		if (error == boost::asio::error::operation_aborted)
			return;
		if (error) {
			end_of_input();
			return;
		}
		auto bytes = std::span{*chunk}.first(size);
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

// The guest's terminal has no end of file of its own, only ^D: it makes the reader
// return with what the line has so far, and with nothing, EOF, at the line's start.
void ConsolePort::end_of_input()
{
	in_.reset();
	at_end_ = true;
	if (settings_.port == 0 && !settings_.terminal)
		input_.assign(at_line_start_ ? 1 : 2, end_of_file);
	deliver();
}

void ConsolePort::deliver()
{
	if (!registers_)
		return;
	if (!input_.empty())
		registers_->with_device([this](Transport &transport) {
			std::size_t taken = console_->input(transport, settings_.port, input_);
			input_.erase(input_.begin(), input_.begin() + static_cast<std::ptrdiff_t>(taken));
		});
	if (input_.empty() && at_end_ && settings_.port != 0)
		registers_->with_device([this](Transport &transport) { console_->hang_up(transport, settings_.port); });
	read();
}

} // namespace lguest
