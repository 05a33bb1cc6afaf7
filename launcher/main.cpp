// SPDX-License-Identifier: GPL-2.0-only
// `lguest`: the thin layer between the shell and run.h.
#include "error.h"
#include "options.h"
#include "run.h"

#include <fmt/core.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <unistd.h>

namespace {

void set_up_log(const lguest::RunOptions &options)
{
	auto sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
	spdlog::set_default_logger(std::make_shared<spdlog::logger>("lguest", sink));
	spdlog::set_pattern(options.name.empty() ? "lguest: %v" : "lguest " + options.name + ": %v");
	spdlog::set_level(options.verbose ? spdlog::level::debug : spdlog::level::info);
}

} // namespace

int main(int argc, char **argv)
{
	try {
		auto request = lguest::parse_command_line(argc, argv);
		if (auto *show = std::get_if<lguest::ShowText>(&request)) {
			fmt::print("{}", show->text);
			return 0;
		}
		const auto &options = std::get<lguest::RunOptions>(request);
		set_up_log(options);
		lguest::Outcome outcome = lguest::run_guest(options);
		if (outcome.kind == lguest::Outcome::Kind::reboot && options.reboot) {
			// A process has one VM in its life, so a reboot is a new program.
			spdlog::debug("the guest reboots");
			execv("/proc/self/exe", argv);
			spdlog::error("cannot start again after a reboot");
			return lguest::exit_failure;
		}
		return outcome.status;
	} catch (const lguest::Error &error) {
		fmt::print(stderr, "lguest: {}\n", error.what());
		return error.status();
	} catch (const std::exception &error) {
		fmt::print(stderr, "lguest: {}\n", error.what());
		return lguest::exit_failure;
	}
}
