// SPDX-License-Identifier: GPL-2.0-only
/*
 * A module for the guest's kernel that is hostile to virtio devices. `how` says how:
 *
 *   scribble  overwrites the rings of Linux's own drivers, one device after another, until each device has stopped
 *   drive     resets the devices behind their drivers' backs and drives them itself, over and over, by no rule
 *
 * and ends the guest with status 42. All choices come from `seed`. What is written to rings is such that devices write to
 * memory of ours, or nowhere, so that a guest which is not unlucky survives itself.
 */
#define pr_fmt(fmt) "hostile: " fmt

#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/prandom.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <uapi/linux/virtio_blk.h>
#include <uapi/linux/virtio_ids.h>
#include <uapi/linux/virtio_mmio.h>
#include <lguest/guest_abi.h>

#define FINISHED	42

static char *how = "scribble";
module_param(how, charp, 0);
static unsigned long seed = 1;
module_param(seed, ulong, 0);
static unsigned int rounds = 100;	/* drive: lives of each device; scribble: at most so many thousand writes */
module_param(rounds, uint, 0);

static struct rnd_state randomness;

static u32 any(u32 limit)
{
	return prandom_u32_state(&randomness) % limit;
}

static bool one_in(u32 n)
{
	return any(n) == 0;
}

static u64 any_u64(void)
{
	return (u64)prandom_u32_state(&randomness) << 32 | prandom_u32_state(&randomness);
}

