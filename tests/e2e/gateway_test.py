# SPDX-License-Identifier: Apache-2.0
"""Calls of external systems by plain URLs: what reaches the target, what comes back, and the errors."""

import asyncio
import json
import posixpath
import urllib.parse

import requests
import websockets

from tests.harness import certificates
from tests.harness.back_ends.judge import Judge, answering, cut_off, refusing, silent
from tests.harness.back_ends.node import node
from tests.harness.back_ends.protected_web_servers import WEB_SERVERS, with_certificate, with_password
from tests.harness.case import Case
from tests.harness.culvert_program import ACCOUNT, CONFIGURATION
from tests.harness.environment import ROOT
from tests.harness.files import make_file
from tests.harness.gateway import PASSWORD, USER, Gateway
from tests.harness.http_server import echo_request, http_server
from tests.harness.ports import closed_port
from tests.harness.tcp_server import serve


class Laptop(Case):
    def test_a_target_with_a_password_by_a_plain_url(self):
        gateway = Gateway(self)
        port = with_password(self, "nginx", USER, PASSWORD)
        (self.folder / "www/v1").mkdir()
        (self.folder / "www/v1/items").write_text("two items")
        url = gateway.api(f"http://127.0.0.1:{port}", credentials=gateway.basic())
        gateway.start()
        self.assertEqual(self.command("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}",
                                      f"http://127.0.0.1:{port}/v1/items"), "401")
        for base in (url, f"{gateway.entries}/shop/orders/orders"):
            answered = gateway.call(f"{base}/v1/items")
            self.assertEqual((answered.status, answered.body), (200, b"two items"))
            self.assertEqual(gateway.call(f"{base}/v1/none").status, 404)
        self.assertEqual(gateway.call(f"{gateway.health}/v1/health").status, 200)
        self.assertEqual(gateway.call(f"{gateway.health}/v1/other").status, 404)


