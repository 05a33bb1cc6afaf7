#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# NMIs hit the host at every instruction of the world switch, while a guest makes system calls, returns, exceptions and
# hypercalls as fast as it can and checks all its registers (tests/payloads/state.S).
#
# test: nmi_storm = 500
# test: limit = 120

exec build/tests/payloads/run-payloads nmi_storm
