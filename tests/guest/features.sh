#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The programs of this folder, one after another in one guest, then the guest's log and its modules. Each prints its own lines.
# ONLY='NAME...' runs those programs, each with the word after a colon as a filter: ONLY='memory:write fpu'.
# test: limit = 900
. "$(dirname "$0")/lib.sh"

programs=$root/build/tests/guest
[ -x "$programs/files" ] || { echo "not ok the programs are not built"; exit 1; }
ONLY=${ONLY-$(cd "$programs" && find . -maxdepth 1 -type f -executable -printf '%f\n' | sort | tr '\n' ' ')}
for name in $ONLY; do
	WITH+=" $programs/${name%%:*}"
done

# In the guest. A program that ends otherwise than by its own verdict is a failure of its own.
commands='
cd /tmp
for name in '$ONLY'; do
	filter=${name#*:}
	[ "$filter" != "$name" ] || filter=
	name=${name%%:*}
	timeout -s KILL 300 $(readlink -f /usr/bin/$name) $filter
	status=$?
	[ $status -le 1 ] || echo "not ok $name: ended with status $status"
done
dmesg | grep -E "WARNING|BUG|Oops|Call Trace|INFO: |rcu:.*stall|unchecked MSR|general protection fault[:,]|double fault" &&
	echo "not ok the guest kernel has nothing to complain about" || echo "ok the guest kernel has nothing to complain about"
modules=$(find /lib/modules -name "*.ko*" 2>/dev/null | sed "s|.*/||; s|\.ko.*||")
if [ -n "$modules" ]; then
	for module in $modules; do
		modprobe $module && modprobe -r $module || echo "$module does not load and unload"
	done | grep . && echo "not ok modules load and unload" || echo "ok modules load and unload"
fi
echo the end'

guest -m 512M -- "$commands" | tee "$work/output"
[ "${PIPESTATUS[0]}" = 0 ] && grep -q '^the end' "$work/output" && echo 'ok the guest came to its end' && exit
tail -n 40 "$guest_log"
echo 'not ok the guest came to its end'
exit 1