class Requests(Case):
    """What a target sees of a request, and the caller of the answer."""

    def start(self, base="/api", has_login=False):
        self.judge = Judge(self)
        self.gateway = Gateway(self)
        login = {"credentials": self.gateway.basic("u", "p")} if has_login else {}
        self.url = self.gateway.api(self.judge.url + base, **login)
        return self.gateway.start()

    def seen(self, rest, *arguments):
        """The target that arrived for the rest of a URL."""
        answered = self.gateway.call(self.url + rest, "--path-as-is", "-g", *arguments)
        self.assertEqual(answered.status, 200, answered.body)
        call = self.judge.calls[-1]
        return call.path + ("?" + call.query if call.query else "")

    def test_paths_and_queries_arrive_as_they_are(self):
        self.start()
        for rest in ("/v1/items", "/v1/items/", "/", "", "/a:b/c", "/Orders(1)", "/%7Euser", "/~user", "/a%20b",
                     "/%C3%BC", "/x?a=1&b=%20+&c", "/x?", "?a=1", "/a/b/c/d?url=http://x/../y"):
            with self.subTest(rest):
                self.assertEqual(self.seen(rest), "/api" + rest.removesuffix("?"))

    def test_the_base_may_have_no_path_or_a_slash_or_a_query(self):
        self.judge = Judge(self)
        gateway = self.gateway = Gateway(self)
        urls = {base: gateway.api(self.judge.url + base, f"s{number}")
                for number, base in enumerate(("", "/", "/api/", "/api?client=100", "/?client=100"))}
        gateway.start()
        for base, rest, expected in [
                ("", "", "/"), ("", "/", "/"), ("", "/x", "/x"), ("/", "", "/"), ("/", "/x", "/x"),
                ("/api/", "", "/api/"), ("/api/", "/x", "/api/x"), ("/api/", "/x/", "/api/x/"),
                ("/api?client=100", "/x", "/api/x?client=100"), ("/api?client=100", "/x?b=2", "/api/x?client=100&b=2"),
                ("/?client=100", "?b=2", "/?client=100&b=2")]:
            with self.subTest(base=base, rest=rest):
                self.url = urls[base]
                self.assertEqual(self.seen(rest), expected)

    def test_no_path_leaves_the_base(self):
        self.start("/api/v1")
        self.judge.on("/secret", answering(200, b"secret"))
        for rest in ("/../secret", "/../../secret", "/%2e%2e/secret", "/.%2E/secret", "/x/../../secret",
                     "/x/%2e./../..", "/..", "/%2e%2e", "/..%2fsecret", "/x%2f..%2f..%2f..%2fsecret", "/..%5csecret",
                     "/..\\secret", "/%252e%252e/secret", "/..;/secret", "/../v1-secret", "/.%00./secret",
                     "/%2e%2e%2f%2e%2e/secret"):
            with self.subTest(rest):
                before = len(self.judge.calls)
                answered = self.gateway.call(self.url + rest, "--path-as-is")
                calls = self.judge.calls[before:]
                if not calls:
                    self.assertEqual(answered.status, 400)
                    self.assertIn(answered.reason, ("gateway.climbs_out", "http.bad_path", "http.dot_segment"))
                for call in calls:
                    plain = urllib.parse.unquote(call.path).replace("\\", "/").replace(";", "")
                    self.assertTrue((posixpath.normpath(plain) + "/").startswith("/api/v1/"), call.path)
        self.assertEqual(self.judge.count("/secret"), 0)
        # Those that stay inside are the client's to resolve, too.
        self.assertEqual(self.gateway.call(f"{self.url}/x/../y", "--path-as-is").reason, "http.dot_segment")
        self.assertEqual(self.seen("/x/..y/...z"), "/api/v1/x/..y/...z")

    def test_the_fields_that_arrive(self):
        self.start(has_login=True)
        self.seen("/x", "-X", "PATCH", "-d", "body", "-H", "X-Mine: 1", "-H", "Authorization: Bearer of-the-caller",
                  "-H", "Connection: X-Gone", "-H", "X-Gone: 1", "-H", "Proxy-Authorization: Basic eDp5",
                  "-H", "X-Forwarded-For: 1.2.3.4", "-H", "Cookie: a=b",
                  "-H", "SAP-Connectivity-ConsumerAccount: other", "-H", "TE: trailers", "-H", "Keep-Alive: 5")
        call = self.judge.calls[-1]
        self.assertEqual((call.method, call.body, call.value("host"), call.value("x-mine"), call.value("cookie")),
                         ("PATCH", b"body", self.judge.url.removeprefix("http://"), "1", "a=b"))
        self.assertEqual(call.values("authorization"), ["Basic dTpw"])
        names = {name for name, _ in call.fields}
        self.assertFalse({"x-gone", "keep-alive", "proxy-authorization", "sap-connectivity-consumeraccount",
                          "access-token"} & names)
        # The field Access-Token is the caller's own login.
        for value in ("Bearer abc", "Basic eDp5"):
            self.seen("/x", "-H", f"Access-Token: {value}", "-H", "Authorization: Bearer of-the-caller")
            call = self.judge.calls[-1]
            self.assertEqual((call.values("authorization"), call.value("access-token")), ([value], None))

    def test_the_callers_own_login_reaches_a_target_without_credentials(self):
        self.start()
        self.seen("/x", "-H", "Authorization: Bearer of-the-caller")
        self.assertEqual(self.judge.calls[-1].values("authorization"), ["Bearer of-the-caller"])
        self.seen("/x")
        self.assertEqual(self.judge.calls[-1].values("authorization"), [])

    def test_locations_inside_the_target_lead_through_the_gateway_again(self):
        self.start()
        own, gateway = self.judge.url, self.gateway
        other = f"http://127.0.0.1:{closed_port()}/api/x"
        for base in (self.url, f"{gateway.entries}/shop/orders/orders"):
            for location, expected in [
                    (f"{own}/api/x/1?a=b#c", f"{base}/x/1?a=b#c"), (f"{own}/api", base), (f"{own}/api/", f"{base}/"),
                    ("/api/x/1", f"{base}/x/1"), ("/api?a", f"{base}?a"), ("x/1", "x/1"),
                    # Outside the base, or on another host: as it is.
                    (f"{own}/login", f"{own}/login"), (f"{own}/api-2/x", f"{own}/api-2/x"), (other, other),
                    (f"{own}/api/../login", f"{own}/login"), (f"{own}/api/%2e%2e/login", f"{own}/login"),
                    # Not to a path of the gateway, which would be another application's.
                    ("/login", f"{own}/login"), ("/other/orders/x", f"{own}/other/orders/x"),
                    ("/api/../login", f"{own}/login"),
                    (own.replace("http:", "https:") + "/api/x", own.replace("http:", "https:") + "/api/x"),
                    ("https://elsewhere.example/api/x", "https://elsewhere.example/api/x")]:
                for status in (302, 201):
                    with self.subTest(base=base, location=location, status=status):
                        self.judge.on("/api/moved", answering(status, fields=[("Location", location)]))
                        answered = gateway.call(f"{base}/moved")
                        (got,) = answered.fields["location"]
                        # Relative to the gateway or absolute is the same for a client.
                        self.assertEqual((answered.status, self.followed(base, got)),
                                         (status, self.followed(base, expected)))

    @staticmethod
    def followed(base, location):
        """The URL at which a client arrives that follows `location`."""
        url = urllib.parse.urlsplit(urllib.parse.urljoin(f"{base}/moved", location))
        path = posixpath.normpath(url.path.replace("%2e", ".")) + ("/" if url.path.endswith("/") else "")
        return urllib.parse.urlunsplit(url._replace(path=path))

    def test_a_connection_that_was_logged_in_is_not_for_others(self):
        """NTLM and Negotiate log in a connection, not a request."""
        self.start()
        for scheme in ("NTLM", "Negotiate"):
            for _ in range(5):
                self.seen("/x", "-H", f"Authorization: {scheme} dG9rZW4=")
                logged_in = self.judge.calls[-1].connection
                for _ in range(3):
                    self.seen("/x")
                    self.assertNotEqual(self.judge.calls[-1].connection, logged_in, scheme)

    def test_names_are_found_by_their_normal_form(self):
        judge = Judge(self)
        gateway = Gateway(self)
        for service, path in [("Orders API", "orders-api"), ("Überweisung (v2)", "berweisung-v2"), ("--A__B--", "a-b")]:
            gateway.api(f"{judge.url}/{path}", service)
        gateway.api(f"{judge.url}/first", "several", entry="First One")
        gateway.api(f"{judge.url}/second", "several", entry="second")
        gateway.start()
        for path in ("orders-api", "berweisung-v2", "a-b"):
            self.assertEqual(gateway.call(f"{gateway.services}/shop/{path}/x").json()["path"], f"/{path}/x")
        # The port of services takes the first entry.
        for url, path in [(f"{gateway.services}/shop/several/x", "/first/x"),
                          (f"{gateway.entries}/shop/several/first-one/x", "/first/x"),
                          (f"{gateway.entries}/shop/several/second/x", "/second/x")]:
            self.assertEqual(gateway.call(url).json()["path"], path)

    def test_two_names_with_one_normal_form_are_never_a_choice(self):
        for advice, names in [("are both \"orders-api\" in a path", [("Orders API", "v1"), ("orders-api", "v2")]),
                              ("are both \"orders/a-b\" in a path", [("orders", "A B"), ("orders", "a-b")]),
                              ("are both \"orders/v1\" in a path", [("orders", "v1"), ("orders", "v1")])]:
            gateway = Gateway(self)
            for service, entry in names:
                gateway.api("http://shop.example", service, entry=entry)
            with self.subTest(names):
                status, text = gateway.server.check()
                self.assertEqual(status, CONFIGURATION)
                self.assertIn(advice, text)


