# SPDX-License-Identifier: Apache-2.0
"""Node.js as a back end, and its packages for other programs of the tests."""

import fcntl
import os
import pathlib
import shutil

from tests.harness.commands import run
from tests.harness.environment import BUILD
from tests.harness.ports import free_port
from tests.harness.program import Program

NODE_FOLDER = pathlib.Path(__file__).resolve().parent / "node"


def node_packages():
    """Installs what package-lock.json pins, once for all tests of this checkout. Returns the environment for
    Node.js."""
    folder = BUILD.parent / "node"
    folder.mkdir(parents=True, exist_ok=True)
    pins, installed = (NODE_FOLDER / "package-lock.json").read_bytes(), folder / "installed"
    with open(folder / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not installed.exists() or installed.read_bytes() != pins:
            for file in ("package.json", "package-lock.json"):
                shutil.copy(NODE_FOLDER / file, folder)
            run("/usr/bin/npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=folder, seconds=300)
            installed.write_bytes(pins)
    return {**os.environ, "NODE_PATH": str(folder / "node_modules")}


def node(case):
    """node/back_end.js, which answers with what it was asked, and echoes WebSocket messages. Returns the port."""
    return node_ports(case, "node", 1)[0]


def node_ports(case, name, count):
    """The same, as one process with several ports. Returns the ports."""
    ports = [free_port() for _ in range(count)]
    Program(case, name, ["/usr/bin/node", NODE_FOLDER / "back_end.js", *ports],
            environment=node_packages()).start().wait_for_port(ports[-1])
    return ports
