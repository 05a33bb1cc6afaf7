/* SPDX-License-Identifier: GPL-2.0-only */
/* Operations for a Machine (shadow_script.hpp). */
#include "shadow_script.hpp"

#include <cstdio>

namespace shadow_test
{

namespace
{

/* Few slots, so that operations meet; both sides of every border. */
constexpr unsigned kSlots4[] = {0, 0, 1, 255, 256, 257, 510, 511};
constexpr unsigned kSlots[] = {0, 1, 2, 31, 32, 64, 510, 511};

constexpr u64 kFrames = 48;
constexpr u64 kTables = 12;	/* 1..3 roots, 4..6 of level 3, 7..9 of 2, 10..12 of 1; mostly */
constexpr u64 kHoleFrame = 40, kReadOnlyFrame = 41;

class Script
{
public:
	explicit Script(const ScriptOptions &o) : options(o), m(config(o))
	{
		m.host[kHoleFrame].slot = HostFrame::Hole;
		m.host[kReadOnlyFrame].slot = HostFrame::ReadOnly;
		/* Something to start from: a path in either half. */
		for (u64 table = 1; table <= kTables; table++)
			for (unsigned i = 0; i < 8; i++) {
				unsigned level = 4 - static_cast<unsigned>(table - 1) / 3;

				m.guest.write(table, level == 4 ? kSlots4[i] : kSlots[i],
					      sane_target(level, table + i) << 12 | kAll | kD);
			}
		for (unsigned v = 0; v < m.vcpus.size(); v++)
			m.load_root(v, 1 + v % 3, true);
	}

	std::string run(const Operation *operations, std::size_t count)
	{
		for (std::size_t i = 0; i < count && m.ok(); i++) {
			const Operation &o = operations[i];

			m.coin = o.x | 1;
			if (options.trace)
				std::fprintf(stderr, "%4zu: ", i);
			step(o);
			if (m.reserve < SHADOW_PAGES_PER_CALL && o.a % 4)
				m.reserve = 64;
			if (i % options.check_every == 0)
				check_all();
			if (!m.ok())
				return "operation " + std::to_string(i) + ": " + m.failure;
		}
		check_all();
		return m.failure;
	}

	void add_to(ScriptFigures &f) const
	{
		f.touches += figures.touches;
		f.worked += figures.worked;
		f.injected += figures.injected;
		f.stopped += figures.stopped;
		f.calls += figures.calls;
		f.fills += shadow_counters(m.mm)->fills;
		f.evictions += shadow_counters(m.mm)->evictions;
		f.tlb_flushes += m.tlb_flushes;
	}

private:
	static constexpr u64 kAll = kP | kW | kU | kA;

	static Config config(const ScriptOptions &o)
	{
		Config c;

		c.host_levels = o.host_levels;
		c.frames = kFrames;
		c.max_tables = o.max_tables;
		if (o.windows)
			c.windows = {{0xffffff8000000000, 0xffffff8000003000},
				     {make_gva(511, 511, 511, 32), 0}};
		return c;
	}

	/* What an entry of a table of this level points to in a sane guest. */
	static u64 sane_target(unsigned level, u64 n)
	{
		return level > 1 ? 16 - 3 * level + n % 3 : 13 + n % 27;
	}

	static u64 gva_of(u32 x)
	{
		return make_gva(kSlots4[x & 7], kSlots[x >> 3 & 7], kSlots[x >> 6 & 7],
				kSlots[x >> 9 & 7]);
	}

	/* Any entry a guest might write, sane ones more often. */
	u64 entry_of(const Operation &o)
	{
		u64 target = 1 + (o.b & 15 ? o.x >> 12 & 15 : o.x >> 12 & 63);
		u64 flags = kAll;

		if (o.c & 1)
			flags |= kD;
		if ((o.c & 0x0e) == 0x0e)
			flags &= ~kA;
		if ((o.c & 0x30) == 0x30)
			flags &= ~kW;
		if ((o.c & 0xc0) == 0xc0)
			flags |= kNX;
		switch (o.b >> 4) {
		case 0:
			return 0;
		case 1:
			return (target << 12 | flags) & ~kP;	/* junk, not present */
		case 2:
			return target << 12 | (flags & ~kU);
		case 3:		/* large: 2 MiB, 1 GiB at 0, or beyond memory */
			return (o.x >> 20 & 1) << 21 | flags | kPS;
		case 4:
			return (o.x & 0xff) << 12 | flags | kPS;	/* perhaps reserved bits */
		case 5:
			return (u64(o.x) << 20 & kAddress) | flags;	/* far away */
		case 6:
			return ~0ull;
		case 7:
			return kHoleFrame << 12 | flags;
		case 8:
			return kReadOnlyFrame << 12 | flags;
		case 9:
			return flags | kPS | (o.x & 1 ? 0x1000 : 0);
		default:
			return target << 12 | flags;
		}
	}

