# SPDX-License-Identifier: Apache-2.0
"""Bodies through the HTTP proxy: large ones in bounded memory, slow readers, events, and every way to break off."""

import pathlib
import socket
import statistics
import subprocess
import time
import urllib.parse

from tests.harness.case import Case
from tests.harness.environment import SCALE
from tests.harness.process_usage import PeakGrowth
from tests.harness.sockets import receive_all, reset
from tests.harness.tcp_server import serve
from tests.harness.waiting import wait_until

GIBIBYTE = 1 << 30
LARGE, MEDIUM = int(2 * GIBIBYTE * SCALE), int(GIBIBYTE / 4 * SCALE)
GROWTH_KIB_MAX = 8 << 10
BLOCK = 1 << 18
# The bytes repeat after a prime number of them, so that frames in a wrong order always change the content.
PERIOD = 1_000_003
PATTERN = (pathlib.Path("/dev/urandom").open("rb").read(PERIOD) * 2)[:PERIOD + BLOCK]


def pattern(offset, size):
    """The bytes at `offset`; `size` is at most BLOCK."""
    start = offset % PERIOD
    return PATTERN[start:start + size]


def pour(size, sink):
    """Writes the first `size` bytes of the pattern to `sink`, block by block."""
    for offset in range(0, size, BLOCK):
        sink(pattern(offset, min(BLOCK, size - offset)))


def compare(source):
    """Reads `source(most)` to its end: (number of bytes, whether they are the pattern)."""
    offset, right = 0, True
    while data := source(BLOCK):
        right &= data == pattern(offset, len(data))
        offset += len(data)
    return offset, right


def read_head(file):
    """The lines of a head; an empty list if the connection has ended."""
    lines = []
    while line := file.readline().rstrip():
        lines.append(line.decode())
    return lines


class Bodies(Case):
    def start(self):
        self.pair_ = self.pair()
        self.proxy = self.pair_.proxy()
        self.where = urllib.parse.urlsplit(self.proxy)
        return self.pair_

    def client(self):
        return socket.create_connection((self.where.hostname, self.where.port), timeout=20)

    def curl(self, *arguments, **keywords):
        return subprocess.Popen(["curl", "-sS", "--fail-with-body", "-x", self.proxy, "--max-time", "50",
                                 *map(str, arguments)],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, **keywords)

    def finish(self, client, status=0):
        output, errors = client.communicate(timeout=60)
        self.assertEqual(client.returncode, status, errors.decode() + output[:1000].decode(errors="replace"))
        return output


