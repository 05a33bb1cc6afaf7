#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Memory that a guest does without comes back to the host: by the balloon, and by reports of free pages. What the guest still uses is
# unharmed, and when it runs out, the balloon gives way. The second guest also reads its entropy device, at a limited rate.
# test: limit = 600
. "$(dirname "$0")/lib.sh"

# MiB of the guest's memory that the host has allocated: the blocks of the launcher's memfd
used() {
	local fd
	for fd in /proc/$pid/fd/*; do
		[[ $(readlink "$fd") == *lguest-ram* ]] && echo $(($(stat -L -c %b "$fd") / 2048)) && return
	done
	echo 'no memory' >&2
	return 1
}
# becomes -lt|-gt MIB: used() does, within 200 s or more
becomes() {
	local tenths now
	for ((tenths = 2000; tenths > 0; tenths--)); do
		now=$(used) || return
		[ "$now" "$1" "$2" ] && echo "$now MiB" && return
		sleep 0.1
	done
	echo "$now MiB are in use, wanted $1 $2"
	return 1
}
# The guest waits for a line of this.
mkfifo "$work/go"
exec 8<>"$work/go"
go() { echo >&8; }

# A guest that has touched nearly all its memory, of which it still needs 32 MiB.
touch_memory='cd /tmp; mount -o remount,size=100% /tmp
	dd if=/dev/urandom of=keep bs=1M count=32 2>/dev/null; sum=$(md5sum <keep)
	dd if=/dev/zero of=junk bs=1M count=220 2>/dev/null; rm junk
	whole() { [ "$(md5sum <keep)" = "$sum" ] && echo "$1, all whole" || { echo "$1: damaged"; exit 9; }; }'

begin() {
	STDIN=$work/go start balloon -v -m 384M --balloon size=192M,stats=1 -- '
		drivers=/sys/bus/virtio/drivers/virtio_balloon; cd $drivers; device=$(echo virtio*)
		echo $device >unbind
		'"$touch_memory"'
		echo touched; read -r go
		echo $device >$drivers/bind
		read -r go; whole inflated
		dd if=/dev/zero of=big bs=1M count=180 2>/dev/null; echo "dd: $?, $(stat -c %s big) bytes"
		whole squeezed; read -r go
		rm big; echo $device >$drivers/unbind
		dd if=/dev/zero of=big bs=1M count=230 2>/dev/null; whole deflated
		dmesg | grep -i "out of memory"; exit 0'
	says balloon touched 200 && becomes -gt 250
}
inflates() {
	local before
	before=$(used)
	go
	becomes -lt $((before - 150))
}
still_whole() {
	low=$(used)
	go
	says balloon 'inflated, all whole' 200
}
# 192 MiB are less than what it then writes and keeps.
gives_way() {
	says balloon 'squeezed, all whole' 200 && grep -q 'dd: 0, 188743680 bytes' "$work/balloon.out" && becomes -gt $((low + 30))
}
tells() { grep -E 'balloon: [0-9]+ MiB taken; the guest says: [0-9]+ MiB of [0-9]+ free' "$work/balloon.log"; }
deflates() {
	go
	ends $pid 0 200 && grep 'deflated, all whole' "$work/balloon.out" && ! grep -i 'out of memory' "$work/balloon.out"
}

reports() {
	STDIN=$work/go start reports -m 384M --balloon free-page-reporting=on --rng rate=2K -- '
		'"$touch_memory"'
		echo touched; read -r go; whole reported
		cat /sys/class/misc/hw_random/rng_current
		for i in 1 2; do dd if=/dev/hwrng bs=512 count=4 iflag=fullblock 2>/dev/null >random.$i; stat -c "%s random bytes" random.$i; done
		cmp -s random.1 random.2 || echo differ
		dd if=/dev/zero of=junk bs=1M count=220 2>/dev/null; [ "$(tr -d "\0" <junk | wc -c)" = 0 ] && whole "used again"'
	says reports touched 200 && becomes -lt 160		# of at least 252 that were
}
goes_on() { go; ends $pid 0 200 && grep 'reported, all whole' "$work/reports.out" && grep 'used again, all whole' "$work/reports.out"; }
random() {
	grep virtio_rng "$work/reports.out" && [ "$(grep -c '2048 random bytes' "$work/reports.out")" = 2 ] && grep differ "$work/reports.out"
}

check 'a guest without its balloon uses its memory'  begin
check 'the balloon takes memory, the host has it'    inflates
check 'the guest goes on, other memory unharmed'     still_whole
check 'short of memory, the guest takes some back'   gives_way
check 'it says how it is doing'                      tells
check 'without the balloon it has all again'         deflates
check 'free memory is reported, the host has it'     reports
check 'that guest goes on, and uses it again'        goes_on
check '/dev/hwrng gives bytes, at a limited rate'    random
finish
