// SPDX-License-Identifier: GPL-2.0-only
// `--vsock`, see vsock_options.h.
#include "vsock_options.h"

namespace lguest {
namespace {

// 0 to 2 are the hypervisor, a machine itself and the host; the largest is any.
constexpr std::uint64_t first_cid = 3, last_cid = 0xffff'fffe;

} // namespace

VsockOptions read_vsock_options(KeyedOptions &options)
{
	options.take_required("cid");
	return {static_cast<std::uint32_t>(options.take_number("cid", 0, first_cid, last_cid))};
}

} // namespace lguest
