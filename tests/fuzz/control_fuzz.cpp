// SPDX-License-Identifier: GPL-2.0-only
// Fuzzes what arrives on a control socket, in pieces: whatever it is, each line has one
// reply, which is a line of JSON, and the reader's memory is bounded.
#include "control_protocol.h"
#include "error.h"

#include <boost/json.hpp>

#include <cstdint>
#include <cstdlib>

namespace {

using namespace lguest;

struct Guest : ControlTarget {
	boost::json::object status() override { return {{"name", "fuzz"}}; }
	boost::json::object statistics() override { return {{"devices", boost::json::array{}}}; }
	double stop(std::optional<double> grace) override
	{
		if (grace && !(*grace >= 0 && *grace <= 24 * 60 * 60))
			std::abort();
		return grace.value_or(10);
	}
	void kill() override {}
	void pause() override { fail("paused"); }
	void resume() override {}
	void set_balloon(std::uint64_t) override {}
	bool has_console() override { return true; }
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size)
{
	std::string_view rest{reinterpret_cast<const char *>(data), size};
	Guest guest;
	LineReader lines;
	while (!rest.empty()) {
		// The first byte of a piece is its length.
		std::size_t piece = static_cast<unsigned char>(rest.front());
		rest.remove_prefix(1);
		if (!lines.feed(rest.substr(0, piece)))
			return 0;
		rest.remove_prefix(std::min(piece, rest.size()));
		while (auto line = lines.next()) {
			std::string reply = answer(*line, guest).line;
			boost::json::error_code error;
			if (reply.find('\n') != reply.size() - 1 || !boost::json::parse(reply, error).is_object() || error)
				std::abort();
		}
	}
	return lines.take_rest().size() > LineReader::max_line ? (std::abort(), 0) : 0;
}
