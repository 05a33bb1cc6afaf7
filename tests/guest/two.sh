#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Two guests at once, on the same CPU and on two; both do what they do alone.
# test: limit = 500
. "$(dirname "$0")/lib.sh"

programs=$root/build/tests/guest
WITH="$programs/fpu $programs/segments $programs/memory"
both() {
	local one two
	start one -n one -- "$programs/fpu && $programs/memory copy"
	one=$pid
	start two -n two -m 384M -- "$programs/segments && $programs/memory mprotect"
	two=$pid
	if [ -n "${1-}" ]; then
		taskset -acp "$1" $one >/dev/null
		taskset -acp "$1" $two >/dev/null
	fi
	ends $one 0 240 && ends $two 0 240 && return
	grep -v '^ok' "$work"/{one,two}.out
	tail -n 20 "$work"/{one,two}.log
	kill $one $two 2>/dev/null
	return 1
}

check 'two guests, wherever the scheduler puts them'  both
check 'two guests on one CPU'                         both 0
check 'the module unloads'                            rmmod lg
finish
