# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 exactly as in RFC 9112: a second implementation, independent of common/http. It reads what the clients and
back ends of the tests receive, and the most that the bytes of a hostile peer may mean."""

import re
from typing import NamedTuple

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*"
                   rb"((?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?)[ \t]*")
CHUNK = re.compile(rb"([0-9a-fA-F]{1,16})([ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
PADDED_CHUNK = re.compile(CHUNK.pattern.removesuffix(b"?") + rb"?[ \t]*")


class Broken(Exception):
    """The bytes are not a message, whatever follows them."""


class Incomplete(Exception):
    """The bytes may be the beginning of a message."""


class Request(NamedTuple):
    method: bytes
    target: bytes
    fields: tuple  # of (name in lower case, value)
    body: bytes
    old: bool  # HTTP/1.0
    trailers: tuple = ()

    def value(self, name):
        return next((value for known, value in self.fields if known == name), None)


class Answer(NamedTuple):
    status: int
    fields: tuple
    body: bytes
    whole: bool
    interims: tuple = ()  # the statuses of the interim responses before it
    trailers: tuple = ()

    value = Request.value

    @property
    def is_ours(self):
        """Whether Culvert made it, not a back end."""
        return (self.value(b"proxy-status") or b"").startswith(b"culvert-")


class Text:
    """Bytes, read from the front. At their end it raises Incomplete, or Broken if the connection has `ended`."""

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

    def chunks(self, lenient=False):
        """A chunked body and its trailers."""
        body = b""
        while True:
            line = self.line()
            match = CHUNK.fullmatch(line) or (lenient and b";" not in line and PADDED_CHUNK.fullmatch(line))
            if not match:
                raise Broken("a chunk's size")
            size = int(match[1], 16)
            if size == 0:
                return body, self.fields()
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
    if not match or not TOKEN.fullmatch(match[1]) or re.search(rb"[^\x21-\x7e\x80-\xff]", match[2]):
        raise Broken(f"a request line {line[:60]}")
    fields, old = text.fields(), match[3] == b"0"
    hosts = [value for name, value in fields if name == b"host"]
    if len(hosts) > 1 or (not hosts and not old):
        raise Broken("not one Host")
    how = framing(fields, old)
    body, trailers = text.chunks() if how == "chunked" else (text.take(how or 0), ())
    return Request(match[1], match[2], fields, body, old, trailers)


def agreed(fields, old):
    """The fields with one framing, where all readings of several agree: what a proxy may take from a back end."""
    def elements(wanted):
        return [value.strip(b" \t") for name, values in fields if name == wanted for value in values.split(b",")]

    lengths, codings = elements(b"content-length"), elements(b"transfer-encoding")
    others = tuple(field for field in fields if field[0] not in (b"content-length", b"transfer-encoding"))
    if not all(re.fullmatch(rb"[0-9]{1,19}", length) for length in lengths) or len(set(map(int, lengths))) > 1:
        raise Broken("lengths")
    if codings and (old or {coding.lower() for coding in codings} != {b"chunked"}):
        raise Broken("codings")
    return others + (((b"transfer-encoding", b"chunked"),) if codings else
                     ((b"content-length", lengths[0]),) if lengths else ())


def read_answer(text, method, lenient=False):
    """The next final response of a Text to a request of this method. It is not `whole` if its body is cut off.
    `lenient`: as a proxy may read what a back end sends."""
    interims = ()
    while True:
        line = text.line()
        match = re.fullmatch(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: [\t\x20-\x7e\x80-\xff]*)?", line)
        if not match:
            raise Broken(f"a status line {line[:60]}")
        fields, status = text.fields(), int(match[2])
        if status >= 200 or status == 101:
            break
        interims += status,
    if method == b"HEAD" or status in (101, 204, 304) or (method == b"CONNECT" and status < 300):
        return Answer(status, fields, b"", True, interims)
    old = match[1] == b"0"
    how = framing(agreed(fields, old) if lenient else fields, old)
    start = text.at
    try:
        if how is None and not text.ended:
            raise Incomplete
        if how == "chunked":
            body, trailers = text.chunks(lenient)
        else:
            body, trailers = text.take(len(text.data) - text.at if how is None else how), ()
    except Broken:
        if not text.ended:
            raise
        return Answer(status, fields, bytes(text.data[start:]), False, interims)
    return Answer(status, fields, body, True, interims, trailers)