static long hypercall(u64 number, u64 a, u64 b, u64 c)
{
	long result;

	asm volatile("syscall" : "=a"(result) : "0"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r8", "r9", "r10", "r11", "memory");
	return result;
}

/* -- memory of ours: rings in its first half, buffers in the second ------------------------ */

#define ARENA_ORDER	8
#define ARENA_SIZE	(PAGE_SIZE << ARENA_ORDER)
#define RINGS_OF_QUEUE	(8 * PAGE_SIZE)
#define QUEUES		(ARENA_SIZE / 2 / RINGS_OF_QUEUE)
#define BUFFERS		(ARENA_SIZE / 2)

static void *arena;

/* Inside our memory, most of the time; else outside all memory. */
static u64 any_address(void)
{
	return one_in(64) ? any_u64() | 1ull << 45 : virt_to_phys(arena) + BUFFERS + any(BUFFERS / 8) * 4;
}

/* Inside our memory too, from any_address() on; or more than any guest has. */
static u32 any_length(void)
{
	return one_in(64) ? -1u - any(4096) : one_in(16) ? any(BUFFERS / 2) : any(4096);
}

/* Words that do as numbers of pages: ours, or none at all. */
static void fill_buffers(void)
{
	u32 *word = arena + BUFFERS;

	for (unsigned int i = 0; i < BUFFERS / sizeof(*word); i++)
		word[i] = one_in(8) ? virt_to_phys(arena) / PAGE_SIZE + any(1 << ARENA_ORDER) : any_u64() | 1u << 31;
}

/* -- what may be wrong in a ring ------------------------------------------------------------- */

/* The device's part, too, unless it is one that a driver of Linux reads: it would be the driver that breaks. */
static void scribble(unsigned int size, struct vring_desc *table, struct vring_avail *avail, struct vring_used *used)
{
	struct vring_desc *desc = &table[any(size)];

	switch (any(used ? 9 : 7)) {
	case 0:
		WRITE_ONCE(desc->addr, any_address());
		break;
	case 1:
		WRITE_ONCE(desc->len, any_length());
		break;
	case 2:
		WRITE_ONCE(desc->flags, any(8));
		break;
	case 3:
		WRITE_ONCE(desc->next, one_in(2) ? any(size) : any_u64());
		break;
	case 4:
		WRITE_ONCE(avail->ring[any(size)], one_in(4) ? any_u64() : any(size));
		break;
	case 5:
		WRITE_ONCE(avail->idx, one_in(4) ? any_u64() : avail->idx + any(size + 1));
		break;
	case 6:
		WRITE_ONCE(avail->ring[size], any_u64());	/* used_event */
		WRITE_ONCE(avail->flags, any_u64());
		break;
	case 7:
		WRITE_ONCE(used->ring[any(size)].id, any_u64());
		break;
	case 8:
		WRITE_ONCE(used->idx, any_u64());
		break;
	}
}

/* -- scribble --------------------------------------------------------------------------------- */

static bool stopped(struct virtio_device *vdev)
{
	return vdev->config->get_status(vdev) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

static int scribble_at_device(struct device *device, void *unused)
{
	struct virtio_device *vdev = dev_to_virtio(device);
	unsigned int writes = 0;

	while (!stopped(vdev) && writes < rounds * 1000) {
		struct virtqueue *vq;

		virtio_device_for_each_vq(vdev, vq) {
			scribble(virtqueue_get_vring_size(vq), phys_to_virt(virtqueue_get_desc_addr(vq)),
				 phys_to_virt(virtqueue_get_avail_addr(vq)), NULL);
			virtqueue_notify(vq);
			writes++;
		}
		cond_resched();
	}
	pr_info("%s, ID %u: %s after %u writes\n", dev_name(device), vdev->id.device, stopped(vdev) ? "stopped" : "works", writes);
	return 0;
}

static int scribble_at_devices(void)
{
	struct device *parent = bus_find_device_by_name(&platform_bus_type, NULL, "virtio-lguest");

	if (!parent)
		return -ENODEV;
	device_for_each_child(parent, NULL, scribble_at_device);
	put_device(parent);
	return 0;
}

/* -- drive ------------------------------------------------------------------------------------ */

struct queue {
	unsigned int size;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
};

static struct queue queues[QUEUES];

static u32 get(unsigned int slot, unsigned int reg)
{
	return hypercall(LG_HC_BUS_READ, slot * LG_BUS_SLOT_SIZE + reg, 4, 0);
}

static void set(unsigned int slot, unsigned int reg, u32 value)
{
	hypercall(LG_HC_BUS_WRITE, slot * LG_BUS_SLOT_SIZE + reg, 4, value);
}

static void set_address(unsigned int slot, unsigned int low, void *address)
{
	u64 gpa = one_in(200) ? any_u64() : virt_to_phys(address);

	set(slot, low, gpa);
	set(slot, low + 4, gpa >> 32);
}

static void set_up_queue(unsigned int slot, unsigned int index, unsigned int max)
{
	struct queue *queue = &queues[index];
	void *rings = arena + index * RINGS_OF_QUEUE;

	memset(rings, 0, RINGS_OF_QUEUE);
	queue->size = 1 << any(ilog2(min(max, 1024u)) + 1);
	queue->desc = rings;
	queue->avail = rings + 4 * PAGE_SIZE;
	queue->used = rings + 5 * PAGE_SIZE;
	set(slot, VIRTIO_MMIO_QUEUE_NUM, one_in(100) ? any_u64() : queue->size);
	set_address(slot, VIRTIO_MMIO_QUEUE_DESC_LOW, queue->desc);
	set_address(slot, VIRTIO_MMIO_QUEUE_AVAIL_LOW, queue->avail);
	set_address(slot, VIRTIO_MMIO_QUEUE_USED_LOW, queue->used);
	set(slot, VIRTIO_MMIO_QUEUE_READY, 1);
}

/* Returns how many queues there are. */
static unsigned int start(unsigned int slot)
{
	u64 refused = one_in(2) ? 0 : any_u64() & any_u64() & ~(1ull << VIRTIO_F_VERSION_1);
	unsigned int count, max;

	set(slot, VIRTIO_MMIO_STATUS, 0);
	set(slot, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	for (int half = 0; half < 2; half++) {
		set(slot, VIRTIO_MMIO_DEVICE_FEATURES_SEL, half);
		set(slot, VIRTIO_MMIO_DRIVER_FEATURES_SEL, half);
		set(slot, VIRTIO_MMIO_DRIVER_FEATURES, get(slot, VIRTIO_MMIO_DEVICE_FEATURES) & ~(refused >> 32 * half));
	}
	set(slot, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK);
	for (count = 0; count < QUEUES; count++) {
		set(slot, VIRTIO_MMIO_QUEUE_SEL, count);
		max = get(slot, VIRTIO_MMIO_QUEUE_NUM_MAX);
		if (!max)
			break;
		set_up_queue(slot, count, max);
	}
	set(slot, VIRTIO_MMIO_STATUS, get(slot, VIRTIO_MMIO_STATUS) | VIRTIO_CONFIG_S_DRIVER_OK);
	return count;
}

/* What a disk's request begins with, and what its discard says; others take it for what it is worth. */
static u64 request(void)
{
	struct {
		struct virtio_blk_outhdr header;
		struct virtio_blk_discard_write_zeroes range;
	} *at = arena + BUFFERS + any(BUFFERS / 2 - sizeof(*at));

	at->header = (struct virtio_blk_outhdr){ .type = any(16), .sector = one_in(16) ? any_u64() : any(20000) };
	at->range = (struct virtio_blk_discard_write_zeroes){ any(20000), any(64), any(3) };
	return virt_to_phys(at);
}

/* A chain that looks sensible, more or less: readable buffers, then writable ones. Only for disks there are requests: a balloon
 * would take their sectors for pages. */
static void submit(struct queue *queue, bool disk)
{
	unsigned int head = any(queue->size), readable = any(3), count = readable + any(4) ?: 1;

	for (unsigned int i = 0; i < count; i++) {
		struct vring_desc *desc = &queue->desc[(head + i) % queue->size];
		bool first = disk && i == 0 && readable;

		desc->addr = first ? request() : any_address();
		desc->len = first ? sizeof(struct virtio_blk_outhdr) : one_in(2) ? 512 : any_length();
		desc->flags = (i >= readable ? VRING_DESC_F_WRITE : 0) | (i + 1 < count ? VRING_DESC_F_NEXT : 0);
		desc->next = (head + i + 1) % queue->size;
	}
	queue->avail->ring[queue->avail->idx % queue->size] = head;
	smp_store_release(&queue->avail->idx, queue->avail->idx + 1);
}

static void touch_configuration(unsigned int slot)
{
	unsigned int at = slot * LG_BUS_SLOT_SIZE + VIRTIO_MMIO_CONFIG + any(one_in(16) ? 0xf00 : 64), width = 1 << any(4);

	if (one_in(2))
		hypercall(LG_HC_BUS_READ, at, width, 0);
	else
		hypercall(LG_HC_BUS_WRITE, at, width, any_u64());
}

/* From one reset to the next.  True if the device has stopped. */
static bool live(unsigned int slot, bool disk)
{
	unsigned int count = start(slot);

	for (unsigned int step = 0; count && step < 40; step++) {
		struct queue *queue = &queues[any(count)];

		submit(queue, disk);
		if (one_in(6))
			scribble(queue->size, queue->desc, queue->avail, queue->used);
		if (!one_in(4))
			hypercall(LG_HC_DOORBELL, slot, one_in(50) ? any_u64() : queue - queues, 0);
		if (one_in(10))
			touch_configuration(slot);
		if (step % 8 == 7 && (get(slot, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET))
			return true;
		if (one_in(20))
			msleep(1);
	}
	return false;
}

static void drive(unsigned int slot)
{
	bool disk = get(slot, VIRTIO_MMIO_DEVICE_ID) == VIRTIO_ID_BLOCK;
	unsigned int stops = 0;

	for (unsigned int life = 0; life < rounds; life++) {
		if (life % 16 == 0)
			fill_buffers();		/* before another device looks, too */
		stops += live(slot, disk);
		cond_resched();
	}
	set(slot, VIRTIO_MMIO_STATUS, 0);
	pr_info("slot %u, ID %u: %u lives, stopped in %u\n", slot, get(slot, VIRTIO_MMIO_DEVICE_ID), rounds, stops);
}

static int drive_devices(void)
{
	arena = (void *)__get_free_pages(GFP_KERNEL, ARENA_ORDER);
	if (!arena)
		return -ENOMEM;
	for (unsigned int slot = 0; slot < LG_BUS_SLOTS; slot++)
		if (get(slot, VIRTIO_MMIO_DEVICE_ID))
			drive(slot);
	return 0;
}

static int __init hostile_init(void)
{
	int err;

	prandom_seed_state(&randomness, seed);
	pr_info("%s, seed %lu\n", how, seed);
	err = strcmp(how, "drive") ? scribble_at_devices() : drive_devices();
	if (err)
		return err;
	/* The devices are of no use any more, not even to shut down. */
	pr_info("done\n");
	hypercall(LG_HC_SHUTDOWN, FINISHED, 0, 0);
	return -EIO;
}
module_init(hostile_init);

MODULE_DESCRIPTION("lguest: a guest kernel that is hostile to its devices");
MODULE_LICENSE("GPL");
