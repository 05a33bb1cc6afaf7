#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# stress-ng in a guest for half a minute, checking its own results.
# test: limit = 400
. "$(dirname "$0")/lib.sh"

command -v stress-ng >/dev/null || { echo 'stress-ng is not installed'; exit 77; }
WITH=/usr/bin/stress-ng
stress() { guest -m 512M -- "stress-ng $* --verify --timestamp -t 30 "; }

check 'CPU, forks, memory, pipes, mappings, signals, contexts' \
	stress --cpu 1 --fork 2 --vm 1 --vm-bytes 64M --pipe 2 --mmap 1 --mmap-bytes 32M --signal 1 --context 2
finish
