# SPDX-License-Identifier: Apache-2.0
"""Logins at external systems with tokens of a real OAuth server, request parameters, and where secrets must not be."""

import base64
import concurrent.futures
import json
import time

from tests.harness import certificates
from tests.harness.back_ends.judge import Judge
from tests.harness.case import Case
from tests.harness.gateway import Gateway
from tests.harness.oauth_server import SECRET, Client, OAuthServer
from tests.harness.waiting import wait_until


# What the token service does instead of an answer, and what of it the error says.
FAULTS = {"500": ["500", "server_error"], "503": ["503"], "garbage": ["200"], "html": ["200"], "no_token": ["200"],
          "bad_token": ["200"], "endless": [], "reset": [], "redirect": ["307"]}


class Tokens(Case):
    """One OAuth server with a client for each way, whose resource takes its tokens only."""

    seconds = 40

    def setUp(self):
        super().setUp()
        self.authority = certificates.Authority(self.folder / "targets")
        own = certificates.Authority(self.folder / "self")
        self.known = self.authority.issue("known", "DNS:known", "clientAuth", subject="/O=Acme/CN=known client")
        self.self_signed = own.issue("self", "DNS:self", "clientAuth")
        self.oauth = OAuthServer(self, [
            Client("c1"), Client("c2"), Client("client: +%/"), Client("form", "form"), Client("jwt", format="jwt"),
            Client("tls", "tls", certificate=self.known.certificate),
            Client("self", "self_signed", certificate=self.self_signed.certificate),
            *(Client(fault) for fault in FAULTS)], self.authority.server())
        self.gateway = Gateway(self, ca=self.authority.ca)

    def login(self, client="c1", secret=SECRET, **more):
        return self.gateway.oauth(self.oauth, client, secret, **more)

    def resource(self, service="orders", credentials=None, **more):
        """A service that leads to the resource."""
        return self.gateway.api(f"{self.oauth.url}/resource", service, credentials=credentials or self.login(), **more)

    def assert_served(self, url, client="c1", *arguments):
        answered = self.gateway.call(f"{url}/x", *arguments)
        self.assertEqual(answered.status, 200, answered.body)
        self.assertEqual(answered.json()["client"], client)

    def requests(self, client="c1"):
        return self.oauth.requests(client)

    def test_clients_prove_themselves_in_each_way(self):
        ways = {
            "c1": ("basic", self.login()), "client: +%/": ("basic", self.login("client: +%/")),
            "form": ("form", self.login("form", client_in="form")), "jwt": ("basic", self.login("jwt")),
            "tls": ("certificate", {"type": "OAuthWithCert", "token_url": f"{self.oauth.tls_url}/oauth/token",
                                    "client_id": "tls", "certificate": self.known.certificate,
                                    "private_key": self.known.private_key}),
            "self": ("certificate", {"type": "OAuthWithCert", "token_url": f"{self.oauth.tls_url}/oauth/token",
                                     "client_id": "self", "certificate": self.self_signed.certificate,
                                     "private_key": self.self_signed.private_key})}
        urls = {client: self.resource(f"s{number}", {**credentials, "scope": "read write"})
                for number, (client, (_, credentials)) in enumerate(ways.items())}
        self.gateway.start()
        for client, (way, _) in ways.items():
            with self.subTest(client):
                for _ in range(3):
                    self.assert_served(urls[client], client)
                (request,) = self.requests(client)
                self.assertEqual((request["by"], request["grant"], request["fields"].get("scope")),
                                 (way, "client_credentials", "read write"))
                self.assertEqual(request["headers"]["content-type"].split(";")[0], "application/x-www-form-urlencoded")
                self.assertEqual(request["secure"], way == "certificate")
                # Each secret is in one place only.
                self.assertEqual("client_secret" in request["fields"], way == "form")
                self.assertEqual("authorization" in request["headers"], way == "basic")

    def test_one_fetch_for_all_who_wait(self):
        urls = [self.resource(), self.resource("again")]  # the same credentials: one token for both
        self.oauth.behave(c1={"delay": 1000})
        self.gateway.start()
        with concurrent.futures.ThreadPoolExecutor(40) as pool:
            for answered in pool.map(lambda number: self.gateway.call(f"{urls[number % 2]}/{number}"), range(80)):
                self.assertEqual(answered.status, 200)
        (request,) = self.requests()
        self.assertEqual(set(request["fields"]), {"grant_type"})

    def test_tokens_are_renewed_before_their_end(self):
        url = self.resource()
        # The server counts whole seconds: a token of 8 s may end after 7.
        self.oauth.behave(c1={"lifetime": 8})
        self.gateway.start()
        self.assert_served(url)
        # No call waits for the new one, and none has the old one at its end: a POST would not be sent again.
        self.oauth.behave(c1={"lifetime": 8, "delay": 500})
        end, slowest = time.monotonic() + 9, 0
        while time.monotonic() < end:
            began = time.monotonic()
            self.assert_served(url, "c1", "-d", "posted")
            slowest = max(slowest, time.monotonic() - began)
        self.assertLess(slowest, 0.4)
        self.assertIn(len(self.requests()), (2, 3))

    def test_what_the_server_says_of_the_lifetime(self):
        url = self.resource()
        self.gateway.start()
        for said in (False, 3600, "3600", 10 ** 12):
            with self.subTest(expires_in=said):
                self.oauth.behave(c1={"lifetime": 600, "expires_in": said})
                self.oauth.revoke("c1")
                before = len(self.requests())
                for _ in range(5):
                    self.assert_served(url)
                self.assertEqual(len(self.requests()), before + 1)

    def test_a_revoked_token_is_replaced_at_once(self):
        url = self.resource()
        self.gateway.start()
        self.assert_served(url)
        for arguments in ([], ["-X", "PUT", "-d", "small"]):
            self.oauth.revoke("c1")
            before = len(self.requests())
            self.assert_served(url, "c1", *arguments)
            self.assertEqual(len(self.requests()), before + 1)
        self.oauth.revoke("c1")
        self.assertEqual(self.gateway.call(f"{url}/x", "-d", "posted once").status, 401)
        self.assert_served(url, "c1", "-d", "posted")

    def test_many_calls_with_a_revoked_token_fetch_one(self):
        url = self.resource()
        self.gateway.start()
        self.assert_served(url)
        self.oauth.revoke("c1")
        self.oauth.behave(c1={"delay": 300})
        before = len(self.requests())
        with concurrent.futures.ThreadPoolExecutor(40) as pool:
            statuses = list(pool.map(lambda number: self.gateway.call(f"{url}/{number}").status, range(80)))
        self.assertEqual(statuses, [200] * 80)
        self.assertEqual(len(self.requests()), before + 1)

    def test_a_token_service_that_fails_is_reported_without_its_text(self):
        urls = {fault: self.resource(fault, self.login(fault)) for fault in FAULTS}
        self.oauth.behave(**{fault: {"fault": fault} for fault in FAULTS})
        self.gateway.start()
        for fault, expected in FAULTS.items():
            with self.subTest(fault):
                answered = self.gateway.call(f"{urls[fault]}/x", seconds=60)
                problem = answered.json()
                self.assertEqual((answered.status, problem["reason"]), (502, "gateway.token_failed"))
                for text in expected:
                    self.assertIn(text, problem["error"])
                self.assertNotIn("CANARY", answered.body.decode())
                self.assertFalse({"x-injected", "location"} & set(answered.fields))
        # It is asked again after a while, and not for each call.
        for _ in range(50):
            self.assertEqual(self.gateway.call(f"{urls['500']}/x").reason, "gateway.token_failed")
        self.assertLess(len(self.requests("500")), 6)
        self.oauth.behave()
        wait_until(lambda: self.gateway.call(f"{urls['500']}/x").status == 200, 40, "another token request", 0.2)
        self.assertNotIn("CANARY", self.gateway.server.output())

    def test_refused_clients_are_told_the_code_of_the_error(self):
        urls = {"invalid_client": self.resource("secret", self.login(secret="wrong")),
                "invalid_scope": self.resource("scope", self.login("jwt", scope="of-nobody"))}
        no_server = self.resource("none", {**self.login("c2"), "token_url": "http://127.0.0.1:1/oauth/token"})
        self.gateway.start()
        problem = self.gateway.call(f"{urls['invalid_client']}/x").json()
        self.assertEqual((problem["code"], problem["reason"]), (502, "gateway.token_failed"))
        self.assertIn("401", problem["error"])
        self.assertIn("invalid_client", problem["error"])
        self.assertNotIn("client authentication failed", json.dumps(problem))
        answered = self.gateway.call(f"{no_server}/x")
        self.assertEqual((answered.status, answered.reason), (502, "gateway.token_failed"))

    def test_a_token_service_that_hangs_harms_nobody_else(self):
        hanging, other = self.resource(), self.resource("other", self.login("c2"))
        self.oauth.behave(c1={"fault": "hang"})
        self.gateway.start()
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            waiting = [pool.submit(self.gateway.call, f"{hanging}/x", seconds=60) for _ in range(20)]
            self.oauth.wait_for_requests("c1", 1)
            for _ in range(30):
                began = time.monotonic()
                self.assert_served(other, "c2")
                self.assertLess(time.monotonic() - began, 1)
            for answered in waiting:
                self.assertEqual(answered.result().reason, "gateway.token_failed")
        self.assertLessEqual(len(self.requests()), 4)

    def test_an_entry_that_skips_verification_does_not_speak_for_others(self):
        other = certificates.Authority(self.folder / "unknown")
        oauth = OAuthServer(self, [Client("c1")], other.server())
        login = {**self.gateway.oauth(oauth, "c1", SECRET), "token_url": f"{oauth.tls_url}/oauth/token"}
        self.gateway.table["allow_skip_verify"] = True
        skipping, strict = (self.gateway.api(f"{oauth.url}/resource", f"s{skips}", credentials=login, skip_verify=skips)
                            for skips in (True, False))
        self.gateway.start()
        self.assert_served(skipping)
        self.assertEqual(self.gateway.call(f"{strict}/x").reason, "gateway.token_failed")

    def test_a_changed_secret_counts(self):
        login = self.login(secret="wrong")
        url = self.resource(credentials=login)
        self.gateway.start()
        self.assertEqual(self.gateway.call(f"{url}/x").reason, "gateway.token_failed")
        self.gateway.secret(login["client_secret_file"].name, SECRET)
        self.gateway.server.reload()
        self.assert_served(url)

    def test_the_callers_own_login_needs_no_token(self):
        url = self.resource()
        judge = Judge(self)
        plain = self.gateway.api(judge.url, "plain", credentials=self.login())
        self.gateway.start()
        self.assertEqual(self.gateway.call(f"{plain}/x", "-H", "Access-Token: Bearer mine").status, 200)
        self.assertEqual(judge.calls[-1].values("authorization"), ["Bearer mine"])
        # A 401 is the caller's own affair.
        self.assertEqual(self.gateway.call(f"{url}/x", "-H", "Access-Token: Bearer mine").status, 401)
        self.assertEqual(self.requests(), [])


