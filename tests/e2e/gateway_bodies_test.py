# SPDX-License-Identifier: Apache-2.0
"""Bodies through the gateway: large ones with little memory, events at once, both ends' endings passed on, and no
answer that breaks off looks whole."""

import hashlib
import socket
import time

from tests.harness.back_ends.judge import (MIB, cut_off, digest_of_stream, events, generated, silent, stalled,
                                           too_large, unread)
from tests.harness.environment import SCALE
from tests.harness.one_target import OneTarget
from tests.harness.process_usage import PeakGrowth
from tests.harness.sockets import reset
from tests.harness.strict_http_client import Client

GROWTH_KIB_MAX = 8 << 10


class Large(OneTarget):
    seconds = 60

    def assert_small(self, growth):
        if SCALE == 1:  # Sanitizers keep freed memory.
            self.assertLess(growth.kib[0], GROWTH_KIB_MAX)

    def test_gibibytes_each_way_in_little_memory(self):
        size = int(SCALE * (2 << 30))
        self.start()
        zeros = hashlib.sha256()
        for start in range(0, size, MIB):
            zeros.update(bytes(min(MIB, size - start)))
        upload = f"head -c {size} /dev/zero | curl -sS --fail -o /dev/null -T - "
        self.judge.on("/api/length", generated(size))
        self.judge.on("/api/chunked", generated(size, "chunked"))
        digest = digest_of_stream(size)
        with PeakGrowth(self.gateway.server) as growth:
            for kind in ("length", "chunked"):
                self.assertEqual(self.command("sh", "-c", f"curl -sS --fail {self.url}/{kind} | sha256sum").split()[0],
                                 digest)
            self.command("sh", "-c", f"{upload} {self.url}/up-chunked")
            self.command("sh", "-c", f"{upload} -H 'Transfer-Encoding:' -H 'Content-Length: {size}' {self.url}/up")
        for path, length in (("/api/up-chunked", None), ("/api/up", str(size))):
            (call,) = self.judge.calls_of(path)
            self.assertEqual((call.size, call.sha256, call.value("content-length")), (size, zeros.hexdigest(), length))
        self.assert_small(growth)

    def test_a_slow_end_slows_the_other(self):
        self.start()
        size = 256 * MIB
        self.judge.on("/api/down", generated(size))
        self.judge.on("/api/up", unread)
        with PeakGrowth(self.gateway.server) as growth, Client(self.address) as down, Client(self.address) as up:
            down.send(self.head("GET", "/down"))
            down.more()
            up.socket.settimeout(1)
            up.send(self.head("PUT", "/up", f"Content-Length: {size}"))
            sent = 0
            try:
                while sent < size:
                    sent += up.socket.send(bytes(MIB))
            except TimeoutError:
                pass
            # What sockets hold of both sides of the gateway; nothing is collected.
            self.assertLess(sent, 32 * MIB)
            reset(up.socket)
        self.assert_small(growth)


class Events(OneTarget):
    alone = True

    def test_each_event_arrives_within_50_ms(self):
        self.start()
        self.judge.on("/api/events", events(50))
        with Client(self.address) as client:
            client.send(self.head("GET", "/events"))
            delays, rest = [], b""
            while not rest.endswith(b"\r\n0\r\n\r\n"):
                data = client.socket.recv(65536)
                self.assertTrue(data, "ended before the last event")
                rest += data
                delays += [time.monotonic() - float(line[6:])
                           for line in data.split(b"\n") if line.startswith(b"data: ")]
        self.assertEqual(len(delays), 50)
        self.assertLess(max(delays), 0.05)


