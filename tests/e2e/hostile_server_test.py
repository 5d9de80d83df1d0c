# SPDX-License-Identifier: Apache-2.0
"""A hostile server: what the agent's rules refuse, and what is not a request at all, never reaches a back end."""

import contextlib
import time

import msgpack

from tests.harness import hostile_server
from tests.harness.case import Case
from tests.harness.hostile_server import (
    ABORTED, DATA, FIN, GOAWAY, HEAD, KIND_HOST, KIND_SERVICE, KIND_UNKNOWN, NOT_EXPOSED, SHUTDOWN, SPEAKS_HTTP,
    STALLED, HostileServer, frame, pack_fields, request)
from tests.harness.recorder import Recorder
from tests.harness.tcp_server import echo_port

RAW = b"GET /secret HTTP/1.1\r\nHost: erp\r\n\r\n"

# HEADs that our server never sends.
BAD_HEADS = [
    *({"path": path} for path in (
        "", "secret", "*", "/ok/../secret", "/ok/./x", "/ok/%2e%2e/secret", "/%6fk", "/ok/%2E",
        "/ok/\\", "/ok/%00", "/ok/..;/secret", "/ok /x", "/ok HTTP/1.1\r\nX: y",
        "/ok\r\n\r\nGET /secret HTTP/1.1\r\nHost: erp\r\n\r\n",
        "/ok\n", "/ok\0", "/ok?a", "/ok#a",
        "/ok/ä", "http://erp/ok", "//erp/ok", "/ok/%c0%ae", "/ok/%2z", "/ok/" + "a" * 8189)),
    *({"query": query} for query in ("a=b", "? ", "?a b", "?a\r\nX: y", "?a HTTP/1.1\r\n\r\n", "?\0",
                                     "?\x7f", "?" + "a" * 8190)),
    *({"method": method} for method in (
        "", "GET ", " GET", "GET /secret HTTP/1.1\r\nHost: erp\r\n\r\nGET", "GET\r\n", "G\0ET", "CONNECT", "G:T",
        "M" * 33, "GÉT")),
    *({"host": host} for host in ("other", "ERP", "erp.", "erp:80", "user@erp", "erp\r\nX: y", "erp ", "", "127.1",
                                  "evil/..")),
    {"port": 81}, {"port": 0},
    *({"fields": pack_fields(pair)} for pair in (
        (b"X", b"a\r\nY: b"), (b"X", b"a\nY: b"), (b"X", b"a\rb"), (b"X", b"\x01"), (b"X", b"a\x7f"), (b"X\r\nY", b"b"),
        (b"X: a\r\nY", b"b"), (b"X ", b"a"), (b" X", b"a"), (b"X:", b"a"), (b"", b"a"), (b"X\xe9", b"a"), (b"X(", b"a"),
        (b"X", b" a"), (b"X", b"a "), (b"X", b"a\t"), (b"Host", b"erp"), (b"HOST", b"evil"), (b"Content-Length", b"5"),
        (b"content_length", b"5"), (b"Transfer-Encoding", b"chunked"), (b"transfer_encoding", b"chunked"),
        (b"Connection", b"close"), (b"Connection", b"X"), (b"Keep-Alive", b"x"), (b"TE", b"trailers"),
        (b"Upgrade", b"websocket"), (b"Expect", b"100-continue"), (b"Proxy-Authorization", b"x"),
        (b"Proxy-Connection", b"x"),
        (b"HTTP2-Settings", b"x"), (b"X", b"y" * 66_556))),
    {"fields": pack_fields((b"Host", b"evil"), (b"Host", b"erp"))},
    {"fields": b"X"}, {"fields": b"X\0a"}, {"fields": b"\0\0"}, {"fields": b"X\0a\0Y"},
    {"fields": pack_fields(*[(b"X", b"y")] * 105)},
    *({"upgrade": upgrade} for upgrade in ("h2c", "HTTP/2.0", "TLS/1.0", "web socket", "a,", "websocket\r\nX: y",
                                           "websocket,h2c", "a\0", ",")),
    {"upgrade": "websocket", "framing": 1, "length": 1},
    {"expect": True}, {"method": "TRACE", "framing": 1, "length": 1}, {"method": "TRACE", "framing": 2},
]


