#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Nothing lg.ko allocated is lost, while it is loaded or after. kmemleak looks for it, which only a debug kernel has.
# test: limit = 300
# test: mem = 2G
. "$(dirname "$0")/lib.sh"

leaks=/sys/kernel/debug/kmemleak
{ [ -w $leaks ] && echo clear >$leaks; } 2>/dev/null || { echo 'this host has no kmemleak'; exit 77; }

# What is on its way to be freed, or known to a register only, is gone at the second scan.
nothing_lost() {
	echo scan >$leaks
	sleep 6		# younger objects are not reported
	echo scan >$leaks
	cat $leaks
	! grep -qE '\[lg\]|comm "(lguest|run-payloads|insmod|rmmod)"' $leaks
}
some_payloads() { "$root/build/tests/payloads/run-payloads" 'syscall_*'; }
killed() {
	start victim -- 'echo running; sleep 1000'
	says victim running || return
	kill -KILL $pid
	ends $pid 137 3
}

check 'payloads run'                          some_payloads
check 'a guest runs'                          guest -m 128M -- true
check 'another is killed'                     killed
check 'nothing is lost while lg.ko is loaded'  nothing_lost
check 'the module unloads'                    rmmod lg
check 'nothing is lost after that'            nothing_lost
finish