class WebServers(Case):
    """nginx and Apache with passwords and certificates, and TLS towards them."""

    def setUp(self):
        super().setUp()
        (self.folder / "www").mkdir()
        (self.folder / "www/hello").write_text("hello")
        self.authority = certificates.Authority(self.folder / "targets")
        self.known = self.authority.issue("known", "DNS:known", "clientAuth")
        self.stranger = certificates.Authority(self.folder / "strangers").issue("stranger", "DNS:x", "clientAuth")

    def test_passwords_and_certificates(self):
        server = self.authority.server()
        gateway = Gateway(self, ca=self.authority.ca)
        urls = {}
        for kind in WEB_SERVERS:
            plain = with_password(self, kind, USER, PASSWORD)
            secure = with_password(self, kind, USER, PASSWORD, server, f"{kind}-tls")
            mutual = with_certificate(self, kind, server, self.authority.ca)
            for name, url, credentials in [
                    (f"{kind}-plain", f"http://127.0.0.1:{plain}", gateway.basic()),
                    (f"{kind}-secure", f"https://localhost:{secure}", gateway.basic()),
                    (f"{kind}-wrong", f"https://localhost:{secure}", gateway.basic("wrong")),
                    (f"{kind}-mutual", f"https://localhost:{mutual}", gateway.certificate(self.known)),
                    (f"{kind}-stranger", f"https://localhost:{mutual}", gateway.certificate(self.stranger))]:
                urls[name] = gateway.api(url, name, credentials=credentials)
            urls[f"{kind}-none"] = gateway.api(f"https://localhost:{mutual}", f"{kind}-none")
        gateway.start()
        for kind in WEB_SERVERS:
            for name, client in (("plain", USER), ("secure", USER), ("mutual", "CN=known")):
                for _ in range(3):
                    answered = gateway.call(f"{urls[f'{kind}-{name}']}/hello")
                    self.assertEqual((answered.status, answered.body, answered.fields["x-client"]),
                                     (200, b"hello", [client]), f"{kind} {name}")
            # The target's own refusal, as it is.
            answered = gateway.call(f"{urls[f'{kind}-wrong']}/hello")
            self.assertEqual((answered.status, answered.fields["www-authenticate"]), (401, ['Basic realm="test"']))
            # Connections are pooled by credentials: nobody uses the certificate of another.
            for name in ("stranger", "none"):
                answered = gateway.call(f"{urls[f'{kind}-{name}']}/hello")
                self.assertIn(answered.status, (400, 502), f"{kind} {name}")
                self.assertNotEqual(answered.body, b"hello")

    def test_the_target_proves_its_name(self):
        other = certificates.Authority(self.folder / "others")
        elsewhere, unknown, expired, good = (Judge(self, each) for each in (
            self.authority.server("elsewhere", file="elsewhere"), other.server(file="unknown"),
            self.authority.issue("expired", "DNS:localhost", "serverAuth", days=-1),
            self.authority.server(file="good")))
        gateway = Gateway(self, ca=self.authority.ca, allow_skip_verify=True)
        bad = {"elsewhere": elsewhere, "unknown": unknown, "expired": expired}
        urls = {name: gateway.api(judge.url, name) for name, judge in {**bad, "good": good}.items()}
        skipping = {name: gateway.api(judge.url, f"{name}-skip", skip_verify=True) for name, judge in bad.items()}
        gateway.start()
        # First those that skip the check: their connections must not serve the others.
        for url in (*skipping.values(), urls["good"]):
            self.assertEqual(gateway.call(f"{url}/x").status, 200)
        for name, judge in bad.items():
            count = len(judge.calls)
            answered = gateway.call(f"{urls[name]}/x")
            self.assertEqual((answered.status, answered.reason), (502, "gateway.target_tls_failed"), name)
            self.assertEqual(len(judge.calls), count)
        self.assertEqual(set(good.server_names), {"localhost"})
        gateway.table["allow_skip_verify"] = False
        status, text = gateway.server.check()
        self.assertEqual(status, CONFIGURATION)
        self.assertIn("skip_verify", text)


