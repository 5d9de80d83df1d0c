# SPDX-License-Identifier: Apache-2.0
"""The rights that the chart gives to the server, with each of its options, in both directions: every request of the
server is allowed, and every right is used by a request. A list of steps does all that the server can do; a new function
of the server adds a step."""

import json
import unittest

from tests.harness.back_ends.judge import Judge
from tests.harness.gateway import Gateway
from tests.harness.kubernetes import audit, program_cache
from tests.harness.kubernetes.cluster import NAMESPACE
from tests.harness.kubernetes.cluster_case import ClusterCase
from tests.harness.kubernetes.enrolled import Enrolled
from tests.harness.kubernetes.issuer import COLLECTION, Issuer
from tests.harness.waiting import wait_until

DISCOVERY = ["/apis/discovery.k8s.io"]  # allowed for every authenticated account by system:discovery
DESTINATIONS = "destinations.destination.connectivity.api.sap"
ON_PREMISE_SERVICES = "onpremiseservices.culvert.dev"
APPLICATIONS = "applications.applicationconnector.kyma-project.io"
ACCOUNT = f"{NAMESPACE}:culvert-server"


class Rights(ClusterCase):
    """With the chart's defaults."""
    api_arguments = audit.ARGUMENTS
    SECRETS = ()  # the verbs that it may use on Secrets, and where

    def setUp(self):
        super().setUp()
        self.replicate(self.pair.server, "server-0", "10.9.9.0")
        self.pair.server.tables["kubernetes"]["account"] = "acme"

    # --- the walk -----------------------------------------------------------------------------------------------------

    def follow_the_cluster(self):
        self.pair.start()
        # The first replica creates the table of agents; it changes whenever agents connect and disconnect.
        wait_until(lambda: self.held_agents() == {"server-0": "acme/"}, 10, "the ConfigMap to name the agent")

    def report_the_state_of_a_mapping(self):
        self.apply("good", "one.test:http")
        wait_until(lambda: self.condition("good", "Ready") == ("True", "Ready"), 10, "it to be ready")

    def report_a_bad_mapping(self):
        self.apply("bad", "10.0.0.1:80", "other")
        wait_until(lambda: self.condition("bad", "Accepted") == ("False", "BadInternalAddress"), 10, "it to be refused")

    def hold_the_lease(self):
        before = self.lease()
        wait_until(lambda: self.lease() != before, 10, "it to be renewed", every=0.5)

    STEPS = (follow_the_cluster, report_the_state_of_a_mapping, report_a_bad_mapping, hold_the_lease)

    # --- what is there ------------------------------------------------------------------------------------------------

    def held_agents(self):
        tables = json.loads(self.api.kubectl("get", "configmaps", f"--namespace={NAMESPACE}", "--output=json"))["items"]
        return next((each.get("data") for each in tables if each["metadata"]["name"] == "culvert-agents"), None)

    def lease(self):
        return self.api.kubectl("get", "lease", "culvert-server", f"--namespace={NAMESPACE}",
                                "--output=jsonpath={.spec.renewTime}")

    def requests_with_all_watches(self):
        """The requests in the log; None while a collection was listed of which no watch has ended yet."""
        asked = audit.requests_of(self.api, ACCOUNT)
        collections = {verb: {each.right.resource for each in asked if each.right.verb == verb}
                       for verb in ("list", "watch")}
        return asked if collections["list"] == collections["watch"] else None

    def test_the_server_has_exactly_the_rights_that_it_uses(self):
        rights = audit.rights_of(self.api, ACCOUNT)
        self.assertTrue(rights)
        for step in self.STEPS:
            step(self)
        # A watch appears in the log when it ends.
        for program in (self.pair.agent, self.pair.server):
            program.stop()
        asked = wait_until(self.requests_with_all_watches, 10, "the watches to end")
        for request in asked:
            self.assertNotIn(request.status, (401, 403), request)
            self.assertTrue(request.uri in DISCOVERY or any(right.covers(request.right) for right in rights),
                            f"no right allows {request}")
        unused = sorted(right for right in rights if not any(right.covers(each.right) for each in asked))
        self.assertEqual(unused, [], "rights that it does not need")
        for right in rights:
            self.assertNotIn("*", (right.verb, right.group, right.resource), right)
            self.assertNotIn(right.resource, ("pods/exec", "serviceaccounts/token"), right)
            if right.resource == "secrets":
                self.assertIn((right.verb, right.namespace), self.SECRETS, right)