class LargeBodies(Bodies):
    alone = True  # It measures memory, and would slow down a test beside it.
    seconds = 40

    def test_two_gibibytes_pass_each_way_and_leave_no_more_than_their_window(self):
        pair = self.start()
        pair.agent.web("big:80", serve(self, self.converse))
        pair.start()
        self.transfer("down by length", self.download, "length", LARGE)
        self.transfer("down in chunks", self.download, "chunked", LARGE)
        self.transfer("up in chunks", self.upload_chunks, LARGE)
        self.transfer("up by length", self.upload_file, MEDIUM)

    def test_a_slow_reader_of_a_fast_body_holds_no_more_than_its_window(self):
        pair = self.start()
        pair.agent.web("big:80", serve(self, self.converse))
        pair.start()
        for reads_first in (0, MEDIUM // 2):  # The window of the second has grown before it stalls.
            with self.subTest(reads_first=reads_first), PeakGrowth(pair.server,
                                                                   pair.agent) as peak, self.client() as slow:
                slow.sendall(f"GET http://big/length/{LARGE} HTTP/1.1\r\nHost: big\r\n\r\n".encode())
                while reads_first > 0:
                    reads_first -= len(slow.recv(BLOCK))
                self.read_slowly(slow)
            self.check_growth("slow reader", peak)

    def test_a_slow_back_end_holds_no_more_of_a_fast_upload_than_its_window(self):
        pair = self.start()
        pair.agent.web("slow:80", serve(self, self.read_slowly))
        pair.start()
        with PeakGrowth(pair.server, pair.agent) as peak, self.assertRaises(BrokenPipeError):
            client = self.curl("-T", "-", "http://slow/", stdin=subprocess.PIPE)
            self.addCleanup(client.communicate)
            pour(LARGE, client.stdin.write)
        self.check_growth("slow back end", peak)

    @staticmethod
    def read_slowly(connection):
        for _ in range(30):
            connection.recv(10_000)
            time.sleep(0.1)
        reset(connection)

    def transfer(self, name, carry, *arguments):
        began = time.monotonic()
        with PeakGrowth(self.pair_.server, self.pair_.agent) as peak:
            carry(*arguments)
        self.check_growth(f"{name}, {arguments[-1] / 1e6 / (time.monotonic() - began):.0f} MB/s", peak)

    def check_growth(self, name, peak):
        print(f"note: {name}: the server grew by {peak.kib[0]} KiB, the agent by {peak.kib[1]}")
        if SCALE == 1:
            self.assertLess(max(peak.kib), GROWTH_KIB_MAX, name)

    def download(self, framing, size):
        client = self.curl(f"http://big/{framing}/{size}")
        self.assertEqual(compare(client.stdout.read1), (size, True))
        self.finish(client)

    def upload_chunks(self, size):
        client = self.curl("-T", "-", "http://big/up", stdin=subprocess.PIPE)
        pour(size, client.stdin.write)
        self.assertEqual(self.finish(client).decode(), f"{size} True")

    def upload_file(self, size):
        with open(self.folder / "up", "wb") as file:
            pour(size, file.write)
        self.assertEqual(self.finish(self.curl("-T", self.folder / "up", "http://big/up")).decode(), f"{size} True")

    @staticmethod
    def converse(connection):
        """The back end: GET receives the pattern by length or in chunks; PUT is compared with the pattern."""
        file = connection.makefile("rb", buffering=BLOCK)
        while lines := read_head(file):
            method, path, _ = lines[0].split()
            if method == "GET":
                _, framing, size = path.split("/")
                if framing == "length":
                    connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
                    pour(int(size), connection.sendall)
                else:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                    pour(int(size), lambda data: connection.sendall(b"%x\r\n%s\r\n" % (len(data), data)))
                    connection.sendall(b"0\r\n\r\n")
                continue
            if "Expect: 100-continue" in lines:
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            if length := [int(line.split()[1]) for line in lines if line.startswith("Content-Length:")]:
                left = length[0]

                def source(most):
                    nonlocal left
                    data = file.read1(min(most, left))
                    left -= len(data)
                    return data
            else:
                left = 0

                def source(most):
                    nonlocal left
                    if left == 0:
                        left = int(file.readline(), 16)
                        if left == 0:
                            file.readline()
                            return b""
                    data = file.read1(min(most, left))
                    left -= len(data)
                    if left == 0:
                        file.readline()
                    return data
            text = "%d %s" % compare(source)
            connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())


class Events(Bodies):
    alone = True
    count = 100

    def test_each_server_sent_event_arrives_at_once(self):
        def send_events(connection):
            connection.recv(65536)
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(self.count):
                text = b"data: %f\n\n" % time.monotonic()
                connection.sendall(b"%x\r\n%s\r\n" % (len(text), text))
                time.sleep(0.02)
            connection.sendall(b"0\r\n\r\n")

        pair = self.start()
        pair.agent.web("sse:80", serve(self, send_events))
        pair.start()
        delays, rest = [], b""
        with self.client() as client:
            client.sendall(b"GET http://sse/ HTTP/1.1\r\nHost: sse\r\n\r\n")
            while not rest.endswith(b"0\r\n\r\n"):
                data = client.recv(65536)
                self.assertTrue(data, "closed before the last event")
                now = time.monotonic()
                rest += data
                delays += [now - float(line[6:]) for line in data.split(b"\n") if line.startswith(b"data: ")]
        self.assertEqual(len(delays), self.count)
        print(f"note: {self.count} events took {1e3 * statistics.median(delays):.2f} ms (median), "
              f"{1e3 * max(delays):.1f} ms at most")
        self.assertLess(max(delays), 0.05 / SCALE)


