# SPDX-License-Identifier: Apache-2.0
"""ServiceMapping objects in a real API server as entries of the server's table: they take effect without a restart, and
their status is correct."""

import contextlib
import http.client
import json
import pathlib
import time
import unittest

from tests.harness.culvert_program import ACCOUNT
from tests.harness.kubernetes import program_cache
from tests.harness.kubernetes.cluster import MAPPINGS
from tests.harness.kubernetes.cluster_case import ClusterCase, answer_of
from tests.harness.kubernetes.request_load import RequestLoad
from tests.harness.ports import free_port
from tests.harness.waiting import wait_until

SERVICE_ID, PORT = "myservice", 5001  # as in the guide's example
SEED = (pathlib.Path(__file__).parent / "seed.yaml").read_text().replace("7a1c0f4e-93b5-4c6d-8e21-5d0f6a7b8c9d",
                                                                         ACCOUNT)


def next_answer(connection):
    """The next answer on a kept connection."""
    connection.request("GET", "/")
    return connection.getresponse().read()


class ServiceMappings(ClusterCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.cluster.service("echoserver", "test", 80, cls.cluster.back_end("echoserver"))

    def start(self):
        self.channel = self.pair.agent.channel(self.pair.server.port, "web")
        self.pair.start()

    def events_of(self, name):
        events = json.loads(self.api.kubectl("get", "events", "--output=json"))["items"]
        return [event for event in events if event["involvedObject"]["name"] == name]

    def test_the_guide_word_by_word(self):
        kubectl, agent = self.api.kubectl, self.pair.agent
        self.pair.start()
        kubectl("apply", "--filename=-", input=SEED)
        endpoint = wait_until(lambda: kubectl("get", MAPPINGS, "sm", "-ojsonpath={.status.endpoint}"), 10,
                              "the endpoint")
        self.assertEqual(endpoint, f"tcp://127.0.0.1:{self.pair.server.port}/{SERVICE_ID}")
        agent.tables["channel"] = [{"endpoint": endpoint, "listen": f"127.0.0.1:{PORT}"}]
        agent.reload()
        said = self.command("curl", "-v", "--max-time", 10, f"http://localhost:{PORT}/test", "-H",
                            "Host: echoserver.test")
        self.assertIn("< HTTP/1.1 200 OK", said)
        self.assertIn("\nechoserver", said.replace("\r", ""))
        for condition in ("Accepted", "TargetResolved", "AgentConnected", "Ready"):
            kubectl("wait", f"--for=condition={condition}", "--timeout=20s", MAPPINGS, "sm")
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)) as old:
            old.connect()
            old.auto_open = False  # It must not reconnect silently.
            self.assertEqual(next_answer(old), b"echoserver")
            kubectl("patch", MAPPINGS, "sm", "--type=merge",
                    '--patch={"spec":{"internalAddress":"two.test.svc.cluster.local:80"}}')
            self.assert_reaches(PORT, "two", 2)
            self.assertEqual(next_answer(old), b"echoserver", "open connections stay")
        self.wait_for_status("sm")
        kubectl("delete", MAPPINGS, "sm")
        self.assert_refuses(PORT)
        agent.wait_for_output("reason=no_such_service")

    def test_faults_are_reported_and_do_not_affect_other_mappings(self):
        self.start()
        self.apply("good", "one.test:80")
        self.api.kubectl("wait", "--for=condition=Accepted", "--timeout=20s", MAPPINGS, "good")
        self.apply("later", "two.test.svc:80")
        self.apply("address", "10.0.0.1:80", "other")
        self.apply("nowhere", "nowhere.test:80", "nowhere")
        wait_until(lambda: self.condition("later", "Accepted") == ("False", "Duplicate"), 10,
                   "the duplicate to be refused")
        wait_until(lambda: self.condition("address", "Accepted") == ("False", "BadInternalAddress"), 10,
                   "the address to be refused")
        wait_until(lambda: self.condition("nowhere", "TargetResolved") == ("False", "NotFound"), 15,
                   "the name not to be found")
        for name, reason in (("later", "Duplicate"), ("address", "BadInternalAddress")):
            event = wait_until(lambda name=name: self.events_of(name), 10, "an event")[0]
            self.assertEqual((event["reason"], event["type"]), (reason, "Warning"))
        self.assert_reaches(self.channel, "one", 2)
        self.api.kubectl("delete", MAPPINGS, "good")
        self.assert_reaches(self.channel, "two", 3)
        wait_until(lambda: self.condition("later", "Ready") == ("True", "Ready"), 10, "the other one to be ready")
        self.assertEqual(len(self.events_of("later")), 1)
        self.assertEqual(self.events_of("good"), [])

    def test_a_name_is_resolved_for_each_stream(self):
        self.start()
        self.addCleanup(self.cluster.set_name, "moving.test")
        self.apply("moving", "moving.test:80")
        wait_until(lambda: self.condition("moving", "TargetResolved") == ("False", "NotFound"), 15,
                   "the name not to be found")
        self.assertIsNone(answer_of(self.channel))
        self.cluster.set_name("moving.test", *self.cluster.names["one.test"])
        self.assert_reaches(self.channel, "one", 2)
        self.cluster.set_name("moving.test", *self.cluster.names["two.test"])
        self.assert_reaches(self.channel, "two", 2)

    def test_a_named_port_is_the_port_of_the_service(self):
        self.start()
        self.apply("named", "one.test:http")
        self.assert_reaches(self.channel, "one")

    def test_status_says_whether_an_agent_is_connected(self):
        self.channel = self.pair.agent.channel(self.pair.server.port, "web")
        self.pair.server.start().wait_until_ready()
        self.apply("sm", "one.test:80")
        wait_until(lambda: self.condition("sm", "AgentConnected") == ("False", "NoAgent"), 10, "no agent")
        self.pair.agent.start().wait_until_ready()
        self.api.kubectl("wait", "--for=condition=AgentConnected", "--timeout=20s", MAPPINGS, "sm")
        wait_until(lambda: self.condition("sm", "Ready") == ("True", "Ready"), 10, "it to be ready")
        # Nothing changes, so nothing is written.
        version = self.mapping("sm")["metadata"]["resourceVersion"]
        time.sleep(5)
        self.assertEqual(self.mapping("sm")["metadata"]["resourceVersion"], version)
        self.assertEqual(self.pair.server.status()["kubernetes"][0]["writes_status"], True)
        self.pair.agent.stop()
        wait_until(lambda: self.condition("sm", "AgentConnected") == ("False", "NoAgent"), 10, "no agent any more")


