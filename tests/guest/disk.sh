#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Disks: file systems made and checked with real tools, read-only and snapshot disks, holes, errors; and a launcher that is killed
# while its guest writes: nothing the guest was told is on disk may be missing.
# test: limit = 600
. "$(dirname "$0")/lib.sh"

WITH='/sbin/mkfs.ext4 /sbin/fsck.ext4 /sbin/fstrim /sbin/blkdiscard'
disk=$work/disk.img
sum() { md5sum "$1" | cut -d' ' -f1; }
kib() { du -k "$1" | cut -f1; }

truncate -s 128M "$disk"
head -c 8M /dev/urandom >"$work/read-only.img"
head -c 8M /dev/urandom >"$work/snapshot.img"
head -c 8M /dev/urandom >"$work/holes.img"
head -c 8M /dev/urandom >"$work/short.img"
cp "$work/snapshot.img" "$work/original.img"

# One guest with five disks; what it found is in $work/tour.out, a line each.
tour() {
	guest -m 256M --disk "path=$disk,serial=ROOT-1" --disk "path=$work/read-only.img,serial=RO,ro,aio=threads" \
		--disk "path=$work/snapshot.img,snapshot,queues=2" --disk "path=$work/holes.img,block-size=4096,aio=threads" \
		--disk "path=$work/short.img,id=shrinks" -- '
		exec 2>&1
		echo "serials $(cat /sys/block/vda/serial) $(cat /sys/block/vdb/serial)"
		echo "sizes $(cat /sys/block/vd?/size | tr "\n" " ")"
		echo "blocks $(cat /sys/block/vda/queue/logical_block_size) $(cat /sys/block/vdd/queue/logical_block_size)"
		echo "queues $(ls /sys/block/vdc/mq | wc -l)"
		echo "read-only $(cat /sys/block/vd?/ro | tr "\n" " ")"

		mkfs.ext4 -q /dev/vda && mount /dev/vda /mnt && cp -r /usr/lib /sbin/mkfs.ext4 /mnt/ && sync
		find /mnt/lib -type f | sort | xargs md5sum | md5sum >/tmp/before
		umount /mnt && echo 3 >/proc/sys/vm/drop_caches && mount /dev/vda /mnt
		find /mnt/lib -type f | sort | xargs md5sum | md5sum | cmp - /tmp/before && echo "files whole"
		dd if=/dev/zero of=/mnt/big bs=1M count=48 2>/dev/null; sync
		rm /mnt/big; sync
		/sbin/fstrim /mnt && echo "trimmed"
		umount /mnt
		fsck.ext4 -fn /dev/vda >/dev/null && echo "fsck clean"

		echo "sum $(md5sum </dev/vdb | cut -d" " -f1)"
		dd if=/dev/zero of=/dev/vdb bs=4k count=1 oflag=direct 2>/dev/null || echo "write refused"

		dd if=/dev/zero of=/dev/vdc bs=64k count=16 seek=3 2>/dev/null; sync
		echo 3 >/proc/sys/vm/drop_caches
		[ "$(dd if=/dev/vdc bs=64k count=16 skip=3 2>/dev/null | tr -d "\0" | wc -c)" = 0 ] && echo "snapshot written"
		echo "beside $(dd if=/dev/vdc bs=64k count=3 2>/dev/null | md5sum | cut -d" " -f1)"

		/sbin/blkdiscard -o 1M -l 4M /dev/vdd && /sbin/blkdiscard -z -o 6M -l 1M /dev/vdd && echo "discarded"

		echo "cut it"; while [ "$(dd if=/dev/vde bs=4k count=1 skip=2000 iflag=direct 2>/dev/null | wc -c)" = 4096 ]; do sleep 0.2; done
		dd if=/dev/vde of=/dev/null bs=4k count=1 skip=2000 iflag=direct 2>&1 | grep -o "Input/output error"
		[ "$(dd if=/dev/vde bs=4k count=1 iflag=direct 2>/dev/null | wc -c)" = 4096 ] && echo "the rest is there"
		dmesg | grep -E "WARNING|BUG|Oops" || echo "quiet"' >"$work/tour.out" &
	local launcher=$!
	for _ in $(seq 1500); do
		grep -qs '^cut it' "$work/tour.out" && truncate -s 4M "$work/short.img" && break
		kill -0 $launcher 2>/dev/null || break
		sleep 0.1
	done
	wait $launcher && return
	cat "$work/tour.out"
	return 1
}
found() {
	grep -qxF -- "$1" "$work/tour.out" && return
	cat "$work/tour.out"
	return 1
}
log_has_error() { grep -q 'shrinks: read of 4096 bytes at 8192000 failed: Input/output error' "$work/tour.log"; }
trimmed() { echo "$(kib "$disk") KiB" && [ "$(kib "$disk")" -lt 60000 ] && found trimmed; }
holes() {
	echo "$(kib "$work/holes.img") KiB"
	found discarded && [ "$(kib "$work/holes.img")" -le 4096 ] &&
		cmp <(head -c 4M /dev/zero) <(dd if="$work/holes.img" bs=1M skip=1 count=4 2>/dev/null) &&
		cmp <(head -c 1M /dev/zero) <(dd if="$work/holes.img" bs=1M skip=6 count=1 2>/dev/null)
}

