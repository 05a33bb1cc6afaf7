#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Running guests are managed by name: list, stat, pause and resume, stop, kill, console; signals to the launcher; a guest
# in the background; a reboot inside the sandbox; an unprivileged user.
# test: limit = 500
. "$(dirname "$0")/lib.sh"
unset XDG_RUNTIME_DIR

chmod 711 "$work"
polite='trap "echo goodbye; exit 3" TERM; echo ready; while :; do read -r up rest </proc/uptime; echo "tick $up"; sleep 0.2; done'
stubborn='trap "" TERM; echo ready; while :; do sleep 1; done'

ticks() { grep -c tick "$work/one.out"; }
state() { lguest list | awk -v name="$1" '$1 == name { print $3 }'; }
# goes_from COUNT: more ticks come
goes_from() {
	local tenths
	for ((tenths = 300; tenths > 0; tenths--)); do
		[ "$(ticks)" -gt "$1" ] && return
		sleep 0.1
	done
	return 1
}
is_gone() { ! lguest list | grep -w "$1"; }

listed() {
	lguest list
	[ "$(state one) $(state two)" = 'running running' ] &&
		lguest list --json | grep -q "\"name\":\"one\",\"pid\":$one,\"state\":\"running\",\"memory\":134217728,\"vcpus\":1,"
}
refused() {	# STATUS TEXT COMMAND...
	local status=0 output
	output=$("${@:3}" 2>&1) || status=$?
	echo "$status: $output"
	[ "$status" = "$1" ] && [[ $output == *"$2"* ]]
}
counted() {
	lguest stat one >"$work/stat" || return
	cat "$work/stat"
	grep -qE '^guest.name +one$' "$work/stat" && grep -qE '^devices.0.name +console$' "$work/stat" &&
		grep -qE '^module.enters +[1-9]' "$work/stat" && grep -qE '^devices.0.queues.[0-9]+.bytes_out +[1-9]' "$work/stat" &&
		grep -qE '^launcher.resident +[1-9]' "$work/stat" && lguest stat one --json | grep -q '"module":{"enters":'
}
stands_still() {
	lguest pause one || return
	local before
	before=$(stat -c %s "$work/one.out")
	sleep 3
	[ "$(state one)" = paused ] && [ "$(stat -c %s "$work/one.out")" = "$before" ]
}
resumes() {
	local before
	before=$(ticks)
	lguest resume one && goes_from "$before" && [ "$(state one)" = running ]
}
clock_is_fine() {
	grep tick "$work/one.out" | awk '$2 < last { print "back to " $2 " from " last; bad = 1 } { last = $2 } END { exit bad }'
}
# 200 rounds on one connection; the launcher holds no more descriptors and threads than before, nor more than 1 MiB of memory.
cycles() {
	python3 - /tmp/lguest-0/one.sock "$one" <<-'END'
	import json, os, socket, sys
	path, pid = sys.argv[1:]
	connection = socket.socket(socket.AF_UNIX)
	connection.connect(path)
	replies = connection.makefile()
	def ask(command):
	    connection.sendall(json.dumps({"command": command}).encode() + b"\n")
	    reply = json.loads(replies.readline())
	    assert reply["ok"], reply
	    return reply
	def held():
	    return (len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task")), ask("stat")["launcher"]["resident"])
	ask("stat")		# we have been let in
	before = held()
	for _ in range(200):
	    ask("pause"), ask("stat"), ask("resume")
	after = held()
	print(before, after)
	sys.exit(after[:2] != before[:2] or after[2] > before[2] + (1 << 20))
	END
}
bears_hostile_clients() {
	python3 - <<-'END' || return
	import socket
	kept = []
	for number in range(60):
	    client = socket.socket(socket.AF_UNIX)
	    client.connect("/tmp/lguest-0/one.sock")
	    client.settimeout(30)
	    kept.append(client)
	    try:
	        client.sendall([b"", b"{", b"x" * 100000, b"\n" * 3000, b'{"command":"stop","timeout":-5}\n'][number % 5])
	    except OSError:
	        pass
	END
	[ "$(state one)" = running ] && goes_from "$(ticks)"
}
stops_in_order() {
	lguest stop one --timeout 60 || return
	ends $one 0 10 && tail -n 1 "$work/one.out" | grep -qx goodbye && is_gone one
}
a_second_signal_forces() {
	kill -TERM $two
	sleep 1
	kill -0 $two || return	# it has its time
	kill -TERM $two
	ends $two 143 5
}
stale_sockets_go() {
	python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("/tmp/lguest-0/stale.sock")'
	is_gone stale && [ ! -e /tmp/lguest-0/stale.sock ]
}
detaches() {
	[ "$(lguest run -d -n three -m 128M --log "level=debug,file=$work/three.log")" = three ] && [ "$(state three)" = running ]
}
# shows TEXT [KEYS]: the console of the guest three does, sooner or later
shows() {
	local tries
	for ((tries = 0; tries < 40; tries++)); do
		{ [ -z "${2-}" ] || printf '%s\n' "$2"; sleep 1; } | lguest console three >"$work/console" 2>/dev/null
		grep -q -- "$1" "$work/console" && return
	done
	tail -n 20 "$work/console"
	return 1
}
has_a_console() { shows 'answer-42' 'echo answer-$((40 + 2))'; }
reboots() {
	pid=$(lguest list | awk '$1 == "three" { print $2 }')
	shows 'stays-7' 'echo stays-$((3 + 4)); mkdir -p /run/first' || return
	printf 'busybox reboot -f\n' | lguest console three >/dev/null
	sleep 3
	# The same launcher, another kernel.
	shows 'second-1' '[ -e /run/first ] || echo second-$((0 + 1))' &&
		[ "$(lguest list | awk '$1 == "three" { print $2 }')" = "$pid" ] && grep -q 'in the sandbox' "$work/three.log"
}
is_killed() {
	lguest kill three && is_gone three && ! kill -0 "$pid" 2>/dev/null
}
unprivileged() {
	ordinary_user
	prepare -n four -m 128M -- "$polite"
	"${as_nobody[@]}" "${launch[@]}" >"$work/four.out" 2>"$work/four.log" </dev/null &
	pid=$!
	says four ready && "${as_nobody[@]}" lguest list | grep -qw four && is_gone four
}
terminates_in_order() {
	kill -TERM $pid
	ends $pid 143 20 && tail -n 1 "$work/four.out" | grep -qx goodbye
}
holds_no_privileges() {
	grep -E 'NoNewPrivs|Seccomp:' "/proc/$one/status"
	[ "$(grep -cE 'NoNewPrivs:.1|Seccomp:.2' "/proc/$one/status")" = 2 ]
}

start one -n one -m 128M -- "$polite"
one=$pid
check 'a guest with a name runs'                   says one ready
start two -n two -m 128M -- "$stubborn"
two=$pid
check 'and another'                                says two ready
check 'both are listed'                            listed
check 'a name is taken once'                       refused 1 "a guest named 'one' runs already" lguest run -n one
check 'a guest that is not there'                  refused 1 "no guest named 'none' runs" lguest stop none
check 'there is no balloon'                        refused 1 'no balloon' lguest balloon one 16M
check 'its console is elsewhere'                   refused 1 'only a guest started with --detach' lguest console one
check 'it is in its sandbox'                       holds_no_privileges
check 'its counters'                               counted
check 'a paused guest stands still'                stands_still
check 'twice is too much'                          refused 1 'paused already' lguest pause one
check 'SIGTERM: a stubborn guest has its time; a second one forces'  a_second_signal_forces
check 'a stale socket goes'                        stale_sockets_go
check 'a guest in the background'                  detaches
check 'its console'                                has_a_console
check 'the paused guest goes on'                   resumes
check 'pause, stat, resume: 200 times, nothing lost' cycles
check 'hostile clients'                            bears_hostile_clients
check 'its clock went forwards'                    clock_is_fine
check 'it stops in order'                          stops_in_order
check 'no complaint about the pause'               expect 1 '' grep -E 'rcu.*stall|soft lockup|blocked for more|Marking clocksource' "$work/one.log"
check 'a reboot keeps name and process'            reboots
check 'it is killed'                               is_killed
check 'an unprivileged user has guests of their own' unprivileged
check 'SIGTERM lets a guest shut down'             terminates_in_order
check 'the module unloads'                         rmmod lg
finish
