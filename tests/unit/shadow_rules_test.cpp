/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Each rule of shadow-mm/README.md by itself, on small guests.  The random tests
 * (shadow_property_test.cpp) look for what nobody thought of.
 */
#include "shadow_machine.hpp"
#include "table.hpp"

#include <gtest/gtest.h>

using namespace shadow_test;

namespace
{

constexpr u64 kTableFlags = kP | kW | kU | kA;
constexpr u64 kPage = kP | kW | kU | kA | kD;
constexpr u64 kLow = 0x400000;			/* gva in the lower half */
constexpr u64 kHigh = 0xffffffff80200000;	/* and in the upper */
constexpr u64 kRoot = 1, kOtherRoot = 2;

/* A guest whose tables are taken from frame 16 on; data frames are below. */
class ShadowRules : public testing::TestWithParam<unsigned>
{
protected:
	ShadowRules() { start({}); }

	void start(Config c, bool resident = true)
	{
		c.host_levels = GetParam();
		c.frames = 2048;
		if (c.max_tables == Config{}.max_tables)
			c.max_tables = 200;
		m = std::make_unique<Machine>(c);
		next_table = 16;
		for (u64 gfn = 0; gfn < c.frames && resident; gfn++)
			m->bring_frame(gfn, true);
	}

	void TearDown() override
	{
		m->check_promise();
		EXPECT_EQ(m->failure, "");
	}

	/* The frame of the table of this level on the way to gva, made if missing. */
	u64 table(u64 root, u64 gva, unsigned level, u64 flags = kTableFlags)
	{
		u64 gfn = root;

		for (unsigned l = 4; l > level; l--) {
			u64 e = m->guest.read(gfn, slot_of(gva, l));

			if (!(e & kP)) {
				e = next_table++ << 12 | flags;
				m->guest.write(gfn, slot_of(gva, l), e);
			}
			gfn = (e & kAddress) >> 12;
		}
		return gfn;
	}

	void set(u64 root, u64 gva, unsigned level, u64 entry)
	{
		m->guest.write(table(root, gva, level), slot_of(gva, level), entry);
	}
	u64 get(u64 root, u64 gva, unsigned level)
	{
		return m->guest.read(table(root, gva, level), slot_of(gva, level));
	}
	void map(u64 root, u64 gva, u64 gfn, u64 flags = kPage)
	{
		set(root, gva, 1, gfn << 12 | flags);
	}

	Machine::Touched touch(u64 gva, u32 access = 0, unsigned vcpu = 0)
	{
		if (!m->vcpus[vcpu].running)
			m->load_root(vcpu, kRoot, false);
		return m->touch(vcpu, gva, access);
	}
	bool works(u64 gva, u32 access = 0, unsigned vcpu = 0)
	{
		return touch(gva, access, vcpu).how == Machine::Touched::Worked;
	}
	u32 injected(u64 gva, u32 access)
	{
		Machine::Touched t = touch(gva, access);

		EXPECT_EQ(t.how, Machine::Touched::Injected);
		return t.error_code;
	}
	bool stopped(u64 gva, u32 access = 0)
	{
		return touch(gva, access).how == Machine::Touched::Stopped;
	}
	/* What the shadow says, caches aside. */
	Translation shadow(u64 gva, bool user = false, unsigned vcpu = 0)
	{
		const shadow_roots &r = m->vcpus[vcpu].shadow;

		return m->walk_shadow(user ? r.user_view : r.kernel_view, gva, user);
	}
	u64 tables() { return shadow_counters(m->mm)->tables; }

	std::unique_ptr<Machine> m;
	u64 next_table = 16;
};

INSTANTIATE_TEST_SUITE_P(HostLevels, ShadowRules, testing::Values(4, 5));

} // namespace

/* -- a miss ----------------------------------------------------------------------------- */

TEST_P(ShadowRules, SetsAccessedOnThePathAndDirtyOnlyForWrites)
{
	table(kRoot, kLow, 1, kTableFlags & ~kA);
	map(kRoot, kLow, 5, kP | kW | kU);
	EXPECT_TRUE(works(kLow));
	for (unsigned level = 1; level <= 4; level++) {
		EXPECT_TRUE(get(kRoot, kLow, level) & kA) << level;
		EXPECT_FALSE(get(kRoot, kLow, level) & kD) << level;
	}
	EXPECT_FALSE(shadow(kLow).write) << "read-only until D is set";
	EXPECT_TRUE(works(kLow, PFEC_WRITE));
	EXPECT_TRUE(shadow(kLow).write);
	EXPECT_TRUE(get(kRoot, kLow, 1) & kD);
	EXPECT_FALSE(get(kRoot, kLow, 2) & kD);
}

