# SPDX-License-Identifier: Apache-2.0
"""Clients of an echo server."""

import contextlib
import socket

from tests.harness.sockets import receive_all, receive_exactly


def assert_echoes(case, port, message=b"round trip", seconds=20):
    """An echo server answers at this port."""
    with open_echo_stream(case, port, message, seconds):
        pass


@contextlib.contextmanager
def open_echo_stream(case, port, message=b"before", seconds=20):
    """A connection to an echo server at this port, which has answered once."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as client:
        assert_still_echoes(case, client, message)
        yield client


def assert_still_echoes(case, client, message=b"after"):
    """The echo server answers on this connection."""
    client.sendall(message)
    case.assertEqual(receive_exactly(client, len(message)), message)


def receive_until_closed(port, source=None, seconds=20):
    """Connects, sends nothing, and returns what it receives until the end; b"" also after a reset or a refusal."""
    with contextlib.suppress(ConnectionError):
        with socket.create_connection(("127.0.0.1", port), timeout=seconds,
                                      source_address=(source, 0) if source else None) as client:
            return receive_all(client)
    return b""
