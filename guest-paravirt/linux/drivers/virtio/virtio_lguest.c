// SPDX-License-Identifier: GPL-2.0-only
/*
 * Virtio devices on lguest's device bus.  Each of its slots is a register window laid
 * out as virtio-mmio's (virtio 1.2, 4.2.2), read and written by hypercall, with an
 * interrupt of its own (arch/x86/lguest/irq.c).  Notifying a queue is a hypercall of
 * its own too, which the host may serve without leaving its kernel.
 *
 * Only modern devices (version 2) exist here.
 */
#define pr_fmt(fmt) "virtio-lguest: " fmt

#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/init.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <uapi/linux/virtio_ids.h>
#include <uapi/linux/virtio_mmio.h>

#include <asm/lguest.h>

#define MAGIC_VALUE	('v' | 'i' << 8 | 'r' << 16 | 't' << 24)

struct lguest_device {
	struct virtio_device vdev;
	struct platform_device *pdev;
	unsigned int slot;
	unsigned int irq;
	u32 status;		/* LG_BUS_STATUS_WORD: written by the host too */
};

static struct lguest_device *to_lguest(struct virtio_device *vdev)
{
	return container_of(vdev, struct lguest_device, vdev);
}

/* -- registers -------------------------------------------------------------------*/

static u64 bus_read(const struct lguest_device *dev, unsigned int offset,
		    unsigned int width)
{
	return lg_hypercall(LG_HC_BUS_READ, dev->slot * LG_BUS_SLOT_SIZE + offset, width, 0);
}

static void bus_write(const struct lguest_device *dev, unsigned int offset,
		      unsigned int width, u64 value)
{
	lg_hypercall(LG_HC_BUS_WRITE, dev->slot * LG_BUS_SLOT_SIZE + offset, width, value);
}

static u32 read_reg(const struct lguest_device *dev, unsigned int reg)
{
	return bus_read(dev, reg, 4);
}

static void write_reg(const struct lguest_device *dev, unsigned int reg, u32 value)
{
	bus_write(dev, reg, 4, value);
}

static void write_reg64(const struct lguest_device *dev, unsigned int low, u64 value)
{
	write_reg(dev, low, value);
	write_reg(dev, low + 4, value >> 32);
}

/* -- configuration ----------------------------------------------------------------*/

