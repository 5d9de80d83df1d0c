# SPDX-License-Identifier: Apache-2.0
"""Requests from the cloud side through the HTTP proxy and the agent's rules to real back ends."""

import json
import socket
import time
import urllib.parse

from tests.harness.back_ends.web_servers import nginx
from tests.harness.case import Case
from tests.harness.files import make_file, sha256
from tests.harness.http_server import echo_request, http_server
from tests.harness.ports import closed_port
from tests.harness.tcp_server import serve


class HttpProxy(Case):
    seconds = 20

    def curl(self, *arguments):
        """(status, head, body) through the proxy."""
        target = self.folder / "body"
        target.unlink(missing_ok=True)
        head = self.command("curl", "-sS", "-x", self.proxy, "-D", "-", "-o", target, "--max-time", 20, *arguments)
        statuses = [line.split()[1] for line in head.splitlines() if line.startswith("HTTP/")]
        return int(statuses[-1]), head, target.read_bytes() if target.exists() else b""

    def start(self):
        self.pair_ = self.pair()
        self.proxy = self.pair_.proxy()
        return self.pair_

    def test_requests_and_answers_arrive_with_the_right_changes(self):
        pair = self.start()
        pair.agent.web("erp:80", http_server(self, echo_request))
        pair.start()
        status, _, body = self.curl("http://ERP/a/%7Euser/../b?c=%20d", "-H", "X-Mine: 1", "-H", "Via: fake",
                                    "-H", "X-Forwarded-For: 1.2.3.4", "-H", "Connection: X-Gone", "-H", "X-Gone: 1",
                                    "-H", "SAP-Connectivity-Authentication: Bearer x", "-d", "body")
        seen = json.loads(body)
        self.assertEqual((status, seen["method"], seen["path"], seen["body"]), (200, "POST", "/a/b?c=%20d", "body"))
        fields = seen["fields"]
        self.assertEqual((fields["host"], fields["x-mine"], fields["via"], fields["x-forwarded-for"]),
                         ("erp", "1", "fake, 1.1 culvert", "127.0.0.1"))
        self.assertFalse({"x-gone", "proxy-connection", "sap-connectivity-authentication"} & set(fields))

    def test_a_hundred_mebibytes_each_way_with_and_without_a_length(self):
        pair = self.start()
        pair.agent.web("files:80", nginx(self))
        pair.start()
        digest = make_file(self.folder / "www/big", 100 << 20)
        down = self.folder / "down"
        self.command("curl", "-sS", "--fail", "-x", self.proxy, "-o", down, "http://files/big")
        self.assertEqual(sha256(down), digest)
        self.command("curl", "-sS", "--fail", "-x", self.proxy, "-T", down, "http://files/up")
        self.assertEqual(sha256(self.folder / "www/up"), digest)
        with open(down, "rb") as source:
            self.command("curl", "-sS", "--fail", "-x", self.proxy, "-T", "-", "http://files/chunked", stdin=source)
        self.assertEqual(sha256(self.folder / "www/chunked"), digest)

    def test_an_idle_client_does_not_delay_a_stop(self):
        pair = self.start()
        pair.agent.web("erp:80", http_server(self, echo_request))
        pair.start()
        port = int(self.proxy.rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(b"GET http://erp/ HTTP/1.1\r\nHost: erp\r\n\r\n")
            self.assertIn(b"HTTP/1.1 200", client.recv(65536))
            self.assertEqual(pair.server.gauges()["culvert_clients"], 1)
            began = time.monotonic()
            self.assertEqual(pair.server.stop(), 0)
            self.assertLess(time.monotonic() - began, 3, "drain_time is 30 s")
            while client.recv(65536):
                pass

    def test_only_the_paths_of_resources_are_exposed(self):
        pair = self.start()
        pair.agent.web("erp:80", http_server(self, echo_request), [
            {"path": "/accounting", "match": "sub_paths", "methods": ["GET"]}, {"path": "/one"},
            {"path": "/off", "enabled": False}])
        pair.start()
        for path, arguments, expected in [
                ("/accounting", [], 200), ("/accounting/x", [], 200), ("/accounting/x", ["-d", "x"], 403),
                ("/accounting-secret", [], 403), ("/accounting/../secret", ["--path-as-is"], 400),
                ("/accounting/%2e%2e/secret", ["--path-as-is"], 400), ("/one", ["-d", "x"], 200),
                ("/one/more", [], 403),
                ("/off", [], 403), ("/", [], 403), ("/accounting%2fx", [], 400), ("/accounting%252fx", [], 400)]:
            with self.subTest(path=path, arguments=arguments):
                status, _, body = self.curl(*arguments, f"http://erp{path}")
                self.assertEqual(status, expected, body)
        status, head, body = self.curl("http://other/")
        problem = json.loads(body)
        self.assertEqual((status, problem["code"], problem["hop"]), (403, "request.not_exposed", "culvert-agent"))
        self.assertIn("Proxy-Status: culvert-agent; error=http_request_denied", head)
        numbers = {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for program in (pair.server, pair.agent)
                   for line in program.http("/metrics")[1].splitlines() if "not_exposed" in line or "_http_" in line
                   and not line.startswith("#")}
        self.assertEqual({name: value for name, value in numbers.items() if value}, {
            'culvert_streams_rejected_total{reason="not_exposed"}': 6, 'culvert_http_errors_total{status="403"}': 6,
            'culvert_http_errors_total{status="400"}': 4, 'culvert_http_responses_total{status="2xx"}': 3})
        self.assertEqual([(each["name"], each["connections"]) for each in pair.server.status()["proxies"]],
                         [("http_proxy", 0)])

    def test_one_connection_reaches_many_back_ends(self):
        pair = self.start()
        for name in ("a", "b", "c"):
            pair.agent.web(f"{name}:80", http_server(self, lambda *_,
                                                     name=name: b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"
                                                     + name.encode()))
        pair.start()
        where = urllib.parse.urlsplit(self.proxy)
        with socket.create_connection((where.hostname, where.port), timeout=10) as client:
            file = client.makefile("rb")
            for name in "abcabcccbba" * 20:
                client.sendall(f"GET http://{name}/ HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
                lines = []
                while (line := file.readline().rstrip()):
                    lines.append(line)
                self.assertTrue(lines[0].startswith(b"HTTP/1.1 200"), lines)
                self.assertEqual(file.read(1), name.encode())

    def test_events_arrive_at_once_and_a_cut_body_is_never_whole(self):
        pair = self.start()

        def events(connection):
            connection.recv(65536)
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(10):
                text = b"data: %f\n\n" % time.monotonic()
                connection.sendall(b"%x\r\n%s\r\n" % (len(text), text))
                time.sleep(0.02)
            if cuts:
                return
            connection.sendall(b"0\r\n\r\n")

        cuts = []
        pair.agent.web("sse:80", serve(self, events))
        pair.start()
        where = urllib.parse.urlsplit(self.proxy)

        def receive():
            delays, rest = [], b""
            with socket.create_connection((where.hostname, where.port), timeout=10) as client:
                client.sendall(b"GET http://sse/ HTTP/1.1\r\nHost: sse\r\n\r\n")
                while not rest.endswith(b"0\r\n\r\n"):
                    data = client.recv(65536)
                    if not data:
                        break
                    rest += data
                    delays += [time.monotonic() - float(line[6:])
                               for line in data.split(b"\n") if line.startswith(b"data: ")]
            return delays, rest
        delays, rest = receive()
        self.assertTrue(rest.endswith(b"0\r\n\r\n"))
        self.assertEqual(len(delays), 10)
        self.assertLess(max(delays), 0.5)
        cuts.append(True)
        try:
            _, rest = receive()
        except ConnectionResetError:
            return
        self.assertFalse(rest.endswith(b"0\r\n\r\n"))

    def test_errors_have_a_status_and_a_code_and_hide_addresses(self):
        pair = self.start()
        pair.agent.web("dead:80", closed_port())
        pair.start()
        for arguments, status, code in [
                (["http://dead/"], 502, "request.target_refused"),
                (["-H", "SAP-Connectivity-SCC-Location_ID: nowhere", "http://dead/"], 503, "request.no_agent"),
                (["http://dead/%00"], 400, "http.bad_path"),
                (["-H", "Content-Length: +1", "-X", "POST", "http://dead/"], 400, "http.bad_content_length")]:
            with self.subTest(code=code):
                got, head, body = self.curl(*arguments)
                problem = json.loads(body)
                self.assertEqual((got, problem["code"]), (status, code))
                self.assertNotIn("127.0.0.1", body.decode())
                self.assertIn("Proxy-Status: culvert-", head)

    def test_connect_reaches_tcp_and_http_mappings(self):
        pair = self.start()
        web = http_server(self, echo_request)
        pair.agent.mapping("raw:80", web)
        pair.agent.web("parsed:80", web, [{"path": "/open"}])
        pair.start()
        status, _, body = self.curl("-p", "http://raw/anything")
        self.assertEqual((status, json.loads(body)["path"]), (200, "/anything"))
        status, _, body = self.curl("-p", "http://parsed/open")
        self.assertEqual((status, json.loads(body)["path"]), (200, "/open"))
        self.assertEqual(self.curl("-p", "http://parsed/closed")[0], 403)
