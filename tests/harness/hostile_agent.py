# SPDX-License-Identifier: Apache-2.0
"""An agent that breaks the rules: it dials a real server, speaks the tunnel's protocol as hostile_server.py does, and
answers each HTTP exchange with whatever a test wants."""

import contextlib
import itertools
import os
import socket
import struct
import threading

import msgpack

from tests.harness.bare_agent import agent_tls
from tests.harness.hostile_server import GOAWAY, HEAD, HELLO, PING, WELCOME, frame
from tests.harness.sockets import receive_exactly


class HostileAgent:
    """One tunnel to the server at `port`, in a thread; a new one as soon as the server has ended it. `on_head(stream,
    head)` gets each HEAD of a request, as an object, in that thread, and calls send()."""

    def __init__(self, case, port, credentials, on_head, caps=("heads",)):
        self.context, self.port, self.on_head, self.caps = agent_tls(credentials), port, on_head, caps
        self.instance, self.epochs, self.tunnel = os.urandom(16), itertools.count(1), None
        # The reasons of the server's GOAWAYs; None: a tunnel ended without one. `up`: there is a tunnel.
        self.ends, self.up, self.changed = [], False, threading.Condition()
        self.stops = False
        threading.Thread(target=self.run, daemon=True).start()
        case.addCleanup(self.stop)

    def stop(self):
        self.stops = True
        with contextlib.suppress(OSError, AttributeError):
            self.tunnel.shutdown(socket.SHUT_RDWR)

    def note(self, up, *ends):
        with self.changed:
            self.up = up
            self.ends += ends
            self.changed.notify_all()

    def wait_for_tunnel(self, ends=0, seconds=10):
        """Waits until the server has ended `ends` tunnels at least and there is a tunnel."""
        with self.changed:
            return self.changed.wait_for(lambda: self.up and len(self.ends) >= ends, seconds)

    def run(self):
        while not self.stops:
            reason = None
            try:
                self.dial()
                self.note(True)
                reason = self.serve()
            except (OSError, EOFError):
                pass
            self.note(False, reason)
            self.tunnel.close()

    def dial(self):
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.tunnel = self.context.wrap_socket(plain, server_hostname="localhost")
        hello = {"v_min": 1, "v_max": 1, "caps": self.caps, "instance": self.instance, "epoch": next(self.epochs),
                 "slot": 0}
        self.tunnel.sendall(frame(HELLO, 0, msgpack.packb(hello)))
        kind, _, payload = self.receive()
        if kind != WELCOME:
            raise OSError(f"no WELCOME: {kind} {payload}")

    def serve(self):
        """Returns the reason of the server's GOAWAY."""
        while True:
            kind, stream, payload = self.receive()
            if kind == GOAWAY:
                return msgpack.unpackb(payload)["reason"]
            if kind == HEAD and (head := msgpack.unpackb(payload))["kind"] == 1:
                self.on_head(stream, head)

    def send(self, data):
        """In one TLS record, if it has at most 16 KiB. What the server does not read any more is lost."""
        with contextlib.suppress(OSError):
            self.tunnel.sendall(data)

    def receive(self):
        """The next frame: (type, stream, payload). Answers a PING."""
        kind, flags, _, stream, size = struct.unpack(">BBHII", receive_exactly(self.tunnel, 12))
        payload = receive_exactly(self.tunnel, size)
        if kind == PING and not flags:
            self.send(frame(PING, 0, payload, 1))
        return kind, stream, payload
