// SPDX-License-Identifier: GPL-2.0-only
// `--rng`, see rng_options.h.
#include "rng_options.h"

namespace lguest {

RngOptions read_rng_options(KeyedOptions &options)
{
	RngOptions rng;
	rng.rate = options.take_size("rate", 0);
	return rng;
}

} // namespace lguest
