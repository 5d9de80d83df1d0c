# SPDX-License-Identifier: Apache-2.0
"""Starts processes, ends them by their id, and tells what they cost."""

import contextlib
import os
import pathlib
import pwd
import re
import signal
import socket
import subprocess

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start(stack, command, folder, name, user=None):
    """`stack` ends it. What it says goes to `name`.log in `folder`. Root may start it as another `user`."""
    environment = dict(os.environ, PATH=os.environ.get("PATH", "") + ":/usr/sbin")
    identity = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if user and os.geteuid() == 0 else {}
    with open(folder / f"{name}.log", "wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, **identity)
    stack.callback(end, process)
    return process


def end(process):
    """With its children: sshd leaves the connections that it serves."""
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
    """Its id and those of its children and theirs."""
    found = [process.pid]
    for pid in found:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for children in pathlib.Path("/proc", str(pid), "task").glob("*/children"):
                found += [int(each) for each in children.read_text().split()]
    return found


def cpu_seconds(processes):
    """Of these and their children, the ended and waited-for ones too; the kernel's work for them included."""
    ticks = 0
    for pid in (pid for process in processes for pid in tree(process)):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            fields = pathlib.Path("/proc", str(pid), "stat").read_text().rpartition(") ")[2].split()
            ticks += sum(int(each) for each in fields[11:15])
    return ticks / TICKS_PER_SECOND


def memory_kib(process, kind="Pss"):
    """Of the process and its children. Pss counts shared pages in parts; Pss_Anon leaves out files, whose parts change whenever
    another program begins or ends."""
    total = 0
    for pid in tree(process):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            text = pathlib.Path("/proc", str(pid), "smaps_rollup").read_text()
            total += int(re.search(rf"^{kind}:\s+(\d+)", text, re.M)[1])
    return total


def ordinary_user():
    """Whom a program runs as that needs no privileges: nobody instead of root."""
    return "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
