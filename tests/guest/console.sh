#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# What passes between a command in a guest and the shell that started the guest: status, output and input, byte by byte.
# test: limit = 300
. "$(dirname "$0")/lib.sh"

# 256 KiB: each byte value, in each place
bytes='for i in $(seq 0 255); do printf "\\$(printf %03o $i)"; done >/tmp/all
       for i in $(seq 1024); do tail -c +$((i % 250)) /tmp/all; head -c $((i % 250)) /tmp/all; done | head -c 262144'
output_is_exact() {
	guest -- "$bytes" >"$work/got"
	busybox sh -c "$bytes" | cmp - "$work/got"
}
input_arrives() {
	seq 20000 >"$work/numbers"
	STDIN=$work/numbers expect 0 "$(md5sum <"$work/numbers")" guest -- md5sum
}
both_ways() {
	printf 'first\nsecond\n' >"$work/lines"
	STDIN=$work/lines expect 3 $'<first>\n<second>' guest -- 'while read -r line; do echo "<$line>"; done; exit 3'
}
closed_output() {
	prepare -- 'while echo much text; do :; done; sleep 1000'
	timeout 60 "${launch[@]}" 2>"$guest_log" </dev/null | head -n 5
	[ "${PIPESTATUS[0]}" != 124 ]
}

check 'exit status 255'                     expect 255 '' guest -- 'exit 255'
check 'exit status of a missing command'    expect 127 '*not found' guest -- 'no-such-command'
check 'death by signal as a shell tells it' expect 143 Terminated guest -- 'sh -c "kill \$\$"; exit $?'
check '256 KiB of any bytes come out exact' output_is_exact
check '20000 lines go in'                   input_arrives
check 'lines go in and come out, then ^D'   both_ways
check 'a closed stdout ends the guest'      closed_output
finish
