# SPDX-License-Identifier: Apache-2.0
"""An HTTP target in this process that records every call, with the bytes of its body that arrived, and on some paths
answers in a way that a test chooses."""

import base64
import dataclasses
import hashlib
import json
import re
import secrets
import select
import ssl
import struct
import threading
import time

from tests.harness.sockets import reset
from tests.harness.tcp_server import serve
from tests.harness.waiting import wait_until

MIB = 1 << 20
KEPT_MAX = 64 << 10  # bytes of a body that a call keeps
UNSAFE = ("POST", "PUT", "PATCH", "DELETE")
REASONS = {100: "Continue", 200: "OK", 201: "Created", 401: "Unauthorized", 403: "Forbidden", 413: "Too Large"}


class Gone(Exception):
    """The connection is over: the peer closed it, or the action did."""


@dataclasses.dataclass
class Call:
    """One request, as far as it arrived."""
    connection: int
    method: str
    path: str
    query: str  # without the question mark
    fields: list  # of (name in lower case, value)
    size: int = 0  # bytes of the body that arrived
    body: bytes = b""  # the first KEPT_MAX of them
    sha256: str = ""  # of the whole body, once it has arrived
    whole: bool = False
    gone: float | None = None  # when the peer ended the connection during this call, by time.monotonic()

    def value(self, name):
        return next((value for known, value in self.fields if known == name), None)

    def values(self, name):
        return [value for known, value in self.fields if known == name]