class Callers(Case):
    seconds = 15

    def test_python_requests_java_and_web_sockets(self):
        judge = Judge(self)
        gateway = Gateway(self)
        url = gateway.api(f"{judge.url}/api", credentials=gateway.basic())
        talk = gateway.api(f"http://127.0.0.1:{node(self)}/open", "talk")
        gateway.start()
        digest = make_file(self.folder / "big", 8 << 20)
        with requests.Session() as session:
            session.trust_env = False
            for _ in range(3):
                with open(self.folder / "big", "rb") as source:
                    pieces = iter(lambda source=source: source.read(99_999), b"")
                    seen = session.post(f"{url}/up", data=pieces, params={"a": "b c"}, timeout=20).json()
                self.assertEqual((seen["path"], seen["query"], seen["sha256"]), ("/api/up", "a=b+c", digest))
            judge.on("/api/moved", answering(302, fields=[("Location", f"{judge.url}/api/there")]))
            self.assertEqual(session.get(f"{url}/moved", timeout=20).json()["path"], "/api/there")
        said = self.command("/usr/bin/java", "-XX:TieredStopAtLevel=1", ROOT / "tests/e2e/java/GatewayClient.java", url,
                            self.folder / "big")
        self.assertEqual(said.splitlines(), [f"up 200 {digest}", "many 300"])
        self.assertEqual(asyncio.run(self.echo(talk.replace("http:", "ws:") + "/socket")), [1, 125, 65536, 4 << 20])

    @staticmethod
    async def echo(url):
        sizes = []
        async with websockets.connect(url, max_size=1 << 24) as socket:
            for size in (1, 125, 65536, 4 << 20):
                await socket.send(b"x" * size)
                sizes.append(len(await socket.recv()))
        return sizes