static u64 vl_get_features(struct virtio_device *vdev)
{
	struct lguest_device *dev = to_lguest(vdev);
	u64 features;

	write_reg(dev, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	features = (u64)read_reg(dev, VIRTIO_MMIO_DEVICE_FEATURES) << 32;
	write_reg(dev, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	return features | read_reg(dev, VIRTIO_MMIO_DEVICE_FEATURES);
}

static int vl_finalize_features(struct virtio_device *vdev)
{
	struct lguest_device *dev = to_lguest(vdev);

	vring_transport_features(vdev);
	/* The doorbell carries a queue index and nothing more. */
	__virtio_clear_bit(vdev, VIRTIO_F_NOTIFICATION_DATA);

	if (!__virtio_test_bit(vdev, VIRTIO_F_VERSION_1)) {
		dev_err(&vdev->dev, "device does not offer VIRTIO_F_VERSION_1\n");
		return -EINVAL;
	}

	write_reg(dev, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	write_reg(dev, VIRTIO_MMIO_DRIVER_FEATURES, vdev->features >> 32);
	write_reg(dev, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	write_reg(dev, VIRTIO_MMIO_DRIVER_FEATURES, vdev->features);
	return 0;
}

/* The widest access that is aligned and not too long.  Configuration fields are
 * little-endian, as we are, and are asked for whole. */
static unsigned int access_width(unsigned int offset, unsigned int len)
{
	unsigned int width = 4;

	while (width > len || offset % width)
		width /= 2;
	return width;
}

static void vl_get(struct virtio_device *vdev, unsigned int offset,
		   void *buf, unsigned int len)
{
	struct lguest_device *dev = to_lguest(vdev);

	while (len) {
		unsigned int width = access_width(offset, len);
		u64 value = bus_read(dev, VIRTIO_MMIO_CONFIG + offset, width);

		memcpy(buf, &value, width);
		offset += width;
		buf += width;
		len -= width;
	}
}

static void vl_set(struct virtio_device *vdev, unsigned int offset,
		   const void *buf, unsigned int len)
{
	struct lguest_device *dev = to_lguest(vdev);

	while (len) {
		unsigned int width = access_width(offset, len);
		u64 value = 0;

		memcpy(&value, buf, width);
		bus_write(dev, VIRTIO_MMIO_CONFIG + offset, width, value);
		offset += width;
		buf += width;
		len -= width;
	}
}

static u32 vl_generation(struct virtio_device *vdev)
{
	return read_reg(to_lguest(vdev), VIRTIO_MMIO_CONFIG_GENERATION);
}

static u8 vl_get_status(struct virtio_device *vdev)
{
	return read_reg(to_lguest(vdev), VIRTIO_MMIO_STATUS);
}

static void vl_set_status(struct virtio_device *vdev, u8 status)
{
	/* 0 would be a reset. */
	WARN_ON(!status);
	write_reg(to_lguest(vdev), VIRTIO_MMIO_STATUS, status);
}

static void vl_reset(struct virtio_device *vdev)
{
	write_reg(to_lguest(vdev), VIRTIO_MMIO_STATUS, 0);
}

/* -- queues -----------------------------------------------------------------------*/

static bool vl_notify(struct virtqueue *vq)
{
	return lg_hypercall(LG_HC_DOORBELL, to_lguest(vq->vdev)->slot, vq->index, 0) >= 0;
}

/* An edge: take the status first, then look.  Used buffers are looked for whatever it
 * says: a device whose queues another process serves only interrupts. */
static irqreturn_t vl_interrupt(int irq, void *opaque)
{
	struct lguest_device *dev = opaque;
	u32 status = xchg(&dev->status, 0);
	irqreturn_t result = status ? IRQ_HANDLED : IRQ_NONE;
	struct virtqueue *vq;

	if (status & VIRTIO_MMIO_INT_CONFIG)
		virtio_config_changed(&dev->vdev);

	virtio_device_for_each_vq(&dev->vdev, vq)
		if (vring_interrupt(irq, vq) == IRQ_HANDLED)
			result = IRQ_HANDLED;

	return result;
}

static void vl_del_vq(struct virtqueue *vq)
{
	struct lguest_device *dev = to_lguest(vq->vdev);

	write_reg(dev, VIRTIO_MMIO_QUEUE_SEL, vq->index);
	write_reg(dev, VIRTIO_MMIO_QUEUE_READY, 0);
	vring_del_virtqueue(vq);
}

static void vl_del_vqs(struct virtio_device *vdev)
{
	struct lguest_device *dev = to_lguest(vdev);
	struct virtqueue *vq, *next;

	list_for_each_entry_safe(vq, next, &vdev->vqs, list)
		vl_del_vq(vq);
	free_irq(dev->irq, dev);
}

static struct virtqueue *vl_setup_vq(struct virtio_device *vdev, unsigned int index,
				     const struct virtqueue_info *info)
{
	struct lguest_device *dev = to_lguest(vdev);
	struct virtqueue *vq;
	unsigned int num;

	write_reg(dev, VIRTIO_MMIO_QUEUE_SEL, index);
	if (read_reg(dev, VIRTIO_MMIO_QUEUE_READY))
		return ERR_PTR(-EBUSY);
	num = read_reg(dev, VIRTIO_MMIO_QUEUE_NUM_MAX);
	if (!num)
		return ERR_PTR(-ENOENT);

	vq = vring_create_virtqueue(index, num, PAGE_SIZE, vdev, true, true, info->ctx,
				    vl_notify, info->callback, info->name);
	if (!vq)
		return ERR_PTR(-ENOMEM);
	vq->num_max = num;

	write_reg(dev, VIRTIO_MMIO_QUEUE_NUM, virtqueue_get_vring_size(vq));
	write_reg64(dev, VIRTIO_MMIO_QUEUE_DESC_LOW, virtqueue_get_desc_addr(vq));
	write_reg64(dev, VIRTIO_MMIO_QUEUE_AVAIL_LOW, virtqueue_get_avail_addr(vq));
	write_reg64(dev, VIRTIO_MMIO_QUEUE_USED_LOW, virtqueue_get_used_addr(vq));
	write_reg(dev, VIRTIO_MMIO_QUEUE_READY, 1);
	return vq;
}

static int vl_find_vqs(struct virtio_device *vdev, unsigned int nvqs,
		       struct virtqueue *vqs[], struct virtqueue_info infos[],
		       struct irq_affinity *desc)
{
	struct lguest_device *dev = to_lguest(vdev);
	unsigned int i, index = 0;
	int err;

	err = request_irq(dev->irq, vl_interrupt, 0, dev_name(&vdev->dev), dev);
	if (err)
		return err;
	write_reg64(dev, LG_BUS_STATUS_WORD_LOW, virt_to_phys(&dev->status));

	for (i = 0; i < nvqs; i++) {
		if (!infos[i].name) {
			vqs[i] = NULL;
			continue;
		}

		vqs[i] = vl_setup_vq(vdev, index++, &infos[i]);
		if (IS_ERR(vqs[i])) {
			err = PTR_ERR(vqs[i]);
			vl_del_vqs(vdev);
			return err;
		}
	}
	return 0;
}

static void vl_synchronize_cbs(struct virtio_device *vdev)
{
	synchronize_irq(to_lguest(vdev)->irq);
}

static const char *vl_bus_name(struct virtio_device *vdev)
{
	return to_lguest(vdev)->pdev->name;
}

static const struct virtio_config_ops vl_config_ops = {
	.get			= vl_get,
	.set			= vl_set,
	.generation		= vl_generation,
	.get_status		= vl_get_status,
	.set_status		= vl_set_status,
	.reset			= vl_reset,
	.find_vqs		= vl_find_vqs,
	.del_vqs		= vl_del_vqs,
	.synchronize_cbs	= vl_synchronize_cbs,
	.get_features		= vl_get_features,
	.finalize_features	= vl_finalize_features,
	.bus_name		= vl_bus_name,
};

/* -- the bus ----------------------------------------------------------------------*/

static void vl_release(struct device *device)
{
	kfree(to_lguest(dev_to_virtio(device)));
}

/* A virtio device in this slot, if there is one. */
static int __init vl_probe_slot(struct platform_device *pdev, unsigned int slot)
{
	struct lguest_device *dev;
	u32 id, version;
	int err;

	dev = kzalloc(sizeof(*dev), GFP_KERNEL);
	if (!dev)
		return -ENOMEM;
	dev->pdev = pdev;
	dev->slot = slot;
	dev->irq = lguest_slot_irq(slot);

	if (read_reg(dev, VIRTIO_MMIO_MAGIC_VALUE) != MAGIC_VALUE) {
		kfree(dev);		/* reads as 0: empty */
		return 0;
	}

	version = read_reg(dev, VIRTIO_MMIO_VERSION);
	id = read_reg(dev, VIRTIO_MMIO_DEVICE_ID);
	if (version != 2 || !id) {
		if (id)
			pr_warn("slot %u: version %u is not known\n", slot, version);
		kfree(dev);
		return 0;
	}

	dev->vdev.id.device = id;
	dev->vdev.id.vendor = read_reg(dev, VIRTIO_MMIO_VENDOR_ID);
	dev->vdev.dev.parent = &pdev->dev;
	dev->vdev.dev.release = vl_release;
	dev->vdev.config = &vl_config_ops;

	err = register_virtio_device(&dev->vdev);
	if (err) {
		pr_err("slot %u: %pe\n", slot, ERR_PTR(err));
		put_device(&dev->vdev.dev);
	}
	return err;
}

static int __init vl_init(void)
{
	struct platform_device *pdev;
	unsigned int slot;

	if (!lguest_guest)
		return 0;

	/* What the devices hang from, and whose DMA mask they take. */
	pdev = platform_device_register_simple("virtio-lguest", PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(pdev))
		return PTR_ERR(pdev);
	dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));

	for (slot = 0; slot < LG_BUS_SLOTS; slot++)
		vl_probe_slot(pdev, slot);
	return 0;
}
device_initcall(vl_init);
