# SPDX-License-Identifier: Apache-2.0
"""A server that breaks the rules: it speaks the tunnel's protocol to a real agent, written from SPEC.md and not from
our code, and sends whatever a test wants."""

import contextlib
import itertools
import os
import socket
import ssl
import struct
import time
from typing import NamedTuple

import msgpack

from tests.harness.sockets import receive_exactly

HELLO, WELCOME, GOAWAY, PING = 1, 2, 3, 4
OPEN, ACCEPT, REJECT, DATA, CREDIT, FIN, RESET, STOP, HEAD = range(0x10, 0x19)
KIND_SERVICE, KIND_HOST, KIND_HTTP = 1, 2, 3
# Kinds of HEAD.
KIND_INTERIM, KIND_RESPONSE, KIND_FAILURE = 2, 3, 5
SHUTDOWN, NOT_EXPOSED, ABORTED, STALLED, KIND_UNKNOWN, SPEAKS_HTTP, AMBIGUOUS_PATH = 11, 32, 44, 46, 47, 48, 49
TARGET_NOT_HTTP, AMBIGUOUS_BACKSLASH = 50, 51


class Outcome(NamedTuple):
    reason: int | None  # of a REJECT or RESET
    status: int | None  # of the response's HEAD
    fields: dict
    body: bytes
    kinds: list  # of all HEADs


def frame(kind, stream, payload=b"", flags=0):
    return struct.pack(">BBHII", kind, flags, 0, stream, len(payload)) + payload


def pack_fields(*pairs):
    return b"".join(name + b"\0" + value + b"\0" for name, value in pairs)


def request(path, host="erp", method="GET", **more):
    """The payload of a HEAD with a request. It is correct except for `path` and `more`; a key of None is left out."""
    head = {"kind": 1, "method": method, "host": host, "port": 80, "path": path, "framing": 0, "fields": b"", **more}
    return msgpack.packb({key: value for key, value in head.items() if value is not None})


class HostileServer:
    """Listens at the port that the agent of a Pair dials. accept() waits for its one tunnel."""

    def __init__(self, case, port, credentials):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(credentials.certificate, credentials.private_key)
        context.load_verify_locations(credentials.ca)
        context.set_alpn_protocols(["culvert/1"])
        context.num_tickets = 0
        self.context, self.listening = context, socket.create_server(("127.0.0.1", port))
        case.addCleanup(self.listening.close)
        self.case, self.tunnel, self.ids, self.hello = case, None, itertools.count(2, 2), None

    def accept(self, seconds=20, **welcome):
        """`welcome`: more keys of WELCOME. Stores the agent's HELLO in `hello`."""
        self.listening.settimeout(seconds)
        plain, _ = self.listening.accept()
        plain.settimeout(20)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.tunnel = self.context.wrap_socket(plain, server_side=True)
        self.case.addCleanup(self.tunnel.close)
        kind, _, payload = self.receive()
        assert kind == HELLO, kind
        self.hello = msgpack.unpackb(payload)
        assert self.hello["v_min"] == 1
        self.send(frame(WELCOME, 0, msgpack.packb({"v": 1, "caps": ["heads"], "instance": os.urandom(16), **welcome})))
        return self

    def send(self, data):
        self.tunnel.sendall(data)

    def receive(self):
        """The next frame: (type, stream, payload). Answers a PING."""
        kind, _, stream, payload = self.receive_with_flags()
        return kind, stream, payload

    def receive_with_flags(self):
        kind, flags, _, stream, size = struct.unpack(">BBHII", receive_exactly(self.tunnel, 12))
        payload = receive_exactly(self.tunnel, size)
        if kind == PING and not flags:
            self.send(frame(PING, 0, payload, 1))
        return kind, flags, stream, payload

    def exchange(self, *frames, kind=KIND_HTTP, host="erp", port=80, ends=True, seconds=6):
        """Opens a stream, sends these frames of (type, payload) and, if it `ends`, FIN. Returns how the agent ended
        it."""
        stream = next(self.ids)
        opened = msgpack.packb({"kind": kind, "name": host, "port": port, "credit": 1 << 20})
        data = frame(OPEN, stream, opened) + b"".join(frame(each, stream, payload) for each, payload in frames)
        self.send(data + (frame(FIN, stream) if ends else b""))
        status, fields, body, kinds = None, {}, b"", []
        deadline = time.monotonic() + seconds
        while True:
            if time.monotonic() > deadline:  # Pings keep the socket from timing out.
                raise AssertionError(f"the agent has not ended the stream within {seconds} s")
            kind, where, payload = self.receive()
            if kind == GOAWAY:
                raise AssertionError(f"the agent ended the tunnel: {msgpack.unpackb(payload)}")
            if where != stream:
                continue
            if kind == REJECT:
                return Outcome(msgpack.unpackb(payload)["reason"], None, {}, b"", kinds)
            if kind == RESET:
                return Outcome(struct.unpack(">I", payload)[0], status, fields, body, kinds)
            if kind == HEAD:
                head = msgpack.unpackb(payload)
                kinds.append(head["kind"])
                if head["kind"] == KIND_RESPONSE:
                    status, parts = head["status"], head.get("fields", b"").split(b"\0")
                    fields = dict(zip((name.lower() for name in parts[::2]), parts[1::2]))
            if kind == DATA:
                body += payload
            if kind == FIN:
                if not ends:
                    with contextlib.suppress(OSError):
                        self.send(frame(RESET, stream, struct.pack(">I", 42)))
                return Outcome(None, status, fields, body, kinds)
