# SPDX-License-Identifier: GPL-2.0-only
#
# The front door: one target per thing a user or developer does; `make help` lists them.
# The work is done by CMake (C++ user space), kbuild (module), the kernel's own build (guest) and a few
# scripts beside what they serve. All that is built goes to build/.

SHELL := /bin/bash
MAKEFLAGS += --no-print-directory
.DELETE_ON_ERROR:

B     := build
JOBS  ?= $(shell nproc)
Q     := $(if $(V),,@)

# The throw-away host
HOST_KERNEL ?= 6.12
HOST_FLAVOUR ?= cloud-amd64
HOST_CPU    ?= max
HOST_SMP    ?= 2
HOST_MEM    ?= 4G
HOST_APPEND ?=
HOST_KERNELS := 6.1 6.12
TIMEOUT     ?= 0

# Kernel 6.1 of the cloud flavour lies in build/host-kernels/6.1, of the plain flavour in .../6.1-amd64
suffix    := $(if $(filter cloud-amd64,$(HOST_FLAVOUR)),,-$(HOST_FLAVOUR))
host_name := $(HOST_KERNEL)$(suffix)

# The guest
MEM    ?= 512M
KERNEL ?= $(B)/guest-kernel/vmlinux
APPEND ?=
WITH   ?=
DISTRO ?=
OPTIONS ?=

# Text for other programs: passed on as typed, a $ in it included.
override CMD := $(value CMD)
override WITH := $(value WITH)
override APPEND := $(value APPEND)
override OPTIONS := $(value OPTIONS)
override HOST_APPEND := $(value HOST_APPEND)
export CMD WITH APPEND OPTIONS HOST_APPEND

.PHONY: all
all: module launcher guest-kernel guest-initramfs  ## build all (the default)

.PHONY: help
help:  ## this list
	@echo 'Targets:'
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 20 | sed 's/^/  /'
	@sed -n 's/^#? \?//p' $(MAKEFILE_LIST)

#?
#? Variables:
#?   CMD='...'          run this instead of an interactive shell; its exit status is make's
#?   WITH='/usr/bin/x'  programs of this machine for the guest, with their libraries
#?   DISTRO=debian      the guest is Debian 12 with systemd on a disk image, build/debian/debian.img
#?   MEM= KERNEL= APPEND=               the guest's memory, kernel image, kernel command line
#?   OPTIONS='--net user --rng'         more options of `lguest run`; paths are those of this machine
#?   HOST_KERNEL=6.1|6.12 HOST_FLAVOUR=cloud-amd64|amd64|debug HOST_CPU=<QEMU model> HOST_SMP= HOST_MEM=
#?   HOST_APPEND=                       the throw-away host and its kernel command line
#?   TIMEOUT=<seconds>  stop the command after that long (exit status 124)
#?   NO_MODULE=1        do not load lg.ko;  NMI_STORM=<per second>  NMIs to the host meanwhile
#?   ROWS=<pattern> TESTS=<pattern>     for test-host: only these rows, only these tests
#?   V=1                show compiler commands and the host's console log
#?   PREFIX= DESTDIR=   for install

# --- what must be there first -----------------------------------------------------------------------------

.PHONY: deps
deps: $(B)/deps.stamp  ## install the Debian packages that are missing

$(B)/deps.stamp: tests/host-vm/install-deps
	@mkdir -p $(B)
	$(Q)$<
	@touch $@

.PHONY: host-kernel host-kernels
host-kernel: $(B)/host-kernels/$(host_name)/initramfs.gz  ## fetch the stock kernel HOST_KERNEL names
	@:
host-kernels: $(HOST_KERNELS:%=$(B)/host-kernels/%$(suffix)/initramfs.gz)

$(B)/host-kernels/%/release: | $(B)/deps.stamp
	@mkdir -p $(B)/host-kernels
	$(Q)flock $(B)/host-kernels.lock tests/host-vm/fetch-host-kernel \
		$(firstword $(subst -, ,$*)) $(if $(findstring -,$*),$(patsubst $(firstword $(subst -, ,$*))-%,%,$*),cloud-amd64) $(@D)
	@touch $@
.PRECIOUS: $(B)/host-kernels/%/release

# This one is built, not fetched.
$(B)/host-kernels/6.12-debug/release: tests/host-vm/build-debug-kernel tests/host-vm/debug-config-6.12 \
		guest-paravirt/kernel-build.sh | $(B)/deps.stamp
	$(Q)tests/host-vm/build-debug-kernel $(@D) $(B)/debug-kernel
	@touch $@

