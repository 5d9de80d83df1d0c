# SPDX-License-Identifier: Apache-2.0
"""What clients and back ends of public bug reports do, through the HTTP proxy."""

import contextlib
import socket
import time

import requests

from tests.harness.back_ends.node import NODE_FOLDER, node_packages
from tests.harness.case import Case
from tests.harness.environment import ROOT
from tests.harness.http_server import http_server
from tests.harness.one_back_end import OK, OneBackEnd
from tests.harness.sockets import receive_all, receive_exactly
from tests.harness.strict_http_client import Client
from tests.harness.tcp_server import serve
from tests.harness.waiting import wait_until


class Heads(OneBackEnd):
    def test_a_query_arrives_as_it_came(self):
        self.start()
        for query in (b"a=100%", b"a=%u00fc", b"a=\xc3\xbc", b"a=\xfc", b"a=%zz&%", b"q=<x>|\"\\^`{}", b"?#"):
            answer = self.ask(b"GET http://back/p?%s HTTP/1.1\r\nHost: back\r\n\r\n" % query)
            self.assertTrue(answer.body.startswith(b"GET /p?%s HTTP/1.1\r\n" % query), answer.body)
        self.assertEqual(self.ask(b"GET http://back/p?a b HTTP/1.1\r\nHost: back\r\n\r\n").status, 400)

    def test_a_path_in_latin_1_arrives(self):
        self.start()
        for path in (b"/%C1rea", b"/voil%C0/x", b"/%D6l"):
            self.assertTrue(self.ask(b"GET http://back%s HTTP/1.1\r\nHost: back\r\n\r\n" % path).body.startswith(
                b"GET %s HTTP" % path))

    def test_what_came_goes_on(self):
        self.start()
        for method in (b"GET", b"DELETE", b"POST", b"PATCH", b"X-TEST"):
            answer = self.ask(b"%s http://back/ HTTP/1.1\r\nHost: back\r\nContent-Length: 0\r\n\r\n" % method)
            self.assertEqual(answer.body.lower().count(b"content-length: 0\r\n"), 1, answer.body)
        answer = self.ask(b"POST http://back/ HTTP/1.1\r\nHost: back\r\nTransfer-Encoding: chunked\r\n"
                          b"Trailer: X-Sum\r\n\r\n0\r\nX-Sum: 1\r\n\r\n")
        self.assertIn(b"Trailer: X-Sum\r\n", answer.body)

    def test_via_names_everybody_and_date_is_there(self):
        def old(connection):
            self.heads.append(self.read_head(connection))
            connection.sendall(b"HTTP/1.0 200 OK\r\nVia: 1.0 cache\r\nContent-Length: 0\r\n\r\n")

        self.start(old)
        answer = self.ask(b"GET http://back/ HTTP/1.1\r\nHost: back\r\nVia: 1.1 edge\r\n\r\n")
        self.assertIn(b"Via: 1.1 edge, 1.1 culvert\r\n", self.heads[0])
        self.assertEqual(answer.value(b"via"), b"1.0 cache, 1.0 culvert")
        self.assertRegex(answer.value(b"date"), rb"^[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT$")
        self.assertTrue(self.ask(b"GET http://none/ HTTP/1.1\r\nHost: none\r\n\r\n").value(b"date"))
        self.ask(b"GET http://back/ HTTP/1.0\r\n\r\n")
        self.assertIn(b"Via: 1.0 culvert\r\n", self.heads[-1])

    def test_max_forwards_is_counted(self):
        self.start()
        for method in (b"OPTIONS", b"TRACE"):
            request = b"%s http://back/x HTTP/1.1\r\nHost: back\r\nCookie: secret\r\nMax-Forwards: %%s\r\n\r\n" % method
            self.assertIn(b"Max-Forwards: 6\r\n", self.ask(request % b"7", method).body)
            before = len(self.heads)
            answer = self.ask(request % b"0", method)
            self.assertEqual((answer.status, len(self.heads)), (200, before))
            if method == b"TRACE":
                self.assertEqual(answer.value(b"content-type"), b"message/http")
                self.assertTrue(answer.body.startswith(b"TRACE /x HTTP/1.1\r\n"), answer.body)
                self.assertNotIn(b"secret", answer.body)
            else:
                self.assertIn(b"PUT", answer.value(b"allow"))
        answer = self.ask(b"GET http://back/ HTTP/1.1\r\nHost: back\r\nMax-Forwards: 0\r\n\r\n")
        self.assertIn(b"Max-Forwards: 0\r\n", answer.body)

    def test_an_absolute_target_is_taken_inside_connect(self):
        self.start()
        with Client(self.address) as client:
            self.assertEqual(client.connect(b"back:80").status, 200)
            client.send(b"GET http://back/x HTTP/1.1\r\nHost: other\r\n\r\n")
            self.assertTrue(client.answer().body.startswith(b"GET /x HTTP/1.1\r\nHost: back\r\n"))
            client.send(b"GET http://alias:90/x HTTP/1.1\r\nHost: alias:90\r\n\r\n")
            self.assertTrue(client.answer().body.startswith(b"GET /x HTTP/1.1\r\nHost: back\r\n"))
            client.send(b"GET http://evil/x HTTP/1.1\r\nHost: back\r\n\r\n")
            self.assertEqual(client.answer().status, 421)
        self.assertEqual(len(self.heads), 2)


