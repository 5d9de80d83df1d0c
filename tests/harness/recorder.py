# SPDX-License-Identifier: Apache-2.0
"""A back end that records the requests it receives, as strict_http reads them, and answers with exactly what a test
wants."""

import itertools
import threading
from typing import NamedTuple

from tests.harness.sockets import reset
from tests.harness.strict_http import Broken, Incomplete, Request, Text, read_request
from tests.harness.tcp_server import serve
from tests.harness.waiting import wait_until


class Received(NamedTuple):
    connection: int
    request: Request | None  # None: not a whole request; its bytes are `left`
    left: bytes = b""
    fault: str = ""  # why `left` can never be a request; empty: it ends too early

    @property
    def line(self):
        return b"%s %s HTTP/1.1" % (self.request.method, self.request.target)


def usual_answer(request):
    line = b"%s %s HTTP/1.1" % (request.method, request.target)
    body = b"" if request.method == b"HEAD" else line
    return b"HTTP/1.1 200 OK\r\nX-Seen: %s\r\nContent-Length: %d\r\n\r\n%s" % (line, len(line), body)


class Recorder:
    """Answers with X-Seen, the request line. `script`: path -> (bytes to answer with instead, "stay", "close" or
    "reset" after them)."""

    def __init__(self, case, script=None):
        self.received, self.script = [], script or {}
        self.numbers, self.changed = itertools.count(), threading.Condition()
        self.port = serve(case, self.converse)

    def note(self, *parts):
        with self.changed:
            self.received.append(Received(*parts))
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
            answer, then = self.script.get(request.target.decode("latin-1"), (None, "stay"))
            connection.sendall(usual_answer(request) if answer is None else answer)
            if then == "close":
                return None
            if then == "reset":
                return reset(connection)

    def take(self, whole=0, seconds=5):
        """What was received since the last call, once it has `whole` whole requests."""
        wait_until(lambda: sum(each.request is not None for each in self.received) >= whole, seconds,
                   f"{whole} requests at the back end", 0.002)
        with self.changed:
            received, self.received = self.received, []
        return received
