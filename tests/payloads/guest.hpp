/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A tiny guest on /dev/lguest: memory, page tables and registers are put together by
 * the calls of a Guest, which then runs a payload and tells how it ended.
 *
 *     Guest guest;
 *     guest.start_at(my_payload).argument(3);
 *     EXPECT_EQ(guest.run().status, 0);
 *
 * No launcher code in here: the ioctls are used as their header describes them.
 */
#ifndef PAYLOADS_GUEST_HPP
#define PAYLOADS_GUEST_HPP

#include <lguest/guest_abi.h>
#include <lguest/ioctl_abi.h>

#include <cstdint>
#include <string>
#include <vector>

#include "layout.h"

namespace payloads
{

using u64 = std::uint64_t;
using u32 = std::uint32_t;

/* A file descriptor and its end. */
class Fd {
public:
	explicit Fd(int fd = -1) : fd_(fd) {}
	Fd(Fd &&other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
	Fd &operator=(Fd &&other) noexcept;
	~Fd() { reset(); }
	int get() const { return fd_; }
	void reset();

private:
	int fd_;
};

/* Entries of page tables. */
constexpr u64 kPresent = 1 << 0, kWrite = 1 << 1, kUser = 1 << 2, kAccessed = 1 << 5,
	      kDirty = 1 << 6, kLarge = 1 << 7, kNoExecute = 1ull << 63;
constexpr u64 kKernelPage = kPresent | kWrite | kAccessed | kDirty;
constexpr u64 kUserPage = kKernelPage | kUser;

/* How LG_RUN came back. */
struct Exit {
	lg_exit_reason reason;
	u32 status;		/* SHUTDOWN */
	u64 address, value;	/* BUS_* */
	std::string text;	/* CONSOLE, PANIC: what was said; KILLED: why */
	u32 vector;		/* KILLED */
	u64 rip;
};

class Guest {
public:
	/* Build everything layout.h speaks of.  on_host: the kernel half lies on top of the
	 * host's mappings, not beside them. */
	enum class Place { beside_host, on_host };
	/* shared: as the launcher has it; private_: copied by fork, zeroed by MADV_DONTNEED. */
	enum class Memory { shared, private_ };
	explicit Guest(Place place = Place::beside_host, Memory memory = Memory::shared);
	~Guest();
	Guest(const Guest &) = delete;

	/* -- before it runs */
	Guest &start_at(const char *code);
	Guest &unregistered();			/* no vCPU page */
	Guest &argument(u64 value);
	template <class Change> Guest &registers(Change change)
	{
		change(regs_);
		return *this;
	}

	/* -- running */
	/* Until something other than PORT_VALUE is told; a failing check, an unexpected
	 * event or a timeout is thrown as Failure. */
	Exit run();
	/* One LG_RUN.  Its errno, 0 for none. */
	int run_once(Exit &exit);
	const std::vector<u64> &told() const { return told_; }

	/* -- looking and meddling */
	lg_regs get_registers() const;
	void set_registers(const lg_regs &regs);
	lg_stats stats() const;
	void interrupt(u32 vector);
	unsigned char *memory() const { return memory_; }
	template <class T> T &at(u64 gpa) const { return *reinterpret_cast<T *>(memory_ + gpa); }
	lg_vcpu_page &page() const { return at<lg_vcpu_page>(GPA_VCPU_PAGE); }
	kernel_data &data() const { return at<kernel_data>(GPA_DATA); }
	u64 direct() const { return direct_; }
	u64 kernel_address(const char *code) const;
	int vm() const { return vm_.get(); }
	int vcpu() const { return vcpu_.get(); }
	lg_run &run_page() const { return *run_; }
	void close_vm() { vm_.reset(); }
	/* ioctl LG_SET_MEMORY_SLOT; its errno, 0 for none. */
	int set_slot(u32 slot, u64 gpa, u64 size, const void *address, u32 flags = 0);

	/* Map a page; builds the tables on the way with all rights. */
	Guest &map(u64 root, u64 gva, u64 gpa, u64 bits);
	/* gpa of the entry for gva at a level. */
	u64 entry(u64 root, u64 gva, unsigned level);

private:
	void choose_place(Place place);
	void build_tables();
	u64 new_table();
	[[noreturn]] void report_failed_check();
	[[noreturn]] void report_event(u64 kind);

	Fd device_, vm_, vcpu_;
	unsigned char *memory_;
	lg_run *run_;
	lg_regs regs_{};
	bool registers_set_ = false;
	u64 direct_ = 0, next_table_ = GPA_TABLES, root_ = 0, other_root_ = 0;
	std::vector<u64> told_;
};

/* The open /dev/lguest. */
Fd open_device();
/* Addresses in the upper half: `size` bytes where the host maps nothing; the first that
 * it does map. */
u64 free_gap(u64 size);
u64 host_mapped();

} // namespace payloads

#endif
