# SPDX-License-Identifier: Apache-2.0
"""Exported destinations: one port for all of them, chosen by X-Destination-Name, with each kind of login."""

import json

from tests.harness import certificates
from tests.harness.back_ends.judge import Judge
from tests.harness.case import Case
from tests.harness.culvert_program import ACCOUNT
from tests.harness.gateway import Gateway
from tests.harness.http_server import echo_request, http_server
from tests.harness.oauth_server import JWT_BEARER, SECRET, TOKEN_EXCHANGE, Client, OAuthServer
from tests.harness.ports import closed_port, free_port
from tests.harness.waiting import wait_until

PROPERTIES = """#Exported
Name=properties
Type=HTTP
URL=http\\://127.0.0.1\\:{port}/base
ProxyType=Internet
Authentication=BasicAuthentication
User=u
Password=p\\u003d\\
  1
"""


class Destinations(Case):
    seconds = 20

    def setUp(self):
        super().setUp()
        self.oauth = OAuthServer(self, [Client("target"), Client("caller", "form", format="jwt")],
                                 users={"anna": "pass"})
        self.judge = Judge(self)
        self.definitions = self.folder / "destinations"
        self.definitions.mkdir()
        address = f"127.0.0.1:{free_port()}"
        self.url = f"http://{address}"
        self.pair_ = self.pair(tunnels=1)
        self.gateway = Gateway(self, self.pair_, listen_destinations=address, destinations=self.definitions)

    def define(self, name, url, authentication="NoAuthentication", **more):
        file = self.definitions / f"{name}.json"
        file.write_text(json.dumps({"Name": name, "Type": "HTTP", "URL": url, "ProxyType": "Internet",
                                    "Authentication": authentication, **more}))
        file.chmod(0o600)

    def define_with_tokens(self, name, authentication, **more):
        """One whose target is the resource of the OAuth server."""
        self.define(name, f"{self.oauth.url}/resource", authentication, clientId="target", clientSecret=SECRET,
                    tokenServiceURL=f"{self.oauth.url}/oauth/token", **more)

    def call(self, name, rest="/x", *arguments):
        return self.gateway.call(self.url + rest, "-H", f"X-Destination-Name: {name}", *arguments)

    def user_token(self):
        said = self.command("curl", "-sS", "--data-urlencode", f"client_secret={SECRET}", "-d", "client_id=caller",
                            "-d", "grant_type=password&username=anna&password=pass", f"{self.oauth.url}/token")
        return json.loads(said)["access_token"]

    def test_the_field_chooses_and_does_not_arrive(self):
        self.define("plain", f"{self.judge.url}/base")
        self.define("basic", f"{self.judge.url}/base?fixed=1", "BasicAuthentication", User="u", Password="p",
                    **{"URL.headers.X-Extra": "1", "URL.queries.q": "a b", "sap-client": "100"})
        self.gateway.secret("destinations/properties", PROPERTIES.replace("{port}", str(self.judge.port)))
        self.gateway.start()
        self.assertEqual(self.call("plain", "/a/b?c=1").status, 200)
        call = self.judge.calls[-1]
        self.assertEqual((call.path, call.query, call.value("x-destination-name"), call.value("authorization")),
                         ("/base/a/b", "c=1", None, None))
        self.assertEqual(self.call("basic", "/a?mine=1").status, 200)
        call = self.judge.calls[-1]
        self.assertEqual((call.path, call.query), ("/base/a", "fixed=1&mine=1&q=a%20b"))
        self.assertEqual([call.value(name) for name in ("authorization", "x-extra", "sap-client")],
                         ["Basic dTpw", "1", "100"])
        self.assertEqual(self.call("properties").status, 200)
        self.assertEqual(self.judge.calls[-1].value("authorization"), "Basic dTpwPTE=")
        for name in ("none", "PLAIN", "../plain", ""):
            answered = self.call(name)
            self.assertIn((answered.status, answered.reason),
                          ((404, "gateway.unknown_destination"), (400, "gateway.unknown_destination")), name)

    def test_tokens_of_the_server_and_of_the_caller(self):
        grants = {"OAuth2ClientCredentials": "client_credentials", "OAuth2Password": "password",
                  "OAuth2JWTBearer": JWT_BEARER, "OAuth2TokenExchange": TOKEN_EXCHANGE}
        for authentication in grants:
            more = {"User": "anna", "Password": "pass"} if authentication == "OAuth2Password" else {}
            self.define_with_tokens(authentication, authentication, **more)
        self.gateway.start()
        token = self.user_token()
        for number, (authentication, grant) in enumerate(grants.items()):
            with self.subTest(authentication):
                for _ in range(3):
                    answered = self.call(authentication, "/x", "-H", f"Authorization: Bearer {token}")
                    self.assertEqual((answered.status, answered.json()["client"]), (200, "target"), answered.body)
                seen = self.oauth.requests("target")
                self.assertEqual((len(seen), seen[-1]["grant"]), (number + 1, grant))
        jwt, exchanged = self.oauth.requests("target")[-2:]
        self.assertEqual((jwt["fields"]["assertion"], exchanged["fields"]["subject_token"]), (token, token))
        # Another caller has another token, and none without one.
        self.assertEqual(self.call("OAuth2JWTBearer", "/x", "-H", f"Authorization: Bearer {self.user_token()}").status,
                         200)
        self.assertEqual(len(self.oauth.requests("target")), len(grants) + 1)
        for authentication in ("OAuth2JWTBearer", "OAuth2TokenExchange"):
            for arguments in ([], ["-H", "Authorization: Bearer not-a-token"]):
                answered = self.call(authentication, "/x", *arguments)
                self.assertIn(answered.status, (401, 502))
                self.assertTrue(answered.reason.startswith("gateway."))

    def test_on_premise_ones_go_through_the_agent(self):
        self.pair_.agent.web("erp:80", http_server(self, echo_request))
        self.define("erp", "http://erp:80/base", "BasicAuthentication", User="u", Password="p", ProxyType="OnPremise")
        self.define("nowhere", "http://erp:80/base", ProxyType="OnPremise", CloudConnectorLocationId="nowhere")
        # Their account: the definitions name none.
        self.gateway.table["account"] = ACCOUNT
        self.gateway.start(with_agent=True)
        seen = self.call("erp", "/x?a=1").json()
        self.assertEqual((seen["path"], seen["fields"]["host"], seen["fields"]["authorization"]),
                         ("/base/x?a=1", "erp", "Basic dTpw"))
        answered = self.call("nowhere")
        self.assertEqual((answered.status, answered.reason), (503, "request.no_agent"))

    def test_changed_files_count_without_a_reload(self):
        self.define("one", f"{self.judge.url}/first")
        self.gateway.start()
        self.assertEqual(self.call("one").json()["path"], "/first/x")
        self.define("one", f"{self.judge.url}/second")
        self.define("two", f"{self.judge.url}/two")
        wait_until(lambda: self.call("one").json()["path"] == "/second/x", 20, "the new definition", 0.2)
        wait_until(lambda: self.call("two").status == 200, 20, "the second definition", 0.2)
        # A file that is not valid is reported, and harms no other.
        (self.definitions / "bad.json").write_text('{"Name": "bad", "Type": "RFC", "Password": "CANARY"}')
        (self.definitions / "two.json").unlink()
        wait_until(lambda: self.call("two").status == 404, 20, "the end of the second", 0.2)
        self.assertEqual(self.call("one").status, 200)
        self.assertEqual(self.call("bad").status, 404)
        self.assertNotIn("CANARY", self.gateway.server.output())

    def test_a_certificate_of_the_servers_own_ca(self):
        authority = certificates.Authority(self.folder / "targets")
        target = Judge(self, authority.server())
        self.define("unknown", target.url)
        self.define("known", target.url)
        self.gateway.start()
        self.assertEqual(self.call("unknown").reason, "gateway.target_tls_failed")
        self.gateway.table["ca"] = authority.ca
        self.gateway.server.reload()
        self.assertEqual(self.call("known").status, 200)

    def test_look_ups_need_a_token_and_skipped_verification_a_switch(self):
        self.define("plain", self.judge.url, "BasicAuthentication", User="u", Password="CANARY")
        self.define("trusting", f"https://127.0.0.1:{closed_port()}", TrustAll="true")
        self.gateway.start()
        answered = self.gateway.call(f"{self.url}/destination-configuration/v1/destinations/plain")
        self.assertEqual((answered.status, answered.reason), (403, "gateway.look_up_closed"))
        self.assertNotIn(b"CANARY", answered.body)
        self.assertEqual(self.call("trusting").status, 404)
        self.assertIn("gateway.skip_verify_refused", self.gateway.server.output())
        self.gateway.table["allow_skip_verify"] = True
        self.gateway.server.reload()
        self.assertEqual(self.call("trusting").reason, "gateway.target_unreachable")
