# SPDX-License-Identifier: Apache-2.0
"""SOCKS5 from the cloud side to on-premise systems: with real programs, and byte by byte."""

import json
import socket
import time

import socks

from tests.harness.case import Case
from tests.harness.culvert_program import ACCOUNT
from tests.harness.environment import ROOT
from tests.harness.http_server import echo_request, http_server
from tests.harness.ports import closed_port
from tests.harness.sockets import receive_all, receive_exactly, reset
from tests.harness.tcp_server import echo_port, serve

CONNECT = b"\5\1\0\3%c%s%s"


def connect(host, port):
    """The request; `host` is a name, or the bytes of an address behind its type."""
    if isinstance(host, bytes):
        return b"\5\1\0" + host + port.to_bytes(2, "big")
    return CONNECT % (len(host), host.encode(), port.to_bytes(2, "big"))


def login(user, secret):
    return b"\1%c%s%c%s" % (len(user), user.encode(), len(secret), secret.encode())


class Socks5(Case):
    seconds = 30

    def start(self, **more):
        self.pair_ = self.pair()
        self.proxy = self.pair_.socks(**more)
        return self.pair_

    def dial(self):
        host, port = self.proxy.split(":")
        return socket.create_connection((host, int(port)), timeout=20)

    def negotiate(self, host, port, user=None, secret=""):
        """(socket, reply code); the code of a refused login is None."""
        client = self.dial()
        client.sendall(b"\5\1\2" if user else b"\5\1\0")
        receive_exactly(client, 2)
        if user:
            client.sendall(login(user, secret))
            if receive_exactly(client, 2) != b"\1\0":
                return client, None
        client.sendall(connect(host, port))
        return client, receive_exactly(client, 10)[1]

    def code(self, *arguments, **keywords):
        client, code = self.negotiate(*arguments, **keywords)
        client.close()
        return code

    def curl(self, *arguments, status=0):
        return self.command("curl", "-sS", "--max-time", 20, *arguments, status=status)

    def test_curl_reaches_names_and_addresses_and_rules_hold_inside(self):
        pair = self.start()
        web = http_server(self, echo_request)
        pair.agent.mapping("raw:80", web)
        for virtual in ("parsed:80", "10.1.2.3:80", "[2001:db8::1]:80"):
            pair.agent.web(virtual, web, [{"path": "/open", "match": "sub_paths"}])
        pair.start()
        by_name = ["--socks5-hostname", self.proxy]
        self.assertEqual(json.loads(self.curl(*by_name, "http://raw/any%2fthing"))["path"], "/any%2fthing")
        for arguments in ([*by_name, "http://parsed/open/x"], ["--socks5", self.proxy, "http://10.1.2.3/open/x"],
                          ["--socks5", self.proxy, "--resolve", "name:80:10.1.2.3", "http://name/open/x"],
                          ["--socks5", self.proxy, "http://[2001:db8::1]/open/x"]):
            with self.subTest(arguments):
                seen = json.loads(self.curl(*arguments))
                self.assertEqual((seen["path"], seen["fields"]["via"]), ("/open/x", "1.1 culvert"))
        # Each of four requests on one connection is checked separately.
        text = self.curl(*by_name, "-w", "%{http_code} ", "-o", "/dev/null", "--path-as-is", "http://parsed/open", "-o",
                         "/dev/null", "http://parsed/closed", "-o", "/dev/null", "http://parsed/open/../closed", "-o",
                         "/dev/null", "http://parsed/open/x")
        self.assertEqual(text.split(), ["200", "403", "400", "200"])
        # The Host field of a request changes nothing.
        problem = json.loads(self.curl(*by_name, "-H", "Host: raw", "http://parsed/closed"))
        self.assertEqual((problem["code"], problem["status"]), ("request.not_exposed", 403))
        self.assertIn("http.tls_client_hello", self.tls_hello("parsed", 80))

    def test_an_address_is_the_same_in_each_of_its_spellings(self):
        pair = self.pair()
        self.proxy = pair.socks(unauthenticated_account=ACCOUNT,
                                consumer=[pair.consumer("s3cret", ["[::ffff:10.1.2.3]:7", "[2001:DB8:0::1]:7"])])
        pair.agent.mapping("10.1.2.3:7", echo_port(self))
        pair.agent.mapping("[::ffff:10.1.2.4]:7", echo_port(self))
        pair.agent.mapping("[2001:db8:0:0::1]:7", echo_port(self))
        pair.start()
        for host in ("10.1.2.3", "::ffff:10.1.2.3", "[::ffff:10.1.2.3]", "::FFFF:0a01:0203", "2001:db8::1",
                     "[2001:DB8:0:0:0::1]", b"\1\12\1\2\3", b"\4" + bytes(10) + b"\xff\xff\12\1\2\3"):
            with self.subTest(host):
                self.assertEqual(self.code(host, 7), 0)
                self.assertEqual(self.code(host, 7, "acme", "s3cret"), 0)
        for host in ("10.1.2.4", "::ffff:10.1.2.4"):
            with self.subTest(host):
                self.assertEqual(self.code(host, 7), 0)
                self.assertEqual(self.code(host, 7, "acme", "s3cret"), 2)
        for host in ("010.1.2.3", "0x0a010203", "10.258", "10.1.515", "167838211", "::10.1.2.3", "[10.1.2.3]"):
            with self.subTest(host):
                self.assertEqual(self.code(host, 7), 2)

    def test_an_empty_password_is_no_login(self):
        pair = self.pair()
        self.proxy = pair.socks(unauthenticated_account=ACCOUNT, consumer=[pair.consumer("s3cret", ["other:7"])])
        pair.agent.mapping("echo:7", echo_port(self))
        pair.agent.web("web:80", http_server(self, echo_request))
        pair.start()
        # Java offers methods 0 and 2, and sends the user's name with an empty password.
        java = ["/usr/bin/java", "-XX:TieredStopAtLevel=1", ROOT / "tests/e2e/java/SocksEcho.java",
                self.proxy.rpartition(":")[2], "echo", 7]
        self.assertEqual(self.command(*java), "hello from Java\n")
        self.assertEqual(json.loads(self.curl("--socks5-hostname", self.proxy, "-U", "me:", "http://web/x"))["path"],
                         "/x")
        self.curl("--socks5-hostname", self.proxy, "-U", "me:wrong", "http://web/x", status=97)
        # Where a login is required, an empty password is a wrong one.
        pair.server.tables["socks5_proxy"].pop("unauthenticated_account")
        pair.server.reload()
        self.curl("--socks5-hostname", self.proxy, "-U", "acme:", "http://web/x", status=97)

    def tls_hello(self, host, port):
        client, code = self.negotiate(host, port)
        with client:
            self.assertEqual(code, 0)
            client.sendall(b"\x16\3\1\2\0\1\0\1\374\3\3")
            return receive_all(client).decode()

    def test_rules_still_hold_when_the_tunnel_is_another(self):
        pair = self.pair_ = self.pair(tunnels=1)
        self.proxy = pair.socks()
        web = http_server(self, echo_request)
        pair.agent.web("parsed:80", web, [{"path": "/open"}])
        pair.agent.mapping("open-to-all:80", web)
        http_host, http_port = pair.proxy().removeprefix("http://").split(":")
        pair.start()
        clients = []
        for _ in range(4):
            clients.append(self.negotiate("parsed", 80)[0])
            client = socket.create_connection((http_host, int(http_port)), timeout=20)
            client.sendall(b"CONNECT parsed:80 HTTP/1.1\r\nHost: parsed:80\r\n\r\n")
            receive_exactly(client, len(b"HTTP/1.1 200 Connection established\r\n\r\n"))
            clients.append(client)
        # The agent's tunnel is on any worker, and the connections move to that worker.
        for _ in range(5):
            for client in clients:
                for target, status in ((b"/open", b"200"), (b"/closed", b"403")):
                    client.sendall(b"GET %s HTTP/1.1\r\nHost: open-to-all\r\n\r\n" % target)
                    head = b""
                    while not head.endswith(b"\r\n\r\n"):
                        head += receive_exactly(client, 1)
                    self.assertEqual(head.split()[1], status, head)
                    size = next(line.split()[1]
                                for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
                    receive_exactly(client, int(size))
            pair.agent.stop()
            pair.agent.start().wait_until_ready()
        for client in clients:
            client.close()

    def test_python_gets_through(self):
        pair = self.start()
        pair.agent.mapping("echo:7", echo_port(self))
        pair.start()
        host, port = self.proxy.split(":")
        client = socks.create_connection(("echo", 7), timeout=20, proxy_type=socks.SOCKS5, proxy_addr=host,
                                         proxy_port=int(port))
        client.sendall(b"hello" * 100_000)
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(receive_all(client), b"hello" * 100_000)
        client.close()

    def test_consumers_reach_their_virtual_hosts_and_other_clients_reach_nothing(self):
        pair = self.pair()
        dead = closed_port()
        self.proxy = pair.socks(consumer=[
            pair.consumer("s3cret", ["erp:80", "dead:80", "hidden:80"], name="shop"),
            pair.consumer("other", ["erp:81"], name="other", locations=["plant-1", ""])])
        pair.agent.mapping("erp:80", echo_port(self))
        pair.agent.mapping("erp:81", echo_port(self))
        pair.agent.mapping("dead:80", dead)
        pair.start()
        for arguments, expected in [
                (("erp", 80, "acme", "s3cret"), 0), (("ERP.", 80, "acme/", "s3cret"), 0),
                (("erp", 81, "acme", "other"), 0), (("erp", 81, "acme", "s3cret"), 2),
                (("erp", 80, "acme", "other"), 2), (("hidden", 80, "acme", "s3cret"), 2),
                (("dead", 80, "acme", "s3cret"), 5), (("erp", 81, "acme/plant-1", "other"), 3),
                (("erp", 80, "acme", "wrong"), None), (("erp", 80, "acme/plant-1", "s3cret"), None),
                (("erp", 80, "nobody", "s3cret"), None)]:
            with self.subTest(arguments):
                self.assertEqual(self.code(*arguments), expected)
        # A client that does not wait for answers.
        with self.dial() as client:
            client.sendall(b"\5\1\2" + login("acme", "s3cret") + connect("erp", 80) + b"early")
            self.assertEqual(receive_exactly(client, 19), b"\5\2\1\0\5\0\0\1\0\0\0\0\0\0early")
        # Without a login there is no common method.
        with self.dial() as client:
            client.sendall(b"\5\2\0\x80")
            self.assertEqual(receive_all(client), b"\5\xff")
        self.curl("--socks5-hostname", self.proxy, "-U", "acme:wrong", "http://erp/", status=97)
        # After twelve failures (one by curl above) every login is refused, even with the right secret.
        for _ in range(11):
            self.code("erp", 80, "acme", "wrong")
        self.assertIsNone(self.code("erp", 80, "acme", "s3cret"))
        time.sleep(13)
        self.assertEqual(self.code("erp", 80, "acme", "s3cret"), 0)

    def test_curl_logs_in_with_a_location_and_consumers_change_at_run_time(self):
        pair = self.pair()
        self.proxy = pair.socks(consumer=[pair.consumer("s3cret", ["web:80"])])
        pair.agent.web("web:80", http_server(self, echo_request))
        pair.start()
        arguments = ["--socks5-hostname", self.proxy, "http://web/x"]
        self.assertEqual(json.loads(self.curl("-U", "acme:s3cret", *arguments))["path"], "/x")
        self.assertEqual(json.loads(self.curl("-U", "acme/:s3cret", *arguments))["path"], "/x")
        standing, code = self.negotiate("web", 80, "acme", "s3cret")
        self.assertEqual(code, 0)
        pair.server.tables["socks5_proxy"]["consumer"] = [pair.consumer("new", ["web:80"])]
        pair.server.reload()
        self.curl("-U", "acme:s3cret", *arguments, status=97)
        self.assertEqual(json.loads(self.curl("-U", "acme:new", *arguments))["path"], "/x")
        standing.sendall(b"GET /y HTTP/1.0\r\nHost: web\r\n\r\n")
        self.assertIn(b'"/y"', receive_all(standing))
        pair.server.tables.pop("socks5_proxy")
        pair.server.reload()
        self.curl("-U", "acme:new", *arguments, status=7)

    def test_replies_say_what_happened(self):
        pair = self.start()
        pair.agent.mapping("dead:80", closed_port())
        pair.agent.mapping("echo:7", echo_port(self))
        pair.start()
        self.assertEqual([self.code(*target) for target in (("echo", 7), ("echo", 8), ("dead", 80), ("", 7),
                                                            ("127.1", 7), ("echo", 0))],
                         [0, 2, 5, 2, 2, 2])
        for request, code in [(b"\5\2\0\3\4echo\0\7", 7), (b"\5\3\0\1\0\0\0\0\0\0", 7), (b"\5\1\0\2echo", 8)]:
            with self.subTest(request), self.dial() as client:
                # The rest is discarded without a reset, which might overtake the reply.
                client.sendall(b"\5\1\0" + request + b"more" * 1000)
                self.assertEqual(receive_all(client), b"\5\0\5%c\0\1\0\0\0\0\0\0" % code)
        for stranger in (b"\4\1\0\7\1\2\3\4\0", b"GET / HTTP/1.1\r\n\r\n"):
            with self.dial() as client:
                client.sendall(stranger)
                self.assertEqual(receive_all(client), b"")
        pair.agent.stop()
        self.assertEqual(self.code("echo", 7), 3)

    def test_success_comes_first_and_early_bytes_are_kept(self):
        pair = self.start()
        pair.agent.mapping("greets:1", serve(self, lambda connection: connection.sendall(b"welcome")))
        pair.agent.mapping("echo:7", echo_port(self))
        pair.start()
        success = b"\5\0\5\0\0\1\0\0\0\0\0\0"
        for _ in range(20):
            with self.dial() as client:
                client.sendall(b"\5\1\0" + connect("greets", 1))
                self.assertEqual(receive_all(client), success + b"welcome")
        with self.dial() as client:
            client.sendall(b"\5\1\0" + connect("echo", 7) + b"early" * 50_000)
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(receive_all(client), success + b"early" * 50_000)
        with self.dial() as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in b"\5\1\0" + connect("echo", 7) + b"x":
                client.sendall(bytes([byte]))
                time.sleep(0.002)
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(receive_all(client), success + b"x")

    def test_many_at_once_some_of_which_reset(self):
        pair = self.start()
        pair.agent.mapping("echo:7", echo_port(self))
        # Only after the agent has seen the connection open: before that, a reset is a refusal.
        pair.agent.mapping("resets:1", serve(self, lambda connection: (time.sleep(0.3), reset(connection))))
        pair.start()
        clients = []
        for number in range(200):
            client = self.dial()
            client.sendall(b"\5\1\0" + connect("echo", 7))
            if number % 4 == 3:
                reset(client)
            else:
                clients.append((client, b"%d" % number))
        for client, text in clients:
            client.sendall(text)
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(receive_all(client)[12:], text)
            client.close()
        client, code = self.negotiate("resets", 1)
        self.assertEqual(code, 0)
        with client, self.assertRaises(ConnectionResetError):
            receive_all(client)

    def test_slow_handshakes_are_closed_after_ten_seconds(self):
        pair = self.start()
        pair.start()
        began, clients = time.monotonic(), [self.dial() for _ in range(3)]
        clients[1].sendall(b"\5")
        clients[2].sendall(b"\5\1\0\5\1\0\3\377")
        for client in clients:
            with client:
                receive_all(client)
            self.assertLess(time.monotonic() - began, 13)
        self.assertGreater(time.monotonic() - began, 9)