TEST_P(ShadowRules, SyncsTheWholeLeafTable)
{
	u64 base = kLow & ~0x1fffffull;

	for (unsigned i = 0; i < 512; i++)
		map(kRoot, base + i * 4096, 1 + i % 8, i % 2 ? kPage : kPage & ~kA & ~kD);
	EXPECT_TRUE(works(base + 40 * 4096));
	for (unsigned i = 0; i < 512; i++) {
		bool near = i >= 32 && i < 64;

		EXPECT_EQ(shadow(base + i * 4096).present, i % 2 || near) << i;
		EXPECT_EQ(shadow(base + i * 4096).write, i % 2) << i;
		EXPECT_EQ(get(kRoot, base + i * 4096, 1) & (kA | kD),
			  i % 2 ? kA | kD : near ? kA : 0) << i;
	}
	EXPECT_EQ(shadow_counters(m->mm)->fills, 1u);
}

TEST_P(ShadowRules, OnlyTheEntryAskedForNeedsItsFrame)
{
	start({}, false);
	map(kRoot, kLow, 5);
	map(kRoot, kLow + 0x1000, 6);
	map(kRoot, kLow + 0x2000, 5000);	/* no memory */
	EXPECT_TRUE(works(kLow));
	EXPECT_TRUE(m->host[5].resident);
	EXPECT_FALSE(m->host[6].resident);
	EXPECT_FALSE(shadow(kLow + 0x1000).present);
	EXPECT_FALSE(shadow(kLow + 0x2000).present);
}

TEST_P(ShadowRules, FramesOutsideMemoryStopTheGuest)
{
	m->host[9].slot = HostFrame::Hole;
	m->host[10].slot = HostFrame::ReadOnly;
	m->host[10].writable = false;
	map(kRoot, kLow, 9);
	map(kRoot, kLow + 0x1000, 10);
	map(kRoot, kLow + 0x2000, 1ull << 35);
	set(kRoot, 0x40000000, 3, 5000ull << 12 | kTableFlags);
	EXPECT_TRUE(stopped(kLow));
	EXPECT_TRUE(works(kLow + 0x1000));
	EXPECT_TRUE(stopped(kLow + 0x1000, PFEC_WRITE));
	EXPECT_FALSE(shadow(kLow + 0x1000).write);
	EXPECT_TRUE(stopped(kLow + 0x2000));
	EXPECT_TRUE(stopped(0x40000000));
	EXPECT_FALSE(m->load_root(1, 5000, false));
	EXPECT_FALSE(m->load_root(1, 9, false));
}

TEST_P(ShadowRules, WriteProtectedFramesAreMappedReadOnly)
{
	map(kRoot, kLow, 5);
	m->host[5].writable = false;
	EXPECT_TRUE(works(kLow));
	EXPECT_FALSE(shadow(kLow).write);
	EXPECT_TRUE(works(kLow, PFEC_WRITE));
	EXPECT_TRUE(shadow(kLow).write);
	m->take_frame(5, true);
	EXPECT_FALSE(shadow(kLow).present);
}

TEST_P(ShadowRules, ErrorCodesAreTheArchitectures)
{
	map(kRoot, kLow, 5, kP | kU | kA | kNX);
	map(kRoot, kLow + 0x1000, 6, kPage);
	map(kRoot, kHigh, 7, kPage & ~kU);
	EXPECT_EQ(injected(kLow + 0x5000, PFEC_USER), PFEC_USER);
	EXPECT_EQ(injected(0x7fffffffe000, PFEC_WRITE), PFEC_WRITE);
	EXPECT_EQ(injected(kLow, PFEC_USER | PFEC_WRITE), PFEC_PRESENT | PFEC_USER | PFEC_WRITE);
	EXPECT_EQ(injected(kLow, PFEC_WRITE), PFEC_PRESENT | PFEC_WRITE) << "CR0.WP";
	EXPECT_EQ(injected(kLow, PFEC_USER | PFEC_FETCH), PFEC_PRESENT | PFEC_USER | PFEC_FETCH);
	EXPECT_EQ(injected(kLow + 0x1000, PFEC_FETCH), PFEC_PRESENT | PFEC_FETCH) << "SMEP";
	EXPECT_EQ(injected(kHigh, PFEC_USER), PFEC_PRESENT | PFEC_USER);
	EXPECT_EQ(injected(make_gva(256, 0, 0, 0), 0), 0u);
}

