# SPDX-License-Identifier: Apache-2.0
"""Starts processes, ends them by their id, and measures the CPU time and the memory that they use."""

import contextlib
import os
import pathlib
import pwd
import re
import signal
import socket
import subprocess
import time

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start(stack, command, folder, name, user=None):
    """Starts `command` in `folder`; its output goes to `name`.log there. Closing `stack` ends it. With `user`, root
    starts it as that user."""
    environment = dict(os.environ, PATH=os.environ.get("PATH", "") + ":/usr/sbin")
    identity = {}
    if user and os.geteuid() == 0:
        identity = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}
    with open(folder / f"{name}.log", "wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                   env=environment, **identity)
    stack.callback(end, process)
    return process


def end(process):
    """Ends the process and its children: sshd does not end the children that serve its connections."""
    children = tree(process)[1:]
    process.terminate()
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def tree(process):
    """The id of the process and those of all its descendants."""
    found = [process.pid]
    for pid in found:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for children in pathlib.Path("/proc", str(pid), "task").glob("*/children"):
                found += [int(each) for each in children.read_text().split()]
    return found


def cpu_seconds(processes):
    """CPU time of these processes and their descendants, including those that have ended and were waited for. The
    kernel's work on their behalf is included."""
    seconds = 0
    for pid in (pid for process in processes for pid in tree(process)):
        with contextlib.suppress(OSError):
            # The process's own clock counts nanoseconds; /proc/PID/stat has only ticks of 10 ms.
            own = time.clock_gettime(~pid << 3 | 2)
            fields = pathlib.Path("/proc", str(pid), "stat").read_text().rpartition(") ")[2].split()
            seconds += own + sum(int(each) for each in fields[13:15]) / TICKS_PER_SECOND
    return seconds


def memory_kib(process, kind="Pss"):
    """Memory of the process and its descendants. Pss divides shared pages among the processes that map them. Pss_Anon
    leaves out pages of files, whose share changes whenever another program starts or ends."""
    total = 0
    for pid in tree(process):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            text = pathlib.Path("/proc", str(pid), "smaps_rollup").read_text()
            total += int(re.search(rf"^{kind}:\s+(\d+)", text, re.M)[1])
    return total


def ordinary_user():
    """The user for programs that need no privileges: nobody if this process is root, otherwise its own user."""
    return "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
