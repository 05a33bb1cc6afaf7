// SPDX-License-Identifier: GPL-2.0-only
// What a user is told when something is wrong: the one line of an Error.
#pragma once

#include "error.h"

#include <gtest/gtest.h>

#include <concepts>
#include <optional>
#include <string>

namespace lguest::test {

// Of whatever `work` throws; with `status`, which the launcher then exits with.
template <std::invocable Work>
std::string complaint(Work work, std::optional<int> status = {})
{
	try {
		work();
		return "no complaint";
	} catch (const std::runtime_error &complaint) {
		EXPECT_EQ(std::string{complaint.what()}.find('\n'), std::string::npos) << complaint.what();
		if (status) {
			auto *error = dynamic_cast<const Error *>(&complaint);
			EXPECT_EQ(error ? error->status() : -1, *status) << complaint.what();
		}
		return complaint.what();
	}
}

} // namespace lguest::test
