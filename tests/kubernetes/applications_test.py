# SPDX-License-Identifier: Apache-2.0
"""Applications of Kyma as targets of the gateway: manifests as in Kyma's tutorials work unchanged, Secrets may be
rotated, and what is wrong with one entry is in the object's status and in an Event, and harms no other entry."""

import base64
import copy
import json
import threading
import unittest

import yaml

from tests.harness import certificates
from tests.harness.back_ends.judge import Csrf, Judge, answering
from tests.harness.gateway import Gateway
from tests.harness.kubernetes import program_cache
from tests.harness.kubernetes.chart import CRDS
from tests.harness.kubernetes.cluster import NAMESPACE
from tests.harness.kubernetes.cluster_case import ClusterCase
from tests.harness.kubernetes.request_load import RequestLoad
from tests.harness.oauth_server import SECRET, Client, OAuthServer
from tests.harness.waiting import wait_until

APPLICATIONS = "applications.applicationconnector.kyma-project.io"
SECRET_SECONDS_MAX = 70  # a change of a Secret counts within 60 s
DELETION_SECONDS_MAX = 2


def service(name, *entries, **more):
    return {"id": f"id of {name}", "name": name.lower().replace(" ", "-"), "displayName": name,
            "description": "Your service", "providerDisplayName": "Your organisation", "entries": list(entries), **more}


def entry(url, kind=None, secret=None, token_url=None, csrf=None, **more):
    made = {"type": "API", "targetUrl": url, **more}
    if kind:
        made["credentials"] = {"type": kind, "secretName": secret}
        if token_url:
            made["credentials"]["authenticationUrl"] = token_url
        if csrf:
            made["credentials"]["csrfInfo"] = {"tokenEndpointURL": csrf}
    return made


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class ApplicationsCase(ClusterCase):
    chart_values = ["--set", "gateway.enabled=true", "--set", "gateway.allowFrom={10.0.0.0/8}",
                    "--set", "config.on_premise_services.allow_from={10.0.0.0/8}"]
    seconds = 180

    def setUp(self):
        super().setUp()
        self.addCleanup(self.api.kubectl, "delete", "secrets", f"--namespace={NAMESPACE}",
                        "--field-selector=type=Opaque")
        self.addCleanup(self.api.kubectl, "delete", "events", "--all", "--namespace=default")
        self.addCleanup(self.api.kubectl, "delete", APPLICATIONS, "--all")
        self.values = []  # of Secrets, which must be in no log, status, Event or metric
        self.authority = certificates.Authority(self.folder / "targets")
        self.gateway = Gateway(self, pair=self.pair, ca=self.authority.ca)
        self.judge = Judge(self)

    # --- the cluster --------------------------------------------------------------------------------------------------

    def secret(self, name, **values):
        values = {key: value if isinstance(value, str) else value.read_text() for key, value in values.items()}
        self.values += [value for key, value in values.items() if key in ("password", "clientSecret", "key", "headers")]
        self.cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE},
                            "stringData": values})

    def application(self, name, *services, annotations=None, **spec):
        self.cluster.apply({"apiVersion": "applicationconnector.kyma-project.io/v1alpha1", "kind": "Application",
                            "metadata": {"name": name, "annotations": annotations or {}},
                            "spec": {"skipVerify": False, "services": list(services), **spec}})

    def object(self, name):
        return json.loads(self.api.kubectl("get", APPLICATIONS, name, "--output=json"))

    def condition_of(self, name, kind):
        found = [each for each in self.object(name).get("status", {}).get("conditions", []) if each["type"] == kind]
        return (found[0]["status"], found[0]["reason"], found[0]["message"]) if found else (None, None, None)

    def wait_for_reason(self, name, kind, reason, seconds=10):
        wait_until(lambda: self.condition_of(name, kind)[1] == reason, seconds,
                   f"{kind} of {name} to be {reason}: {self.condition_of(name, kind)}")
        return self.condition_of(name, kind)[2]

    def events(self, name):
        """(type, reason, message) of the Events of this object."""
        items = json.loads(self.api.kubectl("get", "events", "--namespace=default", "--output=json"))["items"]
        return sorted((each["type"], each["reason"], each["message"]) for each in items
                      if each["involvedObject"]["kind"] == "Application" and each["involvedObject"]["name"] == name)

    # --- the gateway --------------------------------------------------------------------------------------------------

    def start(self, path):
        """Starts the server. Once it is ready, the target of this path can be called."""
        self.pair.server.start().wait_until_ready()
        self.assertEqual(self.call(path).status, 200)

    def call(self, path, *arguments, port="services"):
        return self.gateway.call(f"{getattr(self.gateway, port)}/{path}", *arguments)

    def wait_for(self, path, status=200, *, reason=None, seconds=10):
        """Waits until calls of this path have this status, and this reason."""
        def answered():
            found = self.call(path)
            return found if found.status == status and (reason is None or found.reason == reason) else None
        return wait_until(answered, seconds, f"{path} to be {status}: {self.call(path)}")

    def assert_no_secret_is_shown(self):
        shown = "\n".join([self.pair.server.output(), json.dumps(self.pair.server.status()),
                           self.pair.server.http("/metrics")[1],
                           self.api.kubectl("get", APPLICATIONS, "--output=json"),
                           self.api.kubectl("get", "events", "--all-namespaces", "--output=json")])
        self.assertTrue(self.values)
        for value in self.values:
            self.assertNotIn(value, shown)
            self.assertNotIn(base64.b64encode(value.encode()).decode(), shown)


