# SPDX-License-Identifier: Apache-2.0
"""The server's rights as the chart gives them, with each of its options, in both directions: whatever it asks for is allowed, and whatever
is allowed it asks for. A walk through all that it does is a list of steps; a new function of the server adds one."""

import json
import unittest

import audit
import cache
from api_server import wait_until
from cluster import NAMESPACE
from cluster_case import ClusterCase

DISCOVERY = ["/apis/discovery.k8s.io"]  # open to whoever is known, by system:discovery
ON_PREMISE_SERVICES = "onpremiseservices.culvert.dev"
ACCOUNT = f"{NAMESPACE}:culvert-server"


class Rights(ClusterCase):
    """By the chart's defaults."""
    api_arguments = audit.ARGUMENTS

    def setUp(self):
        super().setUp()
        self.replicate(self.pair.server, "server-0", "10.9.9.0")
        self.pair.server.tables["kubernetes"]["account"] = "acme"

    # --- the walk ---------------------------------------------------------------------------------------------------------

    def follow_the_cluster(self):
        self.pair.start()
        # Its table of agents is made by the first replica, and changed whenever agents come and go.
        wait_until(lambda: self.held_agents() == {"server-0": "acme/"}, 10, "the ConfigMap to name the agent")

    def say_what_became_of_a_mapping(self):
        self.apply("good", "one.test:http")
        wait_until(lambda: self.condition("good", "Ready") == ("True", "Ready"), 10, "it to be ready")

    def tell_of_a_bad_mapping(self):
        self.apply("bad", "10.0.0.1:80", "other")
        wait_until(lambda: self.condition("bad", "Accepted") == ("False", "BadInternalAddress"), 10, "it to be refused")

    def hold_the_lease(self):
        before = self.lease()
        wait_until(lambda: self.lease() != before, 10, "it to be renewed", every=0.5)

    STEPS = (follow_the_cluster, say_what_became_of_a_mapping, tell_of_a_bad_mapping, hold_the_lease)

    # --- what is there ----------------------------------------------------------------------------------------------------

    def held_agents(self):
        tables = json.loads(self.api.kubectl("get", "configmaps", f"--namespace={NAMESPACE}", "--output=json"))["items"]
        return next((each.get("data") for each in tables if each["metadata"]["name"] == "culvert-agents"), None)

    def lease(self):
        return self.api.kubectl("get", "lease", "culvert-server", f"--namespace={NAMESPACE}", "--output=jsonpath={.spec.renewTime}")

    def requests_with_all_watches(self):
        """Nothing if there is a collection that was listed, and no watch of it is over yet."""
        asked = audit.requests_of(self.api, ACCOUNT)
        collections = {verb: {each.right.resource for each in asked if each.right.verb == verb} for verb in ("list", "watch")}
        return asked if collections["list"] == collections["watch"] else None

    def test_the_server_may_what_it_does_and_nothing_else(self):
        rights = audit.rights_of(self.api, ACCOUNT)
        self.assertTrue(rights)
        for step in self.STEPS:
            step(self)
        # A watch is in the log once it is over.
        for program in (self.pair.agent, self.pair.server):
            program.stop()
        asked = wait_until(self.requests_with_all_watches, 10, "the watches to end")
        for request in asked:
            self.assertNotIn(request.status, (401, 403), request)
            self.assertTrue(request.uri in DISCOVERY or any(right.covers(request.right) for right in rights), f"by whose leave? {request}")
        unused = sorted(right for right in rights if not any(right.covers(each.right) for each in asked))
        self.assertEqual(unused, [], "it may what it does not need")
        for right in rights:
            self.assertNotIn("*", (right.verb, right.group, right.resource), right)
            self.assertNotIn(right.resource, ("secrets", "pods/exec", "serviceaccounts/token"), right)


class RightsWithEndpointSlices(Rights):
    endpoint_slices = True


class RightsWithOnPremiseServices(Rights):
    chart_values = ["--set", "config.on_premise_services.allow_from={10.0.0.0/8}"]

    def setUp(self):
        super().setUp()
        self.addCleanup(self.api.kubectl, "delete", ON_PREMISE_SERVICES, "--all", "--all-namespaces")
        # Outside of where free_port() looks.
        self.pair.server.tables["on_premise_services"] = {"listen": "127.0.0.1:11000-11009"}

    def lead_a_service_on_premise(self):
        self.apply_on_premise("erp", 443)
        wait_until(lambda: self.on_premise_status("erp").get("port"), 15, "a port")
        self.apply_on_premise("erp", 8443)
        wait_until(lambda: self.port_of("erp") == "8443", 15, "the Service's port to change")

    def lead_it_to_another_replica(self):
        self.assertEqual(self.addresses_of("erp-culvert"), ["10.9.9.0"])
        self.replica_addresses["server-1"] = "10.9.9.1"
        self.tell_replicas()
        wait_until(lambda: self.addresses_of("erp-culvert") == ["10.9.9.0", "10.9.9.1"], 10, "the Service to have two endpoints")

    def tell_of_a_taken_name(self):
        self.cluster.service("taken", "shop", 80, self.cluster.names["one.test"][0])
        self.apply_on_premise("taken", 443)
        wait_until(lambda: self.events("shop"), 15, "an event")

    STEPS = (*Rights.STEPS, lead_a_service_on_premise, lead_it_to_another_replica, tell_of_a_taken_name)

    # --- what is there ----------------------------------------------------------------------------------------------------

    def apply_on_premise(self, name, port):
        self.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}},
                           {"apiVersion": "culvert.dev/v1alpha1", "kind": "OnPremiseService",
                            "metadata": {"name": name, "namespace": "shop"}, "spec": {"virtualHost": "erp", "virtualPort": 443, "port": port}})

    def on_premise_status(self, name):
        return json.loads(self.api.kubectl("get", ON_PREMISE_SERVICES, name, "--namespace=shop", "--output=json")).get("status", {})

    def port_of(self, service):
        return self.api.kubectl("get", "service", service, "--namespace=shop", "--output=jsonpath={.spec.ports[0].port}")

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


if __name__ == "__main__":
    cache.api_server()
    unittest.main(verbosity=2)
