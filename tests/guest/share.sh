#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Directories and disks by vhost-user: virtiofsd and qemu-storage-daemon serve the guest's queues. And the host's own root file
# system as a guest sees it: programs and files of this host, copy-on-write.
# test: limit = 400
. "$(dirname "$0")/lib.sh"

initrd=$("$root/guest-paravirt/initramfs/build" "$root/build/guest-initramfs")
export LGUEST_KERNEL=$root/build/guest-kernel/vmlinux LGUEST_INITRD=$initrd

shares_files() {
	mkdir -p "$work/rw" "$work/ro"
	echo 'from the host' >"$work/rw/host"
	echo 'only to read' >"$work/ro/file"
	guest --share "tag=rw,path=$work/rw" --share "tag=ro,path=$work/ro,ro" -- '
		mkdir /rw /ro && mount -t virtiofs rw /rw && mount -t virtiofs ro /ro || exit 1
		cat /rw/host /ro/file
		mkdir /rw/new && dd if=/dev/zero bs=64k count=64 2>/dev/null | md5sum >/rw/new/sum && dd if=/dev/zero of=/rw/new/data bs=64k count=64 2>/dev/null
		md5sum </rw/new/data | cmp - /rw/new/sum && ln -s host /rw/link && mv /rw/new /rw/moved || exit 2
		echo x 2>/dev/null >/ro/file && exit 3
		rm -f /ro/file 2>/dev/null && exit 4
		mkdir /ro/new 2>/dev/null && exit 5
		exit 0' >"$work/said" || return
	[ "$(cat "$work/said")" = $'from the host\nonly to read' ] && [ "$(cat "$work/ro/file")" = 'only to read' ] &&
		[ "$(readlink "$work/rw/link")" = host ] && [ "$(stat -c %s "$work/rw/moved/data")" = 4194304 ] &&
		md5sum <"$work/rw/moved/data" | cmp - "$work/rw/moved/sum"
}

# One guest: git on a checkout in a writable share, programs and input of the host, and files of the host overwritten.
runs_programs_of_the_host() {
	local status=0
	mkdir "$work/shared"
	git init -q "$work/origin" && seq 2000 >"$work/origin/numbers" && git -C "$work/origin" add . &&
		git -C "$work/origin" -c user.name=a -c user.email=a@b commit -qm first || return
	before=$(md5sum /etc/hostname /etc/passwd)
	cat >"$work/command" <<-'END'
		cd "$1" || exit 90
		read -r word && echo "read $word" && echo 'on stderr' >&2
		echo spoilt >/etc/hostname && rm /etc/passwd && mkdir /new-folder || exit 91
		mount -t virtiofs git "$1/shared" && cd "$1/shared" || exit 92
		git clone -q --no-hardlinks "$1/origin" clone && cd clone && git fsck 2>&1 && [ -z "$(git status --porcelain)" ] || exit 93
		tail -n 1 numbers
		/usr/bin/python3 -c 'import sys; sys.exit(sum([40, 2]))'
	END
	echo hello | lguest run --share "tag=git,path=$work/shared" -- sh "$work/command" "$work" >"$work/said" 2>"$guest_log" || status=$?
	[ $status = 42 ] && grep -qx 'read hello' "$work/said" && grep -qx 2000 "$work/said" && grep -q 'on stderr' "$guest_log" || {
		echo "status $status, said:" && cat "$work/said"
		return 1
	}
	[ "$before" = "$(md5sum /etc/hostname /etc/passwd)" ] && [ ! -e /new-folder ] &&
		git -C "$work/shared/clone" status --porcelain | cmp - /dev/null && cmp "$work/origin/numbers" "$work/shared/clone/numbers"
}

# What it can read and what not is as on the host; its own files are root's.
runs_for_an_ordinary_user() {
	local status=0
	ordinary_user
	(umask 077 && echo 'for root' >"$work/secret")
	before=$(md5sum /etc/hostname)
	cat >"$work/command" <<-'END'
		[ "$HOME" = "$PWD" ] && [ "$(stat -c %U .)" = root ] && echo new >file || exit 90
		cat ../secret 2>/dev/null && exit 91
		echo spoilt >/etc/hostname && rm /etc/passwd && mkdir /new-folder || exit 92
		/usr/bin/python3 -c 'import sys, json; print(sum(map(int, sys.stdin))); sys.exit(43)'
	END
	chmod o+r "$work/command"
	(cd "$work/nobody" && seq 1000 | "${as_nobody[@]}" lguest run -- sh "$work/command" >"$work/said" 2>"$guest_log") || status=$?
	[ $status = 43 ] && grep -qx 500500 "$work/said" || { echo "status $status, said:"; cat "$work/said"; return 1; }
	[ "$before" = "$(md5sum /etc/hostname)" ] && [ ! -e /new-folder ] && [ ! -e "$work/nobody/file" ]
}

