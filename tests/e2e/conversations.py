# SPDX-License-Identifier: Apache-2.0
"""Short client sides that several tests share."""

import contextlib
import socket

from backends import receive_all, receive_exactly


def echoes(case, port, message=b"round trip", seconds=20):
    """Proves that an echo server answers behind this port."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as client:
        client.sendall(message)
        case.assertEqual(receive_exactly(client, len(message)), message)


def closes(port, source=None, seconds=20):
    """Connects, sends nothing, returns what comes until the end; b"" also for a reset or a refusal."""
    with contextlib.suppress(ConnectionError):
        with socket.create_connection(("127.0.0.1", port), timeout=seconds, source_address=(source, 0) if source else None) as client:
            return receive_all(client)
    return b""
