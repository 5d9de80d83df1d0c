# SPDX-License-Identifier: Apache-2.0
"""Request smuggling. Each raw message of tests/common/http/vectors.txt is sent by a hostile client, through the proxy
and inside CONNECT, or by a hostile back end as its answer. Either it is refused and the connection ends, or each back
end receives exactly what a strict reader sees in it. Every later answer, on this connection and on others, belongs to
the request that asked for it."""

import collections
import itertools

from tests.harness.back_ends.reporting_web_servers import reporting_apache, reporting_nginx, requests_seen
from tests.harness.case import Case
from tests.harness.http_vectors import (
    connect_vectors, for_host, line_at_back_end, proxy_vectors, response_vectors, strictly)
from tests.harness.recorder import Recorder
from tests.harness.strict_http import Answer, Broken, Incomplete, Text, read_answer
from tests.harness.strict_http_client import Client
from tests.harness.waiting import wait_until

# by virtual host; names as long as "erp" keep all lengths
BACK_ENDS = {"rec": "recorder", "ngx": "nginx", "apc": "apache"}
CHANGED_FIELDS = {b"host", b"via", b"x-forwarded-for", b"content-length", b"transfer-encoding", b"connection", b"te",
                  b"expect", b"upgrade"}


class SmugglingCase(Case):
    seconds = 25

    def start(self):
        pair = self.pair(tunnels=1)  # so that all share one pool of connections to each back end
        self.proxy = pair.proxy().removeprefix("http://").split(":")
        self.recorder = Recorder(self)
        ports = {"rec": self.recorder.port, "ngx": reporting_nginx(self), "apc": reporting_apache(self)}
        for host, port in ports.items():
            pair.agent.web(f"{host}:80", port, [{"path": "/", "match": "sub_paths", "upgrade": True}])
        pair.start()
        self.marker_numbers = itertools.count()

    def connect_to_proxy(self, _host=None):
        return Client(self.proxy)

    def connect_to_mapping(self, host):
        client = Client(self.proxy)
        self.assertEqual(client.connect(host.encode() + b":80").status, 200)
        return client

    def assert_marker(self, client, host, absolute):
        """Sends a request that has a path of its own, and gets the answer to it. Returns its line at the back end."""
        target, host = b"/marker-%d" % next(self.marker_numbers), host.encode()
        client.send(b"GET %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (b"http://%s%s" % (host, target) if absolute else target,
                                                              host))
        answer, line = client.answer(), b"GET %s HTTP/1.1" % target
        self.assertIsNotNone(answer, "no answer to the marker")
        self.assertEqual((answer.value(b"x-seen"), answer.is_ours), (line, False), answer)
        return line


class Requests(SmugglingCase):
    def start(self):
        super().start()
        # Request lines that each back end must receive, and those of which it may receive a part.
        self.required = {host: collections.Counter() for host in BACK_ENDS}
        self.permitted = {host: collections.Counter() for host in BACK_ENDS}

    def test_requests_at_the_proxy(self):
        self.play_all(list(proxy_vectors()), self.connect_to_proxy, absolute=True)

    def test_requests_inside_connect(self):
        self.play_all(connect_vectors(), self.connect_to_mapping, absolute=False)

    def play_all(self, vectors, connect, absolute):
        self.start()
        self.assertGreaterEqual(len(vectors), 250)
        for host in BACK_ENDS:
            for vector in vectors:
                if absolute and not vector.is_for_erp:
                    continue
                with self.subTest(host=host, vector=vector.name):
                    self.play(vector._replace(wire=for_host(vector.wire, host.encode())), host, connect, absolute)
        for host in ("ngx", "apc"):
            self.check_log(host)

    def play(self, vector, host, connect, absolute):
        """Sends a vector, then a marker on a new connection, and compares what the back end received."""
        self.recorder.take()
        with connect(host) as client:
            lines = self.send(vector, client, host, absolute)
        with connect(host) as fresh:
            lines.append(self.assert_marker(fresh, host, absolute))
        if host == "rec":
            self.check_recorder(lines, strictly(vector.wire)[0])
        self.required[host].update(lines)

    def send(self, vector, client, host, absolute):
        """The interpreter of vectors. Returns the lines of requests that the back end must have received, in order."""
        requests, begun = strictly(vector.wire)
        self.permit_parts(vector, requests, begun, host)
        client.send(vector.wire)
        match vector.outcome:
            case "refused":
                self.expect_refusal(client, vector.status, begun)
                return []
            case "incomplete":
                self.expect_no_answer_of_a_back_end(client, begun)
                return []
            case "tunnel":
                self.assertGreaterEqual(len(requests), vector.answers, "the strict reader sees less than the table")
                self.assertEqual(client.answer(b"CONNECT").status, 200)
                return [self.assert_marker(client, host, absolute=False)]
            case "answered":
                self.assertGreaterEqual(len(requests), vector.answers, "the strict reader sees less than the table")
                lines = [self.expect_answer(client, request, host) for request in requests[:vector.answers]]
                return lines + self.expect_ending(vector.ending, client, host, absolute)

    def permit_parts(self, vector, requests, begun, host):
        """The back end may receive the beginning of a message that turns out to be broken or too short."""
        if begun or vector.outcome in ("refused", "incomplete"):
            for line in {line_at_back_end(each) for each in requests} | ({begun} if begun else set()):
                self.permitted[host][line] += 1

    def expect_refusal(self, client, status, begun):
        answer = client.answer()
        # A back end may have answered before the flaw in the body was seen.
        if answer is not None and not (answer.value(b"x-seen") and begun):
            self.assertTrue(answer.is_ours, answer)
            self.assertEqual(answer.status, status, answer)
        self.assertTrue(client.is_over(), "a connection stays open after a broken message")

    def expect_no_answer_of_a_back_end(self, client, begun):
        client.finish()
        while (answer := client.answer()) is not None:
            self.assertTrue(answer.is_ours or begun, answer)

    def expect_answer(self, client, request, host):
        answer, line = client.answer(request.method), line_at_back_end(request)
        self.assertIsNotNone(answer)
        self.assertFalse(answer.is_ours, answer)
        # nginx and Apache do not report what they saw for every method.
        if host == "rec" or answer.value(b"x-seen") is not None:
            self.assertEqual(answer.value(b"x-seen"), line, answer)
        return line

    def expect_ending(self, ending, client, host, absolute):
        match ending:
            case "stays":
                return [self.assert_marker(client, host, absolute)]
            case "garbage":
                client.finish()  # What is left over may be the beginning of a request.
                self.assertIn(getattr(client.answer(), "status", 400), [400])
        self.assertTrue(client.is_over())
        return []

    def check_recorder(self, lines, sent):
        received = self.recorder.take(whole=len(lines))
        self.assertEqual([each for each in received if each.fault], [])
        whole = [each for each in received if each.request]
        self.assertEqual([each.line for each in whole], lines)
        for ours, theirs in zip((each.request for each in whole), sent):
            if ours.target.startswith(b"/marker"):
                return
            self.assertEqual(ours.body, theirs.body)
            self.assertLessEqual({field for field in ours.fields if field[0] not in CHANGED_FIELDS}, set(theirs.fields))
            self.assertEqual(ours.value(b"x-forwarded-for"), b"127.0.0.1")

    def check_log(self, host):
        """The access log of nginx or Apache has what is required, and beyond that only what is permitted."""
        name, required = BACK_ENDS[host], self.required[host]
        last = list(required)[-1]
        wait_until(lambda: any(line == last for _, line, _ in requests_seen(self, name)),
                   what=f"{name} to write its log")
        found = collections.Counter(line for _, line, _ in requests_seen(self, name))
        self.assertEqual(required - found, collections.Counter(), f"{name} did not receive")
        self.assertEqual(found - required - self.permitted[host], collections.Counter(),
                         f"{name} received what no client sent")


