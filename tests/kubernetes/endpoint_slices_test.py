# SPDX-License-Identifier: Apache-2.0
"""Targets resolved by Services and EndpointSlices: streams go to the ready endpoints in turn, at the port of the
Service, without DNS."""

import json
import unittest

from tests.harness.kubernetes import program_cache
from tests.harness.kubernetes.cluster_case import ClusterCase, answer_of
from tests.harness.waiting import wait_until


class EndpointSlices(ClusterCase):
    endpoint_slices = True
    # Kubernetes 1.20 does not keep `serving` and `terminating` otherwise.
    api_arguments = ("--feature-gates=EndpointSliceTerminatingCondition=true",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.pods = {name: cls.cluster.back_end(name, 8080) for name in ("a", "b")}

    def setUp(self):
        super().setUp()
        self.channel = self.pair.agent.channel(self.pair.server.port, "web")

    def set_ready(self, *names):
        """Sets the ready endpoints of port 80 of the Service, which has no name in DNS."""
        self.cluster.service("web", "shop", 80, *(self.pods[name] for name in names), target_port=8080)
        self.cluster.set_name("web.shop")

    def answers(self, count=8):
        return sorted({answer_of(self.channel) for _ in range(count)}, key=str)

    def test_streams_take_turns_among_ready_endpoints(self):
        self.set_ready("a", "b")
        self.pair.start()
        self.apply("sm", "web.shop:80")
        wait_until(lambda: self.condition("sm", "Ready") == ("True", "Ready"), 10, "it to be ready")
        self.assertEqual(self.answers(), ["a", "b"])
        not_ready = [{"op": "replace", "path": "/endpoints/0/conditions/ready", "value": False}]
        self.api.kubectl("patch", "endpointslice", "web", "--namespace=shop", "--type=json",
                         f"--patch={json.dumps(not_ready)}")
        wait_until(lambda: self.answers() == ["b"], 3, "only one to be left")
        self.set_ready("a")
        wait_until(lambda: self.answers() == ["a"], 3, "only the other one to be left")
        self.set_ready("a", "b")
        wait_until(lambda: self.answers() == ["a", "b"], 3, "both to be back")

    def test_an_endpoint_that_terminates_serves_until_another_is_ready(self):
        self.set_ready("a", "b")
        self.pair.start()
        self.apply("sm", "web.shop:80")
        self.assert_reaches(self.channel, "a")
        self.set_conditions({"ready": False, "serving": True, "terminating": True},
                            {"ready": False, "serving": False, "terminating": True})
        wait_until(lambda: self.answers() == ["a"], 3, "only the one that still serves to be used")
        wait_until(lambda: self.condition("sm", "TargetResolved") == ("True", "Resolved"), 10, "it to be resolved")
        self.set_conditions({"ready": False, "serving": True, "terminating": True}, {})
        wait_until(lambda: self.answers() == ["b"], 3, "the ready one to be used")
        self.set_conditions({"ready": False, "serving": False, "terminating": True}, {"ready": False})
        wait_until(lambda: self.condition("sm", "TargetResolved") == ("False", "NotFound"), 10,
                   "no endpoint to be left")
        self.assert_refuses(self.channel)

    def test_without_an_endpoint_no_port_of_a_pod_is_dialled_by_name(self):
        self.pods["own"] = self.cluster.back_end("own", 80)  # At the Service's port, which is not the pods'.
        self.set_ready()
        self.cluster.set_name("web.shop", self.pods["own"])
        self.pair.start()
        self.apply("sm", "web.shop:80")
        wait_until(lambda: self.condition("sm", "TargetResolved") == ("False", "NotFound"), 10,
                   "the report in the status")
        self.assert_refuses(self.channel)

    def test_an_external_name_is_looked_up(self):
        self.cluster.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}},
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "outside", "namespace": "shop"},
             "spec": {"type": "ExternalName", "externalName": "outside.example"}})
        self.cluster.set_name("outside.shop", self.cluster.back_end("outside", 80))
        self.pair.start()
        self.apply("sm", "outside.shop:80")
        self.assert_reaches(self.channel, "outside")
        wait_until(lambda: self.condition("sm", "TargetResolved") == ("True", "Resolved"), 10, "it to be resolved")

    def set_conditions(self, *conditions):
        """Sets the conditions of the first endpoints of the Service's slice."""
        patch = [{"op": "replace", "path": f"/endpoints/{number}/conditions", "value": each}
                 for number, each in enumerate(conditions)]
        self.api.kubectl("patch", "endpointslice", "web", "--namespace=shop", "--type=json",
                         f"--patch={json.dumps(patch)}")

    def test_a_port_is_found_by_number_or_by_name(self):
        self.set_ready("a")
        self.pair.start()
        self.apply("sm", "web.shop:http")
        self.assert_reaches(self.channel, "a")
        self.apply("sm", "web.shop:81")
        wait_until(lambda: self.condition("sm", "TargetResolved") == ("False", "NotFound"), 10,
                   "the port not to be found")
        message = self.message("sm")
        self.assertIn("no TCP port 81", message)

    def test_a_service_without_ready_endpoints_is_reported(self):
        self.set_ready("a")
        self.pair.start()
        self.apply("sm", "web.shop:80")
        self.assert_reaches(self.channel, "a")
        self.set_ready()
        wait_until(lambda: self.condition("sm", "TargetResolved") == ("False", "NotFound"), 10,
                   "the report in the status")
        self.assertIn("no ready endpoint", self.message("sm"))
        self.assert_refuses(self.channel)
        self.apply("nowhere", "nowhere.shop:80", "other")
        wait_until(lambda: self.condition("nowhere", "TargetResolved") == ("False", "NotFound"), 10,
                   "it not to be found")
        self.assertIn("no Service shop/nowhere", self.message("nowhere"))
        self.set_ready("b")
        self.assert_reaches(self.channel, "b", 3)
        wait_until(lambda: self.condition("sm", "Ready") == ("True", "Ready"), 10, "it to be ready again")

    def message(self, name):
        conditions = self.mapping(name)["status"]["conditions"]
        return next(each["message"] for each in conditions if each["type"] == "TargetResolved")


if __name__ == "__main__":
    program_cache.api_server()
    unittest.main(verbosity=2)