$(B)/host-vm/agent: tests/host-vm/agent.c | $(B)/deps.stamp
	@mkdir -p $(@D)
	$(Q)$(CC) -O2 -Wall -Wextra -Werror -static -o $@ $<

$(B)/host-vm/noatime_preload.so: launcher/noatime_preload.c | $(B)/deps.stamp
	@mkdir -p $(@D)
	$(Q)$(CC) -O2 -Wall -Wextra -Werror -shared -fPIC -o $@ $<

$(B)/host-kernels/%/initramfs.gz: $(B)/host-kernels/%/release $(B)/host-vm/agent $(B)/host-vm/noatime_preload.so tests/host-vm/init tests/host-vm/make-initramfs
	$(Q)tests/host-vm/make-initramfs $(@D) $(B)/host-vm/agent

# --- the parts --------------------------------------------------------------------------------------------

# kbuild knows no output folder for external modules on 6.1, so each kernel gets a copy of the sources. The copy
# ignores time stamps and leaves kbuild's own files alone: kbuild then rebuilds what really changed.
module_sources := host-module switcher shadow-mm include
kbuild_files   := *.o *.o.d .*.cmd *.ko *.mod *.mod.c *.a .*.d *.order Module.symvers .tmp_* offsets.h offsets.s

.PHONY: module
module: $(if $(HOST_KERNEL_ONLY),module-$(host_name),$(HOST_KERNELS:%=module-%$(suffix)))  ## build lg.ko for each host kernel

.PHONY: module-%
module-%: $(B)/host-kernels/%/release
	@mkdir -p $(B)/host-module/$*
	$(Q)set -e; exec 9>$(B)/host-module/$*.lock; flock 9; \
	rsync -rlpc --delete $(kbuild_files:%=--exclude='%') $(wildcard $(module_sources)) $(B)/host-module/$*/; \
	$(MAKE) -s -C $(B)/host-kernels/$*/headers M=$(abspath $(B))/host-module/$*/host-module $(if $(V),V=1) modules

# One CMake project for all C++ of user space; its root is tests/CMakeLists.txt.
cmake = [ -f $(1)/build.ninja ] || cmake -S tests -B $(1) -G Ninja --log-level=NOTICE $(2) >&2

ninja = set -eo pipefail; exec 9>$(B)/cmake.lock; flock 9; $(call cmake,$(B),-DCMAKE_BUILD_TYPE=RelWithDebInfo); \
	ninja -C $(B) -j$(JOBS) $(if $(V),-v) $(1) | sed -E '/no work to do|Re-checking globbed|Entering directory/d' >&2

.PHONY: launcher
launcher: $(B)/deps.stamp  ## build the launcher `lguest`
	$(Q)$(call ninja,lguest)

.PHONY: test-programs
test-programs: $(B)/deps.stamp  ## build what the tests and benchmarks run on the hosts
	$(Q)$(call ninja,$(patsubst %/CMakeLists.txt,%/all,$(wildcard $(foreach f,payloads guest bench,tests/$f/CMakeLists.txt))))

.PHONY: guest-kernel
guest-kernel: $(B)/deps.stamp  ## build the paravirt guest kernel
	$(Q)guest-paravirt/build-kernel $(B)/guest-kernel

.PHONY: guest-debian
guest-debian: $(B)/deps.stamp  ## build a disk image with Debian 12 for guests
	$(Q)tests/host-vm/install-deps debian
	$(Q)guest-paravirt/debian/build $(B)/debian >/dev/null

.PHONY: guest-initramfs
guest-initramfs: $(B)/deps.stamp guest-kernel  ## build the guest's initramfs
	$(Q)guest-paravirt/initramfs/build $(B)/guest-initramfs >/dev/null

# --- using it ---------------------------------------------------------------------------------------------

host_options = --kernel '$(host_name)' --cpu '$(HOST_CPU)' --smp '$(HOST_SMP)' --mem '$(HOST_MEM)' \
	--append "$$HOST_APPEND" --timeout '$(TIMEOUT)' \
	$(if $(V),--verbose) $(if $(NO_MODULE),--no-module) $(if $(NMI_STORM),--nmi-storm '$(NMI_STORM)') \
	$(if $(HOST_NAME),--name '$(HOST_NAME)') $(if $(HOST_MONITOR),--monitor '$(HOST_MONITOR)')

# make alone cannot exit with a command's status; the loaded function exit-with does it, from the file written here.
ifneq ($(filter run host,$(MAKECMDGOALS)),)
-load $(B)/host-vm/make-exit.so(make_exit_gmk_setup)
endif
$(B)/host-vm/make-exit.so: tests/host-vm/make-exit.c | $(B)/deps.stamp
	@mkdir -p $(@D)
	$(Q)$(CC) -O2 -Wall -Wextra -Werror -shared -fPIC -o $@ $<

