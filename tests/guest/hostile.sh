#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Guests that are hostile to their devices: one overwrites the rings of its drivers while they work, the other drives all devices by
# no rule, over and over. Their launcher goes on, holds no more than before, and tells which devices it stopped; another guest, the
# files of the host and the host itself are unharmed. SEED makes other choices. Outside, this builds the module hostile for the guest's
# kernel; inside, it is `hostile.sh inside`.
# test: where = outside
# test: limit = 900
root=$(cd "$(dirname "$0")/../.." && pwd)
built=$root/build/tests/guest/misbehave
if [ "${1-}" != inside ]; then
	set -e
	"$root/tests/guest/misbehave/build" >/dev/null
	eval "options=(${HOST_OPTIONS-})"
	exec "$root/tests/host-vm/run" --kernel "${HOST_KERNEL:-6.12}" --cpu "${HOST_CPU:-max}" --append "${HOST_APPEND-}" \
		--name "${HOST_NAME:-hostile}" --timeout $((800 * ${PATIENCE:-1})) --env "SEED=${SEED:-1}" "${options[@]}" \
		-- 'exec tests/guest/hostile.sh inside'
fi
. "$(dirname "$0")/lib.sh"
export XDG_RUNTIME_DIR=$work

WITH=$built/hostile.ko
SEED=${SEED:-1}
echo "seed $SEED"
# Two disks that are whole afterwards, and one that the guest may write to, but not behind its end.
truncate -s 8M "$work/disk.img"
head -c 4M /dev/urandom >"$work/read-only.img"
head -c 4M /dev/urandom >"$work/snapshot.img"
(cd "$work" && md5sum read-only.img snapshot.img >sums)

# descriptors, threads but those of io_uring, and KiB that are not the guest's
held() {
	local thread threads=0
	for thread in /proc/$pid/task/*/comm; do
		[[ $(cat "$thread" 2>/dev/null) == iou-* ]] || threads=$((threads + 1))
	done
	echo "$(ls /proc/$pid/fd | wc -l) $threads $(awk '/^RssAnon/ { print $2 }' /proc/$pid/status)"
}
# hostile NAME HOW: it comes to an end that its launcher reports, and holds little meanwhile
hostile() {
	local name=$1 fds threads memory before=() most=(0 0 0) tenths room=16384
	! sanitized || room=262144
	start "$name" -n "$name" --log "file=$work/$name.launcher" -m 160M --disk "path=$work/disk.img,queues=2" \
		--disk "path=$work/read-only.img,ro,aio=threads" --disk "path=$work/snapshot.img,snapshot" --net user --net link=hostile \
		--rng rate=1M --balloon size=16M,free-page-reporting --console "port=log,file=$work/$name.port" -- "
		ip addr add 10.0.2.15/24 dev eth0; ip link set eth0 up; ip link set eth1 up
		for disk in vda vdc; do while :; do dd if=/dev/zero of=/dev/\$disk bs=16k oflag=direct; done & done
		while dd if=/dev/vdb of=/dev/null bs=16k iflag=direct; do :; done &
		while :; do cat /proc/kallsyms; done >/dev/virtio-ports/log & cat /dev/hwrng >/dev/null & ping -q 10.0.2.2 &
		sleep 1; echo all at work >/dev/kmsg; sleep 3; exec >/dev/null 2>&1; insmod $built/hostile.ko how=$2 seed=$SEED"
	says "$name" "all at work" 100 || return
	read -r -a before < <(held)
	for ((tenths = 2000 * patience; tenths > 0; tenths--)); do
		read -r fds threads memory < <(held 2>/dev/null)
		[ -n "${memory-}" ] || break
		most=($((fds > most[0] ? fds : most[0])) $((threads > most[1] ? threads : most[1])) $((memory > most[2] ? memory : most[2])))
		kill -0 $pid 2>/dev/null || break
		sleep 0.2
	done
	ends $pid '@(42|254|255)' 60 || { tail -n 40 "$work/$name.launcher" "$work/$name.log"; return 1; }
	grep -a 'hostile: ' "$work/$name.log"
	# Unlucky guests do not survive themselves.
	grep -aq 'hostile: done' "$work/$name.log" || grep -E 'guest (panicked|killed): ' "$work/$name.launcher" || return
	echo "descriptors, threads, KiB: first ${before[*]}, at most ${most[*]}"
	[ "${most[0]}" -le $((before[0] + 16)) ] && [ "${most[1]}" -le $((before[1] + 4)) ] && [ "${most[2]}" -le $((before[2] + room)) ]
}
# stopped NAME: its launcher's log has a line for each device that stopped, and not a thousand
stopped() {
	local name=$1 slot devices=(console balloon net0 net1 disk0 disk1 disk2 rng)
	grep -o 'message="[^"]*stopped until .*' "$work/$name.launcher" | cut -c1-120 | sort | uniq -c | sort -rn
	[ "$(wc -l <"$work/$name.launcher")" -lt 300 ] || return
	for slot in "${!devices[@]}"; do
		if ! grep -aqE "hostile: (virtio|slot )$slot, ID .* stopped" "$work/$name.log"; then
			grep -aq 'hostile: done' "$work/$name.log" && echo "${devices[slot]} goes on" && return 1
			break		# the guest did not come that far
		fi
		grep -q "message=\"${devices[slot]}: stopped until the guest resets it: " "$work/$name.launcher" || return
	done
}
unharmed() {
	(cd "$work" && md5sum -c sums) && [ "$(stat -c %s "$work/disk.img")" = 8388608 ]
}
nothing_left() { lguest list && ! find "$work/lguest" ! -type d | grep .; }
goes_on() { echo >&8; ends "$witness" 9 60; }

mkfifo "$work/tell"
exec 8<>"$work/tell"
cp "$work/snapshot.img" "$work/witness.img"
STDIN=$work/tell start witness -n witness -m 128M --disk "path=$work/witness.img,ro" --net link=hostile -- 'ip link set eth0 up; echo begun
	while ! read -t 0 line; do dd if=/dev/vda iflag=direct bs=64k 2>/dev/null | md5sum >>/tmp/sums; done
	[ $(sort -u /tmp/sums | wc -l) = 1 ] && exit 9'
witness=$pid
check 'a witness runs'                               says witness begun
check 'a guest scribbles on the rings of its drivers'  hostile scribbler scribble
cat "$work/output"
check 'its devices have stopped'                     stopped scribbler
check 'another one drives all devices by no rule'    hostile driver drive
cat "$work/output"
check 'its devices have stopped, often'              stopped driver
check 'the files of the host are unharmed'           unharmed
check 'the witness goes on, and ends well'           goes_on
check 'nothing is left of the guests'                nothing_left
check 'the module unloads'                           rmmod lg
finish
