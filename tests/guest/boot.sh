#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# A Linux guest boots, runs a command, and hands back its output and its status; run on every host of the matrix.
# test: where = host
# test: limit = 180
. "$(dirname "$0")/lib.sh"

output_is_exact() { guest -- 'for i in 1 2 3; do printf "a\r\n\tb\n\n"; done' | cmp - <(for _ in 1 2 3; do printf 'a\r\n\tb\n\n'; done); }

check 'the release names lguest'         expect 0 '6.12.*lguest*' guest -- 'uname -r'
check 'the exit status is passed on'     expect 7 '' guest -- 'exit 7'
check 'output arrives byte by byte'      output_is_exact
check 'dmesg holds no warning'           expect 1 '' guest -- 'dmesg | grep -E "WARNING|BUG|Oops"'
check 'the module unloads'               rmmod lg
finish
