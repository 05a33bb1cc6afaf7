#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# What passes between a command in a guest and the shell that started the guest: status, output and input, byte by byte.
# test: limit = 300
. "$(dirname "$0")/lib.sh"

# 257 KiB: each byte value, at each place
bytes='for a in 0 1 2 3; do for b in 0 1 2 3 4 5 6 7; do for c in 0 1 2 3 4 5 6 7; do printf "\\$a$b$c"; done; done; done >/tmp/bytes
       echo -n x >>/tmp/bytes
       for i in 1 2 3 4 5; do cat /tmp/bytes /tmp/bytes >/tmp/twice; cat /tmp/twice /tmp/twice >/tmp/bytes; done; cat /tmp/bytes'
output_is_exact() {
	guest -- "$bytes" >"$work/got"
	busybox sh -c "$bytes" | cmp - "$work/got"
}
input_arrives() {
	seq 20000 >"$work/numbers"
	STDIN=$work/numbers expect 0 "$(md5sum <"$work/numbers")" guest -- md5sum
}
both_ways() {
	printf 'first\nsecond\n' >"$work/lines"
	STDIN=$work/lines expect 3 $'<first>\n<second>' guest -- 'while read -r line; do echo "<$line>"; done; exit 3'
}
closed_output() {
	prepare -- 'while echo much text; do :; done; sleep 1000'
	timeout 60 "${launch[@]}" 2>"$guest_log" </dev/null | head -n 5
	[ "${PIPESTATUS[0]}" != 124 ]
}
# A job of an interactive shell: what is typed is not for it until it comes to the front.
in_the_background() {
	prepare -- 'echo up; read -r line; echo "got $line"; exit 5'
	timeout 120 python3 - "$work/job" "$guest_log" "${launch[@]}" <<-'END'
		import os, pty, signal, sys, time
		output, log, *launch = sys.argv[1:]
		pid, master = pty.fork()
		if pid == 0:
		    child = os.fork()
		    if child == 0:
		        os.setpgid(0, 0)
		        for name, fd in (output, 1), (log, 2):
		            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), fd)
		        os.execvp(launch[0], launch)
		    while not os.path.exists(output) or b"up" not in open(output, "rb").read():
		        ended, status = os.waitpid(child, os.WNOHANG | os.WUNTRACED)
		        if ended:
		            os.kill(child, signal.SIGKILL)
		            os._exit(100)
		        time.sleep(0.1)
		    time.sleep(2)
		    early = b"got" in open(output, "rb").read()
		    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
		    os.tcsetpgrp(0, child)
		    _, status = os.waitpid(child, os.WUNTRACED)
		    os._exit(101 if early else os.waitstatus_to_exitcode(status))
		os.write(master, b"typed\n")
		sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
	END
	local status=$?
	[ $status = 5 ] && grep -qx 'got typed' "$work/job" && return
	echo "status $status"
	cat "$work/job"
	return 1
}

# What is still in the queue when the guest powers off counts, too.
slow_reader() { guest -- 'dd if=/dev/zero bs=1M count=20 2>/dev/null' | { sleep 5; wc -c; }; }

check 'exit status 255'                     expect 255 '' guest -- 'exit 255'
check 'exit status of a missing command'    expect 127 '' guest -- 'no-such-command'
check 'death by signal as a shell tells it' expect 143 '' guest -- 'sh -c "kill \$\$"; exit $?'
check 'output of 257 KiB, any bytes, is exact' output_is_exact
check 'input of 20000 lines'                 input_arrives
check 'lines go in and come out, and end'    both_ways
check 'in the background, and to the front'  in_the_background
check 'a slow reader gets all of 20 MiB'     expect 0 20971520 slow_reader
check 'a closed stdout ends the guest'      closed_output
finish
