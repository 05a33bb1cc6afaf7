#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
#
# The far ends of a guest's console, for ports.sh:
#
#   ports.py send SOCKET            stdin to the client's side of a socket
#   ports.py receive SOCKET BYTES   that many from there to stdout
#   ports.py shell SOCKET WORDS     a shell's user: waits for its prompt, types WORDS, shows what comes until it hangs up
#   ports.py terminal COMMAND...    a terminal of 33 rows and 111 columns for COMMAND, and of 44 and 122 once it says 'resize me'
import fcntl
import os
import pty
import shutil
import socket
import struct
import sys
import termios


def connect(path):
    stream = socket.socket(socket.AF_UNIX)
    stream.connect(path)
    return stream


def send(path):
    with connect(path) as stream, stream.makefile("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)


def receive(path, size):
    left = int(size)
    with connect(path) as stream:
        while left and (data := stream.recv(min(left, 65536))):
            sys.stdout.buffer.write(data)
            left -= len(data)


def shell(path, words):
    seen = b""
    with connect(path) as stream:
        while data := stream.recv(65536):
            seen += data
            if words and b"# " in seen:
                stream.sendall(words.encode() + b"\n")
                words = None
            sys.stdout.buffer.write(data)
            sys.stdout.flush()


def terminal(*command):
    def resize(fd, rows, columns):
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    pid, master = pty.fork()
    if pid == 0:
        resize(0, 33, 111)
        os.execvp(command[0], command)
    seen = b""
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:         # nobody has the terminal any more
            break
        if not data:
            break
        seen += data
        if b"resize me" in seen:
            resize(master, 44, 122)
            seen = b""
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


if __name__ == "__main__":
    {"send": send, "receive": receive, "shell": shell, "terminal": terminal}[sys.argv[1]](*sys.argv[2:])
