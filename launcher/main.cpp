// SPDX-License-Identifier: GPL-2.0-only
// `lguest`: the thin layer between the shell and run.h.
#include "control_client.h"
#include "error.h"
#include "log.h"
#include "options.h"
#include "run.h"

#include <fmt/core.h>
#include <spdlog/spdlog.h>

#include <unistd.h>

int main(int argc, char **argv)
{
	try {
		auto request = lguest::parse_command_line(argc, argv);
		if (auto *show = std::get_if<lguest::ShowText>(&request)) {
			fmt::print("{}", show->text);
			return 0;
		}
		if (auto *manage = std::get_if<lguest::ManageOptions>(&request))
			return lguest::manage_guests(*manage);
		const auto &options = std::get<lguest::RunOptions>(request);
		lguest::set_up_log(options.log, options.name);
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
