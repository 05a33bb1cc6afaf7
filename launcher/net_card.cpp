// SPDX-License-Identifier: GPL-2.0-only
// A network card of the guest in the launcher, see net_card.h.
#include "net_card.h"

#include "device_slot.h"
#include "net_link.h"
#include "net_tap.h"
#include "net_user.h"
#include "net_vhost.h"

#include <boost/asio/post.hpp>
#include <spdlog/spdlog.h>

namespace lguest {
namespace {

class NetCard final : public Attachment, private NetEvents {
public:
	NetCard(const MachineParts &machine, std::unique_ptr<NetPort> port, const MacAddress &mac, std::string name)
		: name_{std::move(name)}, loop_{machine.loop}, port_{std::move(port)}, device_{*port_, {mac, port_->mtu()}},
		  slot_{machine.loop, machine.memory, device_, machine.bus, machine.vm, name_, port_->queues_taken()}
	{
		if (port_->queues_taken())
			port_->set_events(slot_.events());
		port_->start(*this);
	}
	~NetCard() override
	{
		const Net::Counters &counters = device_.counters();
		spdlog::debug("{}: {} frames from the guest, {} to it; refused {} and {}, dropped {}", name_, counters.sent,
			      counters.received, counters.send_refused, counters.receive_refused, port_->dropped());
	}

	const std::string &name() const override { return name_; }
	void add_needs(SandboxNeeds &needs) const override { port_->add_needs(needs); }

private:
	void receive_soon() override
	{
		if (std::exchange(receive_posted_, true))
			return;
		boost::asio::post(loop_, [this] {
			receive_posted_ = false;
			frames_waiting();
		});
	}

	void frames_waiting() override
	{
		slot_.registers().with_device([this](Transport &transport) {
			if (device_.receive(transport))
				receive_soon();
		});
	}

	void room_again() override
	{
		slot_.registers().with_device([this](Transport &transport) { device_.resume_transmit(transport); });
	}

	void link_lost(const std::string &reason) override
	{
		spdlog::warn("{}: unplugged: {}", name_, reason);
		slot_.registers().with_device([this](Transport &transport) { device_.set_link(transport, false); });
	}

	void driver_broken() override
	{
		slot_.registers().with_device([this](Transport &) {
			port_->return_queues();
			throw DriverError{"the host's kernel finds a queue broken"};
		});
	}

	std::string name_;
	boost::asio::io_context &loop_;
	std::unique_ptr<NetPort> port_;
	Net device_;
	DeviceSlot slot_;
	bool receive_posted_ = false;
};

std::unique_ptr<NetPort> make_port(const MachineParts &machine, const NetOptions &options)
{
	switch (options.kind) {
	case NetOptions::Kind::user:	return std::make_unique<UserPort>(machine.loop, options);
	case NetOptions::Kind::link:	return std::make_unique<LinkPort>(machine.loop, options);
	default:			break;
	}
	if (auto vhost = vhost_for(options))
		return std::make_unique<VhostNetPort>(machine, options, std::move(vhost));
	return std::make_unique<TapPort>(machine.loop, options);
}

} // namespace

std::unique_ptr<Attachment> attach_net(const MachineParts &machine, const NetOptions &options, const std::string &guest,
				       std::size_t index, std::unique_ptr<NetPort> port)
{
	MacAddress mac = options.mac.value_or(card_address(guest, index));
	std::string name = options.id.empty() ? fmt::format("net{}", index) : options.id;
	spdlog::debug("{}: {}", name, format_mac(mac));
	return std::make_unique<NetCard>(machine, std::move(port), mac, std::move(name));
}

std::unique_ptr<Attachment> attach_net(const MachineParts &machine, const NetOptions &options, const std::string &guest,
				       std::size_t index)
{
	return attach_net(machine, options, guest, index, make_port(machine, options));
}

} // namespace lguest
