/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Answering a miss: from a permitted walk of the guest's tables to shadow entries.
 */
#ifndef SHADOW_SYNC_HPP
#define SHADOW_SYNC_HPP

#include "table_pool.hpp"
#include "walk.hpp"

namespace shadow
{

/* Map gva in the root's shadow as the guest's tables say now, if they allow it. */
struct shadow_result answer_miss(shadow_mm &mm, TableId root, Gva gva, u32 access);

} // namespace shadow

#endif
