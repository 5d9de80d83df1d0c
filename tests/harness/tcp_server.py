# SPDX-License-Identifier: Apache-2.0
"""Small TCP servers in this process, which misbehave in one exact way where a test needs it."""

import contextlib
import socketserver
import threading

from tests.harness.ports import free_port
from tests.harness.sockets import receive_all


def serve(case, conversation, address="127.0.0.1"):
    """A TCP server that calls `conversation(socket)` for each connection, in a thread of its own. Returns the port."""

    class Conversation(socketserver.BaseRequestHandler):
        def handle(self):
            with contextlib.suppress(OSError):
                conversation(self.request)

    class TcpServer(socketserver.ThreadingTCPServer):
        allow_reuse_address, daemon_threads, request_queue_size, block_on_close = True, True, 4096, False

    server = TcpServer((address, free_port()), Conversation)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    case.addCleanup(server.server_close)
    case.addCleanup(server.shutdown)
    return server.server_address[1]


def echo(connection):
    while data := connection.recv(1 << 16):
        connection.sendall(data)


def echo_port(case):
    return serve(case, echo)


def silent_port(case):
    """Accepts connections and never sends a byte."""
    return serve(case, receive_all)
