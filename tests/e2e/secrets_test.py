# SPDX-License-Identifier: Apache-2.0
"""Secrets in memory: tokens and cookies are gone when their request is, and nobody else can read the processes."""

import os
import pathlib
import re
import unittest

from tests.harness.case import Case
from tests.harness.environment import SCALE
from tests.harness.http_server import echo_request, http_server
from tests.harness.strict_http_client import Client

NAMES = ("COOKIESECRET", "TOKENSECRET", "SETCOOKIESECRET")


def found_in(pid):
    """The secrets that the process still has in its memory, with how often."""
    found = {}
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            match = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if not match or "[v" in line:
                continue
            start, end = (int(part, 16) for part in match.groups())
            memory.seek(start)
            try:
                content = memory.read(end - start)
            except OSError:
                continue
            for name in NAMES:
                if count := len(re.findall(name.encode() + rb"-[0-9]{6}", content)):
                    found[name] = found.get(name, 0) + count
    return found


@unittest.skipIf(SCALE < 1, "sanitizers keep freed memory, and need the right to read their process")
class Secrets(Case):
    seconds = 5

    def start(self):
        pair = self.pair(tunnels=1)
        self.port = int(pair.proxy().rsplit(":", 1)[1])

        def answer(method, path, fields, body):
            whole = echo_request(method, path, {}, body)
            if "cookie" not in fields:
                return whole
            more = f"\r\nSet-Cookie: a=SETCOOKIESECRET-{fields['cookie'][-6:]}\r\n"
            return whole.replace(b"\r\n", more.encode(), 1)

        pair.agent.web("back:80", http_server(self, answer))
        self.running = pair.start()

    def send(self, count, fields):
        for number in range(count):
            with Client(("127.0.0.1", self.port)) as client:
                for _ in range(2):
                    client.send(b"POST http://back/ HTTP/1.1\r\nHost: back\r\nContent-Length: 5\r\n"
                                + fields.replace(b"NNNNNN", b"%06d" % number) + b"\r\nhello")
                    self.assertEqual(client.answer().status, 200)

    @unittest.skipIf(os.geteuid() != 0, "only root reads the memory of these processes")
    def test_are_wiped_when_their_request_is_over(self):
        self.start()
        self.send(50, b"Cookie: a=COOKIESECRET-NNNNNN\r\nAuthorization: Bearer TOKENSECRET-NNNNNN\r\n")
        # Longer requests: buffers that are in use all the time contain the latest bytes.
        self.send(50, b"X-Filler: " + b"f" * 4000 + b"\r\n" + b"Y-Filler: " + b"f" * 4000 + b"\r\n")
        for program in (self.running.server, self.running.agent):
            with self.subTest(program=program.name):
                # One copy may be in a record of TLS that OpenSSL keeps until the next one.
                found = found_in(program.process.pid)
                self.assertLessEqual(max(found.values(), default=0), 1, found)

    def test_no_core_is_written_and_no_other_process_may_look(self):
        self.start()
        for program in (self.running.server, self.running.agent):
            limits = pathlib.Path(f"/proc/{program.process.pid}/limits").read_text(encoding="ascii")
            self.assertRegex(limits, r"Max core file size\s+0\s+0")
            # The kernel gives the files of a process that is not dumpable to root.
            self.assertEqual(pathlib.Path(f"/proc/{program.process.pid}/maps").stat().st_uid, 0)
            if os.geteuid() == 0:
                tracer = self.command("setpriv", "--reuid=65534", "--clear-groups", "cat",
                                      f"/proc/{program.process.pid}/environ", status=1)
                self.assertIn("Permission denied", tracer)
