// SPDX-License-Identifier: GPL-2.0-only
/*
 * Interrupts of an lguest guest: the virtual interrupt flag, waiting, the 32 lines
 * of the device bus, and an APIC that is none.
 *
 * There is no interrupt controller.  A vector comes as an event (event.c); the host
 * keeps one bit per vector until it is taken, so a bus line behaves as an edge.
 */
#include <linux/interrupt.h>
#include <linux/irq.h>

#include <asm/apic.h>
#include <asm/i8259.h>
#include <asm/io_apic.h>
#include <asm/idtentry.h>
#include <asm/irq.h>
#include <asm/irq_regs.h>
#include <asm/irq_stack.h>
#include <asm/lguest.h>
#include <asm/paravirt.h>
#include <asm/x86_init.h>

/* -- the virtual interrupt flag, waiting ---------------------------------------*/

/* Sets the flag and waits in one step: no interrupt can come between. */
static noinstr void lguest_safe_halt(void)
{
	lg_hypercall(LG_HC_HALT, 0, 0, 0);
}

/* HLT with interrupts off: for good. */
static void lguest_halt(void)
{
	if (irqs_disabled())
		lg_hypercall(LG_HC_VCPU_DOWN, 0, 0, 0);
	else
		lguest_safe_halt();
}

/* -- the device bus -------------------------------------------------------------*/

static unsigned int first_bus_irq __ro_after_init;

int lguest_slot_irq(unsigned int slot)
{
	return first_bus_irq + slot;
}

static void handle_bus_interrupt(struct pt_regs *regs, u32 vector)
{
	struct pt_regs *old_regs = set_irq_regs(regs);

	generic_handle_irq(lguest_slot_irq(vector - LG_VECTOR_BUS));
	set_irq_regs(old_regs);
}

noinstr void lguest_bus_interrupt(struct pt_regs *regs, u32 vector)
{
	irqentry_state_t state = irqentry_enter(regs);

	instrumentation_begin();
	run_irq_on_irqstack_cond(handle_bus_interrupt, regs, vector);
	instrumentation_end();
	irqentry_exit(regs, state);
}

static void bus_irq_nop(struct irq_data *data)
{
}

/* Masking is left to the flow handler: a masked line that fires is replayed. */
static struct irq_chip bus_irq_chip = {
	.name		= "lguest-bus",
	.irq_ack	= bus_irq_nop,
	.irq_mask	= bus_irq_nop,
	.irq_unmask	= bus_irq_nop,
	.flags		= IRQCHIP_SKIP_SET_WAKE,
};

static void __init lguest_intr_init(void)
{
	int irq, slot;

	irq = irq_alloc_descs(-1, 1, LG_BUS_SLOTS, 0);
	if (irq < 0)
		panic("lguest: no interrupt descriptors");
	first_bus_irq = irq;
	for (slot = 0; slot < LG_BUS_SLOTS; slot++)
		irq_set_chip_and_handler(irq + slot, &bus_irq_chip, handle_edge_irq);
}

/* -- the APIC driver ------------------------------------------------------------*/

static u32 apic_read_none(u32 reg)
{
	switch (reg) {
	case APIC_LVR:
		return 0x14;	/* an integrated one, with no LVT to speak of */
	case APIC_ID:
		return raw_smp_processor_id() << 24;
	default:
		return 0;
	}
}

static void apic_write_none(u32 reg, u32 val)
{
}

static void apic_eoi_none(void)
{
}

static u64 apic_icr_read_none(void)
{
	return 0;
}

static void apic_icr_write_none(u32 low, u32 id)
{
}

static u32 lguest_get_apic_id(u32 id)
{
	return id >> 24;
}

static u32 lguest_cpu_present_to_apicid(int cpu)
{
	return cpu_present(cpu) ? cpu : BAD_APICID;
}

static int lguest_apic_probe(void)
{
	return lguest_guest;
}

static int lguest_madt_oem_check(char *oem_id, char *oem_table_id)
{
	return lguest_guest;
}

static void lguest_send_ipi(int cpu, int vector)
{
	lg_hypercall(LG_HC_IPI, cpu, vector, 0);
}

static void lguest_send_ipi_mask(const struct cpumask *mask, int vector)
{
	unsigned int cpu;

	for_each_cpu(cpu, mask)
		lguest_send_ipi(cpu, vector);
}

static void lguest_send_ipi_mask_allbutself(const struct cpumask *mask, int vector)
{
	unsigned int cpu, self = smp_processor_id();

	for_each_cpu(cpu, mask)
		if (cpu != self)
			lguest_send_ipi(cpu, vector);
}

static void lguest_send_ipi_allbutself(int vector)
{
	lg_hypercall(LG_HC_IPI, -1UL, vector, 0);
}

static void lguest_send_ipi_self(int vector)
{
	lguest_send_ipi(smp_processor_id(), vector);
}

static void lguest_send_ipi_all(int vector)
{
	lguest_send_ipi_allbutself(vector);
	lguest_send_ipi_self(vector);
}

static struct apic lguest_apic __ro_after_init = {
	.name			= "lguest",
	.probe			= lguest_apic_probe,
	.acpi_madt_oem_check	= lguest_madt_oem_check,
	.cpu_present_to_apicid	= lguest_cpu_present_to_apicid,
	.max_apic_id		= 254,
	.get_apic_id		= lguest_get_apic_id,
	.calc_dest_apicid	= apic_default_calc_apicid,
	.send_IPI		= lguest_send_ipi,
	.send_IPI_mask		= lguest_send_ipi_mask,
	.send_IPI_mask_allbutself = lguest_send_ipi_mask_allbutself,
	.send_IPI_allbutself	= lguest_send_ipi_allbutself,
	.send_IPI_all		= lguest_send_ipi_all,
	.send_IPI_self		= lguest_send_ipi_self,
	.read			= apic_read_none,
	.write			= apic_write_none,
	.eoi			= apic_eoi_none,
	.icr_read		= apic_icr_read_none,
	.icr_write		= apic_icr_write_none,
};
apic_driver(lguest_apic);

static unsigned int io_apic_read_none(unsigned int apic, unsigned int reg)
{
	return ~0;
}

void __init lguest_install_apic(void)
{
	apic_install_driver(&lguest_apic);
}

void __init lguest_init_irq(void)
{
	pv_ops.irq.save_fl = __PV_IS_CALLEE_SAVE(lguest_save_fl);
	pv_ops.irq.irq_disable = __PV_IS_CALLEE_SAVE(lguest_irq_disable);
	pv_ops.irq.irq_enable = __PV_IS_CALLEE_SAVE(lguest_irq_enable);
	pv_ops.irq.safe_halt = lguest_safe_halt;
	pv_ops.irq.halt = lguest_halt;

	legacy_pic = &null_legacy_pic;
	x86_apic_ops.io_apic_read = io_apic_read_none;
	x86_init.irqs.pre_vector_init = x86_init_noop;
	x86_init.irqs.intr_init = lguest_intr_init;
	x86_init.irqs.intr_mode_select = x86_init_noop;
	x86_init.irqs.intr_mode_init = x86_init_noop;
}
