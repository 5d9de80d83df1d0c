# SPDX-License-Identifier: Apache-2.0
"""A wide area network to test and to measure over: emulator.cpp and the two namespaces that it makes. Needs root."""

import contextlib
import ctypes
import fcntl
import os
import pathlib
import subprocess
import tempfile

NEAR, FAR = "198.18.0.1", "198.18.0.2"  # the addresses of the two places
ALLOWED = pathlib.Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
CLONE_NEWNET = 0x40000000


class Network:
    """Two places with the network between them, for as long as the `with` lasts. `near` and `far` are the files of their namespaces;
    both use this congestion control for every new socket that asks for none."""

    def __init__(self, emulator, congestion_control, *, round_trip_ms, rate_mbit=0, loss_percent=0, queue_ms=100):
        if os.geteuid() != 0:
            raise RuntimeError("a network needs namespaces and TUN devices: run this as root")
        self.congestion_control = congestion_control
        self.command = [str(emulator), "--delay-ms", str(round_trip_ms / 2), "--rate-mbit", str(rate_mbit),
                        "--loss-percent", str(loss_percent), "--queue-ms", str(queue_ms)]

    def __enter__(self):
        # It ends with its standard input, so with this process, however that ends.
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            names = self.process.stdout.readline().split()
            if len(names) != 2:
                raise RuntimeError("the emulator did not start; it said why")
            self.near, self.far = names
            use_congestion_control(self.congestion_control, names)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def at(place, command):
    """The command, to be run in this place. The process that runs it is its own, not a child of another program."""
    return ["nsenter", f"--net={place}", "--", *map(str, command)]


@contextlib.contextmanager
def inside(place):
    """Sockets that this thread makes meanwhile, and threads and processes that it starts, are in that place."""
    libc = ctypes.CDLL(None, use_errno=True)

    def enter(file):
        if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter {file.name}")

    with open("/proc/thread-self/ns/net", "rb") as home, open(place, "rb") as there:
        enter(there)
        try:
            yield
        finally:
            enter(home)


def use_congestion_control(name, places):
    """The kernel gives a namespace only a default that the machine's list allows, so the list has the name for just that moment."""
    with open(pathlib.Path(tempfile.gettempdir()) / "culvert-congestion-control", "a", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = ALLOWED.read_text()
        try:
            if name not in before.split():
                ALLOWED.write_text(f"{before.strip()} {name}")
            for place in places:
                with inside(place):
                    pathlib.Path("/proc/sys/net/ipv4/tcp_congestion_control").write_text(name)
        except OSError as error:
            raise RuntimeError(f"this kernel does not give us congestion control {name}: {error}") from error
        finally:
            if name not in before.split():
                ALLOWED.write_text(before)