class Parameters(Case):
    def test_fields_and_queries_of_a_file_go_with_each_call_and_token_request(self):
        oauth = OAuthServer(self, [Client("c1")])
        judge = Judge(self)
        gateway = Gateway(self)
        file = gateway.secret("parameters.json", json.dumps({
            "headers": {"X-Api-Key": ["key-1"], "X-Two": ["a", "b"]}, "queryParameters": {"client": ["100"],
                                                                                         "a b": ["ü&"]}}))
        url = gateway.api(f"{judge.url}/api", request_parameters_file=file,
                          credentials=gateway.oauth(oauth, "c1", SECRET))
        gateway.start()
        self.assertEqual(gateway.call(f"{url}/x?mine=1", "-H", "X-Api-Key: of-the-caller").status, 200)
        call = judge.calls[-1]
        self.assertEqual(call.query, "mine=1&client=100&a%20b=%C3%BC%26")
        self.assertEqual(call.values("x-api-key"), ["key-1"])
        self.assertEqual(", ".join(call.values("x-two")), "a, b")
        (request,) = oauth.requests("c1")
        self.assertEqual((request["headers"]["x-api-key"], request["headers"]["x-two"], request["query"]),
                         ("key-1", "a, b", "?client=100&a%20b=%C3%BC%26"))
        # Replaced like all files that the configuration names.
        gateway.secret("parameters.json", json.dumps({"headers": {"X-Api-Key": "key-2"}}))
        gateway.server.reload()
        self.assertEqual(gateway.call(f"{url}/x").status, 200)
        self.assertEqual((judge.calls[-1].values("x-api-key"), judge.calls[-1].query), (["key-2"], ""))

    def test_parameters_that_cannot_be_sent_are_refused_when_they_are_loaded(self):
        gateway = Gateway(self)
        for content in ({"headers": {"Host": ["x"]}}, {"headers": {"Content-Length": ["1"]}},
                        {"headers": {"Connection": ["close"]}}, {"headers": {"a b": ["x"]}},
                        {"headers": {"X-Bad": ["CANARY\r\nX-Injected: 1"]}}, {"headers": ["CANARY"]}, ["CANARY"]):
            gateway.applications.clear()
            gateway.api("http://shop.example", request_parameters_file=gateway.secret("p.json", json.dumps(content)))
            with self.subTest(content):
                status, text = gateway.server.check()
                self.assertEqual(status, 78, text)
                self.assertNotIn("CANARY", text)


