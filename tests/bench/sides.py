# SPDX-License-Identifier: GPL-2.0-only
"""The sides that are compared, for `measure` and `devices`: this throw-away host itself, a guest of lguest, a guest of QEMU under KVM.

On each of them runs the shell `serve`, to which Shell talks. All guests have the same initramfs, 512 MiB, one CPU, and their console for that
shell. QEMU is as lean as it comes: machine type microvm, no firmware menu, no display, the kernel started by its PVH entry; its devices
are on PCI, where interrupts are cheapest. Its guest's kernel is the host's (see `kvm-kernel`).
"""

import contextlib
import glob
import json
import os
import re
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
BUILD = os.path.join(ROOT, "build")
PREPARED = os.path.join(BUILD, "bench")                 # by `run`
PROGRAMS = os.path.join(BUILD, "tests/bench")
VM_STATS = os.path.join(PROGRAMS, "vm-stats")
SERVE = os.path.join(ROOT, "tests/bench/serve")
MEMORY_MB = 512
BOOT_LIMIT = 180                                        # seconds; a tenth of that is usual
COMMAND_LIMIT = 180


class Broken(SystemExit):
    """A side that does not start or answer. Ours ends the run; others leave their column empty."""

    def __init__(self, text):
        super().__init__(f"bench: {text}")
        self.text = text


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


class Shell:
    """A shell somewhere that runs commands one after another. What it or its kernel complains about is kept."""

    def __init__(self, name, command):
        say(f"starting {name}")
        self.name, self.log = name, f"/run/bench-{name.replace(' ', '-')}.log"
        self.begin = time.monotonic()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        with self.limit(BOOT_LIMIT):
            self.wait_for("ready")
        self.started_ms = (time.monotonic() - self.begin) * 1000

    @contextlib.contextmanager
    def limit(self, seconds):
        """Whoever takes longer is ended, and so is what is read from it."""
        timer = threading.Timer(seconds, self.process.kill)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def line(self):
        line = self.process.stdout.readline()
        if not line:
            with open(self.log, errors="replace", encoding="utf-8") as log:
                raise Broken(f"{self.name} has ended; its last words:\n{''.join(log.readlines()[-15:])}")
        return line.decode(errors="replace").strip()

    def wait_for(self, text):
        while self.line() != text:
            pass

    def ask(self, text):
        with contextlib.suppress(BrokenPipeError):      # line() tells
            self.process.stdin.write(text.encode() + b"\n")
            self.process.stdin.flush()

    def run(self, command):
        lines = []
        with self.limit(COMMAND_LIMIT):
            self.ask(command)
            while not (end := re.fullmatch(r"-- (\d+)", line := self.line())):
                lines.append(line)
        if end[1] != "0":
            raise Broken(f"{self.name}: status {end[1]} of: {command}\n" + "\n".join(lines))
        return "\n".join(lines)

    def read(self, command, size):
        """Runs what writes `size` bytes; returns how many seconds they took to arrive."""
        with self.limit(COMMAND_LIMIT):
            begin = time.monotonic()
            self.ask(command)
            while size > 0 and (data := self.process.stdout.read1(min(size, 1 << 20))):
                size -= len(data)
            seconds = time.monotonic() - begin
            self.wait_for("-- 0")
        return seconds

    def end(self):
        """A guest is not asked to shut down: that is nothing we measure."""
        self.process.kill()
        self.process.wait()


def native():
    return Shell("native", ["env", f"PATH={os.environ['PATH']}:{PROGRAMS}", "sh", SERVE])


def initrd(name):
    return os.path.join(PREPARED, f"{name}.cpio")


def lguest_command(archive, *devices):
    return ["lguest", "run", "--initrd", initrd(archive), "--memory", f"{MEMORY_MB}M", "--append", "console=lg0 quiet", *devices]


def kvm_command(archive, *devices, kernel="vmlinux"):
    # A CPU that needs page-table isolation needs it in such a guest too.
    isolation = re.findall(r"\bpti=\w+", open("/proc/cmdline", encoding="ascii").read())
    return ["qemu-system-x86_64", "-M", "microvm,pcie=on", "-accel", "kvm", "-cpu", "host", "-m", f"{MEMORY_MB}M",
            "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-kernel", os.path.join(PREPARED, kernel), "-initrd", initrd(archive),
            "-append", " ".join(["console=ttyS0 quiet panic=-1 net.ifnames=0 rdinit=/kvm-init", *isolation]),
            "-chardev", "file,id=kernel,path=/dev/stderr,append=on", "-serial", "chardev:kernel",
            "-chardev", "stdio,id=console,signal=off", "-device", "virtio-serial-pci", "-device", "virtconsole,chardev=console", *devices]


def have_kvm():
    for module in ("kvm_amd", "kvm_intel"):
        if not os.path.exists("/dev/kvm"):
            subprocess.run(["modprobe", module], stderr=subprocess.DEVNULL, check=False)
    if not os.path.exists("/dev/kvm"):
        say("this host has no KVM: its column stays empty")
        return False
    return True


def lguest_counters(pid):
    """The module's counters of the guest of a launcher; None if it has none yet."""
    result = subprocess.run([VM_STATS, str(pid)], capture_output=True, text=True, check=False)
    return json.loads(result.stdout) if result.returncode == 0 else None


def lguest_ran(pid):
    """Whether the guest has had its first instruction."""
    counters = lguest_counters(pid)
    return bool(counters and counters["enters"])


def kvm_ran(pid):
    for path in glob.glob(f"/sys/kernel/debug/kvm/{pid}-*/exits"):
        with contextlib.suppress(OSError), open(path, encoding="ascii") as file:
            return int(file.read()) > 0
    return False


def resident_beyond_ram(pid):
    """KiB a launcher has in memory, the guest's RAM not counted: lguest's is a memfd, QEMU's the mapping of just that size."""
    total, ram = 0, False
    with open(f"/proc/{pid}/smaps", encoding="ascii") as file:
        for line in file:
            if mapping := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
                ram = "/memfd:" in line or int(mapping[2], 16) - int(mapping[1], 16) == MEMORY_MB << 20
            elif line.startswith("Rss:") and not ram:
                total += int(line.split()[1])
    return total