class Endings(OneTarget):
    seconds = 20

    def end_of_call(self, path, end, request, wait_for_response=False):
        """How long after `end` of the client's connection the target's ends."""
        client = socket.create_connection(self.address, timeout=10)
        client.sendall(request)
        self.judge.wait_for_call(path)
        if wait_for_response:
            self.assertIn(b"200", client.recv(65536))
        began = time.monotonic()
        end(client)
        call = self.judge.wait_for_call(path, lambda call: call.gone, 20)
        client.close()
        return call.gone - began

    def test_a_client_that_ends_ends_the_call_at_the_target(self):
        self.start(abandoned_after="2s")
        calls = {
            "before an answer": (silent, self.head("GET", "/{}"), False),
            "during an answer": (stalled, self.head("GET", "/{}"), True),
            "of a whole upload": (silent, self.head("POST", "/{}", "Content-Length: 5") + b"hello", False),
            "during an upload": (silent, self.head("POST", "/{}", "Content-Length: 50") + b"hello", False),
            "of an upload that is not read": (unread, self.head("PUT", "/{}", "Content-Length: 50") + b"hello", False)}
        for number, (label, (action, request, waits)) in enumerate(calls.items()):
            for how, end, limit in (("reset", reset, 1), ("close", lambda c: c.shutdown(socket.SHUT_RDWR), 3.5),
                                    ("half close", lambda c: c.shutdown(socket.SHUT_WR), 3.5)):
                with self.subTest(f"{how} {label}"):
                    path = f"{number}-{how[:4]}"
                    self.judge.on(f"/api/{path}", action)
                    took = self.end_of_call(f"/api/{path}", end, request.replace(b"{}", path.encode()), waits)
                    self.assertLess(took, limit)

    def test_a_half_closed_client_still_gets_its_answer(self):
        self.start()
        self.judge.on("/api/events", events(10, 0.05))
        with Client(self.address) as client:
            client.send(self.head("GET", "/events", "Connection: close"))
            client.finish()
            answer = client.answer()
        self.assertTrue(answer.whole)
        self.assertEqual(answer.body.count(b"data:"), 10)

    def test_an_answer_before_the_end_of_the_body(self):
        self.start()
        self.judge.on("/api/too-large", too_large)
        for framing in ("Content-Length: %d" % (256 * MIB), "Transfer-Encoding: chunked"):
            with self.subTest(framing), Client(self.address) as client:
                client.send(self.head("PUT", "/too-large", framing))
                piece = bytes(65536) if "Length" in framing else b"10000\r\n" + bytes(65536) + b"\r\n"
                client.socket.settimeout(5)
                for _ in range(4096):
                    if not client.send(piece):
                        break
                    client.socket.setblocking(False)
                    try:
                        client.more()
                        break
                    except BlockingIOError:
                        pass
                    finally:
                        client.socket.settimeout(5)
                answer = client.answer(b"PUT")
                self.assertEqual((answer.status, answer.body), (413, b"too large"))
        for call in self.judge.calls_of("/api/too-large"):
            self.assertLess(call.size, 32 * MIB)
            self.assertFalse(call.whole)

    def test_an_answer_that_breaks_off_is_never_whole(self):
        self.start()
        for framing in ("length", "chunked", "reset"):
            self.judge.on(f"/api/{framing}", cut_off(framing))
        for framing in ("length", "chunked", "reset"):
            for method in ("GET", "POST"):
                with self.subTest(framing=framing, method=method), Client(self.address) as client:
                    client.send(self.head(method, f"/{framing}", "Content-Length: 0"))
                    answer = client.answer(method.encode())
                    # A client that has a head already gets no more; one without a head gets an error.
                    self.assertTrue(answer is None or answer.status == 502 or not answer.whole, answer)
        self.judge.on("/api/head", cut_off("head"))
        with Client(self.address) as client:
            client.send(self.head("GET", "/head"))
            self.assertEqual(client.answer().status, 502)

    def test_a_target_that_falls_silent(self):
        # Times are looked at once a second: it is the first look at this client, too.
        self.start(first_byte_timeout="100ms", idle_timeout="1s")
        self.judge.on("/api/silent", silent)
        self.judge.on("/api/stalled", stalled)
        with Client(self.address) as client:
            began = time.monotonic()
            client.send(self.head("GET", "/silent"))
            self.assertEqual(client.answer().status, 504)
            self.assertLess(time.monotonic() - began, 3)
        with Client(self.address) as client:
            client.send(self.head("GET", "/stalled"))
            self.assertFalse(client.answer().whole)
        # The time until the first byte is not one over the whole answer.
        self.judge.on("/api/events", events(100))
        with Client(self.address) as client:
            client.send(self.head("GET", "/events"))
            answer = client.answer()
        self.assertTrue(answer.whole)
        self.assertEqual(answer.body.count(b"data:"), 100)