TEST_P(ShadowRules, ReservedBitsAreInjected)
{
	const u32 want = PFEC_PRESENT | PFEC_RESERVED | PFEC_USER;

	set(kRoot, 0x8000000000, 4, 20ull << 12 | kTableFlags | kPS);
	EXPECT_EQ(injected(0x8000000000, PFEC_USER), want);
	set(kRoot, 0x40000000, 3, 1ull << 29 | kPage | kPS);
	EXPECT_EQ(injected(0x40000000, PFEC_USER), want);
	set(kRoot, 0x80000000, 2, 1ull << 13 | kPage | kPS);
	EXPECT_EQ(injected(0x80000000, PFEC_USER), want);
	set(kRoot, 0x80200000, 2, 1ull << 12 | kPage | kPS);
	EXPECT_TRUE(works(0x80200000, PFEC_USER)) << "bit 12 is PAT";
}

TEST_P(ShadowRules, AnEntryThatChangesUnderOurHandsIsReadAgain)
{
	unsigned changes = 0;

	map(kRoot, kLow, 5, kP | kU | kW);
	m->before_cmpxchg = [&](u64 gfn, unsigned slot) {
		if (changes++ == 0) {
			m->disturbed = true;
			m->guest.write(gfn, slot, 6ull << 12 | kP | kU);
		}
	};
	EXPECT_TRUE(works(kLow));
	EXPECT_EQ(shadow(kLow).pfn, m->host[6].pfn);
}

TEST_P(ShadowRules, AFewPagesAtATimeAreEnough)
{
	map(kRoot, kLow, 5);
	EXPECT_TRUE(m->load_root(0, kRoot, false));
	m->reserve = 3;
	EXPECT_TRUE(works(kLow));
}

/* -- views and rights -------------------------------------------------------------------- */

TEST_P(ShadowRules, TheUserViewHasTheLowerHalfOnly)
{
	map(kRoot, kLow, 5);
	map(kRoot, kHigh, 6);
	EXPECT_TRUE(works(kLow, PFEC_USER));
	EXPECT_TRUE(works(kHigh));
	EXPECT_TRUE(shadow(kLow, true).present && shadow(kLow, false).present);
	EXPECT_TRUE(shadow(kLow, true).execute);
	EXPECT_FALSE(shadow(kLow, false).execute) << "SMEP";
	EXPECT_TRUE(shadow(kHigh, false).execute);
	EXPECT_FALSE(shadow(kHigh, true).present);
	EXPECT_EQ(injected(kHigh, PFEC_USER), PFEC_PRESENT | PFEC_USER);
}

TEST_P(ShadowRules, SupervisorEntriesAreFilledInTheUpperHalfOnly)
{
	map(kRoot, kLow, 5, kPage & ~kU);
	map(kRoot, kLow + 0x1000, 5);
	map(kRoot, kHigh, 6, kPage & ~kU);
	set(kRoot, 0x40000000, 3, 30ull << 12 | (kTableFlags & ~kU));
	map(kRoot, 0x40000000, 7);
	EXPECT_TRUE(works(kLow + 0x1000));
	EXPECT_FALSE(shadow(kLow).present);
	EXPECT_EQ(injected(kLow, 0), PFEC_PRESENT);
	EXPECT_EQ(injected(0x40000000, 0), PFEC_PRESENT);
	EXPECT_TRUE(works(kHigh, PFEC_WRITE));
}

TEST_P(ShadowRules, RightsAreTheAndOverLevels)
{
	for (unsigned level = 1; level <= 4; level++) {
		u64 gva = make_gva(level, 0, 0, 0);

		map(kRoot, gva, 5);
		EXPECT_TRUE(works(gva, PFEC_USER | PFEC_WRITE));
		set(kRoot, gva, level, (get(kRoot, gva, level) & ~kW) | kNX);
		m->flush_page(kRoot, gva);
		EXPECT_TRUE(works(gva, PFEC_USER));
		EXPECT_FALSE(shadow(gva, true).write) << level;
		EXPECT_FALSE(shadow(gva, true).execute) << level;
		EXPECT_EQ(injected(gva, PFEC_WRITE), PFEC_WRITE | PFEC_PRESENT);
	}
}

