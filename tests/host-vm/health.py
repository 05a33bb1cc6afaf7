# SPDX-License-Identifier: GPL-2.0-only
"""What a healthy Linux host never prints: `run` and `run-bochs` look for it in a host's console log."""

import os
import re

UNHEALTHY = re.compile(
    rb"(?<!Spectre V2 : )WARNING: |BUG: |kernel BUG at|\bOops\b|Kernel panic|"
    rb"^(\[[^]]*\] )?(general protection fault|double fault|stack segment|invalid opcode|int3)|"
    rb"unable to handle|soft lockup|hard LOCKUP|blocked for more than|INFO: rcu|rcu:.*(stall|starved)|"
    rb"scheduling while atomic|sleeping function called|suspicious RCU|refcount_t: |"
    rb"list_(add|del) corruption|trying to register non-static key|ODEBUG: |BUG [^ ]+ \(|lockdep is turned off|"
    rb"kmemleak: .*suspected|pagealloc: (memory corruption|single bit error)|UBSAN: |KASAN: |KCSAN: |KFENCE: |"
    rb"Bad page (state|map)|bad pm?u?4?d |"
    rb"potentially unexpected fatal signal 6|"      # with print-fatal-signals: a sanitizer, an assertion
    rb"Bad rss-counter|stack-protector|unchecked MSR access|DEBUG_LOCKS_WARN|Call Trace:|host-vm: ", re.M)


def unhealthy_lines(log, after=b""):
    """The lines of a console log that give an unhealthy host away, after a marker if one is named; none if there is no log."""
    if not os.path.exists(log):
        return []
    with open(log, "rb") as file:
        text = file.read()
    if after:
        text = text.partition(after)[2]
    return [line.decode(errors="replace") for line in text.splitlines() if UNHEALTHY.search(line)]