class Reloads(ClusterCase):
    """A reload may change the access to the cluster. The known mappings stay in force until they are listed again."""

    def start(self):
        """Returns the channel of a mapping that is in force."""
        channel = self.pair.agent.channel(self.pair.server.port, "web")
        self.pair.start()
        self.apply("sm", "one.test:http")
        self.assert_reaches(channel, "one")
        self.wait_for_status("sm")
        return channel

    def test_a_reload_loses_no_mapping(self):
        server, channel = self.pair.server, self.start()
        with RequestLoad(self, channel, "one"):
            for account in ("a", "b"):
                server.tables["kubernetes"]["account"] = account
                server.reload()
                wait_until(lambda: server.status()["kubernetes"][0]["synced"], 10, "the mappings to be listed again")
                time.sleep(1)
            server.tables["kubernetes"]["external_address"] = "tunnel.example.com:443"
            server.reload()
            wait_until(lambda: self.mapping("sm")["status"]["endpoint"] == "tcp://tunnel.example.com:443/web", 15,
                       "the other endpoint")
            # They also stay while the API server does not answer.
            server.tables["kubernetes"]["api_server"] = f"https://127.0.0.1:{free_port()}"
            server.reload()
            time.sleep(2)


class ReloadsWithEndpointSlices(Reloads):
    endpoint_slices = True


class ReloadsWithoutTheRight(ReloadsWithEndpointSlices):
    """The account loses its right to read the mappings."""

    def test_a_reload_loses_no_mapping(self):
        server, channel = self.pair.server, self.start()
        self.api.kubectl("delete", "clusterrolebinding", "culvert-server")
        with RequestLoad(self, channel, "one"):
            server.tables["kubernetes"]["account"] = "a"
            server.reload()
            server.wait_for_output("code=kubernetes.refused")
            time.sleep(4)


if __name__ == "__main__":
    program_cache.api_server()
    unittest.main(verbosity=2)