TEST_P(ShadowRules, ANewRightAboveDoesNotReviveAnOldLeaf)
{
	set(kRoot, kLow, 2, next_table++ << 12 | (kTableFlags & ~kW));
	map(kRoot, kLow, 5);
	map(kRoot, kLow + 0x1000, 6);
	EXPECT_TRUE(works(kLow));
	/* Nothing was writable, so no flush is needed for either change. */
	map(kRoot, kLow, 5, kPage & ~kW);
	set(kRoot, kLow, 2, get(kRoot, kLow, 2) | kW);
	EXPECT_TRUE(works(kLow + 0x1000, PFEC_WRITE));
	EXPECT_TRUE(works(kLow));
	EXPECT_FALSE(shadow(kLow).write);
	EXPECT_EQ(injected(kLow, PFEC_WRITE), PFEC_WRITE | PFEC_PRESENT);
}

TEST_P(ShadowRules, TheGuestsHypervisorSlotIsIgnored)
{
	map(kRoot, make_gva(256, 1, 2, 3), 5);
	EXPECT_EQ(injected(make_gva(256, 1, 2, 3), PFEC_WRITE), PFEC_WRITE);
}

TEST_P(ShadowRules, TheEncryptionMaskIsInEveryEntry)
{
	Config c;

	c.encryption_mask = 1ull << 47;
	start(c);
	map(kRoot, kLow, 5);
	map(kRoot, kHigh, 6);
	EXPECT_TRUE(works(kLow, PFEC_WRITE) && works(kHigh, PFEC_WRITE));
	EXPECT_EQ(shadow(kLow).pfn, m->host[5].pfn);
}

/* -- large pages ----------------------------------------------------------------------------- */

TEST_P(ShadowRules, LargePagesAreSplit)
{
	set(kRoot, kHigh, 2, 2ull << 21 | kP | kW | kA | kPS);	/* frames 1024.. */
	EXPECT_TRUE(works(kHigh + 70 * 4096));
	EXPECT_EQ(shadow(kHigh + 70 * 4096).pfn, m->host[1024 + 70].pfn);
	EXPECT_FALSE(shadow(kHigh + 63 * 4096).present);
	EXPECT_TRUE(shadow(kHigh + 64 * 4096).present);
	EXPECT_TRUE(shadow(kHigh + 127 * 4096).present);
	EXPECT_FALSE(shadow(kHigh + 128 * 4096).present);
	EXPECT_FALSE(shadow(kHigh + 70 * 4096).write) << "not dirty";
	EXPECT_TRUE(works(kHigh + 70 * 4096, PFEC_WRITE));
	EXPECT_TRUE(get(kRoot, kHigh, 2) & kD);
	EXPECT_TRUE(shadow(kHigh + 71 * 4096).write);

	const u64 gigabyte = 0xffffffffc0000000;

	set(kRoot, gigabyte, 3, kPage | kPS);		/* from frame 0 */
	EXPECT_TRUE(works(gigabyte + 600 * 4096, PFEC_WRITE));
	EXPECT_EQ(shadow(gigabyte + 600 * 4096).pfn, m->host[600].pfn);
	EXPECT_TRUE(stopped(gigabyte + 3000 * 4096)) << "beyond memory";
}

TEST_P(ShadowRules, LargeAndSmallOfTheSameFrameAreTwoTables)
{
	/* Frame 512 is a table under one entry and the first of a large page under another. */
	set(kRoot, kLow, 2, 512ull << 12 | kTableFlags);
	m->guest.write(512, slot_of(kLow, 1), 5ull << 12 | kPage);
	EXPECT_TRUE(works(kLow, PFEC_WRITE));
	EXPECT_EQ(shadow(kLow).pfn, m->host[5].pfn);
	set(kRoot, kLow, 2, 512ull << 12 | kPage | kPS);
	m->flush_page(kRoot, kLow);
	EXPECT_TRUE(works(kLow, PFEC_WRITE));
	EXPECT_EQ(shadow(kLow).pfn, m->host[512].pfn);
}

/* -- sharing ----------------------------------------------------------------------------------- */

