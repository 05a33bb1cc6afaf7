// SPDX-License-Identifier: GPL-2.0-only
// A network card on a TAP device, see net_tap.h.
#include "net_tap.h"

#include <boost/asio/post.hpp>
#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <sys/uio.h>

namespace lguest {

bool TapPort::send(std::span<const iovec> frame)
{
	if (writev(tap_.native_handle(), frame.data(), static_cast<int>(frame.size())) >= 0)
		return true;
	if (errno != EAGAIN) {
		dropped_++;	// it refuses the frame, or is down
		return true;
	}
	if (!std::exchange(waiting_to_send_, true))
		tap_.async_wait(tap_.wait_write, [this](boost::system::error_code error) {
			if (error)
				return;
			waiting_to_send_ = false;
			card_->room_again();
		});
	return false;
}

std::size_t TapPort::receive(std::span<const iovec> room)
{
	if (waiting_to_receive_ || lost_)
		return 0;
	ssize_t size;
	do {
		size = readv(tap_.native_handle(), room.data(), static_cast<int>(room.size()));
	} while (size < 0 && errno == EINTR);
	if (size > 0)
		return static_cast<std::size_t>(size);
	if (size == 0 || errno != EAGAIN) {
		lose(size == 0 ? EIO : errno);
		return 0;
	}
	waiting_to_receive_ = true;
	tap_.async_wait(tap_.wait_read, [this](boost::system::error_code error) {
		if (error)
			return;
		waiting_to_receive_ = false;
		card_->frames_waiting();
	});
	return 0;
}

// Somebody has removed the device.
void TapPort::lose(int error)
{
	lost_ = true;
	boost::asio::post(tap_.get_executor(), [this, error] { card_->link_lost(fmt::format("TAP device: {}", std::strerror(error))); });
}

} // namespace lguest