status_file := $(B)/host-vm/status.$(shell echo $$PPID)

# All a run needs, built with every word on stderr: stdout belongs to the command.
.PHONY: run host run-command host-command needed
needed:
	@$(MAKE) >&2 all $(DISTRO:%=guest-%) host-kernel HOST_KERNEL_ONLY=1

run-command: needed
	@tests/host-vm/run-guest --kernel '$(KERNEL)' --memory '$(MEM)' --append "$$APPEND" --with "$$WITH" \
		--options "$$OPTIONS" $(if $(DISTRO),--disk '$(B)/$(DISTRO)/$(DISTRO).img') -- $(host_options); echo $$? >$(status_file)

host-command: needed
	@tests/host-vm/run $(host_options) -- "$$CMD"; echo $$? >$(status_file)

run: run-command  ## a shell in a guest on a throw-away host; CMD= runs a command there
	@$(exit-with $(status_file))

host: host-command  ## a root shell on a throw-away host with lg.ko loaded; CMD= runs a command there
	@$(exit-with $(status_file))

# --- proof ------------------------------------------------------------------------------------------------

.PHONY: test test-unit test-host test-bochs test-debug test-tsan
test: $(B)/deps.stamp  ## all tests, natively and on throw-away hosts; one summary
	@tests/run-tests unit host

test-unit: $(B)/deps.stamp  ## unit tests with sanitizers, and a bounded run of each fuzzer
	@tests/run-tests unit

test-host: $(B)/deps.stamp  ## assembly payloads and Linux guests on a matrix of throw-away hosts
	@tests/run-tests host

test-bochs: $(B)/deps.stamp  ## payloads and a guest on Bochs, which has PCID and IBT
	@tests/run-tests bochs

test-debug: $(B)/deps.stamp  ## payloads and guests on a host kernel with lockdep, KASAN and the like, which is built first
	@tests/run-tests debug

test-tsan: $(B)/deps.stamp  ## guests whose launcher is built with ThreadSanitizer
	@tests/run-tests tsan

.PHONY: bench
bench: all test-programs host-kernel  ## numbers: guest against native and KVM, two tables
	$(Q)tests/bench/run

# --- the rest ---------------------------------------------------------------------------------------------

PREFIX ?= /usr/local

.PHONY: install
install: launcher guest-kernel guest-initramfs  ## install lguest, the guest kernel, and lg.ko for the running kernel
	install -D -m 755 $(B)/launcher/lguest $(DESTDIR)$(PREFIX)/bin/lguest
	install -D -m 644 $(B)/lib/lguest/noatime_preload.so $(DESTDIR)$(PREFIX)/lib/lguest/noatime_preload.so
	install -D -m 644 $(B)/guest-kernel/vmlinux $(DESTDIR)$(PREFIX)/lib/lguest/vmlinux
	[ ! -e $(B)/guest-kernel/vmlinux.relocs ] || \
		install -D -m 644 $(B)/guest-kernel/vmlinux.relocs $(DESTDIR)$(PREFIX)/lib/lguest/vmlinux.relocs
	install -D -m 644 $(B)/guest-initramfs/initramfs.cpio $(DESTDIR)$(PREFIX)/lib/lguest/initramfs.cpio
	@$(MAKE) install-module

# lg.ko for the kernel that runs, if its headers are there, and access to /dev/lguest for the group kvm: those who may run VMs.
running := $(shell uname -r)

.PHONY: install-module
install-module:
	@[ -e /lib/modules/$(running)/build ] || \
		{ echo 'lg.ko not installed: no headers for this kernel; apt-get install linux-headers-$(running)' >&2; exit 1; }
	@mkdir -p $(B)/host-module/running
	rsync -rlpc --delete $(kbuild_files:%=--exclude='%') $(module_sources) $(B)/host-module/running/
	$(MAKE) -s -C /lib/modules/$(running)/build M=$(abspath $(B))/host-module/running/host-module modules
	install -D -m 644 $(B)/host-module/running/host-module/lg.ko $(DESTDIR)/lib/modules/$(running)/extra/lg.ko
	mkdir -p $(DESTDIR)/lib/udev/rules.d
	echo 'KERNEL=="lguest", GROUP="kvm", MODE="0660"' >$(DESTDIR)/lib/udev/rules.d/60-lguest.rules
	[ -n '$(DESTDIR)' ] || depmod $(running)

.PHONY: clean
clean:  ## remove all that was built
	rm -rf $(B)
