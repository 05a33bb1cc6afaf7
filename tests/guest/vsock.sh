#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Sockets between guest and host by the host's vhost-vsock: files pass in both directions, also at once, before and after the driver
# lets go of the device, and after a reboot inside the sandbox.
# test: limit = 400
. "$(dirname "$0")/lib.sh"

modprobe -q vhost_vsock && [ -c /dev/vhost-vsock ] || { echo 'this host has no vhost_vsock'; exit 77; }
cid=77
dd if=/dev/urandom of="$work/data" bs=1M count=8 2>/dev/null
sum=$(md5sum <"$work/data")

# The guest says when it listens; 1: takes a file, 2: sends one to who listens on the host, 3: sends back what it gets.
serve='
	cd /tmp
	socat -u VSOCK-LISTEN:1001 OPEN:data,creat & take=$!
	socat -t 60 VSOCK-LISTEN:1003,fork EXEC:cat &
	echo "listening $1"
	wait $take && md5sum <data
	socat -u OPEN:data VSOCK-CONNECT:2:1002 && echo "sent $1"'
command="serve() { $serve
	}
	device=\$(basename \$(ls -d /sys/bus/virtio/drivers/vmw_vsock_virtio_transport/virtio*)); echo \"device \$device\"
	serve 1
	cd /sys/bus/virtio/drivers/vmw_vsock_virtio_transport && echo \$device >unbind && echo \$device >bind && killall socat
	serve 2
	socat -u VSOCK-LISTEN:1004 OPEN:/tmp/word,creat; echo \"word \$(cat /tmp/word)\"
	busybox reboot -f"

passes() {	# ROUND
	says guest "listening $1" 120 || return
	socat -u VSOCK-LISTEN:1002 "OPEN:$work/back.$1,creat" &
	local listener=$!
	timeout 120 socat -u "OPEN:$work/data" VSOCK-CONNECT:$cid:1001,retry=60 && says guest "sent $1" 120 && wait $listener || return
	[ "$(md5sum <"$work/back.$1")" = "$sum" ] && [ "$(grep -c "^$sum" "$work/guest.out")" = "$1" ]
}
at_once() { [ "$(timeout 120 "$root/tests/guest/vsock.py" $cid 1003 <"$work/data" | md5sum)" = "$sum" ]; }
passes_at_once() { says guest 'listening 1' 120 && at_once; }
reboots() {
	echo again | timeout 120 socat -u - VSOCK-CONNECT:$cid:1004,retry=60 && says guest 'word again' 30 || return
	local tenths
	for ((tenths = 900 * patience; tenths > 0; tenths--)); do
		[ "$(grep -c 'listening 1' "$work/guest.out")" = 2 ] && break
		kill -0 "$pid" || return
		sleep 0.1
	done
	at_once
}
# A socket whose other end has gone is closed in its own time, and holds the module until then.
unloads() {
	local seconds
	for ((seconds = 60 * patience; seconds > 0; seconds--)); do
		modprobe -r vhost_vsock && break
		sleep 1
	done
	[ "$seconds" != 0 ] && rmmod lg
}
ends_in_time() { kill -TERM "$pid" && ends "$pid" 143 15; }

WITH=socat start guest -n guest --vsock cid=$cid -- "$command"
check 'both directions at once'                          passes_at_once
check 'a file to the guest, and back'                    passes 1
check 'the same when the driver comes again'             passes 2
check 'no request passes the launcher'                   handed_over guest vsock
check 'an address in use is one line, before it starts'  expect 1 "lguest: --vsock cid=$cid: another guest of this host has it: choose another" \
	sh -c "lguest run --vsock cid=$cid -- true 2>&1"
check 'after a reboot in the sandbox'                    reboots
check 'the guest ends'                                   ends_in_time
check 'and its address is free'                          sh -c "! socat -u VSOCK-CONNECT:$cid:1003 - 2>/dev/null"
check 'the modules unload'                               unloads
finish