says_how_to_do_without() {
	local limit=/proc/sys/user/max_user_namespaces before status=0
	before=$(cat $limit) && echo 0 >$limit
	expect 1 'lguest: cannot share /: *namespace*; lguest run --root initrd does without' \
		"${as_nobody[@]}" sh -c 'lguest run -- true 2>&1' || status=1
	echo "$before" >$limit
	return $status
}

appears() {
	local tenths
	for ((tenths = 300; tenths > 0; tenths--)); do
		[ ! -S "$1" ] || return 0
		sleep 0.1
	done
	echo "no $1"
	return 1
}

# In a view of the host, with a share and a snapshot disk: nothing of it can be made anew inside the sandbox.
reboots() {
	truncate -s 1M "$work/snapshot.img"
	mkdir "$work/lasting"
	lguest run --share "tag=lasting,path=$work/lasting" --disk "path=$work/snapshot.img,snapshot" -- sh -c '
		mount -t virtiofs lasting /mnt && echo boot >>/mnt/boots || exit 90
		if [ ! -e /mnt/written ]; then
			echo on the snapshot | dd of=/dev/vda bs=512 seek=3 conv=fsync,sync 2>/dev/null && touch /mnt/written && umount /mnt
			echo b >/proc/sysrq-trigger
			sleep 60
		fi
		dd if=/dev/vda bs=512 skip=3 count=1 2>/dev/null | tr -d "\0"
		exit 41' >"$work/said" 2>"$guest_log"
	[ $? = 41 ] && [ "$(cat "$work/said")" = 'on the snapshot' ] && [ "$(wc -l <"$work/lasting/boots")" = 2 ] &&
		cmp "$work/snapshot.img" <(head -c 1M /dev/zero)
}

keeps_a_qcow2() {
	local daemon status=0
	qemu-img create -q -f qcow2 "$work/disk.qcow2" 64M || return
	qemu-storage-daemon --blockdev "driver=qcow2,node-name=disk,file.driver=file,file.filename=$work/disk.qcow2" \
		--export "vhost-user-blk,id=export,node-name=disk,addr.type=unix,addr.path=$work/blk.sock,writable=on" &
	daemon=$!
	appears "$work/blk.sock" || return
	WITH=mkfs.ext4 guest --vhost-user "type=blk,socket=$work/blk.sock" -- '
		mkfs.ext4 -q /dev/vda && mount /dev/vda /mnt && seq 30000 >/mnt/numbers && sync && umount /mnt || exit 1
		mount /dev/vda /mnt && md5sum </mnt/numbers' >"$work/said" || status=$?
	kill "$daemon" && wait "$daemon"
	[ $status = 0 ] && md5sum < <(seq 30000) | cmp - "$work/said" && qemu-img check -q "$work/disk.qcow2"
}

survives_its_back_end() {
	local virtiofsd
	/usr/lib/qemu/virtiofsd --socket-path="$work/fs.sock" -o source=/etc -o sandbox=chroot -o log_level=err &
	virtiofsd=$!
	appears "$work/fs.sock" || return
	start dies --share "tag=x,socket=$work/fs.sock" -- 'mount -t virtiofs x /mnt && ls /mnt && umount /mnt && echo mounted
		while [ "$(($(cat /sys/bus/virtio/drivers/virtiofs/virtio*/status) & 0x40))" = 0 ]; do sleep 0.2; done; echo noticed'
	says dies mounted || return
	kill -KILL "$virtiofsd"
	says dies noticed && says dies 'lost its back end' && ends $pid 0 60
}

# Whoever waits for a command learns that it has no files any more.
ends_without_its_root() {
	lguest run -- sh -c 'echo ready; sleep 1000' >"$work/rootless.out" 2>"$work/rootless.log" </dev/null &
	pid=$!
	says rootless ready || return
	pkill -KILL -P $pid virtiofsd
	ends $pid 1 10 && grep -q "lost its view of the host's files" "$work/rootless.log"
}

check 'a share is read and written, a read-only one not'  shares_files
check 'a command runs on a view of this host'            runs_programs_of_the_host
check 'an ordinary user has such a view, too'            runs_for_an_ordinary_user
check 'where it cannot, one line says how to do without'  says_how_to_do_without
check 'shares and snapshots outlive a reboot'            reboots
check 'a qcow2 image by qemu-storage-daemon'              keeps_a_qcow2
check 'a guest goes on when a back end dies'              survives_its_back_end
check 'a guest on a view of the host ends with its back end'  ends_without_its_root
check 'a wrong directory is one line, before it starts'   expect 1 'lguest: /nowhere: No such file or directory' \
	sh -c 'lguest run --share tag=x,path=/nowhere 2>&1'
finish
