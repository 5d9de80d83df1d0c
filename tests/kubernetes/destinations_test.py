# SPDX-License-Identifier: Apache-2.0
"""Destinations as Services: a workload of the cluster calls http://NAME.NAMESPACE/path, without proxy, token or header,
and reaches the external system that the Secret with the definitions names, with its login."""

import base64
import json
import subprocess
import unittest

from tests.harness.back_ends.judge import Judge, answering
from tests.harness.commands import output_of
from tests.harness.culvert_program import ACCOUNT
from tests.harness.gateway import Gateway
from tests.harness.kubernetes import program_cache
from tests.harness.kubernetes.cluster import NAMESPACE
from tests.harness.kubernetes.cluster_case import ClusterCase
from tests.harness.kubernetes.service_proxy import program_rules
from tests.harness.waiting import wait_until


OBJECTS = "destinations.destination.connectivity.api.sap"
SECRET = "culvert-destinations"
BASE = 29600  # the first of the ports that the server assigns
PASSWORD = "pass word: 1"


def login(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def internet(name, url, password=PASSWORD, **more):
    return {"Name": name, "Type": "HTTP", "URL": url, "ProxyType": "Internet", "Authentication": "BasicAuthentication",
            "User": "culvert", "Password": password, **more}


def on_premise(name, **more):
    return {"Name": name, "Type": "HTTP", "URL": "http://erp.corp:80", "ProxyType": "OnPremise",
            "Authentication": "NoAuthentication", **more}


class Destinations(ClusterCase):
    chart_values = ["--set", "gateway.enabled=true", "--set", "gateway.destinations=true", "--set",
                    "gateway.allowFrom={10.0.0.0/8}", "--set", "gateway.secretNames={none}"]
    seconds = 120

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.api.kubectl("create", "namespace", "shop")

    def setUp(self):
        super().setUp()
        for each in ("services", "endpointslices", "events"):
            self.addCleanup(self.api.kubectl, "delete", each, "--all", "--namespace=shop")
        self.addCleanup(self.api.kubectl, "delete", "secret", SECRET, f"--namespace={NAMESPACE}", "--ignore-not-found")
        self.addCleanup(self.api.kubectl, "delete", OBJECTS, "--all", "--all-namespaces")
        address = f"{self.cluster.network}.201"
        output_of("ip", "address", "replace", f"{address}/24", "dev", self.cluster.space)
        self.gateway = Gateway(self, pair=self.pair, account=ACCOUNT, destination_ports=f"{address}:{BASE}-{BASE + 9}",
                               allow_from=["127.0.0.0/8", f"{self.cluster.network}.0/24"])
        self.replicate(self.pair.server, "replica-1", address)
        self.judge = Judge(self)
        self.judge.on("/api/items", answering(200, {"items": []}))

    # --- the cluster --------------------------------------------------------------------------------------------------

    def define(self, *definitions, **others):
        """Writes the Secret: each definition as exported, and other keys."""
        values = {each["Name"]: json.dumps(each) for each in definitions}
        self.cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET, "namespace": NAMESPACE},
                            "stringData": {**values, **others}})

    def publish(self, name, destination, **spec):
        self.cluster.apply({"apiVersion": "destination.connectivity.api.sap/v1", "kind": "Destination",
                            "metadata": {"name": name, "namespace": "shop"},
                            "spec": {"destinationRef": {"name": destination}, **spec}})

    def object(self, name, kind=OBJECTS):
        return json.loads(self.api.kubectl("get", kind, name, "--namespace=shop", "--output=json"))

    def condition_of(self, name):
        (found,) = self.object(name).get("status", {}).get("conditions") or [{"reason": None, "message": None}]
        return found

    def wait_for(self, name, reason="Available", seconds=15):
        wait_until(lambda: self.condition_of(name)["reason"] == reason, seconds,
                   f"{name} to be {reason}: {self.condition_of(name)}")
        return self.condition_of(name)

    def ask(self, name, path="/items", *arguments, status=0):
        """What a workload of the cluster gets, which knows only the Service: the status and the body."""
        program_rules(self.cluster)
        service = self.object(name, "service")["spec"]
        (port,) = [each["port"] for each in service["ports"]]
        command = ["ip", "netns", "exec", self.cluster.space, "curl", "--silent", "--show-error", "--max-time", "10",
                   "--resolve", f"{name}.shop:{port}:{service['clusterIP']}", "--write-out", "\n%{http_code}",
                   *arguments, f"http://{name}.shop{'' if port == 80 else f':{port}'}{path}"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        self.assertEqual(answer.returncode, status, answer.stderr)
        body, code = answer.stdout.rsplit("\n", 1)
        return int(code), body

    # --- the tests ----------------------------------------------------------------------------------------------------

    def test_a_workload_calls_a_service_without_proxy_token_or_header(self):
        self.define(internet("web", f"{self.judge.url}/api", **{"URL.queries.sap-client": "100"}))
        self.pair.server.start().wait_until_ready()
        self.publish("erp", "web")
        self.assertEqual(self.wait_for("erp")["status"], "True")
        self.assertEqual(self.ask("erp", "/items?x=1"), (200, '{"items": []}'))
        call = self.judge.calls[-1]
        self.assertEqual((call.path, call.query), ("/api/items", "x=1&sap-client=100"))
        self.assertEqual(call.value("authorization"), login("culvert", PASSWORD))
        service = self.object("erp", "service")
        self.assertNotIn("selector", service["spec"])
        self.assertEqual([owner["kind"] for owner in service["metadata"]["ownerReferences"]], ["Destination"])
        self.assertEqual(self.pair.server.status()["kubernetes"][0]["destinations"], 1)
        counted = 'culvert_kubernetes_objects{kind="Destination"} 1'
        wait_until(lambda: counted in self.pair.server.http("/metrics")[1], 5, "the object to be counted")
        shown = "\n".join([self.pair.server.output(), json.dumps(self.pair.server.status()),
                           self.pair.server.http("/metrics")[1], json.dumps(self.object("erp"))])
        self.assertNotIn(PASSWORD, shown)

        port = self.object("erp")["status"]["port"]
        self.api.kubectl("delete", OBJECTS, "erp", "--namespace=shop")
        wait_until(lambda: f":{port} " not in output_of("ss", "-Hltn"), 3, "the port to be closed")

    def test_each_request_may_name_its_destination(self):
        self.define(internet("web", f"{self.judge.url}/api"))
        self.pair.server.start().wait_until_ready()
        self.publish("any", "*", service={"port": 8080})
        self.wait_for("any")
        self.assertEqual(self.ask("any", "/items", "--header", "X-Destination-Name: web")[0], 200)
        self.assertIsNone(self.judge.calls[-1].value("x-destination-name"))
        for fields in ([], ["--header", "X-Destination-Name: other"]):
            code, body = self.ask("any", "/items", *fields)
            self.assertEqual((code, json.loads(body)["reason"]), (404, "gateway.unknown_destination"))
        code, body = self.ask("any", "/destination-configuration/v1/destinations/web")
        self.assertEqual(code, 404, "there is no look-up, which shows secrets")
        self.assertNotIn(PASSWORD, body)

    def test_on_premise_destinations_lead_to_an_agent(self):
        self.judge.on("/items", answering(200, {"on": "premise"}))
        self.pair.agent.web("erp.corp:80", self.judge.port)
        self.pair.agent.mapping("db.corp:5432", self.judge.port)
        self.define(on_premise("plant"), db="Name=db\nType=TCP\nAddress=db.corp\\:5432\nProxyType=OnPremise\n",
                    far="Name=far\nType=TCP\nAddress=db.corp\\:5432\nProxyType=Internet\n")
        self.pair.server.start().wait_until_ready()
        self.publish("plant", "plant")
        self.publish("db", "db")
        self.publish("far", "far")
        self.wait_for("plant", "NoAgent")
        self.assertIn("ProxyType Internet", self.wait_for("far", "NotSupported")["message"])
        self.pair.agent.start().wait_until_ready()
        for name in ("plant", "db"):
            self.wait_for(name)
            self.assertEqual(self.ask(name), (200, '{"on": "premise"}'), name)
        self.assertEqual(self.object("db", "service")["spec"]["ports"][0]["port"], 5432)
        self.assertEqual(self.judge.calls[-1].value("host"), "db.shop:5432", "bytes as they came")

    def test_what_is_wrong_is_in_the_condition_and_in_an_event(self):
        self.pair.server.start().wait_until_ready()
        self.publish("early", "web")
        self.assertIn(SECRET, self.wait_for("early", "NoDefinitions")["message"])
        self.define(internet("web", f"{self.judge.url}/api"), bad="{")
        self.publish("lost", "nowhere")
        self.publish("broken", "bad")
        self.publish("chained", "web", chainRef={"name": "x"})
        self.wait_for("early", seconds=20)
        self.assertIn('"nowhere"', self.wait_for("lost", "NoDefinition")["message"])
        self.wait_for("broken", "BadDefinition")
        self.assertIn("chainRef", self.wait_for("chained", "NotSupported")["message"])
        self.api.kubectl("get", "service", "lost", "--namespace=shop", status=1)
        events = lambda: {(each["involvedObject"]["name"], each["reason"]) for each in json.loads(
            self.api.kubectl("get", "events", "--namespace=shop", "--output=json"))["items"]}
        wanted = {("early", "NoDefinitions"), ("lost", "NoDefinition"), ("broken", "BadDefinition"),
                  ("chained", "NotSupported")}
        wait_until(lambda: wanted <= events(), 10, "the Events")
        self.assertEqual(self.ask("early")[0], 200, "others are not harmed")
        self.pair.server.wait_for_output("destination.refused")

    def test_a_service_of_another_owner_is_not_changed(self):
        self.define(internet("web", f"{self.judge.url}/api"))
        self.cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "erp", "namespace": "shop"},
                            "spec": {"selector": {"app": "erp"}, "ports": [{"port": 80}]}})
        before = self.object("erp", "service")
        self.pair.server.start().wait_until_ready()
        self.publish("erp", "web")
        self.wait_for("erp", "NameTaken")
        self.assertEqual(self.object("erp", "service"), before)
        self.assertNotIn("port", self.object("erp")["status"])

    def test_a_changed_secret_counts_at_once_after_a_refused_login(self):
        wanted = {"login": login("culvert", PASSWORD)}
        self.judge.on("/api/items", lambda exchange: exchange.answer(
            200 if exchange.read().value("authorization") == wanted["login"] else 401))
        self.define(internet("web", f"{self.judge.url}/api"))
        self.pair.server.start().wait_until_ready()
        self.publish("erp", "web")
        self.wait_for("erp")
        self.assertEqual(self.ask("erp")[0], 200)
        port = self.object("erp")["status"]["port"]
        wanted["login"] = login("culvert", "another")
        self.define(internet("web", f"{self.judge.url}/api", "another"))
        self.assertEqual(self.ask("erp")[0], 401)
        wait_until(lambda: self.ask("erp")[0] == 200, 8, "the new login")
        self.assertEqual(self.object("erp")["status"]["port"], port)


if __name__ == "__main__":
    program_cache.api_server()
    unittest.main(verbosity=2)
