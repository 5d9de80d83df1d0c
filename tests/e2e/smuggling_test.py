# SPDX-License-Identifier: Apache-2.0
"""Request smuggling: each raw message of tests/common/http/vectors.txt, as a hostile client sends it through the proxy and inside
CONNECT, and as a hostile back end answers. It is refused and the connection ends, or every back end hears exactly what a strict reader
sees in it; and each answer that follows, on this connection and on others, belongs to the request that asked for it."""

import collections
import itertools
import re
from typing import NamedTuple

import http_table
from culvert import Case, wait_until
from raw_http import Answer, Broken, Client, Incomplete, Text, read_answer, read_request
from recorder import SEEN_BYTES_MAX, Recorder
from telling import seen, telling_apache, telling_nginx

BACK_ENDS = {"rec": "recorder", "ngx": "nginx", "apc": "apache"}  # by virtual hosts as long as "erp", so that no length changes
ROWS = http_table.read("vectors.txt", 4)
REQUESTS = [row for row in ROWS if row.section.startswith("request")]
RESPONSES = [row for row in ROWS if row.section in ("response GET", "response HEAD", "response GET websocket")]
NEXT = b"GET /next HTTP/1.1\r\nHost: erp\r\n\r\n"
OURS = {b"host", b"via", b"x-forwarded-for", b"content-length", b"transfer-encoding", b"connection", b"te", b"expect", b"upgrade"}


class Expected(NamedTuple):
    """A cell of the table."""
    status: int  # of a refusal, 0 where it is none
    authority: str
    complete: bool
    rest: int
    keep: bool
    method: str


def expected_of(row):
    words = row.cells[1].decode().split()
    counts = dict(word.split("=") for word in words if "=" in word)
    if words[0] == "more" or words[-1] == "cut" or "cut" in words:
        return Expected(0, words[1] if len(words) > 1 else "", False, 0, False, words[0])
    if len(words) == 2 and words[1].startswith("http."):
        return Expected(int(words[0]), "", False, 0, False, "")
    return Expected(0, words[1], True, int(counts["rest"]), words[-1] == "keep", words[0])


def for_host(wire, host):
    """The name "erp", which all vectors use, is another one for each back end."""
    return wire.replace(b"erp", host).replace(b"ERP", host.upper())


def as_absolute(wire, next_follows):
    """The same message with an absolute-form target; None where it has no origin-form to begin with."""
    found = re.match(rb"((?:\r\n)?(?!CONNECT)[^ \r\n]+ )(/[^ \r\n]*(?: [^\r\n]*)?\r?\n)", wire)
    if not found:
        return None
    wire = found[1] + b"http://erp" + wire[found.end(1):]
    return wire.removesuffix(NEXT) + NEXT.replace(b"/next", b"http://erp/next") if next_follows else wire


def strictly(wire):
    """What a strict reader sees: whole requests, and the line of one that breaks off or breaks a rule, as far as it has one."""
    text, found = Text(wire), []
    while text.at < len(wire):
        if wire.startswith(b"\r\n", text.at):
            text.at += 2  # RFC 9112 2.2: an empty line before a request is no matter.
        start = text.at
        try:
            found.append(read_request(text))
        except (Broken, Incomplete):
            return found, wire[start:].split(b"\r\n", 1)[0]
    return found, None


def line_of(request, host):
    """As a back end gets it."""
    target = request.target
    if target.lower().startswith(b"http://"):
        target = re.sub(rb"(?i)^http://[^/?]*", b"", target)
        target = target if target.startswith(b"/") else b"*" if request.method == b"OPTIONS" and not target else b"/" + target
    if target.startswith(b"//"):
        target = b"/" + target.lstrip(b"/")
    return b"%s %s HTTP/1.1" % (request.method, target.replace(b'"', b"%22"))


