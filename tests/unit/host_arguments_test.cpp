// SPDX-License-Identifier: GPL-2.0-only
// The host module's verdicts on arguments of guests and of the launcher, and its
// instruction decoder, at every boundary.
#include "arguments.h"
#include "decode.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <initializer_list>
#include <optional>
#include <utility>
#include <vector>

namespace lguest::test {
namespace {

using u64 = __u64;

constexpr u64 lower_end = 1ull << 47, upper_start = ~0ull << 47;
constexpr u64 bad_addresses[] = {lower_end, upper_start - 1, 1ull << 63, 0x1000000000000, ~0ull >> 1};

// --- addresses -----------------------------------------------------------------

TEST(Canonical, Boundaries)
{
	for (u64 address : {u64{0}, lower_end - 1, upper_start, ~0ull})
		EXPECT_TRUE(lg_canonical(address)) << std::hex << address;
	for (u64 address : bad_addresses)
		EXPECT_FALSE(lg_canonical(address)) << std::hex << address;
}

TEST(Root, IsTakenOutOfCr3)
{
	EXPECT_EQ(lg_root_of(0x1000), 0x1000u);
	EXPECT_EQ(lg_root_of(0x1fff), 0x1000u) << "PCID";
	EXPECT_EQ(lg_root_of(0x8000000000001000), 0x1000u) << "no flush";
	EXPECT_EQ(lg_root_of(~0ull), 0x7ffffffffffff000u);
}

TEST(Root, Boundaries)
{
	EXPECT_TRUE(lg_valid_root(0));
	EXPECT_TRUE(lg_valid_root(LG_MAX_GPA - 4096));
	EXPECT_FALSE(lg_valid_root(LG_MAX_GPA));
	EXPECT_FALSE(lg_valid_root(LG_MAX_GPA + 4096));
	EXPECT_FALSE(lg_valid_root(~0xfffull));
	EXPECT_FALSE(lg_valid_root(1));
	EXPECT_FALSE(lg_valid_root(0xfff));
}

// --- registers -----------------------------------------------------------------

lg_regs good_regs()
{
	lg_regs regs{};
	regs.cs = LG_USER_CS;
	regs.ss = LG_USER_DS;
	regs.rflags = 0x202;
	regs.vcpu_page = regs.time_page = LG_NO_GPA;
	return regs;
}

template <typename Change>
bool valid_with(Change change)
{
	lg_regs regs = good_regs();
	change(regs);
	return lg_valid_regs(&regs);
}

TEST(Registers, Plain)
{
	EXPECT_TRUE(valid_with([](lg_regs &) {}));
}

TEST(Registers, AddressesAreCanonical)
{
	for (auto field : {&lg_regs::rip, &lg_regs::fs_base, &lg_regs::gs_base, &lg_regs::kernel_gs_base, &lg_regs::event_from_user,
			   &lg_regs::event_from_kernel, &lg_regs::syscall_from_user, &lg_regs::return_to_user}) {
		for (u64 good : {lower_end - 1, upper_start, ~0ull})
			EXPECT_TRUE(valid_with([=](lg_regs &regs) { regs.*field = good; }));
		for (u64 bad : bad_addresses)
			EXPECT_FALSE(valid_with([=](lg_regs &regs) { regs.*field = bad; })) << std::hex << bad;
	}
	// The CPU checks RSP when it is used, not when it is loaded.
	EXPECT_TRUE(valid_with([](lg_regs &regs) { regs.rsp = lower_end; }));
}

TEST(Registers, Flags)
{
	for (unsigned bit = 0; bit < 64; bit++) {
		bool refused = bit == 12 || bit == 13 || bit == 14 || bit == 17 || bit == 19 || bit == 20 || bit >= 22;
		EXPECT_EQ(valid_with([=](lg_regs &regs) { regs.rflags |= 1ull << bit; }), !refused) << "bit " << bit;
	}
}

TEST(Registers, CodeSegment)
{
	for (unsigned user_mode : {0, 1}) {
		for (u64 cs = 0; cs <= 0x10000; cs++) {
			bool good = cs == 0x33 || (user_mode && cs == 0x23);
			ASSERT_EQ(valid_with([=](lg_regs &regs) { regs.cs = cs, regs.user_mode = user_mode; }), good) << cs;
		}
		EXPECT_FALSE(valid_with([=](lg_regs &regs) { regs.cs = 0x100000033, regs.user_mode = user_mode; }));
	}
}

TEST(Registers, DataSegments)
{
	for (u64 ss = 0; ss <= 0x10000; ss++)
		ASSERT_EQ(valid_with([=](lg_regs &regs) { regs.ss = ss; }), ss == 0x2b) << ss;
	for (auto field : {&lg_regs::ds, &lg_regs::es, &lg_regs::fs, &lg_regs::gs})
		for (u64 selector : {1ull, 3ull, 0x2bull, 0x63ull, 1ull << 16, 1ull << 63})
			EXPECT_FALSE(valid_with([=](lg_regs &regs) { regs.*field = selector; })) << selector;
}

TEST(Registers, TruthValues)
{
	for (auto field : {&lg_regs::user_mode, &lg_regs::halted}) {
		EXPECT_TRUE(valid_with([=](lg_regs &regs) { regs.*field = 1; }));
		EXPECT_FALSE(valid_with([=](lg_regs &regs) { regs.*field = 2; }));
		EXPECT_FALSE(valid_with([=](lg_regs &regs) { regs.*field = ~0u; }));
	}
}

TEST(Registers, VcpuPageIsAligned)
{
	EXPECT_TRUE(valid_with([](lg_regs &regs) { regs.vcpu_page = 0; }));
	EXPECT_TRUE(valid_with([](lg_regs &regs) { regs.vcpu_page = 0x1000; }));
	EXPECT_FALSE(valid_with([](lg_regs &regs) { regs.vcpu_page = 1; }));
	EXPECT_FALSE(valid_with([](lg_regs &regs) { regs.vcpu_page = 0x1800; }));
	EXPECT_FALSE(valid_with([](lg_regs &regs) { regs.vcpu_page = LG_NO_GPA - 1; }));
}

TEST(Registration, AlignedPageAndCanonicalAddresses)
{
	const lg_vcpu_registration good{.page = 0x5000, .kernel_gs_base = upper_start, .event_from_user = upper_start,
					.event_from_kernel = ~0ull, .syscall_from_user = lower_end - 1, .return_to_user = 0};
	EXPECT_TRUE(lg_valid_registration(&good));
	for (u64 page : {1ull, 0x5008ull, 0x5fffull, ~0ull}) {
		lg_vcpu_registration bad = good;
		bad.page = page;
		EXPECT_FALSE(lg_valid_registration(&bad)) << page;
	}
	for (auto field : {&lg_vcpu_registration::kernel_gs_base, &lg_vcpu_registration::event_from_user,
			   &lg_vcpu_registration::event_from_kernel, &lg_vcpu_registration::syscall_from_user,
			   &lg_vcpu_registration::return_to_user}) {
		for (u64 address : bad_addresses) {
			lg_vcpu_registration bad = good;
			bad.*field = address;
			EXPECT_FALSE(lg_valid_registration(&bad)) << std::hex << address;
		}
	}
}

TEST(Start, CanonicalAddresses)
{
	const lg_vcpu_start good{.rip = upper_start, .rsp = lower_end, .cr3 = ~0ull, .gs_base = lower_end - 1, .argument = ~0ull};
	EXPECT_TRUE(lg_valid_start(&good)) << "the root is checked when it is loaded";
	for (auto field : {&lg_vcpu_start::rip, &lg_vcpu_start::gs_base}) {
		for (u64 address : bad_addresses) {
			lg_vcpu_start bad = good;
			bad.*field = address;
			EXPECT_FALSE(lg_valid_start(&bad)) << std::hex << address;
		}
	}
}

// --- the way to user mode ------------------------------------------------------

bool of_ldt(u64 selector)
{
	return (selector & 7) == 7;
}

TEST(UserSelectors, Code)
{
	for (u64 cs = 0; cs <= 0xffff; cs++)
		ASSERT_EQ(lg_valid_user_selectors(cs, LG_USER_DS), cs == 0x33 || cs == 0x23 || of_ldt(cs)) << cs;
	for (u64 cs : {0x10033ull, 0x10007ull, 0x8000000000000033ull, ~0ull})
		EXPECT_FALSE(lg_valid_user_selectors(cs, LG_USER_DS)) << cs;
}

TEST(UserSelectors, Stack)
{
	for (u64 ss = 0; ss <= 0xffff; ss++) {
		bool tls = ss == 0x63 || ss == 0x6b || ss == 0x73;
		ASSERT_EQ(lg_valid_user_selectors(LG_USER_CS, ss), ss == 0x2b || tls || of_ldt(ss)) << ss;
	}
	for (u64 ss : {0x1002bull, 0x10007ull, 0x800000000000002bull, ~0ull})
		EXPECT_FALSE(lg_valid_user_selectors(LG_USER_CS, ss)) << ss;
}

TEST(UserFlags, EachBit)
{
	EXPECT_EQ(lg_user_rflags(0), 0x202u);
	for (unsigned bit : {0, 2, 4, 6, 7, 8, 10, 11, 16, 18, 21})	// CF PF AF ZF SF TF DF OF RF AC ID
		EXPECT_EQ(lg_user_rflags(1ull << bit), 0x202u | 1ull << bit) << bit;
	EXPECT_EQ(lg_user_rflags(~0ull), 0x250fd7u);
}

// --- descriptors ---------------------------------------------------------------

constexpr u64 accessed = 1ull << 40;

// What becomes of it, or nothing if it is refused.
std::optional<u64> descriptor(u64 value)
{
	u64 given = value;
	if (lg_sane_descriptor(&value))
		return value;
	EXPECT_EQ(value, given) << "refused and changed";
	return {};
}

TEST(Descriptor, Empty)
{
	EXPECT_EQ(descriptor(0), 0u);
}

TEST(Descriptor, UserSegmentsBecomeAccessed)
{
	for (u64 good : {0x00cffa000000ffffull,		// flat 32-bit code
			 0x00cff2000000ffffull,		// flat data
			 0x0040f00000000fffull,		// read-only data
			 0x0040f60000000fffull,		// expand-down
			 0x0040fe0000000fffull,		// conforming code
			 0xff00fa123456ffffull,		// 16-bit code
			 0x004072000000ffffull,		// not present: #NP is the user's
			 0x00eff2000000ffffull})	// data with L, which means nothing there
		EXPECT_EQ(descriptor(good), good | accessed) << std::hex << good;
}

TEST(Descriptor, RefusesOtherPrivilegeLevels)
{
	for (u64 level : {0, 1, 2})
		for (u64 type = 0; type < 16; type++)
			EXPECT_FALSE(descriptor(0x00c090000000ffff | type << 40 | level << 45)) << level << " " << type;
}

TEST(Descriptor, RefusesSystemSegments)
{
	for (u64 type = 0; type < 16; type++)
		EXPECT_FALSE(descriptor(0x0000e00000000067 | type << 40)) << type;
	EXPECT_FALSE(descriptor(1));
}

TEST(Descriptor, Refuses64BitCode)
{
	EXPECT_FALSE(descriptor(0x00affa000000ffff));
	EXPECT_FALSE(descriptor(0x00effe000000ffff)) << "D and L";
	EXPECT_FALSE(descriptor(~0ull));
}

// --- memory slots --------------------------------------------------------------

constexpr u64 user_end = 0x7ffffffff000;

struct Slot : lg_slot {
	int error;
};

Slot slot_of(const lg_memory_slot &arg)
{
	Slot slot{};
	slot.error = lg_decode_slot(&arg, user_end, &slot);
	return slot;
}

int error_of(u64 gpa, u64 size, u64 address)
{
	return slot_of({0, 0, gpa, size, address}).error;
}

TEST(MemorySlot, Decoded)
{
	Slot slot = slot_of({.slot = 31, .flags = LG_MEM_READONLY, .gpa = 0x3000, .size = 0x5000, .userspace_addr = 0x7000});
	EXPECT_EQ(slot.error, 0);
	EXPECT_EQ(slot.gfn, 3u);
	EXPECT_EQ(slot.frames, 5u);
	EXPECT_EQ(slot.hva, 0x7000u);
	EXPECT_TRUE(slot.readonly);
	EXPECT_FALSE(slot_of({0, 0, 0, 0x1000, 0}).readonly);
}

TEST(MemorySlot, NumberAndFlags)
{
	EXPECT_EQ(slot_of({LG_MAX_SLOTS, 0, 0, 0, 0}).error, -EINVAL);
	EXPECT_EQ(slot_of({~0u, 0, 0, 0, 0}).error, -EINVAL);
	EXPECT_EQ(slot_of({0, 2, 0, 0, 0}).error, -EINVAL);
	EXPECT_EQ(slot_of({0, ~0u, 0, 0, 0}).error, -EINVAL);
}

TEST(MemorySlot, Alignment)
{
	for (u64 odd : {1, 8, 0x800, 0xfff}) {
		EXPECT_EQ(error_of(odd, 0x1000, 0), -EINVAL);
		EXPECT_EQ(error_of(0, odd, 0), -EINVAL);
		EXPECT_EQ(error_of(0, 0x1000, odd), -EINVAL);
	}
}

TEST(MemorySlot, EndOfGuestMemory)
{
	EXPECT_EQ(error_of(0, LG_MAX_GPA, 0), 0);
	EXPECT_EQ(error_of(0, LG_MAX_GPA + 0x1000, 0), -EINVAL);
	EXPECT_EQ(error_of(LG_MAX_GPA - 0x1000, 0x1000, 0), 0);
	EXPECT_EQ(error_of(LG_MAX_GPA - 0x1000, 0x2000, 0), -EINVAL);
	EXPECT_EQ(error_of(LG_MAX_GPA, 0, 0), 0) << "empty";
	EXPECT_EQ(error_of(LG_MAX_GPA, 0x1000, 0), -EINVAL);
	EXPECT_EQ(error_of(LG_MAX_GPA + 0x1000, 0, 0), -EINVAL);
	EXPECT_EQ(error_of(0x1000, ~0xfffull, 0), -EINVAL) << "wraps";
	EXPECT_EQ(error_of(~0xfffull, 0x1000, 0), -EINVAL) << "wraps";
}

TEST(MemorySlot, EndOfTheLauncher)
{
	EXPECT_EQ(error_of(0, 0x1000, user_end - 0x1000), 0);
	EXPECT_EQ(error_of(0, 0x2000, user_end - 0x1000), -EINVAL);
	EXPECT_EQ(error_of(0, 0x1000, user_end), -EINVAL);
	EXPECT_EQ(error_of(0, 0x1000, ~0xfffull), -EINVAL) << "wraps";
	EXPECT_EQ(error_of(0, 0x1000, 0xffff888000000000), -EINVAL) << "the host's";
}

class SlotOverlap : public testing::Test {
protected:
	SlotOverlap() { slots_[3] = {.gfn = 100, .frames = 10, .hva = 0, .readonly = false}; }
	bool overlaps(unsigned index, u64 gfn, u64 frames)
	{
		lg_slot slot{.gfn = gfn, .frames = frames, .hva = 0, .readonly = false};
		return lg_slot_overlaps(slots_, index, &slot);
	}
	lg_slot slots_[LG_MAX_SLOTS]{};
};

TEST_F(SlotOverlap, Neighbours)
{
	EXPECT_FALSE(overlaps(0, 90, 10));
	EXPECT_TRUE(overlaps(0, 90, 11));
	EXPECT_TRUE(overlaps(0, 109, 1));
	EXPECT_FALSE(overlaps(0, 110, 1));
}

TEST_F(SlotOverlap, Nested)
{
	EXPECT_TRUE(overlaps(31, 105, 1));
	EXPECT_TRUE(overlaps(31, 0, 1000));
	EXPECT_TRUE(overlaps(31, 100, 10));
}

TEST_F(SlotOverlap, NotWithWhatItReplaces)
{
	EXPECT_FALSE(overlaps(3, 100, 10));
	EXPECT_FALSE(overlaps(3, 95, 10));
}

TEST_F(SlotOverlap, EmptySlotsAreNoObstacle)
{
	slots_[4] = {.gfn = 50, .frames = 0, .hva = 0, .readonly = false};
	EXPECT_FALSE(overlaps(0, 40, 20));
}

TEST_F(SlotOverlap, EmptyOneOverlapsNothing)
{
	for (u64 gfn : {0, 99, 100, 105, 109, 110})
		EXPECT_FALSE(overlaps(0, gfn, 0)) << gfn;
}

TEST_F(SlotOverlap, AllOfMemory)
{
	slots_[3] = {.gfn = 0, .frames = LG_MAX_GPA >> 12, .hva = 0, .readonly = false};
	EXPECT_TRUE(overlaps(0, (LG_MAX_GPA >> 12) - 1, 1));
}

// --- interrupts, devices -------------------------------------------------------

TEST(Interrupt, Vectors)
{
	EXPECT_FALSE(lg_valid_interrupt(0));
	EXPECT_FALSE(lg_valid_interrupt(31));
	EXPECT_TRUE(lg_valid_interrupt(32));
	EXPECT_TRUE(lg_valid_interrupt(255));
	EXPECT_FALSE(lg_valid_interrupt(256));
	EXPECT_FALSE(lg_valid_interrupt(0x100000020));
}

TEST(Eventfds, Arguments)
{
	auto irqfd = [](u64 flags, u64 vector) {
		lg_irqfd arg{.fd = -1, .flags = static_cast<__u32>(flags), .vcpu = ~0u, .vector = static_cast<__u32>(vector)};
		return lg_valid_irqfd(&arg);
	};
	EXPECT_TRUE(irqfd(0, 32));
	EXPECT_TRUE(irqfd(LG_FD_UNBIND, 255));
	EXPECT_FALSE(irqfd(2, 32));
	EXPECT_FALSE(irqfd(~0u, 32));
	EXPECT_FALSE(irqfd(0, 31));
	EXPECT_FALSE(irqfd(0, 256));

	auto ioeventfd = [](u64 flags, u64 slot) {
		lg_ioeventfd arg{.fd = -1, .flags = static_cast<__u32>(flags), .slot = static_cast<__u32>(slot), .queue = ~0u};
		return lg_valid_ioeventfd(&arg);
	};
	EXPECT_TRUE(ioeventfd(0, 0));
	EXPECT_TRUE(ioeventfd(LG_FD_UNBIND, LG_BUS_SLOTS - 1));
	EXPECT_FALSE(ioeventfd(0, LG_BUS_SLOTS));
	EXPECT_FALSE(ioeventfd(0, ~0u));
	EXPECT_FALSE(ioeventfd(2, 0));
}

TEST(Bus, AccessWidthsAndEnd)
{
	const u64 end = LG_BUS_SLOTS * LG_BUS_SLOT_SIZE;
	for (u64 width = 0; width <= 16; width++)
		EXPECT_EQ(lg_valid_bus_access(0, width), width == 1 || width == 2 || width == 4 || width == 8) << width;
	EXPECT_FALSE(lg_valid_bus_access(0, 0x100000004));
	EXPECT_TRUE(lg_valid_bus_access(end - 1, 1));
	EXPECT_FALSE(lg_valid_bus_access(end, 1));
	EXPECT_FALSE(lg_valid_bus_access(~0ull, 1));
}

TEST(Bus, Doorbell)
{
	EXPECT_TRUE(lg_valid_doorbell(0, 0));
	EXPECT_TRUE(lg_valid_doorbell(LG_BUS_SLOTS - 1, 0xffffffff));
	EXPECT_FALSE(lg_valid_doorbell(LG_BUS_SLOTS, 0));
	EXPECT_FALSE(lg_valid_doorbell(~0ull, 0));
	EXPECT_FALSE(lg_valid_doorbell(0, 0x100000000));
}

// --- batches -------------------------------------------------------------------

TEST(Batch, CallsThatMayStandInIt)
{
	for (u64 number = 0; number <= LG_HC_MAX + 1; number++) {
		bool memory = number >= LG_HC_LOAD_ROOT && number <= LG_HC_RELEASE_TABLE;
		bool segment = number >= LG_HC_SET_TLS && number <= LG_HC_SET_CPUNODE;
		EXPECT_EQ(lg_batchable(number), memory || segment) << number;
	}
	EXPECT_FALSE(lg_batchable(0x100000000 + LG_HC_LOAD_ROOT));
	EXPECT_FALSE(lg_batchable(~0ull));
}

TEST(Batch, CountIsAtMostTheRing)
{
	lg_vcpu_page page{};
	for (auto [given, taken] : {std::pair{0u, 0u}, {1u, 1u}, {63u, 63u}, {64u, 64u}, {65u, 64u}, {~0u, 64u}}) {
		page.batch_count = given;
		EXPECT_EQ(lg_batch_count(&page), taken);
	}
}

TEST(Batch, EntriesAreCopied)
{
	lg_vcpu_page page{};
	page.batch[0] = {1, {2, 3, 4}};
	page.batch[LG_BATCH_MAX - 1] = {~0ull, {5, 6, 7}};
	struct lg_batch_entry first = lg_read_batch_entry(&page, 0), last = lg_read_batch_entry(&page, LG_BATCH_MAX - 1);
	EXPECT_EQ(first.number, 1u);
	EXPECT_EQ(first.arg[2], 4u);
	EXPECT_EQ(last.number, ~0ull);
	EXPECT_EQ(last.arg[0], 5u);
}

// --- instructions --------------------------------------------------------------

using Bytes = std::vector<__u8>;

std::optional<lg_instruction> decode(const Bytes &bytes)
{
	lg_instruction insn;
	if (lg_decode(bytes.data(), static_cast<unsigned>(bytes.size()), &insn))
		return insn;
	return {};
}

// It is that, of just these bytes, and nothing with one byte less.
lg_instruction expect(lg_operation operation, Bytes bytes)
{
	auto insn = decode(bytes);
	if (!insn) {
		ADD_FAILURE() << "not decoded: operation " << operation;
		return {};
	}
	EXPECT_EQ(insn->operation, operation);
	EXPECT_EQ(insn->length, bytes.size());
	Bytes longer = bytes;
	longer.push_back(0xf4);
	EXPECT_EQ(decode(longer)->length, bytes.size());
	bytes.pop_back();
	EXPECT_FALSE(decode(bytes)) << "cut short: operation " << operation;
	return *insn;
}

TEST(Decode, Ports)
{
	for (auto [operation, immediate, dx] : {std::tuple{LG_INSN_IN, 0xe4, 0xec}, {LG_INSN_OUT, 0xe6, 0xee}}) {
		auto opcode = [](int byte) { return static_cast<__u8>(byte); };
		EXPECT_EQ(expect(operation, {opcode(immediate), 0x70}).width, 1u);
		EXPECT_EQ(expect(operation, {opcode(immediate + 1), 0x70}).width, 4u);
		EXPECT_EQ(expect(operation, {0x66, opcode(immediate + 1), 0x70}).width, 2u);
		EXPECT_EQ(expect(operation, {0x66, opcode(immediate), 0x70}).width, 1u);
		EXPECT_EQ(expect(operation, {opcode(dx)}).width, 1u);
		EXPECT_EQ(expect(operation, {opcode(dx + 1)}).width, 4u);
		EXPECT_EQ(expect(operation, {0x66, opcode(dx + 1)}).width, 2u);
	}
	EXPECT_FALSE(decode({0x6c})) << "INS";
	EXPECT_FALSE(decode({0xf3, 0x6e})) << "REP OUTS";
}

TEST(Decode, WithoutOperands)
{
	expect(LG_INSN_HLT, {0xf4});
	expect(LG_INSN_CLI, {0xfa});
	expect(LG_INSN_STI, {0xfb});
	expect(LG_INSN_NOTHING, {0x0f, 0x06});
	expect(LG_INSN_NOTHING, {0x0f, 0x08});
	expect(LG_INSN_NOTHING, {0x0f, 0x09});
	expect(LG_INSN_WRMSR, {0x0f, 0x30});
	expect(LG_INSN_RDMSR, {0x0f, 0x32});
	expect(LG_INSN_XSETBV, {0x0f, 0x01, 0xd1});
}

TEST(Decode, ControlRegisters)
{
	for (unsigned cr = 0; cr < 16; cr++) {
		for (unsigned gpr = 0; gpr < 16; gpr++) {
			__u8 rex = 0x40 | (cr & 8) >> 1 | (gpr & 8) >> 3;
			__u8 modrm = 0xc0 | (cr & 7) << 3 | (gpr & 7);
			for (auto [operation, opcode] : {std::pair{LG_INSN_READ_CR, __u8{0x20}}, {LG_INSN_WRITE_CR, __u8{0x22}}}) {
				lg_instruction insn = expect(operation, {rex, 0x0f, opcode, modrm});
				EXPECT_EQ(insn.cr, cr);
				EXPECT_EQ(insn.gpr, gpr);
			}
		}
	}
	expect(LG_INSN_READ_CR, {0x0f, 0x20, 0x00});	// mod is ignored
	EXPECT_FALSE(decode({0x0f, 0x21, 0xc0})) << "debug registers";
	EXPECT_FALSE(decode({0x0f, 0x23, 0xc0}));
}

TEST(Decode, GroupSeven)
{
	for (unsigned modrm = 0; modrm < 256; modrm++) {
		bool invlpg = modrm >> 6 == 0 && (modrm >> 3 & 7) == 7 && (modrm & 7) != 4 && (modrm & 7) != 5;
		auto insn = decode({0x0f, 0x01, static_cast<__u8>(modrm)});
		EXPECT_EQ(insn.has_value(), invlpg || modrm == 0xd1) << modrm;	// not SGDT, LGDT, LMSW, SWAPGS ...
	}
	expect(LG_INSN_INVLPG, {0x0f, 0x01, 0x38});
	expect(LG_INSN_INVLPG, {0x41, 0x0f, 0x01, 0x3f});
}

TEST(Decode, Prefixes)
{
	for (__u8 prefix : {0x66, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65, 0x67, 0xf2, 0xf3, 0x40, 0x4f})
		expect(LG_INSN_HLT, {prefix, 0xf4});
	expect(LG_INSN_RDMSR, {0x2e, 0x66, 0x48, 0x0f, 0x32});
	EXPECT_FALSE(decode({0xf0, 0xf4})) << "LOCK";
	EXPECT_FALSE(decode({0x48, 0x66, 0xf4})) << "REX is the last prefix";
	EXPECT_FALSE(decode({0x48, 0x48, 0xf4}));
	EXPECT_FALSE(decode({0xf3, 0x0f, 0x09})) << "WBNOINVD";
	EXPECT_FALSE(decode({0xf2, 0x0f, 0x01, 0xd1})) << "another opcode";
}

TEST(Decode, Length)
{
	Bytes bytes(14, 0x66);
	bytes.push_back(0xf4);
	EXPECT_EQ(decode(bytes)->length, 15u);
	bytes.insert(bytes.begin(), 0x66);
	EXPECT_FALSE(decode(bytes)) << "16 bytes";
	EXPECT_FALSE(decode(Bytes(15, 0x66)));
	EXPECT_FALSE(decode(Bytes{}));
	Bytes port(14, 0x66);
	port.insert(port.end(), {0xe4, 0x80});
	EXPECT_FALSE(decode(port)) << "the port is byte 16";
}

TEST(Decode, NothingElseInOneByte)
{
	unsigned decoded = 0;
	for (unsigned opcode = 0; opcode < 256; opcode++)
		decoded += decode({static_cast<__u8>(opcode), 0, 0}).has_value();
	EXPECT_EQ(decoded, 8u + 3u);	// IN and OUT; HLT, CLI, STI
}

} // namespace
} // namespace lguest::test
