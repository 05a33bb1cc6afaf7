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
	start squeezed -m 256M -- 'cd /tmp; dd if=/dev/urandom of=one bs=1M count=24 2>/dev/null; cp one two; echo ready
		for i in 1 2 3; do cmp one two || exit 4; cat one two >/dev/null; done
		'"$WITH"' generations && '"$WITH"' "ten processes" && '"$WITH"' 64 && cmp one two && echo whole; exit $?'
	echo $pid >$group/cgroup.procs
	says squeezed ready 120 || return
	echo 60M >$group/memory.max
	local second
	for second in $(seq 30); do
		echo 20M >$group/memory.reclaim 2>/dev/null
		kill -0 $pid 2>/dev/null || break
		sleep 1
	done
	ends $pid 0 200 && grep -q '^whole' "$work/squeezed.out" && ! grep '^not ok' "$work/squeezed.out" || {
		tail -n 30 "$work/squeezed.out" "$work/squeezed.log"
		return 1
	}
	cat $group/memory.stat | grep -E 'pswp|zswp|pgmajfault|swap'
}
out() { [ "$(sed -n 's/^pswpout //p' $group/memory.stat /proc/vmstat | sort -n | tail -n 1)" -gt 1000 ]; }

check 'a guest whose pages are swapped out all the while'  squeeze
check 'they really were'                                   out
check 'a killed guest gives all of it back'                expect 0 0 sh -c "sleep 1; cat $group/memory.swap.current | sed 's/^[0-9]\{1,5\}\$/0/'"
check 'the module unloads'                                 rmmod lg
finish
