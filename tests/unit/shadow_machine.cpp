/* SPDX-License-Identifier: GPL-2.0-only */
/* A host and its processors for shadow-mm (shadow_machine.hpp). */
#include "shadow_machine.hpp"

#include <cstdio>
#include <cstring>

namespace shadow_test
{

namespace
{

constexpr u64 kFirstPage = 0x7000000;	/* host frame number of the first shadow page */
constexpr u64 kFirstPfn = 0x100000;
constexpr u64 kPoison = 0xdeadbeefdeadb001;	/* present, and points nowhere */
constexpr u64 kHalfGva = 1ull << 47;

std::string hex(u64 v)
{
	char text[32];

	std::snprintf(text, sizeof text, "%#llx", static_cast<unsigned long long>(v));
	return text;
}

} // namespace

Machine::Machine(const Config &c)
	: guest(c.frames), host(c.frames), vcpus(c.vcpus), config(c)
{
	shadow_config sc{};

	sc.env = this;
	sc.host_levels = c.host_levels;
	sc.hypervisor_entry = kHypervisorEntry;
	sc.encryption_mask = c.encryption_mask;
	sc.frames = c.frames;
	sc.max_tables = c.max_tables;
	sc.windows = config.windows.data();
	sc.window_count = static_cast<unsigned>(config.windows.size());
	memory.resize(shadow_size(&sc) / 8 + 8);
	mm = shadow_create(reinterpret_cast<void *>((reinterpret_cast<u64>(memory.data()) + 63) & ~63ull),
			   &sc);
}

Machine::~Machine()
{
	for (Vcpu &v : vcpus)
		v.running = false;
	shadow_destroy(mm);
	if (pages_out)
		std::abort();
}

void Machine::fail(const std::string &what)
{
	if (failure.empty())
		failure = what;
}

u32 Machine::random()
{
	coin ^= coin << 13;
	coin ^= coin >> 17;
	coin ^= coin << 5;
	return coin;
}

/* -- the environment ------------------------------------------------------------------ */

int Machine::alloc(shadow_page *page)
{
	if (!reserve || (deny_pages && random() % deny_pages == 0))
		return 0;
	reserve--;
	if (free_pages.empty()) {
		pages.push_back(std::make_unique<Page>());
		in_use.push_back(false);
		free_pages.push_back(static_cast<u32>(pages.size() - 1));
	}

	/* Last freed, first reused: what is stale shows soonest. */
	u32 i = free_pages.back();

	free_pages.pop_back();
	in_use[i] = true;
	pages[i]->entries.fill(0);
	page->va = pages[i]->entries.data();
	page->pa = (kFirstPage + i) << 12;
	pages_out++;
	return 1;
}

void Machine::free(shadow_page page)
{
	u64 i = (page.pa >> 12) - kFirstPage;

	if (i >= pages.size() || !in_use[i] || page.va != pages[i]->entries.data()) {
		fail("freed a page that is not out: " + hex(page.pa));
		return;
	}
	for (Vcpu &v : vcpus) {
		if (v.running && (v.shadow.kernel_view == page.pa || v.shadow.user_view == page.pa))
			fail("freed a loaded top table " + hex(page.pa));
		for (auto &level : v.structures)
			for (CachedTable &s : level)
				if (s.top && (s.table == page.pa || s.top == page.pa))
					fail("freed a page that a structure cache still uses: " + hex(page.pa));
		for (Cached &e : v.tlb)
			if (e.top == page.pa)
				fail("freed a top table with TLB entries: " + hex(page.pa));
	}
	pages[i]->entries.fill(kPoison);
	in_use[i] = false;
	free_pages.push_back(static_cast<u32>(i));
	pages_out--;
}

shadow_env_status Machine::read(u64 gpa, u64 *entries, unsigned count)
{
	u64 gfn = gpa >> 12;
	unsigned slot = gpa / 8 % 512;

	if (gpa % 8 || slot + count > 512)
		fail("read across a page: " + hex(gpa));
	if (gfn >= host.size() || host[gfn].slot == HostFrame::Hole)
		return SHADOW_ENV_OUTSIDE;
	if (!host[gfn].resident)
		return SHADOW_ENV_ABSENT;
	for (unsigned i = 0; i < count; i++)
		entries[i] = guest.read(gfn, slot + i);
	return SHADOW_ENV_OK;
}

shadow_env_status Machine::cmpxchg(u64 gpa, u64 old_value, u64 new_value)
{
	u64 gfn = gpa >> 12;
	unsigned slot = gpa / 8 % 512;

	if (gfn >= host.size() || host[gfn].slot == HostFrame::Hole)
		return SHADOW_ENV_OUTSIDE;
	if (host[gfn].slot == HostFrame::ReadOnly)
		return SHADOW_ENV_READONLY;
	if (!host[gfn].resident || !host[gfn].writable)
		return SHADOW_ENV_ABSENT;
	if (before_cmpxchg)
		before_cmpxchg(gfn, slot);
	if (old_value & ~new_value || (new_value & ~old_value & ~(kA | kD)))
		fail("changed more than A and D at " + hex(gpa));
	if (guest.read(gfn, slot) != old_value)
		return SHADOW_ENV_CHANGED;
	guest.write(gfn, slot, new_value);
	return SHADOW_ENV_OK;
}

shadow_env_status Machine::frame(u64 gfn, int write, u64 *pfn)
{
	host_frames_asked++;
	if (gfn >= host.size() || host[gfn].slot == HostFrame::Hole)
		return SHADOW_ENV_OUTSIDE;
	if (write && host[gfn].slot == HostFrame::ReadOnly)
		return SHADOW_ENV_READONLY;
	if (!host[gfn].resident || (write && !host[gfn].writable))
		return SHADOW_ENV_ABSENT;
	*pfn = host[gfn].pfn;
	return SHADOW_ENV_OK;
}

void Machine::flush_tlb()
{
	tlb_flushes++;
	for (Vcpu &v : vcpus) {
		v.tlb.fill({});
		v.structures.fill({});
	}
}

/* -- hardware -------------------------------------------------------------------------- */

const u64 *Machine::page_at(u64 pa) const
{
	u64 i = (pa >> 12) - kFirstPage;

	return i < pages.size() && in_use[i] ? pages[i]->entries.data() : nullptr;
}

Translation Machine::walk_from(u64 top, u64 table, unsigned level, u64 gva, bool execute, Vcpu *fill)
{
	Translation t;

	t.write = true;
	for (;; level--) {
		const u64 *entries = page_at(table);

		if (!entries) {
			fail("hardware walks a page that is not a table: " + hex(table));
			return {};
		}

		u64 e = entries[slot_of(gva, level)];

		if (!(e & kP)) {
			if (e)
				fail("a non-present shadow entry is not zero");
			return {};
		}
		if (!(e & kU))
			return {};	/* the hypervisor's */
		if (!(e & kA))
			fail("a present shadow entry lacks A");
		if ((e & config.encryption_mask) != config.encryption_mask)
			fail("a shadow entry lacks the encryption mask");
		e &= ~config.encryption_mask;
		t.write = t.write && (e & kW);
		execute = execute && !(e & kNX);
		table = e & kAddress;
		if (level == 1) {
			t.present = true;
			t.pfn = table >> 12;
			t.execute = execute;
			if (t.write && !(e & kD))
				fail("a writable leaf lacks D: hardware would write to the table");
			return t;
		}
		if (e & kPS)
			fail("a large shadow entry");
		if (fill) {
			u64 prefix = gva >> (12 + 9 * (level - 1));

			fill->structures[level - 1][(prefix ^ top >> 12) % 16] = {top, prefix, table, execute};
		}
	}
}

Translation Machine::walk_shadow(u64 top, u64 gva, bool)
{
	return walk_from(top, top, config.host_levels, gva, true, nullptr);
}

/* As hardware is free to: from the TLB, from any cached table, or from the top. */
Translation Machine::hardware(Vcpu &v, u64 gva, bool user_view)
{
	u64 top = user_view ? v.shadow.user_view : v.shadow.kernel_view;
	Cached &cached = v.tlb[(gva >> 12 ^ gva >> 21 ^ gva >> 30 ^ gva >> 39 ^ top >> 12) % v.tlb.size()];

	if (cached.top == top && cached.page == gva >> 12)
		return cached.t;

	Translation t;
	unsigned level = 1 + random() % config.host_levels;
	u64 prefix = gva >> (12 + 9 * level);
	CachedTable &s = v.structures[level][(prefix ^ top >> 12) % 16];

	if (level < config.host_levels && s.top == top && s.prefix == prefix)
		t = walk_from(top, s.table, level, gva, s.execute, &v);
	else
		t = walk_from(top, top, config.host_levels, gva, true, &v);
	if (t.present)
		cached = {top, gva >> 12, t};
	return t;
}

bool Machine::legal(u64 root, u64 gva, bool user_view, const Translation &t, const char *where)
{
	if (!t.present)
		return true;

	u64 i = t.pfn - kFirstPfn;
	u64 gfn = i < gfn_of_pfn.size() ? gfn_of_pfn[i] : 0;
	std::string what;

	if (!gfn)
		what = "maps a host frame that was taken away";
	else if (t.write && !host[gfn - 1].writable)
		what = "may write a host frame that is write-protected";
	else if (upper(gva) && user_view)
		what = "user view reaches the upper half";
	else if (t.execute && !upper(gva) && !user_view)
		what = "kernel view executes the lower half";
	else if (!guest.gave(root, gva, gfn - 1, t.write, t.execute))
		what = "is a translation the guest's tables did not give since the last flush";
	for (const shadow_window &w : config.windows)
		if (gva <= w.end - 1 && gva + 4095 >= w.start && !shadow_needs_pge_off(mm))
			what = "lies in a host window";
	if (what.empty())
		return true;
	fail(std::string(where) + ": root " + hex(root) + " gva " + hex(gva) + " -> gfn " +
	     hex(gfn - 1) + (t.write ? " W" : "") + (t.execute ? " X" : "") + ": " + what);
	return false;
}

/* -- what the guest does --------------------------------------------------------------- */

bool Machine::load_root(unsigned vcpu, u64 root, bool flush)
{
	Vcpu &v = vcpus[vcpu];

	if (v.running)
		shadow_put_roots(mm, v.root << 12);
	v.running = false;
	for (unsigned call = 0; call < 100; call++) {
		shadow_result r = shadow_get_roots(mm, root << 12, &v.shadow);

		switch (r.outcome) {
		case SHADOW_DONE:
			v.running = true;
			v.root = root;
			guest.add_root(root);
			tops.push_back({v.shadow.kernel_view, root, false});
			tops.push_back({v.shadow.user_view, root, true});
			if (flush)
				flush_lower_half(root);
			return true;
		case SHADOW_NEED_PAGES:
			reserve = SHADOW_PAGES_PER_CALL;
			continue;
		case SHADOW_NEED_FRAME:
			bring_frame(r.gfn, r.write);
			continue;
		default:
			return false;
		}
	}
	fail("shadow_get_roots does not come to an end");
	return false;
}

void Machine::check_injected(u64 root, u64 gva, u32 access, u32 error_code)
{
	GuestView v = guest.walk(root, gva);
	bool fetch_from_user = (access & PFEC_FETCH) && !(access & PFEC_USER) && !upper(gva);
	u32 want = access;

	switch (v.kind) {
	case GuestView::NotPresent:
		break;
	case GuestView::Reserved:
		want |= PFEC_PRESENT | PFEC_RESERVED;
		break;
	case GuestView::TableOutside:
		fail("injected though a table lies outside memory");
		break;
	case GuestView::Mapped:
		want |= PFEC_PRESENT;
		if ((!(access & PFEC_WRITE) || v.write) && (!(access & PFEC_FETCH) || v.execute) &&
		    (!(access & PFEC_USER) || (v.user && !upper(gva))) && !fetch_from_user &&
		    (upper(gva) || v.user))
			fail("injected though the guest's tables allow it: " + hex(gva));
	}
	if (error_code != want)
		fail("error code " + hex(error_code) + ", want " + hex(want));
}

void Machine::check_stopped(u64 root, u64 gva, u32 access, const shadow_result &r)
{
	GuestView v = guest.walk(root, gva);
	bool write = access & PFEC_WRITE;

	if (r.gfn >= host.size() || host[r.gfn].slot == HostFrame::Hole)
		return;
	if (host[r.gfn].slot == HostFrame::ReadOnly && r.write)
		return;		/* written by the guest, or A and D could not be */
	fail("stopped for a good frame " + hex(r.gfn) + (write ? " W" : "") +
	     (v.kind == GuestView::Mapped ? ", mapped" : ""));
}

Machine::Touched Machine::touch(unsigned vcpu, u64 gva, u32 access)
{
	Vcpu &v = vcpus[vcpu];
	bool user = access & PFEC_USER;
	Touched result;

	disturbed = false;
	for (unsigned tries = 0; tries < 60 && ok(); tries++) {
		Translation t = hardware(v, gva, user);

		legal(v.root, gva, user, t, "access");
		if (t.present && (!(access & PFEC_WRITE) || t.write) &&
		    (!(access & PFEC_FETCH) || t.execute)) {
			result.how = Touched::Worked;
			return result;
		}
		/* A fault drops what the processor cached for the address, and no more. */
		for (Cached &e : v.tlb)
			if (e.page == gva >> 12)
				e = {};
		for (unsigned level = 1; level < v.structures.size(); level++)
			for (CachedTable &s : v.structures[level])
				if (s.prefix == gva >> (12 + 9 * level))
					s = {};

		result.calls++;
		if (result.calls > 16 && !disturbed && !deny_pages) {
			fail("a fault is not answered in 16 calls: " + hex(gva));
			return result;
		}
		unsigned had = reserve;
		shadow_result r = shadow_fault(mm, v.root << 12, gva, access);

		if (had > reserve && had - reserve > SHADOW_PAGES_PER_CALL)
			fail("took too many pages in one call");
		switch (r.outcome) {
		case SHADOW_DONE: {
			Translation now = walk_shadow(user ? v.shadow.user_view : v.shadow.kernel_view,
						      gva, user);

			if (!disturbed && !(now.present && (!(access & PFEC_WRITE) || now.write) &&
					    (!(access & PFEC_FETCH) || now.execute)))
				fail("DONE, but hardware still faults at " + hex(gva));
			break;
		}
		case SHADOW_INJECT:
			if (!disturbed)
				check_injected(v.root, gva, access, r.error_code);
			result.how = Touched::Injected;
			result.error_code = r.error_code;
			return result;
		case SHADOW_NEED_PAGES:
			if (reserve >= SHADOW_PAGES_PER_CALL && !deny_pages)
				fail("NEED_PAGES with a full reserve");
			reserve = SHADOW_PAGES_PER_CALL;
			break;
		case SHADOW_NEED_FRAME:
			if (r.gfn >= host.size()) {
				fail("NEED_FRAME beyond memory");
				return result;
			}
			bring_frame(r.gfn, r.write);
			break;
		case SHADOW_BAD_FRAME:
			check_stopped(v.root, gva, access, r);
			result.how = Touched::Stopped;
			return result;
		}
	}
	if (ok() && !disturbed)
		fail("no end of faults at " + hex(gva));
	return result;
}

/* -- flushes ------------------------------------------------------------------------------ */

void Machine::flush_page(u64 root, u64 gva)
{
	shadow_flush_page(mm, root << 12, gva);
	guest.flushed(root, gva & ~0xfffull, gva | 0xfff);
	check_tlbs();
}

void Machine::flush_range(u64 root, u64 start, u64 end)
{
	shadow_flush_range(mm, root << 12, start, end);
	if (start != end && (start & ~0xfffull) <= ((end - 1) | 0xfff))
		guest.flushed(root, start & ~0xfffull, (end - 1) | 0xfff);
	check_tlbs();
}

void Machine::flush_lower_half(u64 root)
{
	shadow_flush_lower_half(mm, root << 12);
	guest.flushed(root, 0, kHalfGva - 1);
	check_tlbs();
}

void Machine::flush_all()
{
	shadow_flush_all(mm);
	guest.flushed(Reference::kAllRoots, 0, ~0ull);
	check_tlbs();
}

void Machine::take_frame(u64 gfn, bool only_write)
{
	HostFrame &f = host[gfn];

	shadow_unmap_frames(mm, gfn, 1);
	f.writable = false;
	if (!only_write && f.resident) {
		f.resident = false;
		gfn_of_pfn[f.pfn - kFirstPfn] = 0;
	}
	check_tlbs();
}

void Machine::bring_frame(u64 gfn, bool write)
{
	HostFrame &f = host[gfn];

	if (f.slot == HostFrame::Hole || (f.resident && (f.writable || !write)))
		return;
	if (f.resident && random() % 2) {
		f.writable = f.slot == HostFrame::Ram;	/* in place */
		return;
	}
	/* A new host frame, as after copy on write or swap. */
	if (f.resident)
		take_frame(gfn, false);
	gfn_of_pfn.push_back(gfn + 1);
	f.pfn = kFirstPfn + gfn_of_pfn.size() - 1;
	f.resident = true;
	f.writable = f.slot == HostFrame::Ram && (write || random() % 4);
}

/* -- checks --------------------------------------------------------------------------------- */

void Machine::check_tlbs()
{
	for (Vcpu &v : vcpus)
		for (Cached &e : v.tlb) {
			if (!e.top)
				continue;
			for (auto top = tops.rbegin(); top != tops.rend(); ++top)
				if (top->pa == e.top) {
					legal(top->root, e.page << 12, top->user, e.t, "TLB");
					break;
				}
		}
}

void Machine::check_roots(const std::vector<u64> &addresses)
{
	for (Vcpu &v : vcpus) {
		if (!v.running)
			continue;
		for (u64 gva : addresses)
			for (bool user : {false, true})
				legal(v.root, gva, user,
				      walk_shadow(user ? v.shadow.user_view : v.shadow.kernel_view, gva, user),
				      "shadow");
	}
}

void Machine::check_promise()
{
	int line = shadow_check(mm);

	if (line)
		fail("shadow_check: check.cpp:" + std::to_string(line));
}

} // namespace shadow_test

/* -- the C services, to the machine ------------------------------------------------------------ */

using shadow_test::Machine;

extern "C" {

int shadow_env_alloc(void *env, struct shadow_page *page)
{
	return static_cast<Machine *>(env)->alloc(page);
}

void shadow_env_free(void *env, struct shadow_page page)
{
	static_cast<Machine *>(env)->free(page);
}

enum shadow_env_status shadow_env_read_entries(void *env, __u64 gpa, __u64 *entries, unsigned int count)
{
	return static_cast<Machine *>(env)->read(gpa, entries, count);
}

enum shadow_env_status shadow_env_cmpxchg_entry(void *env, __u64 gpa, __u64 old_value, __u64 new_value)
{
	return static_cast<Machine *>(env)->cmpxchg(gpa, old_value, new_value);
}

enum shadow_env_status shadow_env_frame(void *env, __u64 gfn, int write, __u64 *pfn)
{
	return static_cast<Machine *>(env)->frame(gfn, write, pfn);
}

void shadow_env_flush_tlb(void *env)
{
	static_cast<Machine *>(env)->flush_tlb();
}

} // extern "C"
