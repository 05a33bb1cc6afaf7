#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Guests with several virtual CPUs: each of them works, with a queue of a disk of its own, and sees the others' memory as it is. They stand
# still, shut down and panic together.
# test: limit = 400
. "$(dirname "$0")/lib.sh"
export XDG_RUNTIME_DIR=$work

programs=$root/build/tests/guest
truncate -s 16M "$work/disk.img"

# Each CPU for itself; then together, by threads that change mappings under each other (which takes interrupts between CPUs).
each_works() {
	WITH="$programs/threads $programs/memory" guest -c 2 -m 384M --disk "path=$work/disk.img,queues=2" -- '
		[ "$(ls /sys/block/vda/mq | wc -l)" = 2 ] || exit 3
		for cpu in 0 1; do
			taskset -c $cpu sh -c "seq 20000 | md5sum >/tmp/sum$cpu
				seq -w 500000 | dd of=/dev/vda bs=16k count=128 seek=$((cpu * 256)) iflag=fullblock oflag=direct 2>/dev/null" &
		done
		wait && cmp /tmp/sum0 /tmp/sum1 || exit 4
		for cpu in 0 1; do
			dd if=/dev/vda bs=16k count=128 skip=$((cpu * 256)) iflag=direct 2>/dev/null | md5sum >/tmp/read$cpu
			seq -w 500000 | head -c 2097152 | md5sum | cmp - /tmp/read$cpu || exit 5
		done
		'"$programs/threads && $programs/memory"' disorder || exit 6
		! dmesg | grep -E "WARNING|BUG|Oops|stall"'
}
stands_still() {
	start busy -n busy -c 2 -m 128M -- 'for cpu in 0 1; do taskset -c $cpu sh -c "while :; do echo tick $cpu; usleep 100000; done" & done; wait'
	says busy 'tick 1' && lguest pause busy || return
	local before
	before=$(stat -c %s "$work/busy.out")
	sleep 2
	[ "$(stat -c %s "$work/busy.out")" = "$before" ] && lguest resume busy || return
	: >"$work/busy.out"
	says busy 'tick 0' 30 && says busy 'tick 1' 30
}
shuts_down() {
	kill -TERM $pid
	ends $pid 143 20
}

check 'four CPUs'                                     expect 0 4 guest -c 4 -- nproc
check 'two work, alone and together'                  each_works
check 'they stand still, and go on'                   stands_still
check 'they shut down together'                       shuts_down
check 'panic by sysrq on the second: 255'             expect 255 '' guest -c 2 -- 'taskset -c 1 sh -c "echo c >/proc/sysrq-trigger"'
check 'the module unloads'                            rmmod lg
finish