TEST_P(ShadowRules, RootsShareTheUpperHalf)
{
	map(kRoot, kHigh, 5);
	m->guest.write(kOtherRoot, 511, m->guest.read(kRoot, 511));
	EXPECT_TRUE(works(kHigh));
	EXPECT_TRUE(m->load_root(1, kOtherRoot, false));
	u64 before = tables();

	EXPECT_TRUE(works(kHigh, 0, 1));
	EXPECT_EQ(tables(), before);
	map(kRoot, kHigh, 6);
	m->flush_page(kRoot, kHigh);
	EXPECT_FALSE(shadow(kHigh, false, 1).present) << "a flush up there covers all roots";
}

TEST_P(ShadowRules, RootsDoNotShareTheLowerHalf)
{
	map(kRoot, kLow, 5);
	EXPECT_TRUE(works(kLow));
	map(kRoot, kLow, 6);	/* not flushed: the first root may keep 5 */
	m->guest.write(kOtherRoot, 0, m->guest.read(kRoot, 0));
	EXPECT_TRUE(m->load_root(1, kOtherRoot, false));
	EXPECT_TRUE(works(kLow, 0, 1));
	EXPECT_EQ(shadow(kLow, false, 0).pfn, m->host[5].pfn);
	EXPECT_EQ(shadow(kLow, false, 1).pfn, m->host[6].pfn);
}

TEST_P(ShadowRules, TablesMayPointAtThemselves)
{
	/* The root as its own table of levels 3, 2, 1: an address for each depth. */
	m->guest.write(kRoot, 511, kRoot << 12 | kTableFlags);
	m->guest.write(kRoot, 3, kRoot << 12 | kTableFlags);
	for (u64 gva : {make_gva(511, 511, 511, 511), make_gva(511, 511, 511, 3),
			make_gva(511, 511, 3, 511), make_gva(511, 3, 511, 511),
			make_gva(3, 3, 3, 3), make_gva(3, 3, 511, 3)}) {
		EXPECT_TRUE(works(gva, PFEC_WRITE));
		EXPECT_EQ(shadow(gva).pfn, m->host[kRoot].pfn);
		m->check_promise();
	}
	m->flush_page(kRoot, make_gva(511, 511, 511, 511));
	m->flush_lower_half(kRoot);
	EXPECT_TRUE(works(make_gva(3, 3, 3, 3), PFEC_USER));
}

TEST_P(ShadowRules, ARootFullOfOnePointerStaysInItsBudget)
{
	Config c;

	c.max_tables = 32;
	start(c);
	u64 shared = next_table++;

	for (unsigned slot = 0; slot < 512; slot++) {
		m->guest.write(kRoot, slot, shared << 12 | kTableFlags);
		m->guest.write(shared, slot, shared << 12 | kPage);
	}
	for (unsigned slot = 0; slot < 512; slot++) {
		if (slot == 256)
			continue;
		EXPECT_TRUE(works(make_gva(slot, slot, slot, slot), PFEC_WRITE)) << slot;
		EXPECT_LE(tables(), 32u);
	}
	EXPECT_GT(shadow_counters(m->mm)->evictions, 1000u);
}

/* -- flushes -------------------------------------------------------------------------------------- */

TEST_P(ShadowRules, AOnePageFlushDropsThePageAndKeepsATruePath)
{
	map(kRoot, kHigh, 5);
	map(kRoot, kHigh + 0x1000, 6);
	EXPECT_TRUE(works(kHigh));
	u64 before = tables();

	map(kRoot, kHigh, 7);
	m->flush_page(kRoot, kHigh);
	EXPECT_FALSE(shadow(kHigh).present);
	EXPECT_TRUE(shadow(kHigh + 0x1000).present);
	EXPECT_EQ(tables(), before);
}

TEST_P(ShadowRules, AOnePageFlushDropsLinksThatAreNotTrueAnyMore)
{
	/* As pmd_free_pte_page() does: the link goes, one page is flushed. */
	for (unsigned level = 2; level <= 4; level++) {
		for (u64 gva : {kLow, kHigh}) {
			map(kRoot, gva, 5);
			EXPECT_TRUE(works(gva));
			u64 before = tables(), flushes = m->tlb_flushes;

			set(kRoot, gva, level, 0);
			m->flush_page(kRoot, gva + 0x1000);
			EXPECT_FALSE(shadow(gva).present) << level;
			EXPECT_EQ(tables(), before - (level - 1));
			EXPECT_EQ(m->tlb_flushes, flushes + 1);
		}
	}
	/* So does a link that lost U, or A (it must be set anew). */
	for (u64 bit : {kU, kA}) {
		map(kRoot, kLow, 5);
		EXPECT_TRUE(works(kLow));
		set(kRoot, kLow, 2, get(kRoot, kLow, 2) & ~bit);
		m->flush_page(kRoot, kLow + 0x1000);
		EXPECT_FALSE(shadow(kLow).present);
		set(kRoot, kLow, 2, get(kRoot, kLow, 2) | bit);
	}
}

