#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# A broken guest stops alone, and says why; another guest and the host go on. Signals to the launcher always work. Outside, this builds
# the module misbehave for the guest's kernel; inside, it is `broken.sh inside`.
# test: where = outside
# test: limit = 900
root=$(cd "$(dirname "$0")/../.." && pwd)
built=$root/build/tests/guest/misbehave
if [ "${1-}" != inside ]; then
	set -e
	"$root/tests/guest/misbehave/build" >/dev/null
	exec "$root/tests/host-vm/run" --kernel "${HOST_KERNEL:-6.12}" --cpu "${HOST_CPU:-max}" --append "${HOST_APPEND-}" \
		--name "${HOST_NAME:-broken}" --timeout $((800 * ${PATIENCE:-1})) -- 'exec tests/guest/broken.sh inside'
fi
. "$(dirname "$0")/lib.sh"

WITH=$built/misbehave.ko
insert="insmod $built/misbehave.ko"

# dies STATUS TEXT COMMAND: the guest ends so, and its messages hold TEXT (an extended regular expression)
dies() {
	local status=0
	prepare -- "$3"
	timeout $((60 * patience)) "${launch[@]}" >/dev/null 2>"$guest_log" </dev/null || status=$?
	tail -n 5 "$guest_log"
	echo "status $status"
	# shellcheck disable=SC2053  # a pattern
	[[ $status == $1 ]] && grep -qE "$2" "$guest_log"
}
# stops SIGNAL STATUS SECONDS COMMAND: whatever the guest does
stops() {
	start stopped -- "echo started; $4"
	says stopped started || return
	sleep 3
	kill -"$1" $pid
	ends $pid "$2" "$3"
}
goes_on() {
	[ "$(cat "$work/witness.out")" = begun ] && kill -0 "$witness"
}

# All the while a second guest works; it ends well when told to.
mkfifo "$work/tell"
exec 8<>"$work/tell"
STDIN=$work/tell start witness -n witness -- 'echo begun
	while ! read -t 0 line; do echo "$(seq 3000)" | md5sum >>/tmp/sums; done
	[ $(sort -u /tmp/sums | wc -l) = 1 ] && exit 9'
witness=$pid
check 'the witness runs'                                  says witness begun

check 'a module that behaves'                             expect 0 '' guest -- "$insert && rmmod misbehave"
check 'panic by sysrq: 255, and the text'                 dies 255 'sysrq triggered crash' 'echo c >/proc/sysrq-trigger'
check 'kernel stack overflow: 254 or 255'                 dies '25[45]' 'stack|double fault|panic|killed|stopped' "$insert how=stack"
check 'overwritten page tables: 254 or 255'               dies '25[45]' 'panic|killed|stopped' "$insert how=tables"
check 'CR3 outside memory: 254, 255, or only the culprit'  dies '@(139|254|255)' 'panic|killed|stopped|Oops' "$insert how=cr3"
check 'random hypercalls, 200000: the launcher reports'    dies '*' '.' "$insert how=calls"
check 'the witness goes on'                               goes_on
check 'SIGTERM shuts an idle guest down'                  stops TERM 143 10 'sleep 1000'
check 'SIGINT ends a busy guest within a second'          stops INT 130 1 'while :; do :; done'
check 'SIGTERM ends one that spins, interrupts off'       stops TERM 143 2 "$insert how=spin"
check 'SIGKILL ends one that spins, interrupts off'       stops KILL 137 1 "$insert how=spin"
echo now >&8
check 'the witness ends well'                             ends $witness 9 30
exec 8>&-
check 'the module unloads'                                rmmod lg
finish
