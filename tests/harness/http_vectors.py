# SPDX-License-Identifier: Apache-2.0
"""The raw messages of tests/common/http/vectors.txt as data for tests of the whole path: each with the outcome that the
table gives it, in the terms of a client or a back end."""

import re
from typing import NamedTuple

from tests.harness import http_tables
from tests.harness.strict_http import Broken, Incomplete, Text, read_request

ROWS = http_tables.read("vectors.txt", 4)
REQUESTS = [row for row in ROWS if row.section.startswith("request")]
RESPONSES = [row for row in ROWS if row.section in ("response GET", "response HEAD", "response GET websocket")]
NEXT = b"GET /next HTTP/1.1\r\nHost: erp\r\n\r\n"  # the pipelined request that follows some messages


class RequestVector(NamedTuple):
    """A message to the host "erp"."""
    name: bytes
    wire: bytes
    outcome: str  # "refused", "incomplete", "tunnel" (CONNECT), or "answered"
    status: int = 0  # of a refusal
    next_follows: bool = False  # whether the wire ends with NEXT
    answers: int = 0  # requests that are answered: 2 if NEXT is one of them
    ending: str = ""  # after the answers: the connection "stays" or "closes", or "garbage" follows
    is_for_erp: bool = True


class ResponseVector(NamedTuple):
    """A message of a back end."""
    name: bytes
    wire: bytes
    method: bytes  # of the request
    asks_for_upgrade: bool
    outcome: str  # "whole", "not whole", or "unknown": then only the strict reader decides
    status: int = 0  # of a whole one
    body_bytes: int = 0


def request_vector(row):
    words = row.cells[1].decode("latin-1").split()
    counts = dict(word.split("=") for word in words if "=" in word)
    vector = RequestVector(row.cells[0], row.cells[3], "incomplete")
    authority = words[1] if len(words) > 1 else ""
    if len(words) == 2 and authority.startswith("http.") and words[0] != "more":
        return vector._replace(outcome="refused", status=int(words[0]))
    is_for_erp = row.section != "request proxy" or authority == "erp:80"
    if words[0] == "more" or "cut" in words:
        return vector._replace(is_for_erp=is_for_erp)
    rest, keeps = int(counts["rest"]), words[-1] == "keep"
    next_follows = rest == len(NEXT)
    ending = "closes" if not keeps else "garbage" if rest and not next_follows else "stays"
    return vector._replace(outcome="tunnel" if words[0] == "CONNECT" else "answered", next_follows=next_follows,
                           answers=2 if next_follows and keeps else 1, ending=ending, is_for_erp=is_for_erp)


def connect_vectors():
    """Requests in origin form, as a client sends them inside CONNECT."""
    return [request_vector(row) for row in REQUESTS if row.section == "request origin"]


def proxy_vectors():
    """Requests as a client sends them to a proxy; those in origin form are turned into absolute form."""
    for row in REQUESTS:
        vector = request_vector(row)
        if row.section != "request proxy":
            vector = vector._replace(wire=as_absolute(vector.wire, vector.next_follows))
        # b18 is about lengths, which differ in absolute form.
        if vector.wire and not vector.name.startswith(b"b18"):
            yield vector


def response_vector(row):
    words = row.cells[1].decode("latin-1").split()
    vector = ResponseVector(row.cells[0], row.cells[3], b"HEAD" if row.section == "response HEAD" else b"GET",
                            row.section.endswith("websocket"), "not whole")
    if words[0] == "more" or words[-1].startswith("http.") or "cut" in words:
        return vector
    return vector._replace(outcome="whole", status=int([word for word in words if word.isdigit()][-1]),
                           body_bytes=next(int(word[5:]) for word in words if word.startswith("body=")))


def mirrored_vectors():
    """The framing and the fields of request rows as answers: what is doubtful in a request is doubtful in an answer."""
    head = re.compile(rb"(?:GET|POST) / HTTP/1\.1\r\nHost: erp\r\n")
    for row in REQUESTS:
        if row.section == "request origin" and re.match(rb"b[2-6]_", row.cells[0]) and head.match(row.cells[3]):
            yield ResponseVector(b"mirrored " + row.cells[0], head.sub(b"HTTP/1.1 200 OK\r\n", row.cells[3], 1), b"GET",
                                 False, "unknown")


def response_vectors():
    return [*map(response_vector, RESPONSES), *mirrored_vectors()]


def for_host(wire, host):
    """The same message to another host, whose name is as long as "erp"."""
    return wire.replace(b"erp", host).replace(b"ERP", host.upper())


def as_absolute(wire, next_follows):
    """The same message with an absolute-form target; None if its target is not in origin form."""
    found = re.match(rb"((?:\r\n)?(?!CONNECT)[^ \r\n]+ )(/[^ \r\n]*(?: [^\r\n]*)?\r?\n)", wire)
    if not found:
        return None
    wire = found[1] + b"http://erp" + wire[found.end(1):]
    return wire.removesuffix(NEXT) + NEXT.replace(b"/next", b"http://erp/next") if next_follows else wire


def strictly(wire):
    """What a strict reader sees: (whole requests, the first line of one that breaks off or breaks a rule, or None)."""
    text, found = Text(wire), []
    while text.at < len(wire):
        if wire.startswith(b"\r\n", text.at):
            text.at += 2  # RFC 9112 2.2: an empty line before a request is ignored.
        start = text.at
        try:
            found.append(read_request(text))
        except (Broken, Incomplete):
            return found, wire[start:].split(b"\r\n", 1)[0]
    return found, None


def line_at_back_end(request):
    """The request line that a back end receives for this request."""
    target = request.target
    if target.lower().startswith(b"http://"):
        target = re.sub(rb"(?i)^http://[^/?]*", b"", target)
        target = target if target.startswith(
            b"/") else b"*" if request.method == b"OPTIONS" and not target else b"/" + target
    return b"%s %s HTTP/1.1" % (request.method, target)
