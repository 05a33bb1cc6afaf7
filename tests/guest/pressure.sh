#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# A guest on a host that takes its memory away: the launcher in a memory control group with too small a limit, and swap on compressed
# memory. The guest's pages go out and come back all the while, under a program that checks what it reads.
# test: limit = 400
. "$(dirname "$0")/lib.sh"

{ modprobe zram 2>/dev/null && echo 1G >/sys/block/zram0/disksize && mkswap -q /dev/zram0 && swapon /dev/zram0; } ||
	{ echo 'no swap on this host'; exit 77; }
group=/sys/fs/cgroup/lguest
mkdir -p /sys/fs/cgroup
mountpoint -q /sys/fs/cgroup || mount -t cgroup2 cgroup2 /sys/fs/cgroup
echo +memory >/sys/fs/cgroup/cgroup.subtree_control && mkdir -p $group || { echo 'no memory control group'; exit 77; }

WITH=$root/build/tests/guest/memory
squeeze() {
	local other=/sys/fs/cgroup/cgroup.procs second
	echo $$ >$group/cgroup.procs		# what is started now belongs there from its first page on
	start squeezed -m 128M -- 'cd /tmp; dd if=/dev/urandom of=one bs=1M count=12 2>/dev/null; cp one two; echo ready
		for i in 1 2 3; do cmp one two || exit 4; done; echo compared
		'"$WITH"' generations && '"$WITH"' disorder && cmp one two && echo whole; exit $?'
	echo $$ >$other
	says squeezed ready 100 || return
	echo 48M >$group/memory.max
	for second in $(seq 15); do
		echo 8M >$group/memory.reclaim 2>/dev/null
		kill -0 $pid 2>/dev/null || break
		sleep 1
	done
	ends $pid 0 150 && grep -q '^whole' "$work/squeezed.out" && ! grep '^not ok' "$work/squeezed.out" && return
	tail -n 30 "$work/squeezed.out" "$work/squeezed.log"
	grep -E 'anon|shmem|swap|pgmajfault' $group/memory.stat
	return 1
}
out() { [ "$(sed -n 's/^pswpout //p' /proc/vmstat)" -gt 2000 ] && [ "$(sed -n 's/^pswpin //p' /proc/vmstat)" -gt 1000 ]; }
nothing_left() {
	sleep 1
	echo "$(cat $group/memory.current) bytes, $(cat $group/memory.swap.current) bytes of swap"
	# the initramfs is a file that stays
	[ $(($(cat $group/memory.swap.current) + $(cat $group/memory.current))) -lt 10000000 ]
}

check 'a guest whose pages are swapped out all the while'  squeeze
check 'they really were'                                   out
check 'all of it comes back in the end'                    nothing_left
check 'the module unloads'                                 rmmod lg
finish
