#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# What a throw-away host logs counts: one that warned has failed, whatever its command's status, and one whose emulator tripped over
# its text patching says so, for it is worth another try.
# test: where = outside
# test: limit = 200
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)

# ends LINE STATUS: a host that logs LINE ends the run with STATUS
ends() {
	local said status=0
	said=$("$root/tests/host-vm/run" --kernel "${HOST_KERNEL:-6.12}" --cpu "${HOST_CPU:-max}" --append "${HOST_APPEND-}" \
		--name "${HOST_NAME:-health}" --timeout $((60 * ${PATIENCE:-1})) -- "echo '$1' >/dev/kmsg" 2>&1) || status=$?
	[ $status = "$2" ] && echo "ok a host that logs '$1' ends with $2" && return
	echo "$said"
	echo "status $status"
	echo "not ok a host that logs '$1' ends with $2"
	failures=1
}

failures=0
ends 'all is well' 0
ends 'WARNING: CPU: 0 PID: 1 at nowhere' 125
ends 'Oops: int3: 0000 [#1]' 123
exit $failures
