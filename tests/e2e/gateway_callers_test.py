# SPDX-License-Identifier: Apache-2.0
"""Who may call the gateway, and the proxy on its way out."""

from tests.harness.back_ends.judge import Judge
from tests.harness.case import Case
from tests.harness.gateway import Gateway
from tests.harness.oauth_server import SECRET, Client, OAuthServer
from tests.harness.ports import closed_port
from tests.harness.squid import Squid
from tests.harness.token_issuer import Issuer

TRUST = "every client that can connect, without a token"


class GatewayCallers(Case):
    def test_a_token_is_asked_for_at_each_port(self):
        issuer, judge = Issuer(self), Judge(self)
        gateway = Gateway(self, issuer=[issuer.settings()])
        del gateway.table["allow_from"]
        url = gateway.api(judge.url)
        gateway.start()
        good = issuer.token()
        for asked in (url, f"{gateway.entries}/shop/orders/orders"):
            answered = gateway.call(asked)
            self.assertEqual((answered.status, answered.reason), (407, "request.token_missing"))
            answered = gateway.call(asked, "-H", f"Proxy-Authorization: Bearer {issuer.token(client_id='other')}")
            self.assertEqual(answered.status, 407)
            self.assertEqual(judge.calls, [])
        self.assertEqual(gateway.call(url, "-H", f"Proxy-Authorization: Bearer {good}").status, 200)
        self.assertEqual(judge.calls[-1].values("proxy-authorization"), [])
        self.assertEqual(gateway.call(f"{gateway.health}/v1/health").status, 200)

    def test_no_port_off_loopback_without_a_rule(self):
        gateway = Gateway(self)
        gateway.api("http://target.example")
        del gateway.table["allow_from"]
        port = gateway.table["listen"].rsplit(":", 1)[1]
        gateway.table["listen"] = f"0.0.0.0:{port}"
        status, text = gateway.server.check()
        self.assertEqual(status, 78)
        self.assertIn("allow_from", text)
        gateway.table["trust"] = TRUST
        gateway.server.start().wait_until_ready()


class WayOut(Case):
    def start(self, password="correct horse", **more):
        self.judge = Judge(self)
        self.squid = Squid(self, self.judge.port)
        self.gateway = Gateway(self)
        self.gateway.table |= {"proxy": f"http://127.0.0.1:{self.squid.port}", "proxy_user": "culvert",
                               "proxy_password_file": self.gateway.secret("proxy.password", password), **more}
        self.url = self.gateway.api(f"{self.judge.url}/api")

    def log(self):
        return self.squid.access_log.read_text() if self.squid.access_log.exists() else ""

    def test_targets_are_reached_through_the_proxy(self):
        self.start()
        self.gateway.start()
        self.assertEqual(self.gateway.call(f"{self.url}/x").json()["path"], "/api/x")
        self.gateway.server.stop()
        self.assertIn(f"CONNECT 127.0.0.1:{self.judge.port}", self.log())

    def test_token_services_too(self):
        self.start()
        oauth = OAuthServer(self, [Client("shop")])
        url = self.gateway.api(f"{self.judge.url}/api", "with-token",
                               credentials=self.gateway.oauth(oauth, "shop", SECRET))
        self.gateway.start()
        # The proxy allows the target's port only.
        answered = self.gateway.call(url)
        self.assertEqual((answered.status, answered.reason), (502, "gateway.token_failed"))
        self.gateway.table["no_proxy"] = ["127.0.0.1"]
        self.gateway.server.reload()
        self.assertEqual(self.gateway.call(url).status, 200)

    def test_a_proxy_that_refuses_or_is_not_there(self):
        self.start(password="wrong")
        self.gateway.start()
        answered = self.gateway.call(self.url)
        self.assertEqual((answered.status, answered.reason), (502, "gateway.target_unreachable"))
        self.assertEqual(self.judge.calls, [])
        self.gateway.table["proxy"] = f"http://127.0.0.1:{closed_port()}"
        self.gateway.server.reload()
        self.assertEqual(self.gateway.call(self.url).status, 502)
        self.assertNotIn("wrong", self.gateway.server.output())

    def test_addresses_are_checked_before_the_proxy_is_asked(self):
        self.start(allow_targets=[])
        self.gateway.start()
        answered = self.gateway.call(self.url)
        self.assertEqual((answered.status, answered.reason), (403, "gateway.address_denied"))
        self.assertNotIn("CONNECT", self.log())
