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

check 'a module in use cannot be unloaded'           in_use
check 'it can, afterwards'                           rmmod lg
check 'three times, to warm up'                      cycles 3
settle
kept=$(kept_kb)
# 100 loads that forgot a page each would be 400 kB.
check "then $count times, guests in between"              cycles $count
# KASAN keeps what is freed for a while, much of it: a debug kernel has no memory "as before", but leaks.sh.
[ $patience != 1 ] || check 'the memory of the host is back where it was'  back_to "$kept"
insmod "$LGUEST_MODULE"
finish