class RightsWithEndpointSlices(Rights):
    endpoint_slices = True


class RightsWithOnPremiseServices(Rights):
    chart_values = ["--set", "config.on_premise_services.allow_from={10.0.0.0/8}"]

    def setUp(self):
        super().setUp()
        self.addCleanup(self.api.kubectl, "delete", ON_PREMISE_SERVICES, "--all", "--all-namespaces")
        # Outside the range of free_port().
        self.pair.server.tables["on_premise_services"] = {"listen": "127.0.0.1:11000-11009"}

    def route_a_service_on_premise(self):
        self.apply_on_premise("erp", 443)
        wait_until(lambda: self.on_premise_status("erp").get("port"), 15, "a port")
        self.apply_on_premise("erp", 8443)
        wait_until(lambda: self.port_of("erp") == "8443", 15, "the Service's port to change")

    def route_it_to_another_replica(self):
        self.assertEqual(self.addresses_of("erp-culvert"), ["10.9.9.0"])
        self.replica_addresses["server-1"] = "10.9.9.1"
        self.publish_replicas()
        wait_until(lambda: self.addresses_of("erp-culvert") == ["10.9.9.0", "10.9.9.1"], 10,
                   "the Service to have two endpoints")

    def report_a_taken_name(self):
        self.cluster.service("taken", "shop", 80, self.cluster.names["one.test"][0])
        self.apply_on_premise("taken", 443)
        wait_until(lambda: self.events("shop"), 15, "an event")

    STEPS = (*Rights.STEPS, route_a_service_on_premise, route_it_to_another_replica, report_a_taken_name)

    # --- what is there ------------------------------------------------------------------------------------------------

    def apply_on_premise(self, name, port):
        self.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}},
                           {"apiVersion": "culvert.dev/v1alpha1", "kind": "OnPremiseService",
                            "metadata": {"name": name, "namespace": "shop"},
                            "spec": {"virtualHost": "erp", "virtualPort": 443, "port": port}})

    def on_premise_status(self, name):
        return json.loads(self.api.kubectl("get", ON_PREMISE_SERVICES, name, "--namespace=shop",
                                           "--output=json")).get("status", {})

    def port_of(self, service):
        return self.api.kubectl("get", "service", service, "--namespace=shop",
                                "--output=jsonpath={.spec.ports[0].port}")

    def addresses_of(self, name):
        slices = json.loads(self.api.kubectl("get", "endpointslices", name, "--namespace=shop", "--output=json"))
        return sorted(address for endpoint in slices["endpoints"] for address in endpoint["addresses"])

    def events(self, namespace):
        return json.loads(self.api.kubectl("get", "events", f"--namespace={namespace}", "--output=json"))["items"]


class RightsInListedNamespaces(RightsWithOnPremiseServices):
    chart_values = [*RightsWithOnPremiseServices.chart_values, "--set", "config.on_premise_services.namespaces={shop}"]

    def setUp(self):
        super().setUp()
        self.pair.server.tables["on_premise_services"]["namespaces"] = ["shop"]


class RightsWithEnrolment(Rights):
    """Join tokens are made and removed, but no Secret can be read."""
    chart_values = ["--set", "enrolment.enabled=true"]
    SECRETS = (("create", NAMESPACE), ("delete", NAMESPACE))

    def setUp(self):
        super().setUp()
        self.enrolled = Enrolled(self)

    def enrol_an_agent(self):
        self.enrolled.add("gate-1")
        self.enrolled.join("gate-1").start()
        self.enrolled.wait_for("gate-1", "Connected")
        wait_until(lambda: self.enrolled.secret("gate-1") is None, 10, "the token to be removed")

    STEPS = (*Rights.STEPS, enrol_an_agent)


