# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What the scripts of this folder share; sourced by them, inside the throw-away host. ../README.md has the conventions.

set -u
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$work"' EXIT
guest_log=$work/guest.log	# what the last guest's kernel and launcher said
case $(uname -r) in
*-debug) patience=4 ;;	# all times here are that much longer; run-tests has the same number
*) patience=1 ;;
esac

# prepare [lguest-run-option...] -- COMMAND: puts into the array `launch` the command line of a guest that runs COMMAND.
# WITH names programs to take along, APPEND adds to the kernel's command line.
prepare() {
	local options=() initrd=$root/build/guest-initramfs/initramfs.cpio
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	# shellcheck disable=SC2086  # a list of programs
	[ -z "${WITH-}" ] || initrd=$("$root/guest-paravirt/initramfs/build" "$root/build/guest-initramfs" $WITH)
	launch=(lguest run --kernel "$root/build/guest-kernel/vmlinux" --initrd "$initrd" --append "console=lg0 ${APPEND-}" "${options[@]}"
		-- sh -c "$2")
}

# guest [lguest-run-option...] -- COMMAND: runs COMMAND in a guest. stdout and status are the command's; its stderr and what kernel and
# launcher say go to $guest_log; stdin comes from the file STDIN, if that is set.
guest() {
	prepare "$@"
	"${launch[@]}" 2>"$guest_log" <"${STDIN:-/dev/null}"
}

# start NAME [lguest-run-option...] -- COMMAND: the same in the background; its output goes to $work/NAME.out, its messages to
# $work/NAME.log, the launcher's process is $pid. (A shell lets its background processes ignore ^C.)
start() {
	local name=$1
	shift
	prepare "$@"
	: >"$work/$name.out" >"$work/$name.log"	# now: what an earlier one of this name said is not this one's
	env --default-signal=INT,QUIT "${launch[@]}" >"$work/$name.out" 2>"$work/$name.log" <"${STDIN:-/dev/null}" &
	pid=$!
}

# says NAME TEXT [SECONDS]: the guest that was started as NAME prints TEXT, or its kernel does.
says() {
	local tenths
	for ((tenths = ${3:-60} * 10 * patience; tenths > 0; tenths--)); do
		grep -qs -- "$2" "$work/$1.out" "$work/$1.log" && return
		sleep 0.1
	done
	echo "waited in vain for '$2' of $1:"
	tail -n 20 "$work/$1.out" "$work/$1.log"
	return 1
}

# ends PID STATUS SECONDS: the process ends within that time, with that status (a pattern).
ends() {
	local tenths status=0
	for ((tenths = $3 * 10 * patience; tenths > 0; tenths--)); do
		kill -0 "$1" 2>/dev/null || break
		sleep 0.1
	done
	if [ "$tenths" = 0 ]; then
		echo "still there after $(($3 * patience)) s"
		kill -KILL "$1"
		wait "$1"
		return 1
	fi
	wait "$1" || status=$?
	# shellcheck disable=SC2053  # a pattern
	[[ $status == $2 ]] && return
	echo "ended with status $status instead of $2"
	return 1
}

# ordinary_user: puts into the array `as_nobody` what runs a command as a user who has nothing but leave to start guests.
ordinary_user() {
	local folder=$root
	while [ "$folder" != / ]; do
		chmod o+x "$folder" 2>/dev/null
		folder=$(dirname "$folder")
	done
	chmod 666 /dev/lguest
	mkdir "$work/nobody"
	chown nobody "$work/nobody"
	chmod o+rx "$work"		# what cannot be read, cannot be copied in a view
	as_nobody=(setpriv --reuid=nobody --regid=nogroup --clear-groups env "XDG_RUNTIME_DIR=$work/nobody" "HOME=$work/nobody")
}

# handed_over GUEST DEVICE: its first two queues work, and not through the launcher, which has counted no requests.
handed_over() {
	lguest stat "$1" --json | python3 -c 'if True:
		import json, sys
		device = next(d for d in json.load(sys.stdin)["devices"] if d["name"] == sys.argv[1])
		print(device)
		sys.exit(device["status"] != 15 or any(queue["chains"] for queue in device["queues"][:2]))' "$2"
}

# check NAME COMMAND...: one test; what COMMAND printed, and the guest's log, are shown when it fails.
failures=0
check() {
	local name=$1
	shift
	: >"$guest_log"
	if "$@" >"$work/output" 2>&1; then
		echo "ok $name"
	else
		echo "command failed with status $?: $*"
		sed 's/^/  /' "$work/output"
		tail -n 30 "$guest_log" | sed 's/^/  guest: /'
		echo "not ok $name"
		failures=1
	fi
}

# expect STATUS OUTPUT COMMAND...: COMMAND ends with STATUS and prints OUTPUT exactly (a pattern: * and ? match).
expect() {
	local status=$1 pattern=$2 output got=0
	shift 2
	output=$("$@") || got=$?
	printf '%s\n' "$output"
	# shellcheck disable=SC2053  # a pattern
	[ "$got" = "$status" ] && [[ $output == $pattern ]] && return
	echo "expected status $status and '$pattern', got status $got"
	return 1
}

# Whether the launcher is built with sanitizers, which need memory of their own.
sanitized() { ldd "$(command -v lguest)" | grep -qE 'lib[at]san'; }

# --- what the host's kernel holds: in a test that looks for what is lost

settle() {
	sync
	echo 3 >/proc/sys/vm/drop_caches
	echo 1 >/proc/sys/vm/compact_memory
	sleep 2
}
# Pages that a leak could hide in: those of no known use, and those the kernel cannot give back. What a CPU holds ready on lists of
# its own is free; Linux adapts their length, so MemFree and MemAvailable alone rise and fall by megabytes.
kept_kb() {
	awk '/^MemTotal:/ { kept = $2 }
	     /^(MemFree|Buffers|Cached|SwapCached|AnonPages|SReclaimable):/ { kept -= $2 }
	     FILENAME == "/proc/zoneinfo" && $1 == "count:" { kept -= 4 * $2 }
	     END { print kept }' /proc/meminfo /proc/zoneinfo
}
# back_to KB: kept_kb() is no more than that, but for slabs that are not full, which make for some noise
back_to() {
	settle
	local kept
	kept=$(kept_kb)
	echo "kept by the kernel: $1 -> $kept kB"
	[ "$kept" -lt $(($1 + 2048)) ]
}

finish() { exit $failures; }
