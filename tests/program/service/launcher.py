"""Plays whoever starts a program with sockets: opens them, passes them from descriptor 3 on, and
becomes the program.

launcher.py NAMES SOCKET... -- PROGRAM ARGUMENT...

NAMES is LISTEN_FDNAMES, or `-` to pass descriptors without a word. A socket is tcp:HOST:PORT,
shared:HOST:PORT (SO_REUSEPORT), bound:HOST:PORT (it does not listen), udp:HOST:PORT, unix:PATH or
file. `hold` before NAMES leaves a process behind that has the sockets too, until its standard input
ends.
"""

import os
import socket
import sys


def opened(what):
    kind, _, place = what.partition(":")
    if kind == "file":
        return os.open("/dev/null", os.O_RDONLY)
    if kind == "unix":
        one = socket.socket(socket.AF_UNIX)
        one.bind(place)
    else:
        host, _, port = place.rpartition(":")
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, kind == "shared")
        one.bind((host, int(port)))
    if kind not in ("bound", "udp"):
        one.listen(128)
        print("passed", place if kind == "unix" else "%s:%d" % one.getsockname(), flush=True)
    return one.detach()


def main():
    arguments = sys.argv[1:]
    hold = arguments[0] == "hold"
    names, *rest = arguments[hold:]
    end = rest.index("--")
    descriptors = [opened(what) for what in rest[:end]]
    # Out of the way of the numbers that they shall have.
    high = [os.dup2(descriptor, 100 + place) for place, descriptor in enumerate(descriptors)]
    for descriptor in descriptors:
        os.close(descriptor)
    for place, descriptor in enumerate(high):
        os.dup2(descriptor, 3 + place, inheritable=True)
        os.close(descriptor)
    if hold and os.fork() == 0:
        os.close(1)
        os.close(2)
        sys.stdin.read()
        os._exit(0)
    if names != "-":
        os.environ["LISTEN_PID"] = str(os.getpid())
        os.environ["LISTEN_FDS"] = str(len(high))
        os.environ["LISTEN_FDNAMES"] = names
    os.execv(rest[end + 1], rest[end + 1 :])


main()