class ThroughAnAgent(Case):
    def test_an_on_premise_target_with_credentials_and_the_agents_rules(self):
        pair = self.pair(tunnels=1)
        gateway = Gateway(self, pair)
        pair.agent.web("erp:8080", http_server(self, echo_request), [{"path": "/base/open", "match": "sub_paths"}])
        where = {"account": ACCOUNT, "credentials": gateway.basic("u", "p")}
        url = gateway.api("http://erp:8080/base", "erp", **where)
        nowhere = gateway.api("http://erp:8080/base", "nowhere", **where, location="nowhere")
        gateway.start(with_agent=True)
        seen = gateway.call(f"{url}/open/x?a=1", "-d", "body").json()
        self.assertEqual((seen["method"], seen["path"], seen["body"]), ("POST", "/base/open/x?a=1", "body"))
        self.assertEqual((seen["fields"]["host"], seen["fields"]["authorization"]), ("erp:8080", "Basic dTpw"))
        for rest in ("/closed", "", "/open-2"):
            answered = gateway.call(url + rest)
            self.assertEqual((answered.status, answered.json()["reason"]), (403, "request.not_exposed"), rest)
        answered = gateway.call(f"{nowhere}/open")
        self.assertEqual((answered.status, answered.json()["reason"]), (503, "request.no_agent"))


class Errors(Case):
    def assert_error(self, answered, status, reason):
        problem = answered.json()
        self.assertEqual((answered.status, problem["code"], problem["reason"]), (status, status, reason))
        self.assertEqual(answered.fields["content-type"], ["application/json"])
        (proxy_status,) = answered.fields["proxy-status"]
        self.assertRegex(proxy_status, r"^culvert-server; error=[a-z_]+")
        self.assertIn(f'details="{reason}"', proxy_status)
        self.assertEqual(answered.fields["x-request-id"], [problem["request_id"]])
        self.assertTrue(problem["error"] and problem["hint"])
        self.assertNotIn("127.0.0.1", json.dumps({**problem, "request_id": ""}))

    def test_each_has_its_status_and_reason(self):
        judge = Judge(self)
        judge.on("/silent", silent)
        judge.on("/dropped", cut_off("head"))
        gateway = Gateway(self)
        url = gateway.api(judge.url, first_byte_timeout="1s")
        gateway.api(f"http://127.0.0.1:{closed_port()}", "dead")
        ssh = serve(self, lambda connection: connection.recv(65536) and connection.sendall(b"SSH-2.0-x\r\n"))
        gateway.api(f"http://127.0.0.1:{ssh}", "ssh")
        gateway.api(f"https://127.0.0.1:{ssh}", "tls")
        gateway.api(f"http://127.0.0.1:{serve(self, lambda connection: connection.recv(65536))}", "closing")
        gateway.start()
        services, entries = gateway.services, gateway.entries
        for target, status, reason in [
                (f"{services}/none/orders/x", 404, "gateway.unknown_application"),
                (f"{services}/shop/none/x", 404, "gateway.unknown_service"),
                (f"{entries}/shop/none/v1/x", 404, "gateway.unknown_service"),
                (f"{entries}/shop/orders/none/x", 404, "gateway.unknown_entry"),
                (f"{services}/", 400, "gateway.path_too_short"), (f"{services}/shop", 400, "gateway.path_too_short"),
                (f"{services}/shop/", 400, "gateway.path_too_short"),
                (f"{services}//orders/x", 400, "gateway.path_too_short"),
                (f"{entries}/shop/orders", 400, "gateway.path_too_short"),
                (f"{services}/shop/dead/x", 502, "gateway.target_unreachable"),
                (f"{services}/shop/ssh/x", 502, "gateway.target_not_http"),
                (f"{services}/shop/closing/x", 502, "gateway.target_broke_off"),
                (f"{services}/shop/tls/x", 502, "gateway.target_tls_failed"),
                (f"{url}/dropped", 502, "gateway.target_broke_off"),
                (f"{url}/silent", 504, "gateway.timed_out")]:
            with self.subTest(target.removeprefix(services)):
                self.assert_error(gateway.call(target, "--path-as-is"), status, reason)

    def test_a_targets_own_errors_are_its_own(self):
        judge = Judge(self)
        gateway = Gateway(self)
        url = gateway.api(judge.url)
        gateway.start()
        for status in (400, 404, 409, 429, 500, 501, 503, 504):
            judge.on(f"/{status}", refusing(status, 99, body=b"own text", fields=[("Retry-After", "7")]))
        for status in (400, 404, 409, 429, 500, 501, 503, 504):
            answered = gateway.call(f"{url}/{status}")
            self.assertEqual((answered.status, answered.body, answered.fields["retry-after"]),
                             (status, b"own text", ["7"]))
            self.assertEqual(answered.fields.get("target-system-status"), [str(status)] if status >= 500 else None)
        gateway.table["compatible_errors"] = True
        gateway.server.reload()
        for status in (404, 500, 503):
            answered = gateway.call(f"{url}/{status}")
            self.assertEqual((answered.status, answered.fields.get("target-system-status")),
                             (502, [str(status)]) if status >= 500 else (404, None))
