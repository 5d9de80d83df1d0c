# SPDX-License-Identifier: Apache-2.0
"""Path rules: every spelling of tests/common/http/paths.txt against the rules of four mappings, with nginx and Apache
as back ends. A path that is allowed arrives as it came, and must resolve to one inside a rule. No back end sees a path
that is refused."""

import collections
import re
import urllib.parse

from tests.harness import hostile_server, http_tables
from tests.harness.back_ends.reporting_web_servers import reporting_apache, reporting_nginx, requests_seen
from tests.harness.case import Case
from tests.harness.hostile_server import HostileServer
from tests.harness.sockets import receive_exactly
from tests.harness.strict_http_client import Client
from tests.harness.waiting import wait_until

FEW = [("/accounting", True), ("/a", True), ("/b", False), ("/index.html", False), ("/a%20b", False),
       ("/Set('a%2Fb')", False)]
RULES = {"any": [("/", True)], "few": FEW}
SLASHES = ["refuse", "keep"]
BACK_ENDS = ["nginx", "apache"]
HOSTS = [f"{rule}-{slash}-{back_end}" for rule in RULES for slash in SLASHES for back_end in BACK_ENDS]
ROWS = http_tables.read("paths.txt", 3)


def within(path, rule, sub_paths):
    """Whether a rule covers a path without percent-encoding."""
    if not sub_paths:
        return path == rule
    inside, whole = path.split(b"/"), rule.rstrip(b"/").split(b"/")
    return inside[:len(whole)] == whole


def expected_of(row, host):
    """What must happen: (0, path at the back end) or (status of an error, its code)."""
    rule, slash, _ = host.split("-")
    # The server decides first; it does not know the mapping.
    expected = row.cells[-1] if slash == "keep" or not row.cells[-1].startswith(b"/") else row.cells[1]
    if not expected.startswith(b"/"):
        return 400, b"http." + expected
    spelling = row.cells[0]
    if all(any(within(form, path.encode(), sub_paths) for path, sub_paths in RULES[rule])
           for form in (expected, spelling)):
        return 0, spelling
    return 403, b"request.not_exposed"


def has_bare_percent(line):
    """Both back ends refuse such a path themselves."""
    return re.search(rb"%(?![0-9A-Fa-f]{2})", line) is not None


def reason_of(row, what):
    """The agent's reason to refuse this path in the HEAD of a hostile server: our own would have refused a bad path
    itself."""
    if row.cells[-1] == b"encoded_backslash":
        return hostile_server.AMBIGUOUS_BACKSLASH
    if not row.cells[-1].startswith(b"/"):
        return hostile_server.ABORTED
    return hostile_server.NOT_EXPOSED if what == b"request.not_exposed" else hostile_server.AMBIGUOUS_PATH


class Paths(Case):
    seconds = 12

    def expose(self, agent):
        self.ports = {"nginx": reporting_nginx(self), "apache": reporting_apache(self)}
        for host in HOSTS:
            rule, slash, back_end = host.split("-")
            agent.web(f"{host}:80", self.ports[back_end],
                      [{"path": path, "match": "sub_paths" if sub_paths else "exact"}
                                                           for path, sub_paths in RULES[rule]], encoded_slash=slash)
        self.expected = {name: collections.Counter() for name in BACK_ENDS}

    def start(self):
        pair = self.pair()
        self.proxy, self.socks = pair.proxy().removeprefix("http://").split(":"), pair.socks().split(":")
        self.expose(pair.agent)
        pair.start()

    def check_back_ends(self):
        """Each back end saw the allowed paths, as they were allowed, and nothing else."""
        for name, expected in self.expected.items():
            self.assertGreater(len(expected), 100)
            wait_until(lambda n=name, e=expected: len(requests_seen(self, n)) >= e.total(),
                       what=f"{name} to write its log")
            found = [seen for seen in requests_seen(self, name) if not has_bare_percent(seen[1])]
            self.assertEqual(collections.Counter((marker, line) for marker, line, _ in found), expected, name)
            for marker, line, resolved in found:
                if b"few" in marker:
                    decoded = [(urllib.parse.unquote_to_bytes(path), sub_paths) for path, sub_paths in FEW]
                    self.assertTrue(any(within(resolved, path, sub_paths) for path, sub_paths in decoded),
                                    (name, line, resolved))

    def send_all(self, connect, absolute):
        """Sends the whole table through connections that `connect` opens to a virtual host."""
        for host in HOSTS:
            client = connect(host.encode())
            for row in ROWS:
                spelling = row.cells[0]
                # A question mark ends the path, and without a slash the absolute form names another host.
                if b"?" in spelling or (absolute and not spelling.startswith(b"/")):
                    continue
                if client.ended:
                    client = connect(host.encode())
                with self.subTest(host=host, spelling=spelling):
                    self.check(client, row, host, (b"http://%s%s"
                                                   if absolute else b"%.0s%s") % (host.encode(), spelling))
            client.socket.close()
        self.check_back_ends()

    def check(self, client, row, host, target):
        client.send(b"GET %s HTTP/1.1\r\nHost: %s\r\nX-Marker: %d %s\r\n\r\n" % (target, host.encode(), row.line,
                                                                                 host.encode()))
        answer = client.answer()
        status, what = expected_of(row, host)
        if status == 0 and has_bare_percent(what):
            self.assertEqual((answer.is_ours, answer.status), (False, 400))
            return
        if status == 0:
            self.assertFalse(answer.is_ours, answer)
            self.assertEqual(answer.value(b"x-seen"), b"GET %s HTTP/1.1" % what)
            self.expected[host.split("-")[2]][b"%d %s" % (row.line, host.encode()), b"GET %s HTTP/1.1" % what] += 1
            return
        self.assertTrue(answer.is_ours, answer)
        if target.startswith(b"http://") and row.cells[0].startswith(b"http://"):
            self.assertEqual(answer.status, 421, "an absolute target with another host")
            return
        self.assertEqual(answer.status, status, answer)
        # Bytes that a target must not contain are refused before the path is parsed.
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

    def test_through_a_hostile_server(self):
        pair = self.pair(tunnels=1)
        self.expose(pair.agent)
        server = HostileServer(self, pair.server.port, pair.server_credentials)
        pair.agent.start()
        server.accept()
        for host in HOSTS:
            for row in ROWS:
                try:
                    spelling = row.cells[0].decode()
                except UnicodeDecodeError:
                    continue  # It cannot be a string in a message: that would end the tunnel, and with it the test.
                with self.subTest(host=host, spelling=spelling):
                    fields = hostile_server.pack_fields((b"X-Marker", b"%d %s" % (row.line, host.encode())))
                    head = hostile_server.request(spelling, host, fields=fields)
                    outcome = server.exchange((hostile_server.HEAD, head), host=host)
                    status, what = expected_of(row, host)
                    if status == 0 and has_bare_percent(what):
                        self.assertEqual(outcome.status, 400)
                        continue
                    if status == 0:
                        self.assertEqual(outcome.fields.get(b"x-seen"), b"GET %s HTTP/1.1" % what, outcome)
                        self.expected[host.split("-")[2]][fields.split(b"\0")[1], b"GET %s HTTP/1.1" % what] += 1
                        continue
                    self.assertIsNone(outcome.status, outcome)
                    self.assertEqual(outcome.reason, reason_of(row, what), outcome)
        self.check_back_ends()
