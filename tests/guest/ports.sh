#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Ports of the console that lead to sockets, files and pseudo-terminals, in a guest whose console is a terminal that changes its size;
# and a guest whose console is a socket. BYTES goes through a port and back.
# test: limit = 600
. "$(dirname "$0")/lib.sh"
far="$root/tests/guest/ports.py"
bytes=${BYTES-100000000}

# In the guest, reading a port finds its end as long as Linux has not heard that somebody is at the other side, be there bytes already
# or not; and when it is closed, Linux drops the bytes that have come. So the port is held open, and read until all is there.
begin() {
	prepare -m 512M --console "port=in,socket=$work/in" --console "port=back.again,socket=$work/back" \
		--console "port=log,file=$work/log" --console port=tty,pty -- '
		stty -opost; trap "stty size; resized=1" WINCH
		cd /dev/virtio-ports; mount -o remount,size=100% /tmp
		echo $(ls); stty size
		: >/tmp/data; exec 4<in; until [ "$(wc -c </tmp/data)" = '"$bytes"' ]; do cat <&4 >>/tmp/data; sleep 0.1; done
		exec 4<&-; md5sum </tmp/data
		cat /tmp/data >back.again
		exec 5<>tty; until read -r line <&5; do sleep 0.1; done; echo "the guest has $line" >&5
		cat /proc/version >log; echo last words >log
		echo resize me; until [ "$resized" ]; do sleep 0.1; done; exit 7'
	"$far" terminal "${launch[@]}" >"$work/ports.out" 2>"$work/ports.log" </dev/null &
	pid=$!
	head -c "$bytes" /dev/urandom >"$work/data"
	says ports 'back.again in log tty' 200 && says ports '33 111' 200
}
there() {
	"$far" send "$work/in" <"$work/data" && says ports "$(md5sum <"$work/data" | cut -c-32)" 200
}
back() {
	timeout 200 "$far" receive "$work/back" "$bytes" | cmp - "$work/data"
}
# In a shell of its own, which leads no session: it must not get this terminal for its own.
terminal() (
	local path line
	path=$(tr -d '\r' <"$work/ports.out" | sed -n 's/.*port tty is //p')
	exec 7<>"$path"
	echo hello >&7
	read -r -t 60 line <&7
	exec 7>&-
	echo "$path: $line"
	[ "$line" = 'the guest has hello' ]
)
resized() { says ports 'resize me' 200 && says ports '44 122' 200 && ends $pid 7 200; }
logged() { cat "$work/log"; grep -q '^Linux version' "$work/log" && [ "$(tail -n 1 "$work/log")" = 'last words' ]; }
swept() { [ ! -e "$work/in" ] && [ ! -e "$work/back" ]; }

by_socket() {
	local tries
	prepare --console "socket=$work/console" -- none
	"${launch[@]::${#launch[@]}-4}" >"$work/socket.out" 2>"$work/socket.log" </dev/null &
	pid=$!
	for ((tries = 1000; tries > 0; tries--)); do
		[ -S "$work/console" ] && break
		sleep 0.1
	done
	# shellcheck disable=SC2016  # for the guest
	timeout 200 "$far" shell "$work/console" 'tty; echo $((6 * 7))2; exit 5' >"$work/typed"
	cat "$work/typed"
	grep -q '^/dev/hvc0' "$work/typed" && grep -q '^422' "$work/typed" && [ ! -s "$work/socket.out" ] && ends $pid 5 200
}

check 'a guest has ports by their names, and the terminal'"'"'s size'  begin
check "$bytes bytes go in through a socket"     there
check 'and come back through another'           back
check 'a pseudo-terminal takes lines both ways' terminal
check 'a terminal that is resized tells'        resized
check 'a file has what was written to its port' logged
check 'the sockets are gone with the guest'     swept
check 'the console is a socket'                 by_socket
finish