class KeepAlive(OneBackEnd):
    def test_a_connection_is_not_used_for_longer_than_its_back_end_says(self):
        def closing(connection):
            """Closes an idle connection after a second, as it says."""
            self.connections += 1
            connection.settimeout(1)
            while head := self.read_head(connection):
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                receive_exactly(connection, length)
                connection.sendall(OK + b"Keep-Alive: timeout=1, max=100\r\nContent-Length: 2\r\n\r\nok")

        self.start(closing)
        statuses = []
        for pause in (1.3, 1.0, 0.99, 1.01, 0.5, 1.3):
            statuses.append(self.ask(b"POST http://back/ HTTP/1.1\r\nHost: back\r\nContent-Length: 2\r\n\r\nhi").status)
            time.sleep(pause)
        self.assertEqual(statuses, [200] * len(statuses))

    def test_a_longer_time_is_used(self):
        def keeping(connection):
            self.connections += 1
            while self.read_head(connection):
                connection.sendall(OK + b"Keep-Alive: timeout=20\r\nContent-Length: 0\r\n\r\n")

        self.start(keeping)
        for _ in range(3):
            self.assertEqual(self.ask(b"GET http://back/ HTTP/1.1\r\nHost: back\r\n\r\n").status, 200)
        self.assertEqual(self.connections, 1)


class SwitchedOff(Case):
    """TCP asks whether a peer is still there: one that is switched off says nothing."""

    def test_all_sockets_to_the_outside_ask_for_life(self):
        pair = self.pair(tunnels=1)
        proxy, socks = pair.proxy(), pair.socks()
        back = serve(self, receive_all)
        pair.agent.mapping("raw:80", back)
        channel = pair.to_cloud(back)
        pair.start()
        address = proxy.removeprefix("http://").split(":")
        with Client(address) as client, socket.create_connection(("127.0.0.1", channel)) as other:
            self.assertEqual(client.connect(b"raw:80").status, 200)
            other.sendall(b"x")
            wait_until(lambda: sum(p.metrics()["culvert_streams"] for p in (pair.server, pair.agent)) == 4,
                       what="two streams")
            for program in (pair.server, pair.agent):
                shown = self.command("ss", "-Htnop", "state", "established")
                own = [line for line in shown.splitlines() if f"pid={program.process.pid}," in line]
                self.assertGreaterEqual(len(own), 3, shown)
                for line in own:
                    self.assertRegex(line, r"timer:\((keepalive|on),")


