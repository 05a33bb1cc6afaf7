#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# lg.ko loaded and unloaded 100 times (20 on a debug kernel), with an assembly guest in between each time and a Linux guest now and then; the host's memory
# is as before in the end, and a module in use stays.
# test: limit = 600
# test: smp = 1
# One CPU, because each load patches a branch in the scheduler, and multi-threaded TCG trips over that sooner or later.
. "$(dirname "$0")/lib.sh"

payloads=$root/build/tests/payloads/run-payloads
small='syscall_*'		# a few that take no time
count=100
[ $patience = 1 ] || count=20

settle() {
	sync
	echo 3 >/proc/sys/vm/drop_caches
	echo 1 >/proc/sys/vm/compact_memory
	sleep 2
}
# Pages that a leak could hide in: those of no known use, and those the kernel cannot give back. What a CPU holds ready on lists of
# its own is free; Linux adapts their length, so MemFree and MemAvailable alone rise and fall by megabytes.
kept_kb() {
	awk '/^MemTotal:/ { kept = $2 }
	     /^(MemFree|Buffers|Cached|SwapCached|AnonPages|SReclaimable):/ { kept -= $2 }
	     FILENAME == "/proc/zoneinfo" && $1 == "count:" { kept -= 4 * $2 }
	     END { print kept }' /proc/meminfo /proc/zoneinfo
}

in_use() {
	start user -- 'echo running; sleep 1000'
	says user running || return
	if rmmod lg; then echo 'unloaded under a guest'; return 1; fi
	kill -TERM $pid
	ends $pid 143 3
}
cycles() {
	local i
	for i in $(seq "$1"); do
		insmod "$LGUEST_MODULE" || return
		"$payloads" "$small" >"$work/payload" 2>&1 || { cat "$work/payload"; return 1; }
		if [ $((i % (count / 3))) = 0 ]; then
			guest -m 128M -- true || { tail "$guest_log"; return 1; }
		fi
		rmmod lg || return
	done
}
# 100 loads that forgot a page each would be 400 kB; slabs that are not full make for some noise.
back_to() {
	settle
	local kept
	kept=$(kept_kb)
	echo "kept by the kernel: $1 -> $kept kB"
	[ "$kept" -lt $(($1 + 2048)) ]
}

check 'a module in use cannot be unloaded'           in_use
check 'it can, afterwards'                           rmmod lg
check 'three times, to warm up'                      cycles 3
settle
kept=$(kept_kb)
check "then $count times, guests in between"              cycles $count
# KASAN keeps what is freed for a while, much of it: a debug kernel has no memory "as before", but leaks.sh.
[ $patience != 1 ] || check 'the memory of the host is back where it was'  back_to "$kept"
insmod "$LGUEST_MODULE"
finish
