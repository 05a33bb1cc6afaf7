#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
#
# The host's end of a connection that is busy in both directions, for vsock.sh:
#
#   vsock.py CID PORT    stdin goes there, what comes back to stdout, each in its own time
#
# socat would not do: while it waits for room to write, it does not read; and a guest that answers waits for it in turn.
import shutil
import socket
import sys
import threading
import time


def connect(cid, port, seconds=60):
    deadline = time.monotonic() + seconds
    while True:
        stream = socket.socket(socket.AF_VSOCK)
        try:
            stream.connect((cid, port))
            return stream
        except OSError:                 # nobody listens yet
            stream.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def send(stream):
    with stream.makefile("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    stream.shutdown(socket.SHUT_WR)


with connect(int(sys.argv[1]), int(sys.argv[2])) as stream, stream.makefile("rb") as file:
    sender = threading.Thread(target=send, args=(stream,))
    sender.start()
    shutil.copyfileobj(file, sys.stdout.buffer)
    sender.join()
