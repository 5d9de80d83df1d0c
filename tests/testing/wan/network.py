# SPDX-License-Identifier: Apache-2.0
"""An emulated wide area network for tests and measurements: emulator.cpp and the two network namespaces that it makes.
Needs root."""

import contextlib
import ctypes
import fcntl
import os
import pathlib
import subprocess
import tempfile

NEAR, FAR = "198.18.0.1", "198.18.0.2"  # the addresses of its two ends
ALLOWED = pathlib.Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
CLONE_NEWNET = 0x40000000


class Network:
    """Two namespaces with the network between them, inside a `with` statement. `near` and `far` are their files. Both
    use this congestion control for each new socket that does not choose one."""

    def __init__(self, emulator, congestion_control, *, round_trip_ms, rate_mbit=0, loss_percent=0, queue_ms=100):
        if os.geteuid() != 0:
            raise RuntimeError("the emulated network needs namespaces and TUN devices: run this as root")
        self.congestion_control = congestion_control
        self.command = [str(emulator), "--delay-ms", str(round_trip_ms / 2), "--rate-mbit", str(rate_mbit),
                        "--loss-percent", str(loss_percent), "--queue-ms", str(queue_ms)]

    def __enter__(self):
        # The emulator exits when its standard input ends, so also when this process dies.
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            names = self.process.stdout.readline().split()
            if len(names) != 2:
                raise RuntimeError("the emulator did not start; its error is above")
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


def at(namespace, command):
    """The command line that runs the command in this namespace, in the process that is started itself."""
    return ["nsenter", f"--net={namespace}", "--", *map(str, command)]


@contextlib.contextmanager
def inside(namespace):
    """Sockets, threads and processes that this thread creates meanwhile are in that namespace."""
    libc = ctypes.CDLL(None, use_errno=True)

    def enter(file):
        if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter {file.name}")

    with open("/proc/thread-self/ns/net", "rb") as before, open(namespace, "rb") as there:
        enter(there)
        try:
            yield
        finally:
            enter(before)


def use_congestion_control(name, namespaces):
    """Sets the default of the namespaces. The kernel accepts only a name in the machine's list of allowed ones, so the
    name is in that list for a moment."""
    with open(pathlib.Path(tempfile.gettempdir()) / "culvert-congestion-control", "a", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = ALLOWED.read_text()
        try:
            if name not in before.split():
                ALLOWED.write_text(f"{before.strip()} {name}")
            for namespace in namespaces:
                with inside(namespace):
                    pathlib.Path("/proc/sys/net/ipv4/tcp_congestion_control").write_text(name)
        except OSError as error:
            raise RuntimeError(f"congestion control {name} is not available: {error}") from error
        finally:
            if name not in before.split():
                ALLOWED.write_text(before)
