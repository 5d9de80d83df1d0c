# SPDX-License-Identifier: Apache-2.0
"""Peers without the capability `heads` get only the HEADs that they know (SPEC 5.7), and peers that have it get all.
tests/compatibility proves the same with the programs of the last release."""

import msgpack

from tests.harness.case import Case
from tests.harness.hostile_agent import HostileAgent
from tests.harness.hostile_server import (
    ACCEPT, FIN, HEAD, KIND_FAILURE, KIND_INTERIM, KIND_RESPONSE, TARGET_NOT_HTTP, HostileServer, frame, request)
from tests.harness.one_back_end import OneBackEnd
from tests.harness.strict_http_client import Client
from tests.harness.tcp_server import serve

HEADS = ["heads"]
INTERIM_RESPONSES = 20
OLDER_INTERIM_RESPONSES_MAX = 8


class OlderServer(Case):
    """A real agent."""

    def outcome(self, capabilities, answer):
        """How an exchange ends whose back end sends this."""
        def conversation(connection):
            OneBackEnd.read_head(connection)
            connection.sendall(answer)

        pair = self.pair(tunnels=1)
        pair.agent.web("erp:80", serve(self, conversation))
        server = HostileServer(self, pair.server.port, pair.server_credentials)
        pair.agent.start()
        server.accept(caps=capabilities)
        self.assertIn("heads", server.hello["caps"])
        outcome = server.exchange((HEAD, request("/")))
        server.tunnel.close()
        pair.agent.stop()
        return outcome

    def test_interim_responses(self):
        answer = (b"HTTP/1.1 102 Processing\r\n\r\n" * INTERIM_RESPONSES
                  + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")
        for capabilities, interims in (([], OLDER_INTERIM_RESPONSES_MAX), (HEADS, INTERIM_RESPONSES)):
            outcome = self.outcome(capabilities, answer)
            self.assertEqual((outcome.status, outcome.body), (200, b"OK"), outcome)
            self.assertEqual(outcome.kinds, [KIND_INTERIM] * interims + [KIND_RESPONSE])

    def test_a_back_end_that_does_not_speak_http(self):
        for capabilities, kinds in (([], []), (HEADS, [KIND_FAILURE])):
            outcome = self.outcome(capabilities, b"220 mail.example ESMTP\r\n")
            self.assertEqual((outcome.reason, outcome.kinds), (TARGET_NOT_HTTP, kinds))

    def test_an_announcement_of_trailers(self):
        answer = b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 1\r\n\r\n"
        for capabilities, announced in (([], None), (HEADS, b"X-Sum")):
            outcome = self.outcome(capabilities, answer)
            self.assertEqual((outcome.status, outcome.fields.get(b"trailer")), (200, announced))


class OlderAgent(Case):
    """A real server."""

    def heads_of(self, capabilities, *requests):
        """The HEADs with which these requests arrive."""
        heads = []

        def answer(stream, head):
            heads.append(head)
            response = msgpack.packb({"kind": KIND_RESPONSE, "status": 200, "framing": 1, "length": 0})
            agent.send(frame(ACCEPT, stream, bytes(8)) + frame(HEAD, stream, response) + frame(FIN, stream))

        pair = self.pair()
        proxy = pair.proxy().removeprefix("http://").split(":")
        pair.server.start().wait_until_ready()
        agent = HostileAgent(self, pair.server.port, pair.agent_credentials, answer, capabilities)
        self.assertTrue(agent.wait_for_tunnel())
        for text in requests:
            with Client(proxy) as client:
                client.send(text)
                self.assertEqual(client.answer().status, 200)
        agent.stop()
        pair.server.stop()
        return heads

    def test_targets(self):
        for target, canonical, ascii_query in (
                (b"/%7Euser//a?b=%2f", "/~user/a", "?b=%2f"),
                (b"/%c3%a9?q=\xe9#100%", "/%C3%A9", "?q=%E9%23100%25")):
            text = b"GET http://erp%s HTTP/1.1\r\nHost: erp\r\n\r\n" % target
            path, query = target.split(b"?")
            older, = self.heads_of([], text)
            self.assertEqual((older["path"], older["query"], "query_bytes" in older), (canonical, ascii_query, False))
            head, = self.heads_of(HEADS, text)
            sent = head["query"].encode() if "query" in head else head["query_bytes"]
            self.assertEqual((head["path"].encode(), sent), (path, b"?" + query))

    def test_empty_bodies_and_announcements_of_trailers(self):
        texts = (b"POST http://erp/ HTTP/1.1\r\nHost: erp\r\nContent-Length: 0\r\n\r\n",
                 b"POST http://erp/ HTTP/1.1\r\nHost: erp\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
                 b"0\r\n\r\n")
        for capabilities, framing, has_trailer in (([], 0, False), (HEADS, 1, True)):
            empty, chunked = self.heads_of(capabilities, *texts)
            self.assertEqual(empty.get("framing", 0), framing)
            self.assertEqual(b"Trailer\0X-Sum\0" in chunked["fields"], has_trailer)
