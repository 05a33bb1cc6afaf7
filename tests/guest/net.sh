#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Network cards: a user-mode network with forwarded ports, a TAP device in a bridge, the same served by the host's kernel, an open one
# in the hands of an ordinary user, two guests on a link. Files pass by HTTP, in both directions, and arrive unchanged.
# test: limit = 600
. "$(dirname "$0")/lib.sh"

dd if=/dev/urandom of="$work/data" bs=1M count=8 2>/dev/null
sum=$(md5sum <"$work/data")
busybox httpd -p 8080 -h "$work"
export XDG_RUNTIME_DIR=$work

# fetch-and-serve ADDRESS: for a guest. Its sums are compared outside; what it fetched, others can fetch from it.
fetch_and_serve() {
	echo "mkdir /tmp/www && cd /tmp/www && wget -q http://$1:8080/data && md5sum <data
		httpd -p 80 -h /tmp/www && echo serving && sleep 3600"
}
# served_by URL: the file, back from a guest.
served_by() {
	local got
	got=$(timeout 120 busybox wget -q -O - "$1" | md5sum)
	echo "$got"
	[ "$got" = "$sum" ]
}
# The guest started as NAME has printed each TEXT.
printed() {
	local name=$1 text
	shift
	for text; do
		grep -q "$text" "$work/$name.out" || { cat "$work/$name.out"; tail -n 20 "$work/$name.log"; return 1; }
	done
}
stopped() {
	kill -TERM "$1"
	ends "$1" 143 10
}

user() {
	WITH=socat start user -n user --net user,forward=tcp:2222-80+udp:2223-7 -- "socat UDP-LISTEN:7,fork PIPE &
		udhcpc -q -n -i eth0 >/dev/null; ip -4 addr show eth0; cat /etc/resolv.conf
		$(fetch_and_serve 10.0.2.2)"
	says user serving 180 && printed user 'inet 10.0.2.15/24' 'nameserver 10.0.2.3' "^$sum"
}
echoes() {
	exec 5<>/dev/udp/127.0.0.1/2223 && echo datagram >&5 || return
	[ "$(timeout 30 dd bs=64 count=1 <&5 2>/dev/null)" = datagram ]
}
tap() {
	modprobe -q tun && modprobe -q bridge && ip link add lgbr0 type bridge && ip addr add 10.9.0.1/24 dev lgbr0 && ip link set lgbr0 up || return
	start tap -n tap --net tap=lgtap0,bridge=lgbr0,mac=02:00:00:00:09:02 -- "ip addr add 10.9.0.2/24 dev eth0; ip link set eth0 up
		cat /sys/class/net/eth0/address; ping -q -c 3 10.9.0.1
		$(fetch_and_serve 10.9.0.1)"
	says tap serving 180 && printed tap 02:00:00:00:09:02 '[123] packets received' "^$sum"
}
# The device goes; the guest sees its cable pulled, and is otherwise well.
unplugged() {
	ip link del lgtap0 && says tap 'unplugged: TAP device' 30
}
# vhost-net. The card comes again after its driver has let go of it, and, with its address, after a reboot inside the sandbox.
vhost() {
	start vhost -n vhost --net tap=lgtap1,bridge=lgbr0,vhost=on -- "up() { ip addr add 10.9.0.3/24 dev eth0; ip link set eth0 up; ping -q -c 3 10.9.0.1; }
		up && cd /sys/bus/virtio/drivers/virtio_net && device=\$(basename \$(ls -d virtio*)) && echo \$device >unbind && echo \$device >bind && up
		echo \"card \$(cat /sys/class/net/eth0/address)\"
		if ! wget -q -O /tmp/again http://10.9.0.1:8080/again; then
			echo once; until wget -q -O /tmp/again http://10.9.0.1:8080/again; do sleep 1; done; busybox reboot -f
		fi
		$(fetch_and_serve 10.9.0.1)"
	says vhost once 180 && echo >"$work/again" && says vhost serving 180 && printed vhost '[123] packets received' "^$sum" &&
		[ "$(grep -c '^card' "$work/vhost.out")" = 2 ] && [ "$(grep '^card' "$work/vhost.out" | sort -u | wc -l)" = 1 ]
}
vhost_unplugged() {
	ip link del lgtap1 && says vhost 'unplugged: TAP device' 30
}
# Root has opened it; the launcher is a user's who could not.
tap_fd() {
	ordinary_user
	ip tuntap add lgtap2 mode tap && ip link set lgtap2 master lgbr0 up || return
	cat >"$work/with-tap" <<-'END'
		import fcntl, os, struct, sys
		TUNSETIFF, TAP, NO_PI, VNET_HDR = 0x400454ca, 0x2, 0x1000, 0x4000
		device = os.open("/dev/net/tun", os.O_RDWR)
		fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", sys.argv[1].encode(), TAP | NO_PI | VNET_HDR))
		os.dup2(device, 9)
		os.execvp(sys.argv[2], sys.argv[2:])
	END
	prepare -m 128M --net tap-fd=9 -- 'ip addr add 10.9.0.4/24 dev eth0; ip link set eth0 up; ping -q -c 3 10.9.0.1
		wget -q -O - http://10.9.0.1:8080/data | md5sum'
	python3 "$work/with-tap" lgtap2 "${as_nobody[@]}" "${launch[@]}" </dev/null >"$work/tap-fd.out" 2>"$guest_log" &&
		cat "$work/tap-fd.out" && grep -q "^$sum" "$work/tap-fd.out"
}
link() {
	start one -n one -m 128M --net link=test -- 'ip addr add 10.8.0.1/24 dev eth0; ip link set eth0 up
		cd /tmp && dd if=/dev/urandom of=data bs=1M count=8 2>/dev/null && md5sum <data; httpd -p 80 -h /tmp && echo serving; sleep 3600'
	one=$pid
	start two -n two -m 128M --net link=test -- 'ip addr add 10.8.0.2/24 dev eth0; ip link set eth0 up
		until ping -q -c 3 10.8.0.1; do sleep 1; done
		until wget -q -O /tmp/data http://10.8.0.1/data; do sleep 1; done; md5sum </tmp/data'
	two=$pid
	says one serving 120 && ends $two 0 180 && printed two '[123] packets received' "^$(grep -e '  -' "$work/one.out")"
}
directory_is_clean() {
	stopped "$one" && cd "$work/lguest/link/test" && ! ls -A | grep .
}

check 'user: an address by DHCP, a file from the host'   user
check 'user: the host reaches a forwarded port'          served_by http://127.0.0.1:2222/data
check 'user: a datagram gets there, and back'            echoes
check 'user: the guest ends'                             stopped "$pid"
check 'tap: in a bridge, ping, a file from the host'     tap
check 'tap: the host fetches it back'                    served_by http://10.9.0.2/data
check 'tap: a device that vanishes is a pulled cable'    unplugged
check 'tap: the guest ends'                              stopped "$pid"
if modprobe -q vhost_net && [ -c /dev/vhost-net ]; then
	check 'vhost: ping, a file from the host, over a reboot' vhost
	check 'vhost: the host fetches it back'              served_by http://10.9.0.3/data
	check 'vhost: no frame passes the launcher'          handed_over vhost net0
	check 'vhost: a device that vanishes is a pulled cable' vhost_unplugged
	check 'vhost: the guest ends'                        stopped "$pid"
else
	echo 'ok vhost # SKIP this host has no vhost_net'
fi
check 'tap-fd: an ordinary user brings an open one'      tap_fd
check 'link: two guests ping, and pass a file'           link
check 'link: no socket stays behind'                     directory_is_clean
check 'the module unloads'                               rmmod lg
finish