TEST_P(ShadowRules, ADroppedLinkIsFlushedThoughItsTableLivesOn)
{
	map(kRoot, kHigh, 5);
	m->guest.write(kOtherRoot, 511, m->guest.read(kRoot, 511));
	EXPECT_TRUE(works(kHigh));
	EXPECT_TRUE(m->load_root(1, kOtherRoot, false));
	EXPECT_TRUE(works(kHigh, 0, 1));
	u64 before = tables(), flushes = m->tlb_flushes;

	m->guest.write(kRoot, 511, 0);
	m->flush_page(kRoot, kHigh + 0x5000);
	EXPECT_EQ(tables(), before);
	EXPECT_FALSE(shadow(kHigh, false, 0).present);
	EXPECT_TRUE(shadow(kHigh, false, 1).present);
	EXPECT_EQ(m->tlb_flushes, flushes + 1);
}

TEST_P(ShadowRules, ARangeDropsWhatItCoversAndNoMore)
{
	for (u64 base : {u64(0x200000), kHigh}) {
		for (u64 i = 0; i < 5; i++)
			for (u64 page : {0ull, 511ull})
				map(kRoot, base + i * 0x200000 + page * 4096, 5 + i);
		for (u64 i = 0; i < 5; i++)
			EXPECT_TRUE(works(base + i * 0x200000));
		u64 before = tables();

		m->flush_range(kRoot, base + 511 * 4096, base + 3 * 0x200000 + 4096);
		EXPECT_TRUE(shadow(base).present);
		EXPECT_FALSE(shadow(base + 511 * 4096).present);
		EXPECT_FALSE(shadow(base + 0x200000).present);
		EXPECT_FALSE(shadow(base + 3 * 0x200000).present);
		EXPECT_TRUE(shadow(base + 3 * 0x200000 + 511 * 4096).present);
		EXPECT_TRUE(shadow(base + 4 * 0x200000).present);
		EXPECT_EQ(tables(), before - 2) << "covered tables are freed";
	}
	m->flush_range(kRoot, 0, 0x800000000000);
	m->flush_range(kRoot, kHigh, 0);
	EXPECT_EQ(tables(), 1u);
}

TEST_P(ShadowRules, FlushingTheLowerHalfLeavesTheUpperAndOtherRoots)
{
	map(kRoot, kLow, 5);
	map(kRoot, kHigh, 6);
	map(kOtherRoot, kLow, 7);
	EXPECT_TRUE(works(kLow) && works(kHigh));
	EXPECT_TRUE(m->load_root(1, kOtherRoot, false));
	EXPECT_TRUE(works(kLow, 0, 1));
	u64 flushes = m->tlb_flushes, built = tables();

	m->flush_lower_half(kRoot);
	EXPECT_FALSE(shadow(kLow).present);
	EXPECT_TRUE(shadow(kHigh).present);
	EXPECT_TRUE(shadow(kLow, false, 1).present);
	EXPECT_EQ(tables(), built - 3);
	EXPECT_EQ(m->tlb_flushes, flushes + 1) << "one flush for three tables";
	m->flush_all();
	EXPECT_EQ(tables(), 2u) << "the held roots";
	EXPECT_FALSE(shadow(kHigh).present || shadow(kLow, false, 1).present);
}

TEST_P(ShadowRules, AnIdleRootIsComparedWhenItIsLoaded)
{
	map(kRoot, kHigh, 5);
	EXPECT_TRUE(works(kHigh));
	EXPECT_TRUE(m->load_root(0, kOtherRoot, false));
	u64 before = tables();

	m->guest.write(kRoot, 511, 0);
	m->flush_page(kOtherRoot, kHigh + 0x1000);
	EXPECT_TRUE(m->load_root(0, kRoot, false));
	EXPECT_EQ(tables(), before - 3);
}

TEST_P(ShadowRules, AFlushReachesTablesOfIdleRoots)
{
	map(kRoot, kHigh, 5);
	EXPECT_TRUE(works(kHigh));
	EXPECT_TRUE(m->load_root(0, kOtherRoot, false));
	map(kRoot, kHigh, 6);
	m->flush_page(kOtherRoot, kHigh);
	EXPECT_TRUE(m->load_root(0, kRoot, false));
	EXPECT_FALSE(shadow(kHigh).present);
}

