// SPDX-License-Identifier: GPL-2.0-only
// What guests and launchers hand to the host module: registers, descriptors, memory
// slots, batches, bytes of instructions.  The input is a program of such arguments.
// Whatever is accepted must be what the module relies on afterwards, said here in
// other words than there.
#include "arguments.h"
#include "decode.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>

namespace {

using u8 = __u8;
using u64 = __u64;

#define ALWAYS(property)							\
	do {									\
		if (!(property)) {						\
			std::fprintf(stderr, "line %d: not %s\n", __LINE__, #property);	\
			std::abort();						\
		}								\
	} while (0)

class Input {
public:
	Input(const u8 *data, std::size_t size) : rest_{data, size} {}
	bool empty() const { return rest_.empty(); }

	// Bytes that are missing are 0.
	void fill(void *to, std::size_t size)
	{
		std::size_t given = std::min(size, rest_.size());
		std::memset(to, 0, size);
		if (given)
			std::memcpy(to, rest_.data(), given);
		rest_ = rest_.subspan(given);
	}
	template <typename T>
	T take()
	{
		T value;
		fill(&value, sizeof(value));
		return value;
	}

	// Any number, but rather one near a power of two, where boundaries are.
	u64 number()
	{
		u8 kind = take<u8>();
		if (kind >= 0xc0)
			return take<u64>();
		u64 near = kind & 0x40 ? ~0ull << (kind & 63) : 1ull << (kind & 63);
		return near + static_cast<u64>(take<std::int8_t>()) * (kind & 0x80 ? 4096 : 1);
	}

private:
	std::span<const u8> rest_;
};

bool canonical(u64 address)
{
	return address < 1ull << 47 || address >= ~0ull << 47;
}

// Of a guest at CPL 3: nothing about I/O, nested tasks, virtual-8086 mode, or beyond ID.
bool harmless_flags(u64 flags)
{
	constexpr u64 iopl = 3 << 12, nt = 1 << 14, vm = 1 << 17, vif = 1 << 19, vip = 1 << 20;
	return !(flags & (iopl | nt | vm | vif | vip)) && flags < 1 << 22;
}

// --- registers -----------------------------------------------------------------

void registers(Input &input)
{
	lg_regs regs{};
	regs.cs = 0x33;
	regs.ss = 0x2b;
	regs.vcpu_page = ~0ull;
	if (u8 bit = input.take<u8>(); bit < 64)
		regs.rflags = 1ull << bit;
	// Few changes to what is good, or none would be accepted: a word, or a bit of one.
	for (unsigned changes = input.take<u8>() % 4; changes; changes--) {
		char *field = reinterpret_cast<char *>(&regs) + input.take<u8>() % (sizeof(regs) / 8) * 8;
		u8 bit = input.take<u8>();
		u64 value;
		std::memcpy(&value, field, 8);
		value = bit < 64 ? value ^ 1ull << bit : input.number();
		std::memcpy(field, &value, 8);
	}
	if (!lg_valid_regs(&regs))
		return;
	for (u64 address : {regs.rip, regs.fs_base, regs.gs_base, regs.kernel_gs_base, regs.event_from_user, regs.event_from_kernel,
			    regs.syscall_from_user, regs.return_to_user})
		ALWAYS(canonical(address));
	ALWAYS(regs.cs == 0x33 || (regs.cs == 0x23 && regs.user_mode));
	ALWAYS(regs.ss == 0x2b);
	ALWAYS(regs.ds == 0 && regs.es == 0 && regs.fs == 0 && regs.gs == 0);
	ALWAYS(harmless_flags(regs.rflags));
	ALWAYS(regs.user_mode < 2 && regs.halted < 2);
	ALWAYS(regs.vcpu_page == ~0ull || regs.vcpu_page % 4096 == 0);
}

void entry_points(Input &input)
{
	lg_vcpu_registration registration{input.number(), input.number(), input.number(),
					  input.number(), input.number(), input.number()};
	if (lg_valid_registration(&registration)) {
		ALWAYS(registration.page % 4096 == 0);
		for (u64 address : {registration.kernel_gs_base, registration.event_from_user, registration.event_from_kernel,
				    registration.syscall_from_user, registration.return_to_user})
			ALWAYS(canonical(address));
	}
	lg_vcpu_start start{input.number(), input.number(), input.number(), input.number(), input.number()};
	if (lg_valid_start(&start))
		ALWAYS(canonical(start.rip) && canonical(start.gs_base));
}

void root(Input &input)
{
	u64 value = input.number(), root = lg_root_of(value);
	ALWAYS(root % 4096 == 0 && root < 1ull << 63);
	ALWAYS((root ^ value) % (1ull << 63) < 4096);
	for (u64 gpa : {value, root})
		if (lg_valid_root(gpa))
			ALWAYS(gpa % 4096 == 0 && gpa < 1ull << 40 && lg_root_of(gpa) == gpa);
}

void return_to_user(Input &input)
{
	u64 wanted = input.number(), flags = lg_user_rflags(wanted);
	ALWAYS(harmless_flags(flags));
	ALWAYS((flags & 0x202) == 0x202);
	ALWAYS((flags & ~wanted & ~0x202ull) == 0);
	ALWAYS(lg_user_rflags(flags) == flags);

	u64 selectors[] = {input.number(), input.number()};
	if (!lg_valid_user_selectors(selectors[0], selectors[1]))
		return;
	for (u64 selector : selectors)
		ALWAYS(selector < 1 << 16 && selector % 4 == 3);
	auto in_gdt = [](u64 selector) { return selector % 8 < 4; };
	ALWAYS(!in_gdt(selectors[0]) || selectors[0] / 8 == 4 || selectors[0] / 8 == 6);
	ALWAYS(!in_gdt(selectors[1]) || selectors[1] / 8 == 5 || (selectors[1] / 8 >= 12 && selectors[1] / 8 <= 14));
}

// The layout of SDM vol. 3, 3.4.5.
struct Descriptor {
	u64 limit : 16, base : 24, type : 4, s : 1, dpl : 2, p : 1, limit_high : 4, avl : 1, l : 1, d : 1, g : 1, base_high : 8;
};

void descriptor(Input &input)
{
	u64 given = input.take<u64>(), value = given;
	if (!lg_sane_descriptor(&value)) {
		ALWAYS(value == given && value);
		return;
	}
	if (!given) {
		ALWAYS(!value);
		return;
	}
	auto fields = std::bit_cast<Descriptor>(value);
	ALWAYS(fields.s == 1 && fields.dpl == 3);
	ALWAYS(fields.type & 1);		// the CPU would write this bit into the table
	ALWAYS(!(fields.type & 8 && fields.l));
	ALWAYS((given ^ value) <= 1ull << 40 && std::popcount(given ^ value) <= 1);
	ALWAYS(lg_sane_descriptor(&value) && std::bit_cast<Descriptor>(value).type == fields.type);
}

// --- memory slots --------------------------------------------------------------

struct Slots {
	lg_slot slot[LG_MAX_SLOTS]{};

	// As LG_SET_MEMORY_SLOT does it.
	int set(const lg_memory_slot &arg, u64 user_end)
	{
		lg_slot wanted;
		int error = lg_decode_slot(&arg, user_end, &wanted);
		if (error)
			return error;
		ALWAYS(arg.slot < LG_MAX_SLOTS);
		ALWAYS(wanted.frames * 4096 == arg.size && wanted.gfn * 4096 == arg.gpa && wanted.hva == arg.userspace_addr);
		ALWAYS(wanted.readonly == (arg.flags == LG_MEM_READONLY));
		ALWAYS(wanted.hva <= user_end && user_end - wanted.hva >= arg.size);
		if (lg_slot_overlaps(slot, arg.slot, &wanted))
			return -EEXIST;
		slot[arg.slot] = wanted;
		check();
		return 0;
	}

	void check() const
	{
		const lg_slot *sorted[LG_MAX_SLOTS];
		unsigned count = 0;
		for (const lg_slot &each : slot)
			if (each.frames)
				sorted[count++] = &each;
		std::sort(sorted, sorted + count, [](auto *a, auto *b) { return a->gfn < b->gfn; });
		u64 end = 0;
		for (unsigned i = 0; i < count; i++) {
			ALWAYS(sorted[i]->gfn >= end);
			end = sorted[i]->gfn + sorted[i]->frames;
			ALWAYS(end > sorted[i]->gfn && end <= LG_MAX_GPA / 4096);
		}
	}
};

void memory_slot(Input &input, Slots &slots)
{
	constexpr unsigned few = 4;	// slots are used most, so that they meet
	enum : u8 { unaligned = 1, any_slot = 2, any_flags = 4, beside = 8, before = 16, empty_it = 32, five_levels = 64 };
	u8 how = input.take<u8>();
	u64 user_end = (how & five_levels ? 1ull << 56 : 1ull << 47) - 4096;
	lg_memory_slot arg{};
	arg.slot = input.take<u8>() % (how & any_slot ? LG_MAX_SLOTS + 1 : few);
	arg.flags = input.take<u8>() & (how & any_flags ? 0xff : LG_MEM_READONLY);
	arg.gpa = input.number();
	arg.size = input.number();
	arg.userspace_addr = input.number();
	if (!(how & unaligned)) {
		arg.gpa &= ~0xfffull;
		arg.size &= ~0xfffull;
		arg.userspace_addr &= ~0xfffull;
	}
	if (how & beside) {	// give or take a page
		const lg_slot &other = slots.slot[input.take<u8>() % few];
		u64 away = input.take<u8>() % 3 - 1ull;
		arg.gpa = how & before ? (other.gfn + away) * 4096 - arg.size : (other.gfn + other.frames + away) * 4096;
	}
	slots.set(arg, user_end);
	if (how & empty_it && arg.slot < LG_MAX_SLOTS)	// wherever it says the slot was
		ALWAYS(slots.set({arg.slot, 0, arg.gpa % LG_MAX_GPA & ~0xfffull, 0, 0}, user_end) == 0);
}

// --- interrupts, devices, batches ----------------------------------------------

void devices(Input &input)
{
	auto irqfd = input.take<lg_irqfd>();
	if (lg_valid_irqfd(&irqfd))
		ALWAYS(irqfd.vector >= 32 && irqfd.vector < 256 && irqfd.flags <= LG_FD_UNBIND);
	auto ioeventfd = input.take<lg_ioeventfd>();
	if (lg_valid_ioeventfd(&ioeventfd))
		ALWAYS(ioeventfd.slot < LG_BUS_SLOTS && ioeventfd.flags <= LG_FD_UNBIND);

	u64 a = input.number(), b = input.number();
	if (lg_valid_interrupt(a))
		ALWAYS(a / 32 >= 1 && a / 256 == 0);
	if (lg_valid_bus_access(a, b))
		ALWAYS(a / LG_BUS_SLOT_SIZE < LG_BUS_SLOTS && std::has_single_bit(b) && b <= 8);
	if (lg_valid_doorbell(a, b))
		ALWAYS(a < LG_BUS_SLOTS && b >> 32 == 0);
}

void batch(Input &input)
{
	// On the heap and as large as the page: beyond it is the sanitizer's.
	auto page = std::make_unique<lg_vcpu_page>();
	page->batch_count = static_cast<__u32>(input.number());
	input.fill(page->batch, input.take<u8>() % (LG_BATCH_MAX + 1u) * sizeof(page->batch[0]));

	u64 count = lg_batch_count(page.get());
	ALWAYS(count <= page->batch_count && count <= LG_BATCH_MAX);
	ALWAYS(count == page->batch_count || count == LG_BATCH_MAX);
	for (__u32 i = 0; i < count; i++) {
		struct lg_batch_entry entry = lg_read_batch_entry(page.get(), i);
		ALWAYS(!std::memcmp(&entry, &page->batch[i], sizeof(entry)));
		// Nothing that sleeps, ends the guest, or goes to the launcher.
		if (lg_batchable(entry.number))
			ALWAYS(entry.number >= LG_HC_LOAD_ROOT && entry.number < LG_HC_CPUID);
	}
}

// --- instructions --------------------------------------------------------------

void instruction(Input &input)
{
	unsigned size = input.take<u8>() % 20;
	auto bytes = std::make_unique<u8[]>(size);
	input.fill(bytes.get(), size);

	lg_instruction insn;
	if (!lg_decode(bytes.get(), size, &insn))
		return;
	ALWAYS(insn.length >= 1 && insn.length <= 15 && insn.length <= size);
	switch (insn.operation) {
	case LG_INSN_IN:
	case LG_INSN_OUT:
		ALWAYS(insn.width == 1 || insn.width == 2 || insn.width == 4);
		break;
	case LG_INSN_READ_CR:
	case LG_INSN_WRITE_CR:
		ALWAYS(insn.cr < 16 && insn.gpr < 16);
		break;
	default:
		ALWAYS(insn.operation <= LG_INSN_NOTHING);
	}
	// It depends on its own bytes, all of them, and on nothing else.
	auto own = std::make_unique<u8[]>(insn.length);
	std::copy_n(bytes.get(), insn.length, own.get());
	lg_instruction again;
	ALWAYS(lg_decode(own.get(), insn.length, &again));
	ALWAYS(again.operation == insn.operation && again.length == insn.length && again.width == insn.width && again.cr == insn.cr &&
	       again.gpr == insn.gpr);
	for (unsigned part = 0; part < insn.length; part++)
		ALWAYS(!lg_decode(own.get(), part, &again));
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8 *data, std::size_t size)
{
	Input input{data, size};
	Slots slots;
	while (!input.empty()) {
		switch (input.take<u8>() % 9) {
		case 0: registers(input); break;
		case 1: entry_points(input); break;
		case 2: root(input); break;
		case 3: return_to_user(input); break;
		case 4: descriptor(input); break;
		case 5: memory_slot(input, slots); break;
		case 6: devices(input); break;
		case 7: batch(input); break;
		case 8: instruction(input); break;
		}
	}
	return 0;
}