	void write(u64 table, unsigned slot, u64 value)
	{
		if (m.host[table].slot == HostFrame::Ram)
			m.guest.write(table, slot, value);
	}

	/* What a guest's #PF handler does: make the access possible, often without a flush. */
	void repair(u64 root, u64 gva, u32 access, const Operation &o)
	{
		u64 table = root;

		for (unsigned level = 4; level && table < kFrames; level--) {
			unsigned slot = slot_of(gva, level);
			u64 e = m.guest.read(table, slot);
			u64 target = (e & kAddress) >> 12;

			if (!(e & kP) || reserved(e, level) || target >= kFrames)
				e = sane_target(level, o.x >> 12) << 12 | kAll | (o.c & 1 ? kD : 0) |
				    (level == 1 && o.c & 2 ? kNX : 0);
			if (access & PFEC_WRITE)
				e |= kW;
			if ((access & PFEC_USER) || !upper(gva))
				e |= kU;
			if (access & PFEC_FETCH)
				e &= ~kNX;
			write(table, slot, e);
			if (leaf(e, level))
				break;
			table = (e & kAddress) >> 12;
		}
	}

	/* Change an entry on the path to gva: what guests really do. */
	void edit_path(u64 root, u64 gva, const Operation &o)
	{
		u64 table = root;
		unsigned stop = 1 + (o.a >> 4) % 4, level = 4;

		for (; level > stop; level--) {
			u64 e = m.guest.read(table, slot_of(gva, level));

			if (!(e & kP) || leaf(e, level) || ((e & kAddress) >> 12) >= kFrames)
				break;
			table = (e & kAddress) >> 12;
		}
		unsigned slot = slot_of(gva, level);
		u64 e = m.guest.read(table, slot);

		switch (o.c % 8) {
		case 0: e ^= kW; break;
		case 1: e ^= kNX; break;
		case 2: e &= ~kA; break;
		case 3: e &= ~kD; break;
		case 4: e ^= kP; break;
		case 5: e ^= 1ull << (12 + o.b % 5); break;
		case 6: e = entry_of(o); break;
		case 7: e |= kAll | kD; break;
		}
		write(table, slot, e);
		if (options.trace)
			std::fprintf(stderr, "entry %#llx[%u] level %u = %#llx\n", (unsigned long long)table,
				     slot, level, (unsigned long long)e);
	}

	void step(const Operation &o)
	{
		unsigned v = o.a % m.vcpus.size();
		u64 gva = gva_of(o.x);
		u64 root = m.vcpus[v].running ? m.vcpus[v].root : 1;

		if (o.kind < 128) {
			/* A hostile root does not stay for long. */
			if ((!m.vcpus[v].running || (m.vcpus[v].root > 3 && o.c % 8 == 0)) &&
			    !m.load_root(v, 1 + o.b % 3, true)) {
				trace("touch: no root");
				return;
			}
			touch(v, gva, o);
		} else if (o.kind < 180) {
			trace_at("edit path", root, gva);
			edit_path(root, gva, o);
			if (o.b & 1)	/* as a well-behaved guest does */
				m.flush_page(root, gva);
		} else if (o.kind < 200) {
			u64 table = 1 + o.a % kTables;
			unsigned slot = o.c & 1 ? kSlots4[o.x & 7] : kSlots[o.x & 7];
			u64 e = entry_of(o);

			trace_at("write", table, e);
			write(table, slot, e);
		} else if (o.kind < 215) {
			trace_at("flush page", root, gva);
			m.flush_page(o.b & 3 ? root : 1 + o.c % 3, gva);
		} else if (o.kind < 220) {
			u64 end = o.b & 1 ? gva + (u64(o.c) << (12 + o.b % 24)) : gva_of(o.x >> 12);

			trace_at("flush range", gva, end);
			m.flush_range(root, gva, end);
		} else if (o.kind < 224) {
			trace("flush lower half");
			m.flush_lower_half(root);
		} else if (o.kind < 226) {
			trace("flush all");
			m.flush_all();
		} else if (o.kind < 236) {
			trace("load root");
			m.load_root(v, 1 + o.b % (o.c % 16 ? 3 : kFrames + 4), o.c & 16);
		} else if (o.kind < 244) {
			trace("take frame");
			m.take_frame(o.x % kFrames, o.b & 1);
		} else if (o.kind < 246) {
			trace("shrink");
			shadow_shrink(m.mm, o.b % 8);
		} else if (o.kind < 248) {
			trace("release");
			shadow_release_table(m.mm, (1 + o.x % kTables) << 12);
		} else if (o.kind < 251) {
			trace("translate");
			translate(root, gva, o);
		} else if (o.kind < 253) {
			trace("few pages");
			m.reserve = o.b % SHADOW_PAGES_PER_CALL;
		} else {
			trace("stop");
			if (m.vcpus[v].running)
				shadow_put_roots(m.mm, root << 12);
			m.vcpus[v].running = false;
		}
	}

