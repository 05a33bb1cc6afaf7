// SPDX-License-Identifier: GPL-2.0-only
// The launcher's log, see log.h.
#include "log.h"

#include "error.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>

namespace lguest {
namespace {

class QuotedMessage final : public spdlog::custom_flag_formatter {
public:
	void format(const spdlog::details::log_msg &message, const std::tm &, spdlog::memory_buf_t &out) override
	{
		std::string text = quoted_for_log({message.payload.data(), message.payload.size()});
		out.append(text.data(), text.data() + text.size());
	}
	std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<QuotedMessage>(); }
};

spdlog::level::level_enum level_of(LogOptions::Level level)
{
	switch (level) {
	case LogOptions::Level::debug:	return spdlog::level::debug;
	case LogOptions::Level::warn:	return spdlog::level::warn;
	case LogOptions::Level::error:	return spdlog::level::err;
	default:			return spdlog::level::info;
	}
}

} // namespace

std::string quoted_for_log(std::string_view text)
{
	std::string result = "\"";
	for (unsigned char c : text) {
		if (c == '"' || c == '\\')
			result += {'\\', static_cast<char>(c)};
		else if (c == '\n')
			result += "\\n";
		else if (c < 0x20 || c == 0x7f)
			result += fmt::format("\\x{:02x}", c);
		else
			result += static_cast<char>(c);
	}
	return result + '"';
}

void set_up_log(const LogOptions &options, const std::string &guest)
{
	if (options.file.empty()) {
		auto sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
		spdlog::set_default_logger(std::make_shared<spdlog::logger>("lguest", sink));
		spdlog::set_pattern(guest.empty() ? "lguest: %v" : "lguest " + guest + ": %v");
	} else {
		try {
			auto sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(options.file);
			spdlog::set_default_logger(std::make_shared<spdlog::logger>("lguest", sink));
		} catch (const spdlog::spdlog_ex &) {
			fail("--log file: cannot write {}", options.file);
		}
		auto formatter = std::make_unique<spdlog::pattern_formatter>(spdlog::pattern_time_type::utc);
		formatter->add_flag<QuotedMessage>('*');
		formatter->set_pattern("time=%Y-%m-%dT%H:%M:%S.%eZ level=%l guest=" + (guest.empty() ? "-" : guest) + " message=%*");
		spdlog::set_formatter(std::move(formatter));
		spdlog::flush_on(spdlog::level::debug);
	}
	spdlog::set_level(level_of(options.level));
}

} // namespace lguest
