# SPDX-License-Identifier: Apache-2.0
"""Ports on loopback."""

import fcntl
import pathlib
import socket
import tempfile


def free_port():
    """A loopback port below the ephemeral range, so that no outgoing connection takes it. No other test process gets
    the same one."""
    return free_ports(1)[0]


def free_ports(count):
    """The same, as `count` ports in sequence."""
    with open(pathlib.Path(tempfile.gettempdir()) / "culvert-e2e-port", "a+", encoding="ascii") as counter:
        fcntl.flock(counter, fcntl.LOCK_EX)
        counter.seek(0)
        port, found = int(counter.read() or 12000), []
        while len(found) < count:
            if port >= 29000:
                port, found = 11999, []
            port += 1
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                    found.append(port)
                except OSError:
                    found = []
        counter.truncate(0)
        counter.write(str(port))
    return found


def closed_port():
    """A port that refuses connections."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return closed.getsockname()[1]
