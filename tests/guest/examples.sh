#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The examples of `lguest run --help`, each as it stands there, beside the files and devices they speak of.
# test: limit = 500
. "$(dirname "$0")/lib.sh"

cd "$work" || exit 1
export XDG_RUNTIME_DIR=$work
truncate -s 64M disk.img back-end.img
ln -s "$root/build/guest-kernel/vmlinux" vmlinux
ln -s "$root/build/guest-initramfs/initramfs.cpio" initramfs.cpio
echo '{"memory": "512M", "disk": [{"path": "disk.img", "ro": true}], "command": ["grep", "MemTotal", "/proc/meminfo"]}' >guest.json
modprobe vhost_vsock
modprobe tun && ip tuntap add tap0 mode tap
qemu-storage-daemon --blockdev driver=file,node-name=disk,filename=back-end.img \
	--export vhost-user-blk,id=export,node-name=disk,addr.type=unix,addr.path=disk.sock,writable=on &

# shows TEXT COMMAND: the command succeeds and prints that, among other things
shows() {
	sh -c "$2" >said 2>&1 </dev/null
	local status=$?
	tail -n 30 said
	[ $status = 0 ] && { [ -z "$1" ] || grep -q -- "$1" said; }
}

# What to look for in what they print, in their order
expected=('Linux lguest' '/mnt' '^1$' 10.0.2.15 'eth1' 'hostname' 'MemTotal' '' 'console=lg0' 'MemTotal: *4' '/dev/vda' '/dev/vsock' '' 'module.enters' '')
number=0
while read -r example; do
	check "$example" shows "${expected[number++]}" "$example"
done < <(lguest run --help | sed -n '/^Examples:/,$s/^  //p')
check 'an example for each of these'    [ $number = ${#expected[@]} ]
check 'a port leads to a file'          grep -q hello notes.txt
check 'the log is in its file'          grep -q 'level=debug' lguest.log
check 'counters are in their file'      grep -q '"exit_hypercall"' stats.json
kill %1
finish