TEST_P(ShadowRules, AReleasedIdleRootGivesItsTablesBack)
{
	map(kRoot, kLow, 5);
	EXPECT_TRUE(works(kLow));
	shadow_release_table(m->mm, kRoot << 12);
	EXPECT_EQ(tables(), 4u) << "still held";
	EXPECT_TRUE(m->load_root(0, kOtherRoot, false));
	shadow_release_table(m->mm, kRoot << 12);
	EXPECT_EQ(tables(), 1u);
}

/* -- the host takes things away ------------------------------------------------------------------------ */

TEST_P(ShadowRules, TakenFramesAreGoneEverywhere)
{
	map(kRoot, kLow, 5);
	map(kRoot, kLow + 0x1000, 5);
	map(kRoot, kHigh, 5);
	EXPECT_TRUE(works(kLow) && works(kLow + 0x1000, PFEC_WRITE) && works(kHigh));
	m->take_frame(5, false);
	EXPECT_FALSE(shadow(kLow).present || shadow(kLow + 0x1000).present || shadow(kHigh).present);
	EXPECT_TRUE(works(kLow, PFEC_WRITE)) << "comes back on demand";
}

TEST_P(ShadowRules, ALeafReplacedInAFaultIsFlushed)
{
	/* vCPU 1 has the old page in its TLB; vCPU 0 faults the new one in.  The host
	 * then takes the old page: the reverse map does not know of it any more. */
	map(kRoot, kLow, 5, kPage & ~kW);
	EXPECT_TRUE(works(kLow));
	EXPECT_TRUE(m->load_root(1, kRoot, false));
	EXPECT_TRUE(works(kLow, 0, 1));
	map(kRoot, kLow, 6);
	u64 flushes = m->tlb_flushes;

	EXPECT_TRUE(works(kLow, PFEC_WRITE));
	EXPECT_EQ(m->tlb_flushes, flushes + 1);
	m->take_frame(5, false);
	/* A right more is no reason to flush. */
	map(kRoot, kLow + 0x1000, 7, kPage & ~kW);
	EXPECT_TRUE(works(kLow + 0x1000));
	map(kRoot, kLow + 0x1000, 7);
	flushes = m->tlb_flushes;
	EXPECT_TRUE(works(kLow + 0x1000, PFEC_WRITE));
	EXPECT_EQ(m->tlb_flushes, flushes);
	/* A right less is. */
	map(kRoot, kLow + 0x1000, 7, kPage | kNX);
	m->flush_page(kRoot, kLow + 0x1000);
	EXPECT_TRUE(works(kLow + 0x1000, PFEC_WRITE | PFEC_USER));
	map(kRoot, kLow + 0x1000, 7, kPage & ~kW);
	flushes = m->tlb_flushes;
	EXPECT_TRUE(works(kLow + 0x1000, PFEC_FETCH | PFEC_USER));
	EXPECT_EQ(m->tlb_flushes, flushes + 1);
}

TEST_P(ShadowRules, TheBudgetEvictsTheLeastRecentlyUsed)
{
	Config c;

	c.max_tables = 64;
	start(c);
	for (u64 i = 0; i < 200; i++) {
		map(kRoot, i << 21, 1 + i % 8);
		EXPECT_TRUE(works(i << 21));
		EXPECT_LE(tables(), 64u);
	}
	EXPECT_TRUE(shadow(199ull << 21).present);
	EXPECT_FALSE(shadow(0).present);
	EXPECT_EQ(shadow_shrink(m->mm, 10), 10u);
	EXPECT_TRUE(shadow(199ull << 21).present);
	EXPECT_GT(shadow_shrink(m->mm, 1000), 10u);
	EXPECT_EQ(tables(), 1u) << "the held root stays";
	EXPECT_TRUE(works(0));
}

TEST_P(ShadowRules, ABudgetFullOfHeldRootsIsAnError)
{
	Config c;

	c.max_tables = 8;
	c.vcpus = 9;
	start(c);
	for (unsigned v = 0; v < 8; v++)
		EXPECT_TRUE(m->load_root(v, 1 + v, false));
	EXPECT_FALSE(m->load_root(8, 9, false));
	map(kRoot, kLow, 10);
	EXPECT_EQ(shadow_fault(m->mm, kRoot << 12, kLow, 0).outcome, SHADOW_BAD_FRAME);
}