class Secrets(Case):
    def test_no_secret_is_in_a_log_an_error_a_status_or_a_metric(self):
        oauth = OAuthServer(self, [Client("c1", secret="CANARY-CLIENT")])
        judge = Judge(self)
        gateway = Gateway(self)
        gateway.server.tables["log"] = {"level": "debug"}
        parameters = gateway.secret("p.json", json.dumps({"headers": {"X-Key": ["CANARY-FIELD"]},
                                                          "queryParameters": {"key": ["CANARY-QUERY"]}}))
        urls = [gateway.api(judge.url, "basic", credentials=gateway.basic("u", "CANARY-PASSWORD"),
                            request_parameters_file=parameters),
                gateway.api(f"{oauth.url}/resource", "oauth", request_parameters_file=parameters,
                            credentials=gateway.oauth(oauth, "c1", "CANARY-CLIENT")),
                gateway.api(judge.url, "wrong", credentials=gateway.oauth(oauth, "c1", "CANARY-WRONG")),
                gateway.api("http://127.0.0.1:1", "dead", credentials=gateway.basic("u", "CANARY-PASSWORD"))]
        gateway.start()
        bodies = []
        for url in urls:
            for arguments in ([], ["-d", "x"], ["-H", "Access-Token: Bearer CANARY-OWN"],
                              ["-H", "Authorization: Bearer CANARY-CALLER"], ["-H", "Cookie: a=CANARY-COOKIE"]):
                answered = gateway.call(f"{url}/x?secret=CANARY-OF-THE-CALLER", *arguments)
                if answered.status != 200:
                    bodies.append(f"{answered.fields} {answered.body}")
        self.assertTrue(bodies)
        oauth.revoke("c1")
        gateway.call(f"{urls[1]}/x")
        gateway.server.reload()
        tokens = oauth.ask("GET tokens")["c1"]
        self.assertGreaterEqual(len(tokens), 2)
        basic = base64.b64encode(b"u:CANARY-PASSWORD").decode()
        for place, text in [("log", gateway.server.output()), ("metrics", gateway.server.http("/metrics")[1]),
                            ("status", json.dumps(gateway.server.status())), ("answers", "\n".join(bodies))]:
            for secret in ("CANARY", basic, *tokens):
                self.assertNotIn(secret, text, place)
