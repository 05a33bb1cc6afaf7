#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Guests of little and of much memory.
# test: limit = 400
# test: mem = 7G
. "$(dirname "$0")/lib.sh"

# refused SIZE WORD: in one line with that word
refused() {
	local status=0
	guest -m "$1" -- true || status=$?
	cat "$guest_log"
	{ [ $status = 1 ] || [ $status = 2 ]; } && [ "$(wc -l <"$guest_log")" = 1 ] && grep -qi "$2" "$guest_log"
}
# has SIZE MINIMUM-KB MAXIMUM-KB
has() {
	local got
	got=$(guest -m "$1" -- 'sed -n "s/MemTotal: *\([0-9]*\).*/\1/p" /proc/meminfo')
	echo "MemTotal of -m $1: $got kB"
	[ "$got" -ge "$2" ] && [ "$got" -le "$3" ]
}
# A guest of 4 GiB that fills 1 GiB of it, in two files that are compared.
fills() {
	guest -m 4G -- 'mount -o remount,size=3G /tmp && cd /tmp || exit 3
		dd if=/dev/urandom of=piece bs=1M count=16 2>/dev/null || exit 4
		for i in $(seq 32); do cat piece >>one; done || exit 5
		cp one two && sync && echo 3 >/proc/sys/vm/drop_caches && cmp one two && [ $(stat -c %s two) = 536870912 ]'
}

check 'a guest of 16 MiB is refused, in one line that says why'	refused 16M memory
check 'nonsense is refused'				refused 12x size
check 'one of 64 MiB boots'			has 64M 30000 65536
check 'one of 100 MiB, no power of two'		has 100M 60000 102400
check 'one of 4 GiB boots'			has 4G 3900000 4194304
check 'one of 4 GiB, 1 GiB of which is filled and compared'	fills
finish
