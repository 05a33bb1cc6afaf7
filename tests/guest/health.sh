#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# What a throw-away host logs counts: one that warned has failed, whatever its command's status, and one whose emulator tripped over
# its text patching says so, for it is worth another try. A command that nobody listens to any more ends as it would here.
# TCG everywhere: only its text patching is ever worth another try.
# test: where = outside
# test: limit = 250
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)

on_host() {
	"$root/tests/host-vm/run" --accel tcg --kernel "${HOST_KERNEL:-6.12}" --cpu "${HOST_CPU:-max}" --append "${HOST_APPEND-}" \
		--name "${HOST_NAME:-health}" --timeout $((60 * ${PATIENCE:-1})) -- "$1"
}
# verdict NAME STATUS EXPECTED
verdict() {
	[ "$2" = "$3" ] && echo "ok $1" && return
	echo "status $2 instead of $3"
	echo "not ok $1"
	failures=1
}
# ends LINE STATUS: a host that logs LINE ends the run with STATUS
ends() {
	local said status=0
	said=$(on_host "echo '$1' >/dev/kmsg" 2>&1) || status=$?
	[ $status = "$2" ] || echo "$said"
	verdict "a host that logs '$1' ends with $2" $status "$2"
}

failures=0
ends 'all is well' 0
ends 'WARNING: CPU: 0 PID: 1 at nowhere' 125
ends 'Oops: int3: 0000 [#1]' 123
on_host 'exec yes' | head -n 1
verdict 'a command whose reader went away ends' "${PIPESTATUS[0]}" 141
exit $failures
