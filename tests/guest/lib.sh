# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What the scripts of this folder share; sourced by them, inside the throw-away host. ../README.md has the conventions.

set -u
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
guest_log=$work/guest.log	# what the last guest's kernel and launcher said

# guest [lguest-run-option...] -- COMMAND: runs COMMAND in a guest. stdout and status are the command's, kernel and launcher
# messages go to $guest_log. WITH names programs to take along.
guest() {
	local options=() initrd
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	initrd=$(mktemp "$work/initrd.XXXX")
	# shellcheck disable=SC2086  # a list of programs
	cp "$("$root/guest-paravirt/initramfs/build" "$root/build/guest-initramfs" ${WITH-})" "$initrd"
	"$root/guest-paravirt/initramfs/append-command" "$initrd" "$2"
	lguest run --kernel "$root/build/guest-kernel/vmlinux" --initrd "$initrd" --append "console=lg0 ${APPEND-}" \
		"${options[@]}" 2>"$guest_log" </dev/null
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

finish() { exit $failures; }
