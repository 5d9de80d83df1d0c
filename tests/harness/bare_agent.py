# SPDX-License-Identifier: Apache-2.0
"""An agent without a program: it speaks the tunnel's protocol to a real server, written from SPEC.md and not from
our code."""

import os
import socket
import ssl
import struct

import msgpack

from tests.harness.hostile_server import HELLO, WELCOME, frame
from tests.harness.sockets import receive_exactly


def agent_tls(credentials):
    """The TLS context of an agent's tunnels (SPEC 2)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(credentials.certificate, credentials.private_key)
    context.load_verify_locations(credentials.ca)
    context.set_alpn_protocols(["culvert/1"])
    return context


class BareAgent:
    """Whoever has these credentials."""

    def __init__(self, case, port, credentials):
        self.case, self.context, self.port = case, agent_tls(credentials), port

    def dial(self):
        """A connection that has proven its identity, and says nothing."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        tunnel = self.context.wrap_socket(plain, server_hostname="localhost")
        self.case.addCleanup(tunnel.close)
        return tunnel

    def greet(self, instance=None, slot=0):
        """A tunnel of this process: (connection, whether it was welcomed)."""
        tunnel = self.dial()
        hello = {"v_min": 1, "v_max": 1, "instance": instance or os.urandom(16), "epoch": 1, "slot": slot}
        tunnel.sendall(frame(HELLO, 0, msgpack.packb(hello)))
        kind, _, _, _, size = struct.unpack(">BBHII", receive_exactly(tunnel, 12))
        receive_exactly(tunnel, size)
        return tunnel, kind == WELCOME
