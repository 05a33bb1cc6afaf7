#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# A guest that sleeps costs the host next to nothing.
# test: limit = 180
. "$(dirname "$0")/lib.sh"

cpu_ticks() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }

# At most 2 % of a CPU, on an emulated machine where a wake-up costs a hundred times what it should.
sleeps() {
	start sleeper -- 'sleep 3; echo asleep; sleep 1000'
	says sleeper asleep || return
	sleep 2
	local before after
	before=$(cpu_ticks $pid)
	sleep 15
	after=$(cpu_ticks $pid)
	echo "$((after - before)) ticks of CPU time in 15 s"
	kill -TERM $pid
	ends $pid 143 10 && [ $((after - before)) -le 30 ]
}

check 'an idle guest uses no CPU time'  sleeps
cat "$work/output"
finish