class Applications(ApplicationsCase):

    def test_the_application_of_the_tutorials_works_unchanged(self):
        client = self.authority.issue("client", "DNS:client", "clientAuth")
        guarded = Judge(self, self.authority.server(), client_ca=self.authority.ca)
        oauth = OAuthServer(self, [Client("tls", "tls", certificate=client.certificate)], self.authority.server())
        csrf = Csrf()
        self.judge.on("/csrf", csrf.page)
        self.judge.on("/guarded/x", csrf.guarded)
        # As Kyma's gateway: the client's id and secret are Basic, and in the form.
        self.judge.on("/oauth/token", answering(200, {"access_token": "t1", "token_type": "bearer", "expires_in": 600}))
        self.secret("basic-login", username="test-user", password="test-password")
        self.secret("oauth-login", clientId="sb-a!b1|c", clientSecret="client secret=$1")
        self.secret("mtls-login", clientId="tls", crt=client.certificate, key=client.private_key)
        self.secret("certificate-login", crt=client.certificate, key=client.private_key)
        self.secret("more", headers='{"X-Custom": ["a custom header"]}', queryParameters='{"sap-client": ["100"]}')
        url = self.judge.url
        self.application(
            "test-app",
            service("My Basic Auth Service", entry(f"{url}/basic", "Basic", "basic-login"), {"type": "Events"}),
            service("My OAuth Service", entry(f"{url}/oauth", "OAuth", "oauth-login", f"{url}/oauth/token")),
            service("My mTLS OAuth Service", entry(f"{oauth.url}/resource", "OAuthWithCert", "mtls-login",
                                                   f"{oauth.tls_url}/oauth/token")),
            service("My Client Cert Service", entry(f"{guarded.url}/certificate", "CertificateGen",
                                                    "certificate-login")),
            service("My CSRF Service", entry(f"{url}/guarded", "Basic", "basic-login", csrf=f"{url}/csrf")),
            service("My Headers Params Service", entry(f"{url}/more", "Basic", "basic-login",
                                                       requestParametersSecretName="more")),
            service("Open", entry(f"{url}/v1", name="V1"), entry(f"{url}/v2", name="V2")))
        self.start("test-app/open/x")

        with self.subTest("Basic, on both ports"):
            for path, port in (("my-basic-auth-service", "services"),
                               ("my-basic-auth-service/my-basic-auth-service", "entries")):
                answered = self.call(f"test-app/{path}/items?a=b", port=port)
                self.assertEqual(answered.status, 200, answered.body)
                seen = answered.json()
                self.assertEqual((seen["path"], seen["query"]), ("/basic/items", "a=b"))
                self.assertEqual(seen["fields"]["authorization"], basic("test-user", "test-password"))
        with self.subTest("OAuth"):
            answered = self.call("test-app/my-oauth-service/x")
            self.assertEqual(answered.status, 200, answered.body)
            seen = answered.json()
            self.assertEqual(seen["fields"]["authorization"], "Bearer t1")
            (token,) = self.judge.calls_of("/oauth/token")
            self.assertEqual(token.value("authorization"), basic("sb-a!b1|c", "client secret=$1"))
            self.assertEqual(token.body, b"grant_type=client_credentials&client_id=sb-a%21b1%7Cc"
                                         b"&client_secret=client+secret%3D%241")
        with self.subTest("OAuthWithCert"):
            answered = self.call("test-app/my-mtls-oauth-service/x")
            self.assertEqual((answered.status, answered.json().get("client")), (200, "tls"), answered.body)
        with self.subTest("CertificateGen"):
            self.assertEqual(self.call("test-app/my-client-cert-service/x").json()["path"], "/certificate/x")
        with self.subTest("CSRF"):
            answered = self.call("test-app/my-csrf-service/x", "-d", "posted")
            self.assertEqual((answered.status, answered.json()["method"]), (200, "POST"))
        with self.subTest("request parameters"):
            seen = self.call("test-app/my-headers-params-service/x").json()
            self.assertEqual((seen["query"], seen["fields"]["x-custom"]), ("sap-client=100", "a custom header"))
        with self.subTest("two entries"):
            self.assertEqual(self.call("test-app/open/x").json()["path"], "/v1/x")
            self.assertEqual(self.call("test-app/open/v2/x", port="entries").json()["path"], "/v2/x")
        self.api.kubectl("wait", "--for=condition=Ready", "--timeout=10s", APPLICATIONS, "test-app")
        urls = {each["entry"]: each["url"] for each in self.object("test-app")["status"]["gateway"]}
        host = f"http://central-application-gateway.{NAMESPACE}.svc.cluster.local"
        self.assertEqual(urls["My OAuth Service"], f"{host}:8080/test-app/my-oauth-service")
        self.assertEqual(urls["V2"], f"{host}:8082/test-app/open/v2")
        self.assertEqual(self.events("test-app"), [])
        self.assertEqual(self.pair.server.status()["kubernetes"][0]["applications"], 1)
        self.assert_no_secret_is_shown()

    def test_a_token_service_that_takes_one_way_only(self):
        oauth = OAuthServer(self, [Client("c1"), Client("form", "form")])
        for client, way in (("c1", "header"), ("form", "form")):
            self.secret(f"{client}-login", clientId=client, clientSecret=SECRET)
            self.application(client, service("s", entry(f"{oauth.url}/resource", "OAuth", f"{client}-login",
                                                        f"{oauth.url}/oauth/token")),
                             annotations={"culvert.dev/oauth-client-in": way})
        self.start("c1/s/x")
        for client in ("c1", "form"):
            answered = self.call(f"{client}/s/x")
            self.assertEqual((answered.status, answered.json().get("client")), (200, client), answered.body)
        self.assert_no_secret_is_shown()

    def test_a_secret_is_rotated_under_load(self):
        accepted, lock = {basic("user", "old")}, threading.Lock()

        def action(exchange):
            """Takes the old login until the new one was used."""
            login = exchange.read().value("authorization")
            with lock:
                if login == basic("user", "new-password"):
                    accepted.clear()
                    accepted.add(login)
                good = login in accepted
            exchange.answer(200 if good else 401, b"good" if good else b"bad")

        self.judge.on("/api/x", action)
        self.secret("login", username="user", password="old")
        self.application("shop", service("orders", entry(f"{self.judge.url}/api", "Basic", "login")))
        self.start("shop/orders/x")
        port = int(self.gateway.services.rsplit(":", 1)[1])
        with RequestLoad(self, port, "good", "/shop/orders/x"):
            self.secret("login", username="user", password="new-password")
            wait_until(lambda: accepted == {basic("user", "new-password")}, SECRET_SECONDS_MAX, "the new login")
            wait_until(lambda: self.judge.count("/api/x") > 100, 30, "some load")

    def test_after_a_refused_login_the_secret_is_read_at_once(self):
        wanted = {"login": basic("user", "first one")}
        self.judge.on("/api/x", lambda exchange: exchange.answer(
            200 if exchange.read().value("authorization") == wanted["login"] else 401))
        self.secret("login", username="user", password="first one")
        self.application("shop", service("orders", entry(f"{self.judge.url}/api", "Basic", "login")))
        self.start("shop/orders/x")
        self.assertEqual(self.call("shop/orders/x").status, 200)
        wanted["login"] = basic("user", "second one")
        self.secret("login", username="user", password="second one")
        self.assertEqual(self.call("shop/orders/x").status, 401)
        self.wait_for("shop/orders/x", seconds=8)
        self.assert_no_secret_is_shown()

    def test_what_is_wrong_with_one_entry_harms_no_other(self):
        url = self.judge.url
        self.secret("login", username="user", password="pass word")
        good = service("good", entry(url, "Basic", "login"))
        # Its problem is not about Secrets, and has no Secret that could be read.
        self.application("clash", good, service("Orders API", entry(url)), service("orders-api", entry(url)))
        self.application("missing", good, service("lost", entry(url, "Basic", "nowhere")))
        self.application("bad", good, service("bad", entry("ftp://x"), id="7"))
        self.start("missing/good/x")

        self.assertIn("Orders API", self.wait_for_reason("clash", "Accepted", "NameClash"))
        self.assertEqual(self.call("clash/orders-api/x").reason, "gateway.ambiguous_service")
        self.assertIn('service "lost": there is no Secret "nowhere"',
                      self.wait_for_reason("missing", "SecretsFound", "SecretMissing"))
        answered = self.call("missing/lost/x")
        self.assertEqual((answered.status, answered.reason), (503, "gateway.not_ready"))
        self.assertIn('there is no Secret "nowhere"', answered.json()["error"])
        self.assertIn('service "bad": targetUrl', self.wait_for_reason("bad", "Ready", "BadUrl"))
        for name in ("clash", "missing", "bad"):
            self.assertEqual(self.call(f"{name}/good/x").status, 200, name)
            wait_until(lambda name=name: self.events(name), 10, f"an Event of {name}")
        self.assertEqual([(kind, reason) for kind, reason, _ in self.events("missing")], [("Warning", "SecretMissing")])

        # A Secret that comes is found without a request, and one that loses a key takes its entries with it.
        self.secret("nowhere", username="user", password="pass word")
        self.wait_for("missing/lost/x", seconds=20)
        self.wait_for_reason("missing", "Ready", "Ready")
        self.api.kubectl("patch", "secret", "nowhere", f"--namespace={NAMESPACE}", "--type=json",
                         '--patch=[{"op": "remove", "path": "/data/password"}]')
        self.wait_for("missing/lost/x", 503, reason="gateway.not_ready", seconds=SECRET_SECONDS_MAX)
        self.assertIn("no key password", self.wait_for_reason("missing", "SecretsFound", "SecretIncomplete"))
        self.assertEqual(self.call("missing/good/x").status, 200)
        wait_until(lambda: len(self.events("missing")) == 2, 10, "another Event")
        self.assertEqual([len(self.events(name)) for name in ("clash", "missing", "bad")], [1, 2, 1], "once each")
        self.application("clash", good, service("Orders API", entry(url)), service("Orders", entry(url)))
        self.wait_for("clash/orders-api/x")
        self.wait_for_reason("clash", "Ready", "Ready")
        self.assert_no_secret_is_shown()

    def test_changes_and_deletion_count_at_once(self):
        self.application("shop", service("orders", entry(f"{self.judge.url}/v1")))
        self.application("other", service("orders", entry(f"{self.judge.url}/other")))
        self.start("shop/orders/x")
        self.assertEqual(self.call("shop/orders/x").json()["path"], "/v1/x")
        self.application("shop", service("orders", entry(f"{self.judge.url}/v2")))
        wait_until(lambda: self.call("shop/orders/x").json()["path"] == "/v2/x", DELETION_SECONDS_MAX, "the other URL")
        self.api.kubectl("delete", APPLICATIONS, "shop")
        self.wait_for("shop/orders/x", 404, reason="gateway.unknown_application", seconds=DELETION_SECONDS_MAX)
        self.assertEqual(self.call("other/orders/x").status, 200)

    def test_another_secret_is_read_before_it_counts(self):
        self.secret("one", username="one", password="pass word 1")
        self.secret("two", username="two", password="pass word 2")
        self.application("shop", service("orders", entry(f"{self.judge.url}/api", "Basic", "one")))
        self.start("shop/orders/x")
        port, logins = int(self.gateway.services.rsplit(":", 1)[1]), set()

        def action(exchange):
            logins.add(exchange.read().value("authorization"))
            exchange.answer(200, b"good")

        self.judge.on("/api/x", action)
        with RequestLoad(self, port, "good", "/shop/orders/x"):
            wait_until(lambda: logins, 5, "a request")
            self.application("shop", service("orders", entry(f"{self.judge.url}/api", "Basic", "two")))
            wait_until(lambda: basic("two", "pass word 2") in logins, 5, "the other login")
        self.assertEqual(logins, {basic("one", "pass word 1"), basic("two", "pass word 2")})

    def test_certificates_are_verified_unless_the_server_allows_otherwise(self):
        stranger = Judge(self, certificates.Authority(self.folder / "stranger").server())
        self.application("shop", service("orders", entry(stranger.url)), skipVerify=True)
        self.pair.server.start().wait_until_ready()
        self.wait_for_reason("shop", "Accepted", "SkipVerifyRefused")
        self.assertEqual(self.call("shop/orders/x").reason, "gateway.target_tls_failed")
        self.gateway.table["allow_skip_verify"] = True
        self.pair.server.reload()
        self.wait_for("shop/orders/x")
        self.assertIn("not verified", self.wait_for_reason("shop", "Accepted", "Accepted"))

    def test_through_an_agent_of_an_allowed_account(self):
        self.replicate(self.pair.server, "replica-1")
        self.pair.server.tables["on_premise_services"] = {"listen": "127.0.0.1:29600-29601",
                                                          "allow_from": ["127.0.0.0/8"], "accounts": ["acme"]}
        self.pair.agent.web("erp.corp:80", self.judge.port)
        self.secret("login", username="user", password="pass word")
        for name, account in (("erp", "acme"), ("theirs", "elsewhere")):
            self.application(name, service("sap", entry("http://erp.corp/sap", "Basic", "login")),
                             annotations={"culvert.dev/account": account})
        self.pair.start()
        seen = self.wait_for("erp/sap/x").json()
        self.assertEqual((seen["path"], seen["fields"]["authorization"]), ("/sap/x", basic("user", "pass word")))
        self.wait_for_reason("theirs", "Accepted", "AccountNotAllowed")
        self.assertEqual(self.call("theirs/sap/x").reason, "gateway.not_ready")

    def test_what_is_known_stays_while_the_api_is_away(self):
        self.secret("login", username="user", password="pass word")
        self.application("shop", service("orders", entry(self.judge.url, "Basic", "login")))
        self.start("shop/orders/x")
        self.write_token("of nobody")
        self.api.stop()
        try:
            for _ in range(5):
                self.assertEqual(self.call("shop/orders/x").json()["fields"]["authorization"],
                                 basic("user", "pass word"))
        finally:
            self.api.start()
            self.write_token(self.api.token("culvert-server", NAMESPACE))
        self.application("shop", service("orders", entry(f"{self.judge.url}/again", "Basic", "login")))
        wait_until(lambda: self.call("shop/orders/x").json()["path"] == "/again/x", 40, "the change")


