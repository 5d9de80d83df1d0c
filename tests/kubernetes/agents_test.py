# SPDX-License-Identifier: Apache-2.0
"""Agents as objects of the cluster: an object gets a join token, the agent joins with it and connects, and the object
ends it again on every replica. Needs no certificate that somebody has made by hand."""

import concurrent.futures
import time
import unittest

from tests.harness.culvert_program import Server
from tests.harness.kubernetes import program_cache
from tests.harness.kubernetes.cluster_case import ClusterCase
from tests.harness.kubernetes.enrolled import AGENTS, NAMESPACE, Enrolled
from tests.harness.waiting import wait_until

END_SECONDS_MAX = 5
BACK_SECONDS_MAX = 30
RACES = 5


class AgentObjects(ClusterCase):
    chart_values = ["--set", "enrolment.enabled=true"]

    def setUp(self):
        super().setUp()
        self.second = Server(self, self.pair.server_credentials, name="server-2")
        self.join(self.second)
        self.servers = [self.pair.server, self.second]
        for number, server in enumerate(self.servers, 1):
            self.replicate(server, f"replica-{number}", f"10.0.0.{number}")
        self.enrolled = Enrolled(self, self.second)
        for server in self.servers:
            server.start()
        for server in self.servers:
            server.wait_until_ready()

    # --- what is there ------------------------------------------------------------------------------------------------

    def connected(self, name, **spec):
        """An agent that has joined and is connected to both replicas."""
        self.enrolled.add(name, **spec)
        agent = self.enrolled.join(name).start()
        self.enrolled.wait_for(name, "Connected")
        wait_until(lambda: self.enrolled.status(name).get("replicas") == ["replica-1", "replica-2"], 15,
                   "both replicas to have it")
        return agent

    def tunnels(self):
        """Of each server, those that are up."""
        return [sum(tunnel["state"] == "up" for tunnel in server.status()["tunnels"]) for server in self.servers]

    def assert_ends(self, act):
        act()
        began = time.monotonic()
        wait_until(lambda: self.tunnels() == [0, 0], END_SECONDS_MAX, "its tunnels to end on both replicas")
        self.notes.append(f"an agent was ended on two replicas in {time.monotonic() - began:.1f} s")

    # --- the tests ----------------------------------------------------------------------------------------------------

    def test_an_object_leads_to_a_connected_agent(self):
        began = time.monotonic()
        self.enrolled.add("gate-1", location="plant-1")
        token = self.enrolled.token("gate-1")
        self.assertEqual(self.enrolled.condition("gate-1", "Joined"), ("False", "TokenIssued"))
        secret = self.enrolled.secret("gate-1")
        self.assertEqual([owner["name"] for owner in secret["metadata"]["ownerReferences"]], ["gate-1"])
        self.assertEqual(secret["type"], "Opaque")
        agent = self.enrolled.join("gate-1").start()
        self.enrolled.wait_for("gate-1", "Connected")
        self.notes.append(f"from the object to the connected agent: {time.monotonic() - began:.1f} s")
        self.enrolled.wait_for("gate-1", "Ready")
        status = self.enrolled.status("gate-1")
        self.assertEqual(status["certificate"]["serial"],
                         self.pair.server.status()["tunnels"][0]["serial"].lower().lstrip("0"))
        self.assertEqual(status["observedGeneration"], 1)
        self.assertRegex(status["version"], r"^\d+\.\d+\.\d+")
        self.assertIn("lastSeen", status)
        wait_until(lambda: self.enrolled.secret("gate-1") is None, 10, "the token to be removed")
        for server in self.servers:
            self.assertNotIn(token, server.output())
        agent.stop()
        self.enrolled.wait_for("gate-1", "Connected", "False")
        self.enrolled.wait_for_reason("gate-1", "Connected", "NotConnected")

    def test_a_disabled_agent_ends_on_both_replicas_and_comes_back(self):
        agent = self.connected("gate-1")
        self.assert_ends(lambda: self.enrolled.change("gate-1", enabled=False))
        self.enrolled.wait_for_reason("gate-1", "Connected", "Disabled")
        time.sleep(2)
        self.assertEqual(self.tunnels(), [0, 0], "it is refused")
        agent.wait_for_output("agent_disabled")
        self.enrolled.change("gate-1", enabled=True)
        wait_until(lambda: min(self.tunnels()) > 0, BACK_SECONDS_MAX, "it to be back on both replicas")

    def test_a_deleted_agent_ends_on_both_replicas(self):
        agent = self.connected("gate-1")
        self.assert_ends(lambda: self.enrolled.delete("gate-1"))
        agent.wait_for_output("not_enrolled")

    def test_a_token_is_used_once(self):
        self.enrolled.add("gate-1")
        token = self.enrolled.token("gate-1")
        self.assertEqual(self.enrolled.try_to_join(token, self.enrolled.folder("gate-1"))[0], 0)
        status, said = self.enrolled.try_to_join(token, self.enrolled.folder("thief"))
        self.assertNotEqual(status, 0)
        self.assertIn("token_used", said)
        self.assertNotIn(token, said)

    def test_of_two_with_one_token_exactly_one_joins(self):
        for number in range(RACES):
            name = f"race-{number}"
            self.enrolled.add(name)
            token = self.enrolled.token(name)
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                folders = [self.enrolled.folder(f"{name}-{side}") for side in "ab"]
                answers = list(pool.map(lambda folder: self.enrolled.try_to_join(token, folder), folders))
            self.assertEqual(sorted(status == 0 for status, _ in answers), [False, True], answers)

    def test_a_disabled_agent_cannot_join(self):
        self.enrolled.add("gate-1")
        token = self.enrolled.token("gate-1")
        self.enrolled.change("gate-1", enabled=False)
        self.enrolled.wait_for_reason("gate-1", "Connected", "Disabled")
        status, said = self.enrolled.try_to_join(token, self.enrolled.folder("gate-1"))
        self.assertNotEqual(status, 0)
        self.assertIn("agent_disabled", said)

    def test_an_annotation_makes_another_token(self):
        self.enrolled.add("gate-1")
        first = self.enrolled.token("gate-1")
        self.enrolled.ask_for_rejoin("gate-1", "1")
        second = self.enrolled.token("gate-1", other_than=first)
        status, said = self.enrolled.try_to_join(first, self.enrolled.folder("old"))
        self.assertNotEqual(status, 0)
        self.assertIn("token_refused", said)
        self.assertEqual(self.enrolled.try_to_join(second, self.enrolled.folder("gate-1"))[0], 0)
        wait_until(lambda: self.enrolled.secret("gate-1") is None, 10, "the token to be removed")
        self.enrolled.ask_for_rejoin("gate-1", "2")
        third = self.enrolled.token("gate-1")
        self.assertEqual(self.enrolled.try_to_join(third, self.enrolled.folder("new"))[0], 0)
        self.assertEqual(self.enrolled.condition("gate-1", "Joined"), ("True", "Joined"))

    def test_of_two_objects_for_one_agent_the_older_counts(self):
        self.enrolled.add("gate-1")
        self.enrolled.token("gate-1")
        time.sleep(1)  # The API server's clock counts seconds.
        self.enrolled.add("other", agent="gate-1")
        self.enrolled.wait_for_reason("other", "Joined", "Duplicate")
        self.assertIsNone(self.enrolled.secret("other"))

    def test_the_other_replica_makes_tokens_after_the_writer_is_killed(self):
        writer = wait_until(lambda: next((each for each in self.servers
                                          if each.status()["kubernetes"][0]["writes_status"]), None), 20, "a writer")
        writer.kill()
        self.enrolled.add("gate-1")
        wait_until(lambda: self.enrolled.secret("gate-1"), 30, "the other one to make the token")
        status, said = self.enrolled.try_to_join(self.enrolled.token("gate-1"), self.enrolled.folder("gate-1"))
        self.assertEqual(status, 0, said)

    def test_a_foreign_certificate_does_not_show_up_as_an_object(self):
        self.pair.agent.start().wait_until_ready()
        self.assertEqual(self.api.kubectl("get", AGENTS, f"--namespace={NAMESPACE}", "--output=name"), "")


if __name__ == "__main__":
    program_cache.api_server()
    unittest.main(verbosity=2)
