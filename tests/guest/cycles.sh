#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# 200 guests (COUNT says how many) with all kinds of devices start and end, in all the ways there are to end: afterwards the host has
# as many descriptors, processes, threads, sockets, files and as much memory as before. Most are kernels of a few instructions
# (tiny/kernel.S): what is tried here is the launcher and the module; some are Linux. Those that are interrupted, and Linux, have a
# share too: each comes with a process.
# test: limit = 900
. "$(dirname "$0")/lib.sh"
export XDG_RUNTIME_DIR=$work/run TMPDIR=$work/tmp

tiny=$root/build/tests/guest/tiny
count=${COUNT-200}
mkdir -m 700 "$work/run" "$work/tmp"
mkdir "$work/shared"
truncate -s 8M "$work/disk.img" "$work/other.img" "$work/snapshot.img"
: >"$work/initrd"
devices=(--disk "path=$work/disk.img,queues=2" --disk "path=$work/other.img,aio=threads" --disk "path=$work/snapshot.img,snapshot"
	--net user --net link=cycles --rng --balloon size=16M --console "port=socket,socket=$work/run/port"
	--console port=pty,pty --console "port=file,file=$work/run/file")
share=(--share "tag=shared,path=$work/shared")
# What the host's kernel serves.
if modprobe -q vhost_vsock; then
	devices+=(--vsock cid=88)
fi
if modprobe -q tun && modprobe -q vhost_net; then
	devices+=(--net tap=lgcycles,vhost=on)
fi

# tiny_guest KERNEL [OPTION...]: in the background; $pid
tiny_guest() {
	env --default-signal=INT lguest run -n tiny -m 64M --kernel "$tiny/$1" --initrd "$work/initrd" "${devices[@]}" "${@:2}" \
		>/dev/null 2>"$work/tiny.log" </dev/null &
	pid=$!
}
# ended STATUS COMMAND...: the guest that runs on ends so after COMMAND
ended() {
	local status=0
	until "${@:2}" 2>/dev/null || ! kill -0 $pid 2>/dev/null; do
		sleep 0.05
	done
	wait $pid || status=$?
	[ $status = "$1" ] && return
	echo "'${*:2}' ended the guest with status $status instead of $1:"
	cat "$work/tiny.log"
	return 1
}
# As soon as it has its control socket: somewhere between its first steps and a guest that runs.
killed_by() { [ -S "$work/run/lguest/tiny.sock" ] && kill -"$1" $pid; }
stopped() { lguest stop tiny --timeout 0; }
killed() { lguest kill tiny; }

cycles() {
	local i
	for i in $(seq "$1"); do
		case $((i % 10)) in
		2) tiny_guest sleep && ended 137 killed ;;
		4) tiny_guest sleep && ended 143 stopped ;;
		6) tiny_guest sleep && ended 137 killed_by KILL ;;
		8) tiny_guest sleep "${share[@]}" && ended 130 killed_by INT ;;
		*) tiny_guest off && ended 7 true ;;
		esac || { echo "cycle $i"; return 1; }
	done
}
linux() {
	start linux -n linux -m 128M "${devices[@]}" "${share[@]}" -- 'mount -t virtiofs shared /mnt && ls /mnt
		ip link set eth1 up; dd if=/dev/zero of=/dev/vda bs=64k count=16 oflag=direct
		echo x >/dev/virtio-ports/file; head -c 100 /dev/hwrng >/dev/null; echo at work; sleep 1000'
	says linux '^at work' || return
	case $1 in
	stop) lguest stop linux --timeout 60 && ends $pid 0 60 ;;
	term) kill -TERM $pid && ends $pid 143 60 ;;
	kill) kill -KILL $pid && ends $pid 137 10 ;;
	esac
}
# What a launcher that was killed could not remove, who comes next has removed; names of guests and links are free again.
nothing_is_left() {
	lguest list >/dev/null
	! find "$work/run" "$work/tmp" ! -type d ! -name file | grep . && ! pgrep -l 'lguest|virtiofsd'
}
# not_empty FILE...: how many of these files of /proc. Read by this shell: the programs of a pipeline would count themselves, or not.
not_empty() {
	local file text count=0
	for file; do
		text=
		IFS= read -r -d '' text 2>/dev/null <"$file"
		[ -z "$text" ] || count=$((count + 1))
	done
	echo $count
}
# NAME NUMBER: what the host has of things that can be left behind
inventory() {
	settle
	echo "descriptors $(cut -f1 /proc/sys/fs/file-nr)"
	echo "sockets $(wc -l </proc/net/unix)"
	echo "internet $(cat /proc/net/{tcp,udp,tcp6,udp6} | wc -l)"
	echo "processes $(not_empty /proc/[0-9]*/cmdline)"
	echo "threads $(not_empty /proc/[0-9]*/task/*/cmdline)"
	echo "vhost $(pgrep -c vhost-)"
	echo "terminals $(cat /proc/sys/kernel/pty/nr)"
	echo "inotify $(find /proc/[0-9]*/fd -lname 'anon_inode:*' 2>/dev/null | wc -l)"
	echo "uses $(cat /sys/module/lg/refcnt)"
	echo "shmem $(awk '/^Shmem:/ { print int($2 / 1024) }' /proc/meminfo)"
}
# As before, but for what a host does of itself: the kernel counts descriptors late.
as_before() {
	inventory >"$work/after"
	paste -d ' ' "$work/before" "$work/after" | awk '{ print $1, $2, "->", $4 }
		$4 > $2 + ($1 == "descriptors" ? 64 : $1 == "shmem" ? 1 : 0) { print "more " $1; bad = 1 } END { exit bad }'
}

check 'each way to end once, to warm up'                 cycles 10
check 'Linux, stopped'                                   linux stop
inventory >"$work/before"
kept=$(kept_kb)
check "$count guests start and end"                      cycles $count
check 'Linux, stopped'                                   linux stop
check 'Linux, terminated'                                linux term
check 'Linux, killed'                                    linux kill
check 'and once more, after it'                          linux stop
check 'no socket, no file and no process is left'        nothing_is_left
check 'the host has as much of everything as before'     as_before
cat "$work/output"
[ $patience != 1 ] || check 'its memory is back where it was'  back_to "$kept"
cat "$work/output"
check 'the module unloads'                               rmmod lg
finish
