# SPDX-License-Identifier: Apache-2.0
"""Logins that belong to a connection (NTLM, Negotiate): nobody but the client that logged in uses the connection."""

import itertools

from tests.harness.case import Case
from tests.harness.strict_http_client import Client
from tests.harness.tcp_server import serve
from tests.harness.waiting import wait_until


class LoginServer:
    """A back end that remembers a user for each TCP connection. NTLM in two legs, Negotiate in one."""

    def __init__(self, case, name="back", challenge="NTLM"):
        self.name, self.challenge, self.numbers, self.open = name, challenge, itertools.count(1), set()
        self.port = serve(case, self.converse)

    def converse(self, connection):
        number, user, leg = next(self.numbers), None, 0
        self.open.add(number)
        try:
            file = connection.makefile("rb")
            while file.readline():
                fields = {}
                while field := file.readline().decode().rstrip("\r\n"):
                    key, _, value = field.partition(":")
                    fields[key.lower()] = value.strip()
                scheme, _, token = fields.get("authorization", "").partition(" ")
                status, more, body = 200, "", f"hello {user} at {self.name} on {number}"
                if scheme.lower() == "negotiate":
                    user, body = token, f"hello {token} at {self.name} on {number}"
                elif scheme.lower() == "ntlm" and leg == 0:
                    leg, status, more = 1, 401, "WWW-Authenticate: NTLM challenge\r\n"
                elif scheme.lower() == "ntlm":
                    user, leg = token, 0
                    body = f"hello {user} at {self.name} on {number}"
                elif user is None:
                    status, more = 401, f"WWW-Authenticate: {self.challenge}\r\n"
                connection.sendall(f"HTTP/1.1 {status} X\r\n{more}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        finally:
            self.open.discard(number)


class Browser:
    """One client connection to the proxy."""

    def __init__(self, case, name):
        self.name, self.client = name, Client(("127.0.0.1", case.port))
        case.browsers.append(self)

    def get(self, host="back", authorization=None):
        more = f"Authorization: {authorization}\r\n" if authorization else ""
        self.client.send(f"GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n{more}\r\n".encode())
        return self.client.answer()

    def leg(self, host="back", scheme="NTLM"):
        return self.get(host, f"{scheme} {self.name}")

    def log_in(self, host="back"):
        return self.leg(host).status, self.leg(host).body.decode()


class ConnectionLogins(Case):
    seconds = 20

    def start(self, tunnels=None, **back_ends):
        pair = self.pair(tunnels=tunnels)
        self.port = int(pair.proxy().rsplit(":", 1)[1])
        self.back = LoginServer(self, **back_ends)
        self.other = LoginServer(self, "other")
        pair.agent.web("back:80", self.back.port)
        pair.agent.web("other:80", self.other.port)
        self.running, self.browsers = pair.start(), []

    def tearDown(self):
        for browser in self.browsers:
            browser.client.socket.close()
        super().tearDown()

    def test_a_bare_request_of_another_client_is_not_logged_in(self):
        self.start()
        for scheme in ("NTLM", "ntlm", "Negotiate"):
            with self.subTest(scheme=scheme):
                alice, bob = Browser(self, "alice"), Browser(self, "bob")
                self.assertEqual(alice.get().status, 401)
                if scheme != "Negotiate":
                    self.assertEqual(alice.leg(scheme=scheme).status, 401)
                self.assertTrue(alice.leg(scheme=scheme).body.startswith(b"hello alice"))
                for _ in range(20):
                    self.assertEqual(bob.get().status, 401)
                    self.assertTrue(alice.get().body.startswith(b"hello alice"))

    def test_two_clients_log_in_by_turns(self):
        self.start(tunnels=1)
        alice, carol = Browser(self, "alice"), Browser(self, "carol")
        self.assertEqual([b.get().status for b in (alice, carol)], [401, 401])
        self.assertEqual([b.leg().status for b in (alice, carol)], [401, 401])
        self.assertEqual([b.leg().body.split()[1] for b in (alice, carol)], [b"alice", b"carol"])
        self.assertEqual([b.get().body.split()[1] for b in (carol, alice)], [b"carol", b"alice"])

    def test_a_client_keeps_a_connection_for_each_mapping_and_all_of_its_requests(self):
        self.start()
        alice = Browser(self, "alice")
        first = {host: alice.log_in(host) for host in ("back", "other")}
        self.assertEqual([status for status, _ in first.values()], [401, 401])
        # Other streams move about: the login does not.
        others = [Browser(self, f"other{number}") for number in range(8)]
        for _ in range(10):
            for browser in others:
                browser.get()
            for host, (_, body) in first.items():
                self.assertEqual(alice.get(host).body.decode(), body)

    def test_the_connection_ends_with_its_client(self):
        self.start()
        alice = Browser(self, "alice")
        alice.log_in()
        number = int(alice.get().body.split()[-1])
        self.assertIn(number, self.back.open)
        alice.client.socket.close()
        wait_until(lambda: number not in self.back.open, what="the end of alice's connection")
        bob = Browser(self, "bob")
        self.assertEqual(bob.get().status, 401)

    def test_a_connection_that_asked_for_a_login_is_not_used_again(self):
        """Its challenge may belong to it."""
        self.start(challenge='Basic realm="a, b", Negotiate')
        bob = Browser(self, "bob")
        numbers = {int(bob.get().body.split()[-1]) for _ in range(5)}
        self.assertEqual(len(numbers), 5)

    def test_the_client_may_know_that_the_proxy_keeps_connections_apart(self):
        self.start(challenge='Basic realm="x", ntlm')
        answer = Browser(self, "alice").get()
        self.assertEqual(answer.value(b"proxy-support"), b"Session-Based-Authentication")

    def test_a_login_outlives_no_reload_of_the_mapping(self):
        self.start()
        alice = Browser(self, "alice")
        alice.log_in()
        self.running.agent.tables["system_mapping"][0]["idle_timeout"] = "7s"
        self.running.agent.reload()
        self.assertEqual(alice.get().status, 401)
        self.assertTrue(alice.log_in()[1].startswith("hello alice"))

    def test_bonds_keep_no_tunnel_from_draining(self):
        self.start()
        alice = Browser(self, "alice")
        alice.log_in()
        self.assertEqual(self.running.agent.stop(), 0)
        self.running.agent.start().wait_until_ready()
        wait_until(lambda: alice.get().status == 401, what="a connection without a login")
        self.assertTrue(alice.log_in()[1].startswith("hello alice"))
