# SPDX-License-Identifier: Apache-2.0
"""Targets by Services and EndpointSlices: streams go to the endpoints that are ready, by turns, at the port that the Service means; no DNS
is asked."""

import json
import unittest

import cache
from api_server import wait_until
from cluster_case import ClusterCase, answer_of


class EndpointSlices(ClusterCase):
    endpoint_slices = True

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.pods = {name: cls.cluster.back_end(name, 8080) for name in ("a", "b")}

    def setUp(self):
        super().setUp()
        self.channel = self.pair.agent.channel(self.pair.server.port, "web")

    def set_ready(self, *names):
        """Behind port 80 of the Service, which no name of DNS leads to."""
        self.cluster.service("web", "shop", 80, *(self.pods[name] for name in names), target_port=8080)
        self.cluster.set_name("web.shop")

    def answers(self, count=8):
        return sorted({answer_of(self.channel) for _ in range(count)}, key=str)

    def test_streams_take_turns_among_those_that_are_ready(self):
        self.set_ready("a", "b")
        self.pair.start()
        self.apply("sm", "web.shop:80")
        wait_until(lambda: self.condition("sm", "Ready") == ("True", "Ready"), 10, "it to be ready")
        self.assertEqual(self.answers(), ["a", "b"])
        not_ready = [{"op": "replace", "path": "/endpoints/0/conditions/ready", "value": False}]
        self.api.kubectl("patch", "endpointslice", "web", "--namespace=shop", "--type=json", f"--patch={json.dumps(not_ready)}")
        wait_until(lambda: self.answers() == ["b"], 3, "only one to be left")
        self.set_ready("a")
        wait_until(lambda: self.answers() == ["a"], 3, "only the other one to be left")
        self.set_ready("a", "b")
        wait_until(lambda: self.answers() == ["a", "b"], 3, "both to be back")

    def test_a_port_is_meant_by_number_or_by_name(self):
        self.set_ready("a")
        self.pair.start()
        self.apply("sm", "web.shop:http")
        self.says(self.channel, "a")
        self.apply("sm", "web.shop:81")
        wait_until(lambda: self.condition("sm", "TargetResolved") == ("False", "NotFound"), 10, "the port not to be found")
        message = self.message("sm")
        self.assertIn("no TCP port 81", message)

    def test_nobody_who_is_ready_is_told(self):
        self.set_ready("a")
        self.pair.start()
        self.apply("sm", "web.shop:80")
        self.says(self.channel, "a")
        self.set_ready()
        wait_until(lambda: self.condition("sm", "TargetResolved") == ("False", "NotFound"), 10, "it to be told")
        self.assertIn("no ready endpoint", self.message("sm"))
        self.refuses(self.channel)
        self.apply("nowhere", "nowhere.shop:80", "other")
        wait_until(lambda: self.condition("nowhere", "TargetResolved") == ("False", "NotFound"), 10, "it not to be found")
        self.assertIn("no Service shop/nowhere", self.message("nowhere"))
        self.set_ready("b")
        self.says(self.channel, "b", 3)
        wait_until(lambda: self.condition("sm", "Ready") == ("True", "Ready"), 10, "it to be ready again")

    def message(self, name):
        conditions = self.mapping(name)["status"]["conditions"]
        return next(each["message"] for each in conditions if each["type"] == "TargetResolved")


if __name__ == "__main__":
    cache.api_server()
    unittest.main(verbosity=2)