class Responses(SmugglingCase):
    def test_responses(self):
        self.start()
        vectors = response_vectors()
        self.assertGreaterEqual(len(vectors), 300)
        self.reused = 0
        for number, vector in enumerate(vectors):
            with self.subTest(vector.name):
                self.play(vector, f"/v/{number}")
        self.assertGreater(self.reused, 40, "connections to the back end are hardly ever kept")

    def play(self, vector, path):
        """Asks for the vector, then for a marker on the same connection if it stays open, then for one on a new
        connection."""
        self.recorder.take()
        self.recorder.script[path] = (vector.wire, "close" if ends_with_connection(vector) else "stay")
        upgrade = b"Connection: upgrade\r\nUpgrade: websocket\r\n" if vector.asks_for_upgrade else b""
        lines = [b"%s %s HTTP/1.1" % (vector.method, path.encode())]
        with self.connect_to_proxy() as client:
            client.send(b"%s http://rec%s HTTP/1.1\r\nHost: rec\r\n%s\r\n" % (vector.method, path.encode(), upgrade))
            # A reset discards what was not read yet.
            answer = client.answer(vector.method) or Answer(0, (), b"", False)
            self.check_answer(answer, vector)
            if answer.status == 101:
                client.finish()
            elif answer.whole and b"close" not in (answer.value(b"connection") or b""):
                lines.append(self.assert_marker(client, "rec", absolute=True))
            else:
                self.assertTrue(client.is_over())
        with self.connect_to_proxy() as fresh:
            lines.append(self.assert_marker(fresh, "rec", absolute=True))
        received = [each for each in self.recorder.take(whole=len(lines)) if each.request]
        self.assertEqual([each.line for each in received], lines)
        if received[0].connection == received[1].connection:
            self.reused += 1
            # A connection is kept only if the whole text was one message.
            self.assertTrue(answer.whole and not answer.is_ours and answer.status != 101, answer)
            self.assertEqual(read_strictly(vector), (answer.status, answer.body, len(vector.wire)))

    def check_answer(self, answer, vector):
        if answer.whole and not answer.is_ours:
            strict = read_strictly(vector, ended=True)
            self.assertIsNotNone(strict, f"Culvert made it whole: {answer}")
            self.assertEqual((answer.status, answer.body), strict[:2])
        else:
            self.assertIn(answer.status, (502,) if answer.is_ours else (0, 200), answer)
        match vector.outcome:
            case "not whole":
                self.assertTrue(answer.is_ours or not answer.whole, answer)
            case "whole":
                self.assertEqual((answer.status, len(answer.body), answer.whole),
                                 (vector.status, vector.body_bytes, True), answer)


def read_strictly(vector, ended=False):
    """(status, body, bytes of the text that it takes) by the strict reader, or None if it is not a whole answer."""
    text = Text(vector.wire, ended=ended)
    try:
        answer = read_answer(text, vector.method, lenient=True)
    except (Broken, Incomplete):
        return None
    return (answer.status, answer.body, text.at) if answer.whole else None


def ends_with_connection(vector):
    """Whether the answer ends with the connection, or never."""
    try:
        read_answer(Text(vector.wire), vector.method, lenient=True)
    except Incomplete:
        return True
    except Broken:
        pass
    return False
