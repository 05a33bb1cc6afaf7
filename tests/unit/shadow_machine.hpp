/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A host and its processors for shadow-mm: the services of shadow_mm.h, and hardware
 * that walks the shadow roots with TLBs and paging-structure caches which forget
 * only when told.  The first thing found wrong is kept in `failure`.
 *
 *   vCPU --(tlb)--(structure cache)--> shadow pages --> host frames
 *     |                                    ^                ^
 *     +-- #PF --> shadow_fault() ----------+   shadow_env_frame(), taken away at will
 */
#ifndef SHADOW_MACHINE_HPP
#define SHADOW_MACHINE_HPP

#include "shadow_mm.h"
#include "shadow_reference.hpp"

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace shadow_test
{

/* A guest frame as the host holds it. */
struct HostFrame {
	enum Slot : u8 { Ram, ReadOnly, Hole } slot = Ram;
	bool resident = false;
	bool writable = false;
	u64 pfn = 0;
};

struct Config {
	unsigned host_levels = 4;
	u64 frames = 48;
	u64 max_tables = 40;
	unsigned vcpus = 2;
	std::vector<shadow_window> windows;
	u64 encryption_mask = 0;
};

constexpr u64 kHypervisorEntry = 0x000123456789a023;	/* supervisor only */

/* What hardware makes of an address, from shadow tables. */
struct Translation {
	bool present = false;
	u64 pfn = 0;
	bool write = false, execute = false;
};

class Machine
{
public:
	explicit Machine(const Config &config);
	~Machine();
	Machine(const Machine &) = delete;
	Machine &operator=(const Machine &) = delete;

	/* -- the guest -- */
	Reference guest;
	std::vector<HostFrame> host;

	/* -- processors -- */
	struct Cached {
		u64 top = 0, page = 0;
		Translation t;
	};
	struct CachedTable {
		u64 top = 0, prefix = 0, table = 0;
		bool execute = true;
	};
	struct Vcpu {
		bool running = false;
		u64 root = 0;
		shadow_roots shadow{};
		std::array<Cached, 64> tlb{};
		std::array<std::array<CachedTable, 16>, 6> structures{};	/* by level */
	};
	std::vector<Vcpu> vcpus;

	/* Load a root; false if that cannot be done (frame outside memory). */
	bool load_root(unsigned vcpu, u64 root, bool flush);
	/* Touch memory until it works, or the guest gets its #PF, or is stopped. */
	struct Touched {
		enum { Worked, Injected, Stopped, Failed } how = Failed;
		u32 error_code = 0;
		unsigned calls = 0;
	};
	Touched touch(unsigned vcpu, u64 gva, u32 access);
	/* Hardware's walk, without any cache. */
	Translation walk_shadow(u64 top, u64 gva, bool user_view);

	/* -- flushes, each checked -- */
	void flush_page(u64 root, u64 gva);
	void flush_range(u64 root, u64 start, u64 end);
	void flush_lower_half(u64 root);
	void flush_all();
	void take_frame(u64 gfn, bool only_write);
	void bring_frame(u64 gfn, bool write);

	/* Everything any TLB or held root can still translate is legal. */
	void check_tlbs();
	void check_roots(const std::vector<u64> &addresses);
	void check_promise();	/* shadow_check() */

	/* -- the environment's knobs and figures -- */
	shadow_mm *mm = nullptr;
	unsigned reserve = 64;		/* pages left for shadow_env_alloc() */
	unsigned deny_pages = 0;	/* 1 in n allocations fails; 0: none */
	std::function<void(u64 gfn, unsigned slot)> before_cmpxchg;
	bool disturbed = false;		/* before_cmpxchg changed something in this touch */
	u64 tlb_flushes = 0, pages_out = 0, host_frames_asked = 0;
	std::string failure;
	u32 coin = 12345;

	void fail(const std::string &what);
	bool ok() const { return failure.empty(); }
	u32 random();

	/* -- shadow_env_* -- */
	int alloc(shadow_page *page);
	void free(shadow_page page);
	shadow_env_status read(u64 gpa, u64 *entries, unsigned count);
	shadow_env_status cmpxchg(u64 gpa, u64 old_value, u64 new_value);
	shadow_env_status frame(u64 gfn, int write, u64 *pfn);
	void flush_tlb();

private:
	struct Page {
		alignas(4096) std::array<u64, 512> entries;
	};

	Translation hardware(Vcpu &v, u64 gva, bool user_view);
	Translation walk_from(u64 top, u64 table, unsigned level, u64 gva, bool execute,
			      Vcpu *fill);
	const u64 *page_at(u64 pa) const;
	bool legal(u64 root, u64 gva, bool user_view, const Translation &t, const char *where);
	void check_injected(u64 root, u64 gva, u32 access, u32 error_code);
	void check_stopped(u64 root, u64 gva, u32 access, const shadow_result &r);

	Config config;
	std::vector<std::unique_ptr<Page>> pages;
	std::vector<bool> in_use;
	std::vector<u32> free_pages;
	std::vector<u64> memory;	/* of shadow_create() */
	std::vector<u64> gfn_of_pfn;	/* pfn - kFirstPfn -> gfn + 1, 0 when taken away */
	struct Top {
		u64 pa, root;
		bool user;
	};
	std::vector<Top> tops;		/* every top table ever given out, latest last */
};

} // namespace shadow_test

#endif
