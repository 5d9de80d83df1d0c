# SPDX-License-Identifier: Apache-2.0
"""On-premise systems as Services: a workload of the cluster dials a Service's address and reaches what the agent
exposes, through any replica. Names, accounts and ports that are not available are refused, and Services of others are
not changed."""

import http.server
import json
import subprocess
import threading
import unittest

from tests.harness.commands import output_of
from tests.harness.culvert_program import ACCOUNT, Server
from tests.harness.kubernetes import program_cache
from tests.harness.kubernetes.cluster_case import ClusterCase
from tests.harness.kubernetes.service_proxy import program_rules
from tests.harness.waiting import wait_until


OBJECTS = "onpremiseservices.culvert.dev"
BASE = 29500  # the first of the ports that the servers assign


class Host(http.server.BaseHTTPRequestHandler):
    """An on-premise system that answers with its name and the requested host."""
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = f"{self.server.name} {self.headers['Host']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class OnPremiseServices(ClusterCase):
    chart_values = ["--set", "config.on_premise_services.allow_from={10.0.0.0/8}"]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for name in ("shop", "other"):
            cls.api.kubectl("create", "namespace", name)

    def setUp(self):
        super().setUp()
        for each in ("services", "endpointslices"):
            for space in ("shop", "other"):
                self.addCleanup(self.api.kubectl, "delete", each, "--all", f"--namespace={space}")
        self.addCleanup(self.api.kubectl, "delete", OBJECTS, "--all", "--all-namespaces")
        self.serve_here(self.pair.server, "replica-1")
        self.erp = self.back_end("erp")
        self.pair.agent.web("erp.corp:80", self.erp)

    # --- the two ends -------------------------------------------------------------------------------------------------

    def back_end(self, name):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Host)
        server.name = name
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return server.server_address[1]

    def serve_here(self, server, identity):
        """Makes this server the replica `identity`, at its own address in the cluster's network."""
        address = f"{self.cluster.network}.{201 + len(self.replica_addresses)}"
        output_of("ip", "address", "replace", f"{address}/24", "dev", self.cluster.space)
        server.tables["on_premise_services"] = {
            "listen": f"{address}:{BASE}-{BASE + 9}", "allow_from": [f"{self.cluster.network}.0/24"],
            "accounts": [ACCOUNT]}
        self.replicate(server, identity, address)

    def publish(self, name, space="shop", host="erp.corp", port=80, protocol="http", **spec):
        self.cluster.apply({"apiVersion": "culvert.dev/v1alpha1", "kind": "OnPremiseService",
                            "metadata": {"name": name, "namespace": space},
                            "spec": {"account": ACCOUNT, "virtualHost": host, "virtualPort": port, "protocol": protocol,
                                     **spec}})

    def wait_for(self, name, space="shop", condition="Ready"):
        self.api.kubectl("wait", f"--for=condition={condition}", "--timeout=20s", f"--namespace={space}", OBJECTS, name)

    def object(self, name, space="shop", kind=OBJECTS):
        return json.loads(self.api.kubectl("get", kind, name, f"--namespace={space}", "--output=json"))

    def collect_garbage(self, name, space="shop"):
        """Deletes what a deleted object owned, as kube-controller-manager does."""
        for kind, its in (("service", name), ("endpointslice", f"{name}-culvert")):
            owners = self.object(its, space, kind)["metadata"]["ownerReferences"]
            self.assertEqual([owner["name"] for owner in owners], [name])
            self.api.kubectl("delete", kind, its, f"--namespace={space}")

    def reason(self, name, kind="Accepted", space="shop"):
        conditions = self.object(name, space).get("status", {}).get("conditions", [])
        return next((each["reason"] for each in conditions if each["type"] == kind), None)

    def ask(self, name, space="shop", path="/", status=0):
        """Sends a request as a workload of the cluster, which knows only the Service."""
        program_rules(self.cluster)
        service = self.object(name, space, "service")["spec"]
        url = f"http://{service['clusterIP']}:{service['ports'][0]['port']}{path}"
        command = ["ip", "netns", "exec", self.cluster.space, "curl", "--silent", "--show-error", "--max-time", "10",
                   url]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        self.assertEqual(answer.returncode, status, answer.stderr)
        return answer.stdout

    # --- the tests ----------------------------------------------------------------------------------------------------

    def test_a_workload_dials_a_service(self):
        self.pair.agent.mapping("db.corp:5432", self.erp)
        self.pair.start()
        self.publish("erp")
        self.publish("db", host="db.corp", port=5432, protocol="tcp")
        for name in ("erp", "db"):
            self.wait_for(name)
        self.assertEqual(self.ask("erp"), "erp erp.corp", "the virtual host, whatever Host the workload sends")
        self.assertRegex(self.ask("db"), r"^erp 10\.96\.[0-9.]+:5432$", "bytes as they came")
        service = self.object("erp", kind="service")
        self.assertNotIn("selector", service["spec"])
        self.assertEqual(service["spec"]["ports"][0]["port"], 80)
        self.assertEqual([owner["kind"] for owner in service["metadata"]["ownerReferences"]], ["OnPremiseService"])
        (slice_,) = [each
                     for each in json.loads(self.api.kubectl("get", "endpointslices", "--namespace=shop",
                                                             "--output=json"))["items"]
                     if each["metadata"]["labels"]["kubernetes.io/service-name"] == "erp"]
        self.assertEqual(slice_["ports"][0]["port"], self.object("erp")["status"]["port"])
        self.assertNotEqual(self.object("erp")["status"]["port"], self.object("db")["status"]["port"])

    def test_changes_take_effect_and_deletion_closes_the_port(self):
        self.pair.agent.web("crm.corp:80", self.back_end("crm"))
        self.pair.start()
        self.publish("erp")
        self.wait_for("erp")
        self.assertEqual(self.ask("erp"), "erp erp.corp")
        self.publish("erp", host="crm.corp")
        wait_until(lambda: self.ask("erp") == "crm crm.corp", 3, "the other host")
        port = self.object("erp")["status"]["port"]
        self.api.kubectl("delete", OBJECTS, "erp", "--namespace=shop")
        wait_until(lambda: f":{port} " not in output_of("ss", "-Hltn"), 3, "the port to be closed")
        self.ask("erp", status=7)
        self.collect_garbage("erp")
        self.publish("erp")
        self.wait_for("erp", condition="Accepted")
        self.assertNotEqual(self.object("erp")["status"]["port"], port,
                            "a client with old news must not reach another host")

    def test_a_returned_port_is_the_last_to_be_assigned_again(self):
        self.pair.start()
        names = [f"all-{number}" for number in range(10)]
        for name in names:
            self.publish(name)
        for name in names:
            self.wait_for(name, condition="Accepted")
        ports = sorted((self.object(name)["status"]["port"], name) for name in names)
        self.assertEqual([port for port, _ in ports], list(range(BASE, BASE + 10)), "none is left")
        for _, name in ports[:2]:
            self.api.kubectl("delete", OBJECTS, name, "--namespace=shop")
        self.publish("first")
        self.wait_for("first", condition="Accepted")
        port = self.object("first")["status"]["port"]
        self.api.kubectl("delete", OBJECTS, "first", "--namespace=shop")
        wait_until(lambda: f":{port} " not in output_of("ss", "-Hltn"), 3, "the port to be closed")
        self.publish("second")
        self.wait_for("second", condition="Accepted")
        self.assertNotEqual(self.object("second")["status"]["port"], port, "the other one has been free for longer")

    def test_another_namespace_has_its_own_names(self):
        self.pair.agent.web("erp.plant:80", self.back_end("plant"))
        self.pair.start()
        self.publish("erp")
        self.publish("erp", space="other", host="erp.plant", port=80)
        self.wait_for("erp")
        self.wait_for("erp", space="other")
        self.assertEqual((self.ask("erp"), self.ask("erp", space="other")), ("erp erp.corp", "plant erp.plant"))

    def test_only_listed_namespaces_are_watched(self):
        self.pair.server.tables["on_premise_services"]["namespaces"] = ["other"]
        self.pair.start()
        self.publish("erp")
        self.publish("erp", space="other")
        self.wait_for("erp", space="other")
        self.assertNotIn("status", self.object("erp"))
        self.api.kubectl("get", "service", "erp", "--namespace=shop", status=1)

    def test_a_second_replica_serves_the_same_port(self):
        second = Server(self, self.pair.server_credentials, name="server-2")
        self.join(second)
        self.serve_here(second, "replica-2")
        self.pair.agent.connect(second.port, self.pair.agent_credentials, name="second")
        self.pair.agent.web("erp.corp:80", self.back_end("erp-2"), server="second")
        self.pair.agent.tables["server"][0]["name"] = "first"
        self.pair.agent.tables["system_mapping"][0]["server"] = "first"
        second.start().wait_until_ready()
        self.pair.start()
        names = lambda: {replica["name"] for replica in self.pair.agent.status()["servers"][0]["replicas"]}
        wait_until(lambda: names() == {"replica-1", "replica-2"}, 10, "the agent to know both")
        self.publish("erp")
        self.wait_for("erp")
        port = self.object("erp")["status"]["port"]
        wait_until(lambda: all(f"{address}:{port}" in output_of("ss", "-Hltn")
                               for address in self.replica_addresses.values()), 5, "both to listen")
        answers = set()
        wait_until(lambda: answers.add(self.ask("erp")) or len(answers) == 2, 15, "both to take part")
        self.assertEqual(answers, {"erp erp.corp", "erp-2 erp.corp"})
        # One is no longer ready: the writer removes it, and no request fails.
        self.publish_replicas("replica-1")
        wait_until(lambda: len({self.ask("erp") for _ in range(4)}) == 1, 10, "one replica to be left")
        self.assertEqual({self.ask("erp") for _ in range(6)}, {"erp-2 erp.corp"})
        self.publish_replicas("replica-1", "replica-2")
        wait_until(lambda: self.reason("erp", "Published") == "NoReplica", 10, "the report that no replica is ready")

    def test_a_restart_keeps_the_port(self):
        self.pair.start()
        self.publish("erp")
        self.publish("again")
        for name in ("erp", "again"):
            self.wait_for(name)
        before = {name: self.object(name)["status"]["port"] for name in ("erp", "again")}
        self.assertEqual(self.pair.server.stop(), 0)
        self.pair.server.start().wait_until_ready()
        self.pair.agent.wait_until_ready()
        wait_until(lambda: self.ask("erp") == "erp erp.corp", 15, "the service to be back")
        self.assertEqual({name: self.object(name)["status"]["port"] for name in ("erp", "again")}, before)

    def test_a_service_of_another_owner_is_not_changed(self):
        theirs = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "erp", "namespace": "shop"},
                  "spec": {"selector": {"app": "erp"}, "ports": [{"port": 80}]}}
        self.cluster.apply(theirs)
        before = self.object("erp", kind="service")
        self.pair.start()
        self.publish("erp")
        self.publish("good")
        self.wait_for("good")
        wait_until(lambda: self.reason("erp") == "NameTaken", 10, "it to be refused")
        wait_until(lambda: any(event["reason"] == "NameTaken" for event in json.loads(
            self.api.kubectl("get", "events", "--namespace=shop", "--output=json"))["items"]), 10, "an event")
        self.assertEqual(self.object("erp", kind="service"), before)
        self.assertNotIn("port", self.object("erp")["status"])
        self.api.kubectl("delete", "service", "erp", "--namespace=shop")
        self.wait_for("erp")
        self.assertEqual(self.ask("erp"), "erp erp.corp")

    def test_only_accounts_in_the_file_are_allowed(self):
        self.pair.start()
        self.publish("erp", account="elsewhere")
        wait_until(lambda: self.reason("erp") == "AccountNotAllowed", 10, "it to be refused")
        self.api.kubectl("get", "service", "erp", "--namespace=shop", status=1)
        self.publish("erp")
        self.wait_for("erp")
        self.publish("erp", account="elsewhere")
        wait_until(lambda: self.reason("erp") == "AccountNotAllowed", 10, "it to be refused again")
        self.assertEqual(self.ask("erp", status=7), "", "its Service has no endpoint now")
        self.publish("erp")
        self.wait_for("erp")
        self.assertEqual(self.ask("erp"), "erp erp.corp")

    def test_clients_outside_allow_from_are_refused(self):
        self.pair.server.tables["on_premise_services"]["allow_from"] = ["192.0.2.0/24"]
        self.pair.start()
        self.publish("erp")
        self.wait_for("erp")
        self.ask("erp", status=52)
        self.pair.server.wait_for_output("port.not_allowed")


if __name__ == "__main__":
    program_cache.api_server()
    unittest.main(verbosity=2)