TEST_P(ShadowRules, VariantsOfAnUpperTableAreBounded)
{
	Config c;

	c.max_tables = 2000;
	start(c);
	for (u64 i = 0; i < 100; i++) {
		u64 root = 1000 + i;

		map(root, kHigh, 5);
		EXPECT_TRUE(m->load_root(0, root, false));
		EXPECT_TRUE(works(kHigh));
	}
	EXPECT_LE(tables(), 100 + 3 * 64u);
	m->flush_page(1000, kHigh);
	EXPECT_TRUE(works(kHigh));
}

/* -- host windows ------------------------------------------------------------------------------------ */

TEST_P(ShadowRules, AHostWindowIsEnteredOnlyOnRequest)
{
	Config c;

	c.windows = {{kHigh + 0x3000, kHigh + 0x4000}, {0xfffffffffffff000, 0}};
	start(c);
	for (u64 i = 0; i < 8; i++)
		map(kRoot, kHigh + i * 4096, 5);
	map(kRoot, 0xfffffffffffff000, 6);
	map(kRoot, 0xffffffffffffe000, 6);
	EXPECT_TRUE(works(kHigh));
	EXPECT_TRUE(shadow(kHigh + 0x4000).present);
	EXPECT_FALSE(shadow(kHigh + 0x3000).present);
	EXPECT_TRUE(works(0xffffffffffffe000));
	EXPECT_FALSE(shadow(0xfffffffffffff000).present);
	EXPECT_FALSE(shadow_needs_pge_off(m->mm));
	u64 flushes = m->tlb_flushes;

	EXPECT_TRUE(works(kHigh + 0x3000));
	EXPECT_TRUE(shadow_needs_pge_off(m->mm));
	EXPECT_EQ(m->tlb_flushes, flushes + 1);
	EXPECT_TRUE(works(0xfffffffffffff000));
	EXPECT_EQ(m->tlb_flushes, flushes + 1) << "said once";
}

/* -- translation for the host's own use ----------------------------------------------------------------- */

TEST_P(ShadowRules, TranslateReadsTheGuestsTables)
{
	u64 gpa = 0;

	map(kRoot, kLow, 5, kP | kA);
	EXPECT_EQ(shadow_translate(m->mm, kRoot << 12, kLow + 0x123, 0, &gpa).outcome, SHADOW_DONE);
	EXPECT_EQ(gpa, 0x5123u);
	EXPECT_EQ(shadow_translate(m->mm, kRoot << 12, kLow, PFEC_WRITE, &gpa).error_code,
		  PFEC_WRITE | PFEC_PRESENT);
	EXPECT_EQ(shadow_translate(m->mm, kRoot << 12, kLow, PFEC_USER, &gpa).outcome, SHADOW_INJECT);
	EXPECT_EQ(shadow_translate(m->mm, 99999ull << 12, kLow, 0, &gpa).outcome, SHADOW_BAD_FRAME);
	EXPECT_EQ(tables(), 0u);
}

/* -- compile time -------------------------------------------------------------------------------------------- */


namespace
{

template <class A, class B>
concept mixes = requires(A a, B b) { a == b; } || requires(A a, B b) { a = b; };

static_assert(!mixes<shadow::Gva, shadow::Gpa> && !mixes<shadow::Gpa, shadow::Hpa>);
static_assert(!mixes<shadow::Gfn, shadow::Pfn> && !mixes<shadow::Gfn, shadow::Gpa>);
static_assert(!mixes<shadow::GuestEntry, shadow::ShadowEntry> && !mixes<shadow::Gva, __u64>);
static_assert(mixes<shadow::Gva, shadow::Gva>);

using shadow::GuestEntry;
using shadow::kAllRights;

static_assert(GuestEntry(kP | kW).narrow(kAllRights).write);
static_assert(!GuestEntry(kP).narrow(kAllRights).write);
static_assert(!GuestEntry(kP | kNX).narrow(kAllRights).execute);
static_assert(!GuestEntry(kP | kW).narrow({false, true}).write);
static_assert(GuestEntry(0).with(kA).raw == kA);
static_assert(shadow::entry_address(shadow::Gfn(3), 511) == shadow::Gpa(0x3ff8));
static_assert(shadow::slot_base(shadow::Gva(0), 4, 255) == shadow::Gva(0x7f8000000000));
static_assert(sizeof(shadow::Table) <= 192);

} // namespace