class RightsWithGateway(Rights):
    """Secrets are read by the names that Applications have."""
    chart_values = ["--set", "gateway.enabled=true", "--set", "gateway.allowFrom={10.0.0.0/8}"]
    SECRETS = (("get", NAMESPACE),)

    def setUp(self):
        super().setUp()
        self.addCleanup(self.api.kubectl, "delete", APPLICATIONS, "--all")
        self.gateway = Gateway(self, pair=self.pair)

    def call_an_application(self):
        self.api.kubectl("create", "secret", "generic", "login", "--from-literal=username=a",
                         "--from-literal=password=b", f"--namespace={NAMESPACE}")
        judge = Judge(self)
        self.apply_application("good", judge.url, "login")
        wait_until(lambda: self.gateway.call(f"{self.gateway.services}/good/s/x").status == 200, 10, "it to be called")

    def report_a_missing_secret(self):
        self.apply_application("bad", "https://example.com", "nowhere")
        wait_until(lambda: self.api.kubectl("get", APPLICATIONS, "bad",
                                            "--output=jsonpath={.status.conditions[*].reason}"), 10, "its status")

    STEPS = (*Rights.STEPS, call_an_application, report_a_missing_secret)

    def apply_application(self, name, url, secret):
        self.cluster.apply({
            "apiVersion": "applicationconnector.kyma-project.io/v1alpha1", "kind": "Application",
            "metadata": {"name": name},
            "spec": {"services": [{"id": "1", "name": "s", "displayName": "s", "description": "",
                                   "providerDisplayName": "",
                                   "entries": [{"type": "API", "targetUrl": url,
                                                "credentials": {"type": "Basic", "secretName": secret}}]}]}})


class RightsWithDestinations(RightsWithGateway):
    """Their Services and EndpointSlices are made and changed."""
    chart_values = [*RightsWithGateway.chart_values, "--set", "gateway.destinations=true"]

    def setUp(self):
        super().setUp()
        self.addCleanup(self.api.kubectl, "delete", DESTINATIONS, "--all", "--all-namespaces")
        # Outside the range of free_port().
        self.gateway.table["destination_ports"] = "127.0.0.1:11010-11019"

    def publish_a_destination(self):
        self.apply_destination("any", "*", 8080)
        wait_until(lambda: self.port_of("any"), 15, "its Service")
        self.apply_destination("any", "*", 8081)
        wait_until(lambda: self.port_of("any") == "8081", 15, "the Service's port to change")
        wait_until(lambda: self.api.kubectl("get", DESTINATIONS, "any", "--namespace=shop",
                                            "--output=jsonpath={.status.port}"), 10, "its status")

    def move_it_to_another_replica(self):
        self.replica_addresses["server-1"] = "10.9.9.1"
        self.publish_replicas()
        addresses = lambda: self.api.kubectl("get", "endpointslices", "any-culvert", "--namespace=shop",
                                             "--output=jsonpath={.endpoints[*].addresses[0]}")
        wait_until(lambda: "10.9.9.1" in addresses(), 10, "the Service to have another endpoint")

    def report_a_missing_definition(self):
        self.apply_destination("lost", "nowhere", 80)
        wait_until(lambda: json.loads(self.api.kubectl("get", "events", "--namespace=shop",
                                                       "--output=json"))["items"], 15, "an event")

    STEPS = (*RightsWithGateway.STEPS, publish_a_destination, move_it_to_another_replica, report_a_missing_definition)

    def apply_destination(self, name, destination, port):
        self.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}},
                           {"apiVersion": "destination.connectivity.api.sap/v1", "kind": "Destination",
                            "metadata": {"name": name, "namespace": "shop"},
                            "spec": {"destinationRef": {"name": destination}, "service": {"port": port}}})

    def port_of(self, service):
        return self.api.kubectl("get", "service", service, "--namespace=shop", "--ignore-not-found",
                                "--output=jsonpath={.spec.ports[0].port}")


class RightsWithIssuer(RightsWithEnrolment):
    """The server has no key that signs: it makes requests, and removes them."""
    chart_values = [*RightsWithEnrolment.chart_values, "--set", "enrolment.issuer.name=agents"]

    def setUp(self):
        Rights.setUp(self)
        self.enrolled = Enrolled(self, issuer="agents")
        self.issuer = Issuer(self.api, self.enrolled.authority)
        self.addCleanup(self.issuer.close)

    def look_at_the_request(self):
        (request,) = self.issuer.seen
        self.assertEqual(request["spec"]["issuerRef"], {"name": "agents", "kind": "Issuer", "group": "cert-manager.io"})
        self.assertEqual(request["spec"]["usages"], ["digital signature", "client auth"])
        wait_until(lambda: not json.loads(self.api.get(COLLECTION))["items"], 10, "the request to be removed")

    STEPS = (*RightsWithEnrolment.STEPS, look_at_the_request)


if __name__ == "__main__":
    program_cache.api_server()
    unittest.main(verbosity=2)
