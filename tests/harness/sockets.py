# SPDX-License-Identifier: Apache-2.0
"""Reading from sockets and closing them, at both ends."""

import resource
import socket
import struct


def raise_descriptor_limit():
    """Raises this process's limit of file descriptors to what is allowed, and returns it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def receive_all(connection):
    parts = []
    while data := connection.recv(1 << 16):
        parts.append(data)
    return b"".join(parts)


def receive_exactly(connection, size):
    parts = []
    while size > 0:
        data = connection.recv(min(size, 1 << 16))
        if not data:
            raise EOFError(f"closed with {size} bytes missing")
        parts.append(data)
        size -= len(data)
    return b"".join(parts)


def reset(connection):
    """Closes so that the peer sees a TCP reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
