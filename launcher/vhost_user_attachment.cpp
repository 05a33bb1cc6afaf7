// SPDX-License-Identifier: GPL-2.0-only
// A device served by another process, see vhost_user_attachment.h.
#include "vhost_user_attachment.h"

#include "device_slot.h"
#include "over_reboot.h"

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/streambuf.hpp>
#include <spdlog/spdlog.h>

#include <fcntl.h>
#include <istream>

namespace lguest {
namespace {

namespace asio = boost::asio;
using vhost_user::BackEndError;

constexpr std::size_t longest_line = 4096;

class BackEnd final : public Attachment {
public:
	BackEnd(const MachineParts &machine, VhostUserSetup &setup)
		: name_{setup.name}, connection_{std::move(setup.socket), setup.kept}, device_{connection_, machine.ram, std::move(setup.kind)},
		  slot_{machine.loop, machine.memory, device_, machine.bus, machine.vm, name_, DeviceSlot::all_elsewhere},
		  daemon_{std::move(setup.daemon)}, lost_{std::move(setup.lost)},
		  hang_up_{machine.loop, fcntl(connection_.descriptor(), F_DUPFD_CLOEXEC, 0)}, complaints_{machine.loop}
	{
		device_.set_events(slot_.events());
		watch();
		if (!daemon_)
			return;
		complaints_.assign(daemon_->take_complaints().release());
		pass_on();
	}

	const std::string &name() const override { return name_; }
	void drain(std::function<void()> done) override
	{
		hang_up_.cancel();
		slot_.registers().with_device([this](Transport &) { device_.finish(); });
		done();
	}

	// Back ends that were started for one guest go with the connection.
	void keep_for_reboot() override
	{
		over_reboot::keep(name_, Descriptor{hang_up_.release()});
		if (daemon_)
			daemon_->keep_for_reboot(name_, Descriptor{complaints_.release()});
	}

private:
	// Nothing is sent unasked, so a readable socket means the end, or an answer to a
	// request under way, which check() waits for.
	void watch()
	{
		hang_up_.async_wait(hang_up_.wait_read, [this](boost::system::error_code error) {
			if (error)
				return;
			try {
				connection_.check();
				watch();
			} catch (const BackEndError &gone) {
				spdlog::error("{}: lost its back end: {}", name_, gone.what());
				slot_.registers().with_device([&](Transport &) {
					throw DriverError{fmt::format("back end: {}", gone.what())};
				});
				if (lost_)
					lost_();
			}
		});
	}

	// What the daemon says on its stderr, a line at a time.
	void pass_on()
	{
		asio::async_read_until(complaints_, line_, '\n', [this](boost::system::error_code error, std::size_t) {
			if (error && error != asio::error::not_found)	// that is a line too long
				return;
			std::istream stream{&line_};
			std::string line;
			std::getline(stream, line);
			spdlog::warn("{}: virtiofsd: {}", name_, line);
			pass_on();
		});
	}

	std::string name_;
	VhostUser connection_;
	VhostDevice device_;
	DeviceSlot slot_;
	std::unique_ptr<Virtiofsd> daemon_;
	std::function<void()> lost_;
	asio::posix::stream_descriptor hang_up_;
	asio::posix::stream_descriptor complaints_;
	asio::streambuf line_{longest_line};
};

} // namespace

VhostUserSetup kept_back_end(const std::string &name)
{
	VhostUserSetup setup{name, over_reboot::take(name)};
	setup.kept = static_cast<bool>(setup.socket);
	setup.daemon = Virtiofsd::kept(name);
	return setup;
}

std::unique_ptr<Attachment> attach_back_end(const MachineParts &machine, VhostUserSetup &setup)
{
	return std::make_unique<BackEnd>(machine, setup);
}

} // namespace lguest