class Exchange:
    """A call that is to be answered. Actions call its functions."""

    def __init__(self, call, connection, file):
        self.call, self.connection, self.file = call, connection, file
        self.is_read = self.is_answered = self.closes = False

    def read(self):
        """Reads the body to its end, and asks for it if the client waits to be asked."""
        if self.is_read:
            return self.call
        self.is_read = True
        if (self.call.value("expect") or "").lower() == "100-continue" and not self.is_answered:
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        digest = hashlib.sha256()
        for piece in self.pieces():
            digest.update(piece)
            self.call.size += len(piece)
            if len(self.call.body) < KEPT_MAX:
                self.call.body += piece[:KEPT_MAX - len(self.call.body)]
        self.call.sha256, self.call.whole = digest.hexdigest(), True
        return self.call

    def pieces(self):
        if self.call.value("transfer-encoding") == "chunked":
            while size := int(self.line(), 16):
                yield from self.take(size)
                self.line()
            while self.line():
                pass
            return
        yield from self.take(int(self.call.value("content-length") or 0))

    def line(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise Gone
        return line[:-2]

    def take(self, size):
        while size:
            piece = self.file.read1(min(size, MIB))
            if not piece:
                raise Gone
            size -= len(piece)
            yield piece

    def send(self, data):
        try:
            self.connection.sendall(data)
        except OSError:
            raise Gone from None

    def head(self, status, fields=()):
        self.is_answered = True
        lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}", *(f"{name}: {value}" for name, value in fields)]
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def answer(self, status, body=b"", fields=()):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.head(status, [*fields, ("Content-Length", len(body))])
        if self.call.method != "HEAD":
            self.send(body)

    def wait_for_end(self, seconds=30):
        """Waits until the peer ends the connection, and notes when."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if select.select([self.connection], [], [], 0.01)[0]:
                try:
                    if self.connection.recv(65536):
                        continue
                except OSError:
                    pass
                raise Gone

    def close(self):
        raise Gone


class Judge:
    """`actions`: path -> function of an Exchange. All other paths get echo(). Over TLS with `credentials`; with
    `client_ca` only for clients with a certificate of it."""

    def __init__(self, case, credentials=None, client_ca=None, address="127.0.0.1"):
        self.actions, self.calls, self.connections, self.lock = {}, [], 0, threading.Lock()
        self.context = None
        if credentials:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(credentials.certificate, credentials.private_key)
            # HTTP/1.1 only, and said so: a client that offers h2 alone is refused.
            self.context.set_alpn_protocols(["http/1.1"])
            if client_ca:
                self.context.load_verify_locations(client_ca)
                self.context.verify_mode = ssl.CERT_REQUIRED
        self.server_names = []  # that clients asked for by SNI
        if self.context:
            self.context.sni_callback = lambda _, name, __: self.server_names.append(name)
        self.faults = []  # what was no request; a test that has some fails
        case.addCleanup(lambda: case.assertEqual(self.faults, [], "bytes that are not a request"))
        self.port = serve(case, self.converse, address)
        self.url = f"{'https://localhost' if credentials else f'http://{address}'}:{self.port}"

    def on(self, path, action):
        self.actions[path] = action
        return action

    def calls_of(self, path, method=None):
        """The calls of this path so far."""
        with self.lock:
            return [call for call in self.calls if call.path == path and method in (None, call.method)]

    def count(self, path, method=None):
        return len(self.calls_of(path, method))

    def wait_for_call(self, path, condition=lambda call: True, seconds=10):
        """The first call of this path for which `condition` is true."""
        return wait_until(lambda: next((call for call in self.calls_of(path) if condition(call)), None), seconds,
                          f"a call of {path}", 0.005)

    def converse(self, connection):
        with self.lock:
            number, self.connections = self.connections, self.connections + 1
        if self.context:
            connection = self.context.wrap_socket(connection, server_side=True)
        file = connection.makefile("rb", MIB)
        previous = None
        while exchange := self.next_exchange(number, connection, file, previous):
            previous = exchange.call
            with self.lock:
                self.calls.append(exchange.call)
            try:
                self.actions.get(exchange.call.path, echo)(exchange)
                exchange.read()
            except (Gone, OSError):
                exchange.call.gone = time.monotonic()
                return connection.close()
            if exchange.closes:
                return connection.close()
        return None

    def next_exchange(self, number, connection, file, previous):
        if not (line := file.readline()):
            return None
        if not (parts := re.fullmatch(r"([A-Z]+) (/\S*) HTTP/1\.1\r\n", line.decode("latin-1"))):
            self.faults.append((line[:80], previous))
            return None
        method, target = parts.groups()
        path, _, query = target.partition("?")
        fields = []
        while (field := file.readline().decode("latin-1").rstrip("\r\n")):
            name, _, value = field.partition(":")
            fields.append((name.strip().lower(), value.strip()))
        return Exchange(Call(number, method, path, query, fields), connection, file)


# --- actions ----------------------------------------------------------------------------------------------------------

def echo(exchange):
    """200 with what arrived, as JSON."""
    call = exchange.read()
    exchange.answer(200, {"method": call.method, "path": call.path, "query": call.query, "fields": dict(call.fields),
                          "size": call.size, "sha256": call.sha256})


def answering(status, body=b"", fields=()):
    def action(exchange):
        exchange.read()
        exchange.answer(status, body, fields)
    return action


def refusing(status, times=1, when="after", body=b"", fields=()):
    """Refuses the first `times` calls, then echoes. `when`: "after" the body was read, "early" before it (and reads it
    then), "early_close" before it, and ends the connection."""
    left = [times]

    def action(exchange):
        if left[0] == 0:
            return echo(exchange)
        left[0] -= 1
        if when == "after":
            exchange.read()
        ending = [("Connection", "close")] if when == "early_close" else []
        exchange.answer(status, body, [*fields, *ending])
        if when == "early_close":
            linger(exchange)
        return None
    return action


def linger(exchange):
    """Ends the connection as web servers do: reads a little more, so that the peer can read the answer, and closes."""
    exchange.connection.shutdown(1)
    exchange.connection.settimeout(0.2)
    try:
        for _ in range(64):
            if not (piece := exchange.file.read1(65536)):
                break
            exchange.call.size += len(piece)
    except OSError:
        pass
    exchange.is_read = exchange.closes = True


def too_large(exchange):
    """413 as soon as the head has arrived."""
    refusing(413, when="early_close", body=b"too large", fields=[("Content-Type", "text/plain")])(exchange)


def cut_off(framing):
    """A body that ends in its middle. `framing`: "length", "chunked", "reset" (of a length) or "head"."""
    def action(exchange):
        exchange.read()
        if framing == "head":
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Le")
        elif framing == "chunked":
            exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nwo")
        else:
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        if framing == "reset":
            # The bytes must arrive before the reset, which discards what is queued.
            time.sleep(0.2)
            reset(exchange.connection)
        exchange.close()
    return action


def events(count, pause=0.02):
    """Server-sent events, each with the time at which it was sent."""
    def action(exchange):
        exchange.read()
        exchange.head(200, [("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")])
        for _ in range(count):
            text = b"data: %f\n\n" % time.monotonic()
            exchange.send(b"%x\r\n%s\r\n" % (len(text), text))
            time.sleep(pause)
        exchange.send(b"0\r\n\r\n")
    return action


def silent(exchange):
    """Reads the body and does not answer."""
    exchange.read()
    exchange.wait_for_end()


def stalled(exchange):
    """Sends a head and the beginning of a body, and no more."""
    exchange.read()
    exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    exchange.wait_for_end()


def unread(exchange):
    """Neither reads the body nor answers."""
    exchange.is_read = True
    poll = select.poll()
    poll.register(exchange.connection, select.POLLRDHUP)
    poll.poll(30_000)
    exchange.close()


def generated(size, framing="length"):
    """A body of `size` bytes of stream(). `framing`: "length" or "chunked"."""
    def action(exchange):
        exchange.read()
        chunked = framing == "chunked"
        exchange.head(200, [("Transfer-Encoding", "chunked") if chunked else ("Content-Length", size)])
        for piece in stream(size):
            exchange.send(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            exchange.send(b"0\r\n\r\n")
    return action


BLOCK = hashlib.shake_256(b"judge").digest(MIB)


def stream(size):
    """The same bytes each time, in pieces of at most 1 MiB that begin with their number."""
    for start in range(0, size, MIB):
        yield (struct.pack("!Q", start) + BLOCK[8:])[:min(MIB, size - start)]


def digest_of_stream(size):
    digest = hashlib.sha256()
    for piece in stream(size):
        digest.update(piece)
    return digest.hexdigest()


class Csrf:
    """A CSRF token with two cookies, for each user. `page` is the action of the token's URL, `guarded` of a URL that
    needs them for unsafe methods, and echoes. renew() makes all tokens so far invalid."""

    def __init__(self):
        self.sessions, self.lock = {}, threading.Lock()

    def renew(self):
        self.sessions = {}

    def page(self, exchange):
        call = exchange.read()
        if (call.value("x-csrf-token") or "").lower() != "fetch":
            return exchange.answer(400, b"no fetch")
        session, token = secrets.token_hex(8), secrets.token_hex(8)
        with self.lock:
            self.sessions[session] = (token, call.value("authorization"))
        # The value of one has characters that a jar must not change.
        return exchange.answer(200, b"", [
            ("X-CSRF-Token", token), ("Set-Cookie", f"session={session}; Path=/; HttpOnly"),
            ("Set-Cookie", f"check={base64.b64encode(session.encode()).decode()}; Path=/; Secure; SameSite=Lax")])

    def guarded(self, exchange):
        call = exchange.read()
        if call.method not in UNSAFE or self.is_good(call):
            return echo(exchange)
        return exchange.answer(403, b"CSRF token required", [("X-CSRF-Token", "Required")])

    def is_good(self, call):
        pairs = [pair.strip().partition("=") for value in call.values("cookie") for pair in value.split(";")]
        cookies = {name: value for name, _, value in pairs}
        # Of two cookies with one name each server takes the one that it likes.
        if len({name for name, *_ in pairs}) < len(pairs):
            return False
        session = cookies.get("session", "")
        return (self.sessions.get(session) == (call.value("x-csrf-token"), call.value("authorization"))
                and cookies.get("check") == base64.b64encode(session.encode()).decode())