# A block device, with larger blocks than the guest sees: discards and zeroes that hit only a part of one.
block_device() {
	local device status=0
	modprobe -q loop
	truncate -s 64M "$work/device.img"
	device=$(losetup --sector-size 4096 --find --show "$work/device.img") || return
	guest --disk "path=$device" -- 'mkfs.ext4 -q -b 1024 /dev/vda && mount -o discard /dev/vda /mnt && cp /sbin/mkfs.ext4 /mnt/ && umount /mnt
		fsck.ext4 -fn /dev/vda >/dev/null && mount /dev/vda /mnt && cmp /sbin/mkfs.ext4 /mnt/mkfs.ext4 && umount /mnt &&
		tr "\0" x </dev/zero | dd of=/dev/vda bs=4k count=16 iflag=fullblock 2>/dev/null &&
		/sbin/blkdiscard -o 512 -l 1024 /dev/vda && /sbin/blkdiscard -z -o 8704 -l 7168 /dev/vda && sync &&
		[ "$(head -c 64k /dev/vda | tr -d x | wc -c)" = 7168 ]' || status=$?
	losetup -d "$device"
	return $status
}

# Records, each written and flushed, then acknowledged on stdout; the launcher dies at some moment. What fsync is worth.
crash() {
	local seed=$1 aio=$2 record last status=0
	rm -f "$work/crash.img"
	truncate -s 64M "$work/crash.img"
	mkfs.ext4 -q "$work/crash.img"
	start crash -m 128M --disk "path=$work/crash.img,aio=$aio" -- 'mount /dev/vda /mnt; n=0
		while :; do n=$((n + 1)); echo "record $n" >/mnt/$((n % 50)).tmp; cat /bin/busybox >>/mnt/junk$((n % 3))
			echo "record $n" | dd of=/mnt/log oflag=append conv=notrunc,fsync 2>/dev/null && echo "ack $n"
			[ $((n % 7)) = 0 ] && rm -f /mnt/junk*; done'
	says crash '^ack 3' 100 || return
	# Meanwhile the disk is nobody else's.
	lguest run --kernel "$root/build/guest-kernel/vmlinux" --disk "path=$work/crash.img" >"$work/second" 2>&1
	grep -q 'crash.img: in use' "$work/second" || { cat "$work/second"; return 1; }
	sleep "$seed"
	kill -KILL $pid
	wait $pid 2>/dev/null
	last=$(grep '^ack [0-9]*$' "$work/crash.out" | tail -n 1 | cut -d' ' -f2)
	fsck.ext4 -fy "$work/crash.img" >"$work/fsck.out" 2>&1 || status=$?
	# 1: the journal was replayed, and what was open is closed
	[ $status -le 1 ] || { cat "$work/fsck.out"; return 1; }
	fsck.ext4 -fn "$work/crash.img" >"$work/fsck.out" 2>&1 || { cat "$work/fsck.out"; return 1; }
	debugfs -R "cat /log" "$work/crash.img" 2>/dev/null >"$work/log"
	echo "$last acknowledged, $(wc -l <"$work/log") written"
	cmp <(seq -f 'record %.0f' "$last") <(head -n "$last" "$work/log")
}

# fio and its libraries are much for an initramfs: they come on a disk.
verify() {
	local library
	mkdir "$work/fio"
	for library in /usr/bin/fio $(ldd /usr/bin/fio | grep -oE '/[^ ]+'); do
		cp -L "$library" "$work/fio/"
	done
	truncate -s 160M "$work/programs.img"
	mkfs.ext4 -q -d "$work/fio" "$work/programs.img"
	truncate -s 64M "$work/fio.img"
	guest --disk "path=$work/fio.img,queues=2" --disk "path=$work/programs.img,ro" -- 'mount -o ro /dev/vdb /mnt
		/mnt/ld-linux-x86-64.so.2 --library-path /mnt /mnt/fio --name=check --filename=/dev/vda --direct=1 --ioengine=libaio \
		--iodepth=16 --rw=randwrite --bsrange=4k-64k --size=32M --verify=crc32c --do_verify=1 --verify_fatal=1'
}

check 'a guest tours its disks'                       tour
cp "$guest_log" "$work/tour.log"
for line in 'serials ROOT-1 RO' 'sizes 262144 16384 16384 16384 16384 ' 'blocks 512 4096' 'read-only 0 1 0 0 0 ' 'files whole' \
	'fsck clean' 'write refused' 'snapshot written' 'the rest is there' 'quiet'; do
	check "in the guest: $line"                   found "$line"
done
check 'fsck on the host finds nothing'                fsck.ext4 -fn "$disk"
check 'fstrim gives space back'                       trimmed
check 'a read-only disk has the right bytes'          found "sum $(sum "$work/read-only.img")"
check 'a snapshot shows the image'                    found "beside $(head -c 192K "$work/original.img" | md5sum | cut -d' ' -f1)"
check 'a snapshot leaves the image alone'             cmp "$work/snapshot.img" "$work/original.img"
check 'discard and write zeroes punch holes'          holes
check 'an I/O error is an error in the guest'         found 'Input/output error'
check 'and a line in the log'                         log_has_error
check 'a block device with 4 KiB sectors'              block_device
check 'killed while writing, io_uring'                crash 3.3 io_uring
check 'killed while writing, threads'                 crash 1.7 threads
check 'fio verifies what it wrote'                    verify
finish
