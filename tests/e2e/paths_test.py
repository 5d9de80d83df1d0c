# SPDX-License-Identifier: Apache-2.0
"""Path rules: every spelling of tests/common/http/paths.txt against the rules of four mappings, with nginx and Apache behind. What is
allowed must be the path that the back end saw, and what that resolves to must be inside a rule; of what is refused no back end hears."""

import collections
import re
import urllib.parse

import http_table
import lying_server
from backends import receive_exactly
from culvert import Case, wait_until
from lying_server import LyingServer
from raw_http import Client, within
from telling import seen, telling_apache, telling_nginx

FEW = [("/accounting", True), ("/a", True), ("/b", False), ("/index.html", False), ("/a%20b", False), ("/Set('a%2Fb')", False)]
RULES = {"any": [("/", True)], "few": FEW}
SLASHES = ["refuse", "keep"]
BACK_ENDS = ["nginx", "apache"]
HOSTS = [f"{rule}-{slash}-{back_end}" for rule in RULES for slash in SLASHES for back_end in BACK_ENDS]
ROWS = http_table.read("paths.txt", 3)


def verdict(row, host):
    """(status, what stands for it): 0 and the path that goes on, or an error and its code."""
    rule, slash, _ = host.split("-")
    # The server, which does not know the mapping, judges first.
    expected = row.cells[-1] if slash == "keep" or not row.cells[-1].startswith(b"/") else row.cells[1]
    if not expected.startswith(b"/"):
        return 400, b"http." + expected
    if any(within(expected, path.encode(), sub_paths) for path, sub_paths in RULES[rule]):
        return 0, expected
    return 403, b"request.not_exposed"


def reason_of(row, what):
    """The agent's, to a server that sends such a path in a HEAD. It mends nothing: what is not canonical no server of ours parsed."""
    if row.cells[-1] != row.cells[0]:
        return lying_server.ABORTED
    return lying_server.NOT_EXPOSED if what == b"request.not_exposed" else lying_server.AMBIGUOUS_PATH


class Paths(Case):
    seconds = 12

    def expose(self, agent):
        self.ports = {"nginx": telling_nginx(self), "apache": telling_apache(self)}
        for host in HOSTS:
            rule, slash, back_end = host.split("-")
            agent.web(f"{host}:80", self.ports[back_end], [{"path": path, "match": "sub_paths" if sub_paths else "exact"}
                                                           for path, sub_paths in RULES[rule]], encoded_slash=slash)
        self.expected = {name: collections.Counter() for name in BACK_ENDS}

    def start(self):
        pair = self.pair()
        self.proxy, self.socks = pair.proxy().removeprefix("http://").split(":"), pair.socks().split(":")
        self.expose(pair.agent)
        pair.start()

    def check_back_ends(self):
        """Each back end saw what was allowed, as it was allowed, and nothing else."""
        for name, expected in self.expected.items():
            self.assertGreater(len(expected), 100)
            wait_until(lambda n=name, e=expected: len(seen(self, n)) >= e.total(), what=f"{name} to write its log")
            found = seen(self, name)
            self.assertEqual(collections.Counter((marker, line) for marker, line, _ in found), expected, name)
            for marker, line, resolved in found:
                if b"few" in marker:
                    decoded = [(urllib.parse.unquote_to_bytes(path), sub_paths) for path, sub_paths in FEW]
                    self.assertTrue(any(within(resolved, path, sub_paths) for path, sub_paths in decoded), (name, line, resolved))

    def send_all(self, connect, absolute):
        """The whole table through connections that `connect` makes to a virtual host."""
        for host in HOSTS:
            client = connect(host.encode())
            for row in ROWS:
                spelling = row.cells[0]
                # A question mark ends the path here, and without a slash an absolute-form names another host.
                if b"?" in spelling or (absolute and not spelling.startswith(b"/")):
                    continue
                if client.ended:
                    client = connect(host.encode())
                with self.subTest(host=host, spelling=spelling):
                    self.judge(client, row, host, (b"http://%s%s" if absolute else b"%.0s%s") % (host.encode(), spelling))
            client.socket.close()
        self.check_back_ends()

    def judge(self, client, row, host, target):
        client.send(b"GET %s HTTP/1.1\r\nHost: %s\r\nX-Marker: %d %s\r\n\r\n" % (target, host.encode(), row.line, host.encode()))
        answer = client.answer()
        status, what = verdict(row, host)
        if status == 0:
            self.assertFalse(answer.is_ours, answer)
            self.assertEqual(answer.value(b"x-seen"), b"GET %s HTTP/1.1" % what)
            self.expected[host.split("-")[2]][b"%d %s" % (row.line, host.encode()), b"GET %s HTTP/1.1" % what] += 1
            return
        self.assertTrue(answer.is_ours, answer)
        self.assertEqual(answer.status, status, answer)
        # Other bytes than a target may have are refused before anybody looks for a path.
        if re.fullmatch(rb"/[\x21-\x7e\x80-\xff]*", row.cells[0]):
            self.assertIn(b'"code":"%s"' % what, answer.body)
        if answer.value(b"connection") == b"close":
            self.assertTrue(client.is_over())

    def test_through_the_proxy(self):
        self.start()
        self.send_all(lambda host: Client(self.proxy), absolute=True)

    def test_inside_connect(self):
        self.start()

        def connect(host):
            client = Client(self.proxy)
            self.assertEqual(client.connect(host + b":80").status, 200)
            return client

        self.send_all(connect, absolute=False)

    def test_inside_socks(self):
        self.start()

        def connect(host):
            client = Client(self.socks)
            client.send(b"\5\1\0\5\1\0\3%c%s\0\x50" % (len(host), host))
            self.assertEqual(receive_exactly(client.socket, 12), b"\5\0\5\0\0\1\0\0\0\0\0\0")
            return client

        self.send_all(connect, absolute=False)

    def test_through_a_server_that_lies(self):
        pair = self.pair(tunnels=1)
        self.expose(pair.agent)
        server = LyingServer(self, pair.server.port, pair.server_credentials)
        pair.agent.start()
        server.accept()
        for host in HOSTS:
            for row in ROWS:
                try:
                    spelling = row.cells[0].decode()
                except UnicodeDecodeError:
                    continue  # No string of a message: that would end the tunnel, and with it the test.
                with self.subTest(host=host, spelling=spelling):
                    fields = lying_server.pack_fields((b"X-Marker", b"%d %s" % (row.line, host.encode())))
                    head = lying_server.request(spelling, host, fields=fields)
                    outcome = server.exchange((lying_server.HEAD, head), host=host)
                    status, what = verdict(row, host)
                    if status == 0 and what == spelling.encode():
                        self.assertEqual(outcome.fields.get(b"x-seen"), b"GET %s HTTP/1.1" % what, outcome)
                        self.expected[host.split("-")[2]][fields.split(b"\0")[1], b"GET %s HTTP/1.1" % what] += 1
                        continue
                    self.assertIsNone(outcome.status, outcome)
                    self.assertEqual(outcome.reason, reason_of(row, what), outcome)
        self.check_back_ends()
