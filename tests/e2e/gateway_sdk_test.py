# SPDX-License-Identifier: Apache-2.0
"""The SAP Cloud SDK calls destinations by the server: it looks them up, and reaches on-premise ones by the HTTP proxy,
with the service bindings that it expects."""

import json

from tests.harness import certificates
from tests.harness.back_ends.judge import Csrf, Judge
from tests.harness.back_ends.node import NODE_FOLDER
from tests.harness.case import Case
from tests.harness.gateway import LOOPBACK, Gateway
from tests.harness.http_server import echo_request, http_server
from tests.harness.oauth_server import SECRET, Client, OAuthServer
from tests.harness.ports import free_port

ZONE = {"zid": "acme"}


class SapCloudSdk(Case):
    seconds = 20

    def setUp(self):
        super().setUp()
        self.authority = certificates.Authority(self.folder / "oauth")
        # "destination" and "connectivity" are the clients of the two bindings, "target" that of an external system. The
        # SDK takes a tenant's subdomain from the issuer's host, so this has two labels at least.
        self.oauth = OAuthServer(
            self, [Client("destination", format="jwt", claims=ZONE), Client("connectivity", format="jwt", claims=ZONE),
                   Client("app", "form", format="jwt", claims=ZONE), Client("target")],
            self.authority.server(), users={"anna": "pass"}, issuer="https://acme.auth.example")
        self.pair_ = self.pair(tunnels=1)
        self.pair_.agent.web("erp:80", http_server(self, echo_request))
        self.proxy = self.pair_.proxy()
        del self.pair_.server.tables["http_proxy"]["account"]
        self.pair_.server.tables["http_proxy"]["issuer"] = [self.issuer("connectivity")]
        self.judge = Judge(self)
        self.definitions = self.folder / "destinations"
        self.definitions.mkdir()
        self.uri = self.start_look_up()

    def issuer(self, client):
        return {"issuer": self.oauth.issuer, "jwks_url": f"{self.oauth.url}/jwks", "client_ids": [client],
                "audience": ["culvert"], "account_claim": "/zid"}

    def start_look_up(self):
        """The server's own. Returns its URL."""
        address = f"127.0.0.1:{free_port()}"
        gateway = Gateway(self, self.pair_, listen_destinations=address, destinations=self.definitions,
                          issuer=[self.issuer("destination")])
        del gateway.table["allow_from"]
        self.assertEqual(gateway.table["allow_targets"], [LOOPBACK])
        return f"http://{address}"

    def define(self, name, url, authentication="NoAuthentication", **more):
        file = self.definitions / name
        file.write_text(json.dumps({"Name": name, "Type": "HTTP", "URL": url, "ProxyType": "Internet",
                                    "Authentication": authentication, **more}))
        file.chmod(0o600)

    def bindings(self):
        common = {"clientsecret": SECRET, "url": self.oauth.url, "uaadomain": f"localhost:{self.oauth.tls_port}",
                  "tenantid": "acme"}
        host, port = self.proxy.removeprefix("http://").split(":")
        return {
            # It verifies a user's token for this application, with keys of https://UAADOMAIN/token_keys.
            "xsuaa": [{"name": "x", "label": "xsuaa", "tags": ["xsuaa"],
                       "credentials": {**common, "clientid": "app", "xsappname": "culvert"}}],
            "destination": [{"name": "d", "label": "destination", "tags": [],
                             "credentials": {**common, "clientid": "destination", "uri": self.uri}}],
            "connectivity": [{"name": "c", "label": "connectivity", "tags": [],
                              "credentials": {**common, "clientid": "connectivity", "onpremise_proxy_host": host,
                                              "onpremise_proxy_port": port, "onpremise_proxy_http_port": port}}]}

    def call(self, *calls):
        """What the SDK got for (destination, method, more...) each."""
        task = [{"destination": name, "method": method, "path": "/a?x=1", **more} for name, method, more in calls]
        environment = {**self.oauth.environment, "VCAP_SERVICES": json.dumps(self.bindings()),
                       "NODE_EXTRA_CA_CERTS": str(self.authority.ca)}
        return json.loads(self.command("/usr/bin/node", NODE_FOLDER / "sap_sdk.js", json.dumps(task),
                                       env=environment).splitlines()[-1])

    def start(self):
        self.pair_.start()

    def test_internet_destinations(self):
        csrf = Csrf()
        self.judge.on("/api/a", csrf.guarded)
        self.define("plain", f"{self.judge.url}/base")
        self.define("basic", f"{self.judge.url}/base", "BasicAuthentication", User="u", Password="p",
                    **{"URL.headers.X-Extra": "1", "URL.queries.q": "2"})
        self.define("oauth", f"{self.oauth.url}/resource", "OAuth2ClientCredentials", clientId="target",
                    clientSecret=SECRET, tokenServiceURL=f"{self.oauth.url}/oauth/token")
        self.define("refused", f"{self.oauth.url}/resource", "OAuth2ClientCredentials", clientId="target",
                    clientSecret="wrong", tokenServiceURL=f"{self.oauth.url}/oauth/token")
        self.start()
        plain, basic, oauth, again, none, refused = self.call(
            ("plain", "get", {}), ("basic", "post", {"data": {"a": 1}}), ("oauth", "get", {}), ("oauth", "get", {}),
            ("none", "get", {}), ("refused", "get", {}))
        self.assertEqual((plain["status"], plain["data"]["path"], plain["data"]["query"]), (200, "/base/a", "x=1"))
        self.assertNotIn("authorization", plain["data"]["fields"])
        self.assertEqual((basic["status"], basic["data"]["query"], basic["data"]["size"]), (200, "x=1&q=2", 7))
        self.assertEqual((basic["data"]["fields"]["authorization"], basic["data"]["fields"]["x-extra"]),
                         ("Basic dTpw", "1"))
        for answered in (oauth, again):
            self.assertEqual((answered["status"], answered["data"]["client"]), (200, "target"))
        self.assertEqual([each["status"] for each in self.oauth.requests("target")].count(200), 1)
        self.assertEqual(none["errors"], ["Failed to resolve the destination 'name: none'."])
        self.assertIn("401", " ".join(refused["errors"]))

    def test_on_premise_destinations(self):
        on_premise = {"ProxyType": "OnPremise"}
        self.define("erp", "http://erp:80/base", **on_premise)
        self.define("basic", "http://erp:80/base", "BasicAuthentication", User="u", Password="p", **on_premise)
        self.define("user", "http://erp:80/base", "PrincipalPropagation", **on_premise)
        self.define("nowhere", "http://erp:80/base", CloudConnectorLocationId="nowhere", **on_premise)
        self.start()
        token = self.user_token()
        erp, basic, user, nowhere, nobody = self.call(
            ("erp", "get", {}), ("basic", "post", {"data": {"a": 1}}), ("user", "get", {"jwt": token}),
            ("nowhere", "get", {}), ("user", "get", {}))
        for answered, method, path in ((erp, "GET", "/base/a?x=1"), (basic, "POST", "/base/a?x=1"),
                                       (user, "GET", "/base/a?x=1")):
            self.assertEqual((answered.get("status"), answered.get("data", {}).get("path")), (200, path), answered)
            self.assertEqual(answered["data"]["method"], method)
            self.assertFalse([name for name in answered["data"]["fields"] if name.startswith(("sap-", "proxy-"))])
        self.assertEqual(basic["data"]["fields"]["authorization"], "Basic dTpw")
        self.assertEqual(nowhere["status"], 503)
        self.assertIn("(JWT)", " ".join(nobody["errors"]))

    def user_token(self):
        said = self.command("curl", "-sS", "--data-urlencode", f"client_secret={SECRET}", "-d", "client_id=app", "-d",
                            "grant_type=password&username=anna&password=pass", f"{self.oauth.url}/token")
        return json.loads(said)["access_token"]
