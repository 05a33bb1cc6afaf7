// SPDX-License-Identifier: GPL-2.0-only
// The virtio entropy device (virtio 1.2, section 5.4): fills buffers with random bytes.
//
// Behind a RegisterFile; launcher/rng.cpp has its options and gives it its rate.
//
//     queue 0: requests, each a chain of writable buffers
//
// With a rate limit it spends an allowance; when that is used up, chains stay in the
// queue until there is a new one.
#pragma once

#include "device.h"

#include <array>
#include <cstdint>
#include <limits>

namespace lguest {

// Called with the device's lock held; must not call back.
class EntropyHost {
public:
	// Random bytes for all of the buffer, which is guest memory.
	virtual void fill(std::span<std::byte> buffer) = 0;
	// The allowance is used up: call Entropy::resume() when there is a new one.
	virtual void allowance_used() = 0;

protected:
	~EntropyHost() = default;
};

class Entropy final : public Device {
public:
	static constexpr std::uint64_t no_limit = std::numeric_limits<std::uint64_t>::max();

	// `allowance`: bytes that may be handed out until the first resume().
	explicit Entropy(EntropyHost &host, std::uint64_t allowance = no_limit) : host_{host}, allowance_{allowance} {}

	std::uint32_t id() const override;
	std::uint64_t features() const override { return 0; }
	std::span<const std::uint16_t> queue_sizes() const override { return sizes_; }
	std::uint64_t read_config(std::uint64_t, unsigned) override { return 0; }
	void activate(std::uint64_t features) override;
	void process(Transport &transport, unsigned queue) override;
	void reset() override {}

	// Go on with that many bytes; what was left of the allowance before is forfeit.
	void resume(Transport &transport, std::uint64_t allowance);

private:
	static constexpr std::array<std::uint16_t, 1> sizes_{64};

	EntropyHost &host_;
	std::uint64_t allowance_;
};

} // namespace lguest
