/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What must go when the guest, or the host, says so.
 */
#ifndef SHADOW_FLUSH_HPP
#define SHADOW_FLUSH_HPP

#include "table_pool.hpp"

namespace shadow
{

/* [start, last], all in one half: of `root`, or of every root in the upper half. */
void flush_span(shadow_mm &mm, Gfn root, Gva start, Gva last);
void flush_lower_half(shadow_mm &mm, Gfn root);
void flush_everything(shadow_mm &mm);
/* A root that nobody held may have missed flushes of the upper half: compare its
 * links with the guest's table, given in mm.buffer. */
void revalidate_root(shadow_mm &mm, TableId root);
void forget_frames(shadow_mm &mm, Gfn first, u64 count);

} // namespace shadow

#endif