class Smuggling(Case):
    seconds = 25

    def start(self):
        pair = self.pair(tunnels=1)  # so that all share one pool of connections to each back end
        self.proxy = pair.proxy().removeprefix("http://").split(":")
        self.recorder = Recorder(self)
        ports = {"rec": self.recorder.port, "ngx": telling_nginx(self), "apc": telling_apache(self)}
        for host, port in ports.items():
            pair.agent.web(f"{host}:80", port, [{"path": "/", "match": "sub_paths", "upgrade": True}])
        pair.start()
        self.markers = itertools.count()
        # Lines that each back end must hear, and those that it may hear the head of.
        self.must = {host: collections.Counter() for host in ports}
        self.may = {host: collections.Counter() for host in ports}

    # ---- requests

    def marker(self, client, host, absolute):
        """One more request whose answer can be no other's."""
        target = b"/marker-%d" % next(self.markers)
        client.send(b"GET %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (b"http://%s%s" % (host, target) if absolute else target, host))
        answer, line = client.answer(), b"GET %s HTTP/1.1" % target
        self.assertIsNotNone(answer, "no answer to the marker")
        self.assertEqual((answer.value(b"x-seen"), answer.is_ours), (line, False), answer)
        return line

    def judge_answer(self, client, request, host):
        answer = client.answer(request.method)
        self.assertIsNotNone(answer)
        self.assertFalse(answer.is_ours, answer)
        # nginx and Apache do not say what they saw of every method.
        if host == b"rec" or answer.value(b"x-seen") is not None:
            self.assertEqual(answer.value(b"x-seen"), line_of(request, host)[:SEEN_BYTES_MAX], answer)

    def send_vector(self, client, wire, expected, host, absolute):
        """The lines that the back end must have heard whole, in order."""
        requests, begun = strictly(wire)
        client.send(wire)
        may, must = self.may[host.decode()], []
        if begun or not expected.complete:
            for line in {line_of(each, host) for each in requests} | ({begun} if begun else set()):
                may[line] += 1
        if expected.status:
            answer = client.answer()
            # A back end may have answered before the body's flaw was seen.
            if answer is not None and not (answer.value(b"x-seen") and begun):
                self.assertTrue(answer.is_ours, answer)
                self.assertEqual(answer.status, expected.status, answer)
            self.assertTrue(client.is_over(), "a connection with a broken message lives on")
            return must
        if not expected.complete:
            client.finish()
            while (answer := client.answer()) is not None:
                self.assertTrue(answer.is_ours or begun, answer)
            return must
        count = 2 if expected.rest == len(NEXT) and expected.keep else 1
        self.assertGreaterEqual(len(requests), count, "the strict reader sees less than the table")
        if expected.method == "CONNECT":
            self.assertEqual(client.answer(b"CONNECT").status, 200)
            return [self.marker(client, host, False)]
        for request in requests[:count]:
            self.judge_answer(client, request, host)
            must.append(line_of(request, host))
        if expected.rest and count == 1 and expected.keep:
            client.finish()  # What is left over may be the beginning of something.
            self.assertIn(getattr(client.answer(), "status", 400), [400])
            self.assertTrue(client.is_over())
        elif not expected.keep:
            self.assertTrue(client.is_over())
        else:
            must.append(self.marker(client, host, absolute))
        return must

    def try_vector(self, row, wire, host, connect, absolute):
        self.recorder.take()
        expected = expected_of(row)
        if host == b"apc" and row.cells[0] == b"b18_uri_8192":
            return  # Apache has a limit of its own.
        if absolute and row.section == "request proxy" and not expected.status and expected.authority != "erp:80":
            return
        with connect(host) as client:
            must = self.send_vector(client, wire, expected, host, absolute)
        with connect(host) as fresh:
            must.append(self.marker(fresh, host, connect == self.to_proxy))
        if host == b"rec":
            heard = self.recorder.take(whole=len(must))
            self.assertEqual([each for each in heard if each.fault], [])
            whole = [each.request for each in heard if each.request]
            self.assertEqual([b"%s %s HTTP/1.1" % (each.method, each.target) for each in whole], must)
            self.check_bodies(whole, strictly(wire)[0])
        self.must[host.decode()].update(must)

    def check_bodies(self, heard, sent):
        for ours, theirs in zip(heard, sent):
            if ours.target.startswith(b"/marker"):
                return
            self.assertEqual(ours.body, theirs.body)
            self.assertLessEqual({field for field in ours.fields if field[0] not in OURS}, set(theirs.fields))
            self.assertEqual(ours.value(b"x-forwarded-for"), b"127.0.0.1")

    def to_proxy(self, _):
        return Client(self.proxy)

    def to_mapping(self, host):
        client = Client(self.proxy)
        self.assertEqual(client.connect(host + b":80").status, 200)
        return client

    def try_all(self, wires, connect, absolute):
        self.start()
        self.assertGreaterEqual(len(wires), 250)
        for host in map(str.encode, BACK_ENDS):
            for row, wire in wires:
                with self.subTest(host=host, vector=row.cells[0]):
                    self.try_vector(row, for_host(wire, host), host, connect, absolute)
        for host, name in list(BACK_ENDS.items())[1:]:
            self.check_log(name, self.must[host], self.may[host])

    def check_log(self, name, must, may):
        last = list(must)[-1]
        wait_until(lambda: any(line == last for _, line, _ in seen(self, name)), what=f"{name} to write its log")
        found = collections.Counter(line for _, line, _ in seen(self, name))
        self.assertEqual(must - found, collections.Counter(), f"{name} did not hear")
        self.assertEqual(found - must - may, collections.Counter(), f"{name} heard what nobody sent")

    def test_requests_at_the_proxy(self):
        # b18 is about lengths, which differ here.
        wires = [(row, row.cells[3] if row.section == "request proxy" else as_absolute(row.cells[3], expected_of(row).rest == len(NEXT)))
                 for row in REQUESTS if not row.cells[0].startswith(b"b18")]
        self.try_all([(row, wire) for row, wire in wires if wire], self.to_proxy, True)

    def test_requests_inside_connect(self):
        self.try_all([(row, row.cells[3]) for row in REQUESTS if row.section == "request origin"], self.to_mapping, False)

    # ---- responses

    def mirrored(self):
        """The framing and the fields of the requests' rows as answers: what is doubtful there is doubtful here."""
        head = re.compile(rb"(?:GET|POST) / HTTP/1\.1\r\nHost: erp\r\n")
        for row in REQUESTS:
            if row.section == "request origin" and re.match(rb"b[2-6]_", row.cells[0]) and head.match(row.cells[3]):
                yield b"mirrored " + row.cells[0], b"GET", head.sub(b"HTTP/1.1 200 OK\r\n", row.cells[3], 1), None

    def test_responses(self):
        self.start()
        vectors = [(row.cells[0], b"HEAD" if row.section == "response HEAD" else b"GET", row.cells[3], row) for row in RESPONSES]
        vectors += self.mirrored()
        self.assertGreaterEqual(len(vectors), 300)
        self.reused = 0
        for number, (name, method, wire, row) in enumerate(vectors):
            with self.subTest(name):
                self.try_response(number, method, wire, row)
        self.assertGreater(self.reused, 40, "connections to the back end are hardly ever kept")

    def try_response(self, number, method, wire, row):
        self.recorder.take()
        path = f"/v/{number}"
        ends = self.is_open_ended(wire, method)
        self.recorder.script[path] = (wire, "close" if ends else "stay")
        upgrade = b"Connection: upgrade\r\nUpgrade: websocket\r\n" if row and row.section.endswith("websocket") else b""
        must = [b"%s %s HTTP/1.1" % (method, path.encode())]
        with Client(self.proxy) as client:
            client.send(b"%s http://rec%s HTTP/1.1\r\nHost: rec\r\n%s\r\n" % (method, path.encode(), upgrade))
            # A connection that is reset takes with it what was not read yet.
            answer = client.answer(method) or Answer(0, (), b"", False)
            self.check_response(answer, method, wire, row)
            if answer.status == 101:
                client.finish()
            elif answer.whole and b"close" not in (answer.value(b"connection") or b""):
                must.append(self.marker(client, b"rec", True))
            else:
                self.assertTrue(client.is_over())
        with self.to_proxy(None) as fresh:
            must.append(self.marker(fresh, b"rec", True))
        heard = [each for each in self.recorder.take(whole=len(must)) if each.request]
        self.assertEqual([each.line for each in heard], must)
        same = heard[0].connection == heard[1].connection
        self.reused += same
        if same:
            # Kept only where the whole text was one message.
            self.assertTrue(answer.whole and not answer.is_ours and answer.status != 101, answer)
            self.assertEqual(self.read(wire, method), (answer.status, answer.body, len(wire)))

    def read(self, wire, method, ended=False):
        """(status, body, how much of the text it is) by the strict reader, or None."""
        text = Text(wire, ended=ended)
        try:
            answer = read_answer(text, method)
        except (Broken, Incomplete):
            return None
        return answer.whole and (answer.status, answer.body, text.at) or None

    def is_open_ended(self, wire, method):
        """Whether its end is the connection's, or never comes."""
        try:
            read_answer(Text(wire), method)
        except Incomplete:
            return True
        except Broken:
            pass
        return False

    def check_response(self, answer, method, wire, row):
        strict = self.read(wire, method, ended=True)
        if answer.whole and not answer.is_ours:
            self.assertIsNotNone(strict, f"made whole: {answer}")
            self.assertEqual((answer.status, answer.body), strict[:2])
        else:
            self.assertIn(answer.status, (502,) if answer.is_ours else (0, 200), answer)
        if row is None:
            return
        words = row.cells[1].decode().split()
        if words[0] == "more" or words[-1].startswith("http.") or "cut" in words:
            self.assertTrue(answer.is_ours or not answer.whole, answer)
        else:
            status = [word for word in words if word.isdigit()][-1]
            size = next(int(word[5:]) for word in words if word.startswith("body="))
            self.assertEqual((answer.status, len(answer.body), answer.whole), (int(status), size, True), answer)