class BrokenOff(Bodies):
    """A back end that stops in the middle, or answers before the end of the request."""

    seconds = 20
    ends = {
        # name -> (bytes that the back end sends before it closes, exit statuses of curl: 18 partial, 56 reset, 22
        # status >= 400)
        "length": (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 50_000, {18, 56}),
        "length, at once": (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", {18, 56}),
        "length, all but one": (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 99, {18, 56}),
        "chunks, in one": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n" + b"x" * 50_000, {18, 56}),
        "chunks, between two": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", {18, 56}),
        "chunks, before the last line": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
                                         {18, 56}),
        "half a head": (b"HTTP/1.1 200 OK\r\nContent-Le", {22}),
        "nothing": (b"", {22}),
        "interim only": (b"HTTP/1.1 103 Early Hints\r\n\r\n", {22}),
    }

    def test_a_back_end_that_closes_in_the_middle_is_never_a_short_success(self):
        pair = self.start()
        for index, (said, _) in enumerate(self.ends.values()):
            for way, close in (("fin", lambda c: None), ("rst", reset)):
                pair.agent.web(f"{way}{index}:80", serve(self, self.say(said, close)))
        pair.start()
        for index, (name, (_, outcomes)) in enumerate(self.ends.items()):
            for way in ("fin", "rst"):
                for version in ("--http1.1", "--http1.0"):
                    with self.subTest(name, way=way, version=version):
                        client = self.curl(version, "-w", "%{http_code}", f"http://{way}{index}/")
                        output, errors = client.communicate(timeout=60)
                        self.assertIn(client.returncode, outcomes, output[-200:] + errors)
                        if outcomes == {22}:
                            self.assertEqual(output[-3:], b"502")

    @staticmethod
    def say(text, close):
        def conversation(connection):
            connection.recv(65536)
            connection.sendall(text)
            time.sleep(0.02)  # so that a reset does not overtake the text
            close(connection)
        return conversation

    def test_a_body_that_ends_with_its_connection_is_whole(self):
        body = pattern(0, BLOCK) * 8
        pair = self.start()
        for minor in (0, 1):
            head = f"HTTP/1.{minor} 200 OK\r\nContent-Type: x/y\r\n\r\n".encode()
            pair.agent.web(f"whole{minor}:80", serve(self, self.say(head + body, lambda c: None)))
            pair.agent.web(f"part{minor}:80", serve(self, self.say(head + body, reset)))
        pair.start()
        for minor in (0, 1):
            for ours in ("--http1.0", "--http1.1"):
                with self.subTest(back_end=minor, client=ours):
                    self.assertEqual(self.finish(self.curl(ours, f"http://whole{minor}/")), body)
                    client = self.curl(ours, f"http://part{minor}/")
                    client.communicate(timeout=60)
                    self.assertIn(client.returncode, (18, 56), "a reset is not the end of a body")

    def test_an_answer_before_the_end_of_the_request_reaches_the_client(self):
        said = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 9\r\nConnection: close\r\n\r\ntoo large"

        def refuse(connection):
            file = connection.makefile("rb", buffering=0)
            read_head(file)
            connection.sendall(said)

        pair = self.start()
        pair.agent.web("strict:80", serve(self, refuse))
        pair.start()
        with open(self.folder / "up", "wb") as file:
            file.truncate(256 << 20)
        for attempt in range(10):
            for arguments in (["-T", self.folder / "up"], ["-T", self.folder / "up", "-H",
                                                           "Transfer-Encoding: chunked"],
                              ["-T", self.folder / "up", "-H", "Expect:"], ["-H", "Expect:", "-d", "x" * 3000]):
                with self.subTest(attempt=attempt, arguments=arguments[2:]):
                    client = self.curl("-w", "%{http_code}", *arguments, "http://strict/")
                    self.assertEqual(self.finish(client, 22), b"too large413")

    def test_a_client_that_goes_on_sending_still_gets_the_early_answer(self):
        def refuse(connection):
            read_head(connection.makefile("rb", buffering=0))
            connection.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 9\r\n\r\ntoo large")

        pair = self.start()
        pair.agent.web("strict:80", serve(self, refuse))
        pair.start()
        for _ in range(10):
            with self.client() as client:
                client.sendall(b"PUT http://strict/ HTTP/1.1\r\nHost: strict\r\nContent-Length: 100000000\r\n\r\n")
                for _ in range(50):
                    client.sendall(pattern(0, 100_000))  # 5 of 100 million bytes
                self.assertIn(b"too large", receive_all(client))

    def test_a_client_that_breaks_off_leaves_no_short_request_at_the_back_end(self):
        outcomes = []

        def note(connection):
            file = connection.makefile("rb")
            read_head(file)
            try:
                outcomes.append(len(file.read(100_000)))
            except ConnectionResetError:
                outcomes.append("reset")

        pair = self.start()
        pair.agent.web("sink:80", serve(self, note))
        pair.start()
        for framing, body in (("Content-Length: 100000", b"x" * 5000),
                              ("Transfer-Encoding: chunked", b"5\r\nhello\r\n")):
            for close in (reset, socket.socket.close):
                client = self.client()
                client.sendall(f"PUT http://sink/ HTTP/1.1\r\nHost: sink\r\n{framing}\r\n\r\n".encode() + body)
                time.sleep(0.1)
                close(client)
        wait_until(lambda: len(outcomes) == 4, what="four outcomes")

        self.assertEqual(outcomes, ["reset"] * 4)
