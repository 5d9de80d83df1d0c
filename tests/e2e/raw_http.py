# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 as RFC 9112 has it and no looser: a second opinion, written without a look at common/http, on what a text of bytes is. For
what clients and back ends of these tests get, and for what a hostile one's bytes may at most mean."""

import re
import socket
from typing import NamedTuple

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*((?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?)[ \t]*")
CHUNK = re.compile(rb"([0-9a-fA-F]{1,16})([ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class Broken(Exception):
    """No further byte makes a message of this."""


class Incomplete(Exception):
    """What came so far is the beginning of one, perhaps."""


class Request(NamedTuple):
    method: bytes
    target: bytes
    fields: tuple  # of (name in small letters, value)
    body: bytes
    old: bool  # HTTP/1.0

    def value(self, name):
        return next((value for known, value in self.fields if known == name), None)


class Answer(NamedTuple):
    status: int
    fields: tuple
    body: bytes
    whole: bool

    value = Request.value

    @property
    def is_ours(self):
        """Made by Culvert, not by a back end."""
        return (self.value(b"proxy-status") or b"").startswith(b"culvert-")


class Text:
    """Bytes, read from the front; Incomplete at their end, unless they are `ended`: then Broken."""

    def __init__(self, data, at=0, ended=False):
        self.data, self.at, self.ended = data, at, ended

    def short(self):
        raise Broken("ends within a message") if self.ended else Incomplete

    def line(self):
        end = self.data.find(b"\n", self.at)
        part = self.data[self.at:end if end >= 0 else len(self.data)]
        if b"\r" in part[:-1]:
            raise Broken("a bare CR")
        if end < 0:
            self.short()
        if not part.endswith(b"\r"):
            raise Broken("a bare LF")
        self.at = end + 1
        return bytes(part[:-1])

    def take(self, size):
        if len(self.data) - self.at < size:
            self.short()
        self.at += size
        return bytes(self.data[self.at - size:self.at])

    def fields(self):
        found = []
        while line := self.line():
            match = FIELD.fullmatch(line)
            if not match:
                raise Broken(f"a field line {line[:40]}")
            found.append((match[1].lower(), match[2]))
        return tuple(found)

    def chunks(self):
        body = b""
        while True:
            match = CHUNK.fullmatch(self.line())
            if not match:
                raise Broken("a chunk's size")
            size = int(match[1], 16)
            if size == 0:
                self.fields()
                return body
            body += self.take(size)
            if self.take(2) != b"\r\n":
                raise Broken("a chunk's end")


def framing(fields, old):
    """None, "chunked", or a length."""
    lengths = [value for name, value in fields if name == b"content-length"]
    codings = [value for name, value in fields if name == b"transfer-encoding"]
    if len(lengths) + len(codings) > 1:
        raise Broken("two framings")
    if codings and (codings[0].lower() != b"chunked" or old):
        raise Broken("a transfer coding")
    if lengths and not re.fullmatch(rb"[0-9]{1,19}", lengths[0]):
        raise Broken("a length")
    return "chunked" if codings else int(lengths[0]) if lengths else None


def read_request(text):
    """The next request of a Text."""
    line = text.line()
    match = re.fullmatch(rb"(\S+) (\S+) HTTP/1\.([01])", line)
    if not match or not TOKEN.fullmatch(match[1]) or re.search(rb"[^\x21-\x7e]", match[2]):
        raise Broken(f"a request line {line[:60]}")
    fields, old = text.fields(), match[3] == b"0"
    hosts = [value for name, value in fields if name == b"host"]
    if len(hosts) > 1 or (not hosts and not old):
        raise Broken("not one Host")
    how = framing(fields, old)
    body = text.chunks() if how == "chunked" else text.take(how or 0)
    return Request(match[1], match[2], fields, body, old)


def read_answer(text, method):
    """The next final response of a Text, to a request of this method. One that ends before its body does is not whole."""
    while True:
        line = text.line()
        match = re.fullmatch(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: [\t\x20-\x7e\x80-\xff]*)?", line)
        if not match:
            raise Broken(f"a status line {line[:60]}")
        fields, status = text.fields(), int(match[2])
        if status >= 200 or status == 101:
            break
    if method == b"HEAD" or status in (101, 204, 304) or (method == b"CONNECT" and status < 300):
        return Answer(status, fields, b"", True)
    how = framing(fields, match[1] == b"0")
    start = text.at
    try:
        if how is None and not text.ended:
            raise Incomplete
        body = text.chunks() if how == "chunked" else text.take(len(text.data) - text.at if how is None else how)
    except Broken:
        if not text.ended:
            raise
        return Answer(status, fields, bytes(text.data[start:]), False)
    return Answer(status, fields, body, True)


class Client:
    """One connection, byte by byte."""

    def __init__(self, address, source=None, seconds=10):
        self.socket = socket.create_connection(address, timeout=seconds, source_address=source and (source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data, self.at, self.ended = bytearray(), 0, False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        """Whether the other side still listens."""
        try:
            self.socket.sendall(data)
        except OSError:
            return False
        return True

    def finish(self):
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def more(self):
        try:
            part = self.socket.recv(65536)
        except ConnectionError:
            part = b""
        self.data += part
        self.ended = not part

    def answer(self, method=b"GET"):
        """The next one; None where the connection ended before it began. TimeoutError: it never came."""
        while True:
            text = Text(self.data, self.at, self.ended)
            try:
                if not (self.ended and self.at == len(self.data)):
                    found = read_answer(text, method)
                    self.at = text.at if found.whole else len(self.data)
                    return found
                return None
            except Incomplete:
                self.more()

    def is_over(self):
        """Waits for the end of the connection; False: bytes came instead."""
        while not self.ended and self.at == len(self.data):
            self.more()
        return self.at == len(self.data)

    def connect(self, authority):
        """CONNECT; the answer."""
        self.send(b"CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (authority, authority))
        return self.answer(b"CONNECT")


def within(path, rule, sub_paths):
    """Whether a path with nothing encoded in it is a rule's."""
    if not sub_paths:
        return path == rule
    inside, whole = path.split(b"/"), rule.rstrip(b"/").split(b"/")
    return inside[:len(whole)] == whole
