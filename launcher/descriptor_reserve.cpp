// SPDX-License-Identifier: GPL-2.0-only
// Descriptors set aside, see descriptor_reserve.h.
#include "descriptor_reserve.h"

#include <sys/resource.h>

#include <algorithm>

namespace lguest {
namespace {

constexpr rlim_t reserve = 128;		// guests on a link, managers, whoever comes to the ports of the console

// The process's, as the limit is.
rlim_t taken = 0;

void raise_limit(rlim_t by)
{
	rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur += by;
	setrlimit(RLIMIT_NOFILE, &limit);
}

void lower_limit(rlim_t by) { raise_limit(-by); }

} // namespace

DescriptorReserve::DescriptorReserve()
{
	rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
		return;
	taken = std::min(reserve, limit.rlim_cur / 4);
	lower_limit(taken);
}

DescriptorReserve::~DescriptorReserve()
{
	raise_limit(taken);
	taken = 0;
}

DescriptorReserve::Opened::Opened()
{
	if (taken)
		raise_limit(taken);
}

DescriptorReserve::Opened::~Opened()
{
	if (taken)
		lower_limit(taken);
}

} // namespace lguest
