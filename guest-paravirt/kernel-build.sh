# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What scripts share that build a kernel from Debian's linux-source-6.12 with a configuration of their own; sourced by them. They set
#
#   name      for messages
#   config    the fragment on top of allnoconfig
#   out       an existing folder; its source/ and objects/ are the work tree, kept between builds
#
# and start with wait_for_others.

version=6.12
tarball=/usr/src/linux-source-$version.tar.xz

say() { echo "$name: $*" >&2; }

wait_for_others() {
	exec 9>"$out/lock"
	flock -n 9 || { say "waiting for another build of it"; flock 9; }
}

# inputs_hash FILE...: everything the result depends on, in one number: the packages, these files, and those named on stdin, each ended
# by a null byte.
inputs_hash() {
	{
		dpkg-query -W "linux-source-$version" gcc-12 binutils
		cat "$config" "${BASH_SOURCE[0]}" "$@"
		sort -z | xargs -0r sha256sum
	} | sha256sum | cut -c1-16
}

unpack() {
	[ ! -e "$out/source/.unpacked" ] || return 0
	say "unpacking $(basename "$tarball")"
	rm -rf "$out/source" "$out/objects"
	mkdir -p "$out/source"
	tar -C "$out/source" --strip-components=1 -xJf "$tarball"
	touch "$out/source/.unpacked"
}

kernel_make() {
	make --no-print-directory -C "$out/source" O="$out/objects" ARCH=x86_64 CC=gcc-12 \
		KBUILD_BUILD_USER=lguest KBUILD_BUILD_HOST=lguest KBUILD_BUILD_VERSION=1 \
		KBUILD_BUILD_TIMESTAMP="$(date -u -r "$tarball" '+%F %T')" "$@"
}

# allnoconfig plus the fragment; every option asked for must have stuck. One asked to be off that Linux insists on is named only.
configure() {
	local lost forced
	mkdir -p "$out/objects"
	kernel_make -s KCONFIG_ALLCONFIG="$config" allnoconfig 2>&1 | sed '/override: reassigning/d' >&2
	lost=$(sed -nE '/^CONFIG_.*=n$/!{/^CONFIG_/p}' "$config" | grep -vxFf "$out/objects/.config" || true)
	forced=$(sed -nE 's/^(# )?(CONFIG_[A-Z0-9_a-z]+)(=n| is not set)$/\2/p' "$config" |
		while read -r option; do grep "^$option=" "$out/objects/.config" || true; done)
	[ -z "$forced" ] || say "$(basename "$config") wants these off in vain:" $forced
	[ -z "$lost" ] || { say "these options of $(basename "$config") did not take effect:" $lost; return 1; }
}

# kbuild's output, thinned: every 100th step, and whatever is not a step (warnings, errors).
progress() {
	awk -v name="$name" '/^  [A-Z0-9_]+ +/ { if (++steps % 100 == 0) print name ": step " steps ": " $2; next }
	     /^make|^$/ && !/\*\*\*/ { next } { print } { fflush() }' >&2
}
