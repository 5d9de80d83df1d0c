# SPDX-License-Identifier: Apache-2.0
"""A back end that writes down what it hears, by the strict reading of raw_http.py, and that says exactly what a test wants."""

import itertools
import threading
from typing import NamedTuple

from backends import reset, serve
from culvert import wait_until
from raw_http import Broken, Incomplete, Request, Text, read_request


SEEN_BYTES_MAX = 4096


class Heard(NamedTuple):
    connection: int
    request: Request | None  # None: no whole request, whose bytes are `left`
    left: bytes = b""
    fault: str = ""  # why these bytes can never be one; they only broke off where it is empty

    @property
    def line(self):
        return b"%s %s HTTP/1.1" % (self.request.method, self.request.target)


def usual_answer(request):
    line = b"%s %s HTTP/1.1" % (request.method, request.target)
    body = b"" if request.method == b"HEAD" else line
    return b"HTTP/1.1 200 OK\r\nX-Seen: %s\r\nContent-Length: %d\r\n\r\n%s" % (line[:SEEN_BYTES_MAX], len(line), body)


class Recorder:
    """Answers with X-Seen, the request line. `script`: path -> (bytes to answer with instead, what then: "stay", "close", "reset")."""

    def __init__(self, case, script=None):
        self.heard, self.script = [], script or {}
        self.numbers, self.changed = itertools.count(), threading.Condition()
        self.port = serve(case, self.converse)

    def note(self, *parts):
        with self.changed:
            self.heard.append(Heard(*parts))
            self.changed.notify_all()

    def converse(self, connection):
        number, data = next(self.numbers), b""
        while True:
            text = Text(data)
            try:
                request = read_request(text)
            except Incomplete:
                try:
                    part = connection.recv(65536)
                except OSError:
                    part = b""
                if not part:
                    return data and self.note(number, None, data)
                data += part
                continue
            except Broken as fault:
                return self.note(number, None, data, str(fault))
            data = data[text.at:]
            self.note(number, request)
            answer, then = self.script.get(request.target.decode(), (None, "stay"))
            connection.sendall(usual_answer(request) if answer is None else answer)
            if then == "close":
                return None
            if then == "reset":
                return reset(connection)

    def take(self, whole=0, seconds=5):
        """What was heard since the last time, once there are so many whole requests."""
        wait_until(lambda: sum(each.request is not None for each in self.heard) >= whole, seconds, f"{whole} requests at the back end", 0.002)
        with self.changed:
            heard, self.heard = self.heard, []
        return heard