class HostileServerTest(Case):
    seconds = 15
    number = 0

    def start(self, *resources, **more):
        pair = self.pair(tunnels=1)
        self.back_end = Recorder(self)
        pair.agent.web("erp:80", self.back_end.port, resources or [{"path": "/ok", "match": "sub_paths"}], **more)
        pair.agent.mapping("raw:80", echo_port(self))
        self.agent = pair.agent
        server = HostileServer(self, pair.server.port, pair.server_credentials)
        pair.agent.start()
        return server.accept()

    def check_good(self, server):
        """A correct request still succeeds on the same tunnel and, if it exists, the same connection to the back end.
        Returns what the back end received before it."""
        self.number += 1
        target = f"/ok/{self.number}"
        outcome = server.exchange((HEAD, request(target)))
        self.assertEqual((outcome.status, outcome.fields.get(b"x-seen")), (200, f"GET {target} HTTP/1.1".encode()),
                         outcome)
        received = self.back_end.take(whole=1)
        self.assertEqual(received[-1].line, outcome.fields[b"x-seen"])
        return received[:-1]

    def test_no_bad_head_reaches_the_back_end(self):
        server = self.start()
        for more in BAD_HEADS:
            with self.subTest(more):
                outcome = server.exchange((HEAD, request(**{"path": "/ok", **more})))
                self.assertIn(outcome.reason, [ABORTED, NOT_EXPOSED], outcome)
                self.assertIsNone(outcome.status)
                self.assertEqual(self.check_good(server), [])

    def test_opaque_bytes_never_reach_a_mapping_of_http(self):
        server = self.start()
        for kind, host, port, reason in [(KIND_HOST, "erp", 80, SPEAKS_HTTP), (KIND_HOST, "ERP", 80, SPEAKS_HTTP),
                                         (KIND_HOST, "erp", 81, NOT_EXPOSED),
                                         (KIND_SERVICE, "erp", 80, KIND_UNKNOWN), (9, "erp", 80, KIND_UNKNOWN)]:
            with self.subTest(kind=kind, host=host, port=port):
                # The bytes arrive before the agent has decided, as far as credit allows.
                outcome = server.exchange((DATA, RAW), (DATA, RAW), kind=kind, host=host, port=port)
                self.assertEqual(outcome.reason, reason)
                self.assertEqual(self.check_good(server), [])
        outcome = server.exchange((HEAD, request("/ok", "raw")), host="raw")
        self.assertEqual(outcome.reason, NOT_EXPOSED)
        # A relay must not pass on a head on a stream of bytes.
        outcome = server.exchange((DATA, b"a"), (HEAD, request("/ok", "raw")), (DATA, b"b"), kind=KIND_HOST, host="raw")
        self.assertNotIn(b"GET", outcome.body)
        self.assertEqual(self.check_good(server), [])

    def test_frames_out_of_place_make_no_request(self):
        server = self.start()
        good, posted = (HEAD, request("/ok")), (HEAD, request("/ok", framing=2, method="POST"))
        five = (HEAD, request("/ok", framing=1, length=5, method="POST"))

        def trailer(*pairs):
            return HEAD, msgpack.packb({"kind": 4, "fields": pack_fields(*pairs)})

        for name, frames in {
                "no head": [], "bytes for a head": [(DATA, RAW)], "a body before its head": [(DATA, b"hello"), five],
                "two heads": [good, (HEAD, request("/secret"))],
                "a head within the body": [five, (DATA, b"he"), good, (DATA, b"llo")],
                "a body that was not announced": [good, (DATA, RAW)], "too long": [five, (DATA, b"hello" + RAW)],
                "too short": [five, (DATA, b"hell")],
                "a response first": [(HEAD, msgpack.packb({"kind": 3, "status": 200}))],
                "trailers first": [trailer((b"X", b"y"))], "a split trailer": [posted, (DATA, b"x"),
                                                                               trailer((b"X", b"y\r\n\r\n" + RAW))],
                "a framing trailer": [posted, (DATA, b"x"), trailer((b"Content-Length", b"5"))],
                "a Host trailer": [posted, trailer((b"Host", b"evil"))],
                "an own trailer": [posted, trailer((b"X-Forwarded-For", b"evil"))],
                "a bad name": [posted, trailer((b"X Y", b"z"))],
                "a response": [posted, (HEAD, msgpack.packb({"kind": 3, "status": 200}))]}.items():
            with self.subTest(name):
                outcome = server.exchange(*frames)
                self.assertEqual(outcome.reason, ABORTED, outcome)
                received = self.check_good(server)
                self.assertEqual([each for each in received if each.request or each.fault], [])

    def test_a_stream_without_a_head_ends_by_itself(self):
        server = self.start()
        began = time.monotonic()
        outcome = server.exchange(ends=False, seconds=15)
        self.assertEqual(outcome.reason, STALLED, outcome)
        self.assertLess(time.monotonic() - began, 13)
        self.check_good(server)

    def test_a_broken_off_body_is_never_whole(self):
        server = self.start()
        for framing in ({"framing": 2}, {"framing": 1, "length": 5}):
            stream = next(server.ids)
            opened = msgpack.packb({"kind": 3, "name": "erp", "port": 80, "credit": 1 << 20})
            head = request("/ok", method="POST", **framing)
            server.send(frame(hostile_server.OPEN, stream, opened) + frame(HEAD, stream, head)
                        + frame(DATA, stream, b"hel") + frame(FIN, stream, b"", 1))
            received = self.check_good(server)
            self.assertEqual([each for each in received if each.request or each.fault], [])

    def test_a_good_head_arrives_unchanged(self):
        server = self.start()
        fields = pack_fields((b"A_B", b"caf\xe9"), (b"Via", b"1.1 culvert"))
        outcome = server.exchange((HEAD, request("/ok/%C3%A4", query="?a=%20", fields=fields, framing=2, method="PUT",
                                                 te=True)), (DATA, b"hello"),
                                  (HEAD,
                                   msgpack.packb({"kind": 4, "fields": pack_fields((b"X-Sum", b"1"))})))
        self.assertEqual(outcome.status, 200)
        received = self.back_end.take(whole=1)[0].request
        self.assertEqual((received.method, received.target, received.body), (b"PUT", b"/ok/%C3%A4?a=%20", b"hello"))
        self.assertEqual({name: value for name, value in received.fields if name not in (b"te", b"connection")},
                         {b"host": b"erp", b"a_b": b"caf\xe9", b"via": b"1.1 culvert",
                          b"transfer-encoding": b"chunked"})


class ServerThatSendsAgentsAway(Case):
    seconds = 15

    def dials_within(self, seconds, **welcome):
        """Welcomes each tunnel, asks it at once to leave, and counts them."""
        pair = self.pair()
        server = HostileServer(self, pair.server.port, pair.server_credentials)
        pair.agent.start()
        server.accept(**welcome)
        dials, until = 1, time.monotonic() + seconds
        while time.monotonic() < until:
            server.send(frame(GOAWAY, 0, msgpack.packb({"kind": 1, "reason": SHUTDOWN, "delay_ms": 0})))
            with contextlib.suppress(TimeoutError):
                server.accept(seconds=max(0.01, until - time.monotonic()), **welcome)
                dials += 1
        return dials

    def test_an_agent_does_not_dial_in_a_loop(self):
        self.assertLess(self.dials_within(8), 60)