class ApplicationsOfKymasDefinition(ApplicationsCase):
    """With Kyma's own definition, which has no place for our status: Events alone tell what is wrong."""

    seconds = 60

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        definition = yaml.safe_load((CRDS / "applications.yaml").read_text())
        theirs = copy.deepcopy(definition)
        version = theirs["spec"]["versions"][0]
        del version["subresources"], version["additionalPrinterColumns"]
        status = version["schema"]["openAPIV3Schema"]["properties"]["status"]
        status["required"] = ["installationStatus"]
        status["properties"] = {"installationStatus": status["properties"]["installationStatus"]}
        cls.api.kubectl("apply", "--filename=-", input=theirs)

    def test_events_tell_what_is_wrong(self):
        self.application("shop", service("good", entry(self.judge.url)),
                         service("lost", entry(self.judge.url, "Basic", "nowhere")))
        self.start("shop/good/x")
        self.assertEqual(self.call("shop/good/x").status, 200)
        wait_until(lambda: self.events("shop"), 10, "an Event")
        self.assertNotIn("status", self.object("shop"))
        # Neither the Event nor the write is repeated with each round of the writer.
        self.application("shop", service("good", entry(self.judge.url)),
                         service("lost", entry(f"{self.judge.url}/other", "Basic", "nowhere")))
        self.wait_for("shop/lost/x", 503)
        self.assertEqual([reason for _, reason, _ in self.events("shop")], ["SecretMissing"])
        self.assertNotIn("kubernetes.status_failed", self.pair.server.output())
        self.secret("nowhere", username="user", password="pass word")
        self.wait_for("shop/lost/x", seconds=20)


if __name__ == "__main__":
    program_cache.api_server()
    unittest.main(verbosity=2)
