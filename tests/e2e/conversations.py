# SPDX-License-Identifier: Apache-2.0
"""Short client sides that several tests share."""

import contextlib
import socket

from backends import receive_all, receive_exactly


def echoes(case, port, message=b"round trip", seconds=20):
    """Proves that an echo server answers behind this port."""
    with open_stream(case, port, message, seconds):
        pass


@contextlib.contextmanager
def open_stream(case, port, message=b"before", seconds=20):
    """A connection to an echo server behind this port, which has answered once."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as client:
        goes_on(case, client, message)
        yield client


def goes_on(case, client, message=b"after"):
    """Proves that the echo server answers on this connection."""
    client.sendall(message)
    case.assertEqual(receive_exactly(client, len(message)), message)


def closes(port, source=None, seconds=20):
    """Connects, sends nothing, returns what comes until the end; b"" also for a reset or a refusal."""
    with contextlib.suppress(ConnectionError):
        with socket.create_connection(("127.0.0.1", port), timeout=seconds, source_address=(source, 0) if source else None) as client:
            return receive_all(client)
    return b""