	void touch(unsigned v, u64 gva, const Operation &o)
	{
		static const u32 accesses[] = {0, PFEC_WRITE, PFEC_USER, PFEC_USER | PFEC_WRITE,
					       PFEC_USER, PFEC_FETCH, PFEC_USER | PFEC_FETCH,
					       PFEC_WRITE};
		u32 access = accesses[o.b % 8];

		trace_at("touch", m.vcpus[v].root, gva);
		if (o.b >= 240)	/* another vCPU of the guest writes while we do */
			m.before_cmpxchg = [this, o](u64 gfn, unsigned slot) {
				if (m.random() % 4 || m.disturbed)
					return;
				m.disturbed = true;
				m.guest.write(gfn, slot, entry_of(o));
			};
		m.deny_pages = o.c >= 240 ? 3 : 0;

		Machine::Touched t = m.touch(v, gva, access);

		if (t.how != Machine::Touched::Worked && o.a % 8 && m.ok()) {
			repair(m.vcpus[v].root, gva, access, o);
			if (t.how == Machine::Touched::Stopped)
				m.flush_page(m.vcpus[v].root, gva);
			t = m.touch(v, gva, access);
		}

		figures.touches++;
		figures.calls += t.calls;
		figures.worked += t.how == Machine::Touched::Worked;
		figures.injected += t.how == Machine::Touched::Injected;
		figures.stopped += t.how == Machine::Touched::Stopped;

		if (options.trace)
			std::fprintf(stderr, "      access %#x: %s, error %#x, %u calls\n", access,
				     t.how == Machine::Touched::Worked ? "worked" :
				     t.how == Machine::Touched::Injected ? "injected" : "stopped",
				     t.error_code, t.calls);
		m.before_cmpxchg = nullptr;
		m.deny_pages = 0;
	}

	void translate(u64 root, u64 gva, const Operation &o)
	{
		u64 gpa = 0;
		u32 access = o.b & (PFEC_WRITE | PFEC_USER);
		shadow_result r = shadow_translate(m.mm, root << 12, gva + 5, access, &gpa);
		GuestView g = m.guest.walk(root, gva);

		if (r.outcome != SHADOW_DONE)
			return;
		if (g.kind != GuestView::Mapped || gpa != (g.gfn << 12) + 5 ||
		    ((access & PFEC_WRITE) && !g.write) || ((access & PFEC_USER) && !g.user))
			m.fail("shadow_translate is wrong");
	}

	void check_all()
	{
		std::vector<u64> addresses;

		m.check_promise();
		if (options.check_every > 1) {
			for (unsigned i = 0; i < 16; i++)
				addresses.push_back(gva_of(m.random()));
		} else {
			for (u32 x = 0; x < 4096; x++)
				addresses.push_back(gva_of(x));
		}
		m.check_roots(addresses);
	}

	void trace(const char *what)
	{
		if (options.trace)
			std::fprintf(stderr, "%s\n", what);
	}

	void trace_at(const char *what, u64 a, u64 b)
	{
		if (options.trace)
			std::fprintf(stderr, "%s %#llx %#llx\n", what, (unsigned long long)a,
				     (unsigned long long)b);
	}

	ScriptOptions options;
	ScriptFigures figures{};
	Machine m;
};

} // namespace

std::string run_script(const Operation *operations, std::size_t count,
		       const ScriptOptions &options, ScriptFigures *figures)
{
	Script script(options);
	std::string failure = script.run(operations, count);

	if (figures)
		script.add_to(*figures);
	return failure;
}

} // namespace shadow_test