class Quiet(OneBackEnd):
    seconds = 15

    def upgrade(self, connection):
        self.read_head(connection)
        connection.sendall(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        while data := connection.recv(100):
            connection.sendall(data)

    def open_socket(self):
        client = self.connect()
        client.sendall(b"GET http://back/ HTTP/1.1\r\nHost: back\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        self.assertIn(b" 101 ", self.read_head(client))
        return client

    def test_a_websocket_may_be_quiet(self):
        resource = [{"path": "/", "match": "sub_paths", "upgrade": True}]
        self.start(self.upgrade, resources=resource, idle_timeout="1s", first_byte_timeout="1s")
        client = self.open_socket()
        time.sleep(3.5)
        client.sendall(b"still there")
        self.assertEqual(client.recv(100), b"still there")
        client.close()

    def test_a_websocket_that_is_quiet_for_too_long_is_cut_if_the_file_says_so(self):
        resource = [{"path": "/", "match": "sub_paths", "upgrade": True}]
        self.start(self.upgrade, resources=resource, upgrade_idle_timeout="1s")
        client, began = self.open_socket(), time.monotonic()
        with self.assertRaises(ConnectionResetError):
            client.recv(100)
        self.assertLess(time.monotonic() - began, 4)

    def test_readers_that_are_gone_leave_room_for_others(self):
        """Server-sent events and long polls whose client has closed."""
        reading = set()

        def events(connection):
            head = self.read_head(connection)
            reading.add(connection)
            if b"/events" in head:
                connection.sendall(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
            with contextlib.suppress(ConnectionResetError):
                connection.recv(1)
            reading.discard(connection)

        self.start(events, connections_max=4, http_proxy={"abandoned_after": "1s"})
        for path in (b"/events", b"/poll"):
            clients = [self.connect() for _ in range(4)]
            for client in clients:
                client.sendall(b"GET http://back%s HTTP/1.1\r\nHost: back\r\n\r\n" % path)
            wait_until(lambda: len(reading) == 4, what="the back end to have all requests")
            for client in clients:
                client.shutdown(socket.SHUT_WR)
            wait_until(lambda: not reading, 5, "the back end to be told")
        self.running.server.wait_for_output("client.gone")

    def test_a_client_that_still_gets_bytes_is_not_gone(self):
        def ticking(connection):
            self.read_head(connection)
            connection.sendall(OK + b"Transfer-Encoding: chunked\r\n\r\n")
            for _ in range(6):
                time.sleep(0.5)
                connection.sendall(b"4\r\ntick\r\n")
            connection.sendall(b"0\r\n\r\n")

        self.start(ticking, http_proxy={"abandoned_after": "1s"})
        with Client(self.address) as client:
            client.send(b"GET http://back/ HTTP/1.1\r\nHost: back\r\n\r\n")
            client.finish()
            self.assertEqual(client.answer().body, b"tick" * 6)


class Cookies(Case):
    """The flow of SAP's CSRF tokens: GET with X-CSRF-Token: Fetch, then POST with the token and the cookies."""

    seconds = 5
    URL = "http://erp.example/x"

    @staticmethod
    def answer(method, _path, fields, _body):
        if method == "GET":
            return (OK + b"X-CSRF-Token: t0ken\r\n"
                    b"Set-Cookie: SAP_SESSIONID_ERP_001=abc; path=/; secure; HttpOnly; SameSite=None\r\n"
                    b"Set-Cookie: sap-usercontext=def; Domain=localhost; path=/; secure; HttpOnly; SameSite=None\r\n"
                    b"Content-Length: 0\r\n\r\n")
        cookies = sorted(fields.get("cookie", "").split("; "))
        is_right = (fields.get("x-csrf-token"), cookies) == ("t0ken", ["SAP_SESSIONID_ERP_001=abc",
                                                                      "sap-usercontext=def"])
        return b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n" % (b"201 Created" if is_right else b"403 No")

    def start(self, **more):
        pair = self.pair()
        self.proxy = pair.proxy()
        tls = {"backend_ca": pair.server_credentials.ca, "backend_server_name": "localhost"}
        port = http_server(self, self.answer, pair.server_credentials)
        pair.agent.web("erp.example:80", port, protocol="https", **tls, **more)
        pair.agent.tables["system_mapping"][0].update({"internal": f"localhost:{port}", "addresses": ["127.0.0.0/8"]})
        pair.start()

    def by_requests(self):
        with requests.Session() as session:
            session.proxies, session.trust_env = {"http": self.proxy}, False
            token = session.get(self.URL, headers={"X-CSRF-Token": "Fetch"}).headers["X-CSRF-Token"]
            return session.post(self.URL, headers={"X-CSRF-Token": token}).status_code

    def by_curl(self):
        jar, common = self.folder / "jar", ["curl", "-sS", "-x", self.proxy]
        self.command(*common, "-c", jar, "-H", "X-CSRF-Token: Fetch", self.URL)
        return int(self.command(*common, "-b", jar, "-o", "/dev/null", "-w", "%{http_code}", "-H",
                                "X-CSRF-Token: t0ken", "-d", "", self.URL))

    def by_java(self):
        return int(self.command("/usr/bin/java", "-XX:TieredStopAtLevel=1", ROOT / "tests/e2e/java/Cookies.java",
                                self.proxy.rpartition(":")[2], self.URL))

    def by_tough_cookie(self):
        return int(self.command("/usr/bin/node", NODE_FOLDER / "cookies.js", self.proxy, self.URL,
                                env=node_packages()))

    def assert_each_gets(self, status):
        for ask in (self.by_requests, self.by_curl, self.by_java, self.by_tough_cookie):
            with self.subTest(ask.__name__):
                self.assertEqual(ask(), status)

    def test_the_cookies_come_back_to_a_consumer_that_asks_by_http(self):
        self.start()
        self.assert_each_gets(201)

    def test_a_mapping_may_keep_them_as_they_came(self):
        self.start(secure_cookies="keep")
        self.assert_each_gets(403)
