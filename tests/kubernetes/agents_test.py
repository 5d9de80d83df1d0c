# SPDX-License-Identifier: Apache-2.0
"""Agents as objects of the cluster: an object gets a join token, the agent joins with it and connects, and the object
ends it again on every replica. Needs no certificate that somebody has made by hand.

CULVERT_JOIN_RACES=200 scripts/test --kubernetes -k exactly_one_joins runs as many rounds of two joins at once."""

import collections
import concurrent.futures
import os
import re
import ssl
import struct
import threading
import time
import unittest

import msgpack

from tests.harness.bare_agent import BareAgent
from tests.harness.certificates import Credentials, serial_of
from tests.harness.culvert_program import ACCOUNT, Server
from tests.harness.enrolment import DENIED, ISSUED, RENEW, TOKEN_USED, raw_join, request_for, token_parts
from tests.harness.hostile_server import HELLO, WELCOME, frame
from tests.harness.kubernetes import program_cache
from tests.harness.kubernetes.cluster_case import ClusterCase
from tests.harness.kubernetes.enrolled import AGENTS, NAMESPACE, Enrolled
from tests.harness.sockets import receive_exactly
from tests.harness.waiting import wait_until

END_SECONDS_MAX = 5
BACK_SECONDS_MAX = 30
RACES = int(os.environ.get("CULVERT_JOIN_RACES", "5"))


def payload_of(connection, wanted):
    """The payload of the next frame, if it is of this kind."""
    kind, _, _, _, size = struct.unpack(">BBHII", receive_exactly(connection, 12))
    payload = receive_exactly(connection, size)
    return payload if kind == wanted else None


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

    def assert_ends(self, agent, reason, act):
        """Its tunnels end on both replicas, and the next ones are refused there, as the agent reports."""
        before = len(agent.output())
        refused = [server.output().count("agent.refused") for server in self.servers]
        began = time.monotonic()
        act()
        wait_until(lambda: self.tunnels() == [0, 0], END_SECONDS_MAX, "its tunnels to end on both replicas")
        seconds = time.monotonic() - began
        self.assertLess(seconds, END_SECONDS_MAX)
        self.notes.append(f"{reason}: its tunnels on two replicas ended in {seconds:.1f} s")
        for server, count in zip(self.servers, refused, strict=True):
            wait_until(lambda server=server, count=count: server.output().count("agent.refused") > count, 15,
                       f"{server.name} to refuse it")
        self.assertEqual(self.tunnels(), [0, 0])
        self.assertIn(f"code=tunnel.{reason}", agent.output()[before:])

    def refused_writes(self):
        """How many changes of an Agent the API server has refused, because another one was faster."""
        series = re.findall(r'^apiserver_request_total\{([^}]*)\} (\S+)$', self.api.get("/metrics"), re.M)
        return sum(int(float(value)) for labels, value in series
                   if 'code="409"' in labels and 'resource="agents"' in labels)

    def race(self, number):
        """Two keys ask with one token, each at its own replica. Returns the name of the replica by which one joined."""
        name, servers = f"race-{number}", self.servers if number % 2 else self.servers[::-1]
        self.enrolled.add(name)
        parts = token_parts(self.enrolled.token(name))
        start = threading.Barrier(2)

        def ask(server):
            _, request = request_for(parts["u"], self.folder, f"{name}-{server.name}")
            start.wait(30)
            return raw_join(server.port, parts["i"], parts["s"], request)

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            running = [pool.submit(ask, server) for server in servers]
            answers = [each.result() for each in running]
        kinds = [kind for kind, _ in answers]
        self.assertEqual(sorted(kinds), [ISSUED, DENIED], answers)
        winner = kinds.index(ISSUED)
        self.assertEqual(answers[1 - winner][1]["reason"], TOKEN_USED, answers)
        certificate = self.folder / f"{name}.der"
        certificate.write_bytes(answers[winner][1]["chain"])
        self.assertEqual(self.enrolled.status(name)["certificate"]["serial"], serial_of(certificate))
        return servers[winner].name

    def columns(self, name, *arguments):
        """What kubectl prints of the object, without its age."""
        header, row = self.api.kubectl("get", AGENTS, name, f"--namespace={NAMESPACE}", *arguments).splitlines()
        starts = [match.start() for match in re.finditer(r"\S+", header)]
        cells = {header[start:end].strip(): row[start:end].strip()
                 for start, end in zip(starts, [*starts[1:], None], strict=True)}
        self.assertRegex(cells.pop("AGE"), r"^\d+[sm]")
        return cells

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
        wait_until(lambda: self.enrolled.status("gate-1").get("replicas") == ["replica-1", "replica-2"], 15,
                   "both replicas to have it")
        status = self.enrolled.status("gate-1")
        self.assertEqual(self.columns("gate-1"), {
            "NAME": "gate-1", "ACCOUNT": ACCOUNT, "LOCATION": "plant-1", "CONNECTED": "True",
            "VERSION": status["version"], "EXPIRES": status["certificate"]["notAfter"]})
        self.assertEqual(self.columns("gate-1", "--output=wide")["JOINED"], "Joined")
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
        self.assert_ends(agent, "agent_disabled", lambda: self.enrolled.change("gate-1", enabled=False))
        self.enrolled.wait_for_reason("gate-1", "Connected", "Disabled")
        began = time.monotonic()
        self.enrolled.change("gate-1", enabled=True)
        wait_until(lambda: min(self.tunnels()) > 0, BACK_SECONDS_MAX, "it to be back on both replicas")
        seconds = time.monotonic() - began
        self.assertLess(seconds, BACK_SECONDS_MAX)
        self.notes.append(f"enabled: it was back on two replicas in {seconds:.1f} s")
        self.enrolled.wait_for("gate-1", "Connected")

    def test_a_deleted_agent_ends_on_both_replicas(self):
        agent = self.connected("gate-1")
        self.assert_ends(agent, "not_enrolled", lambda: self.enrolled.delete("gate-1"))

    def test_a_token_is_used_once(self):
        self.enrolled.add("gate-1")
        token = self.enrolled.token("gate-1")
        self.assertEqual(self.enrolled.try_to_join(token, self.enrolled.folder("gate-1"))[0], 0)
        status, said = self.enrolled.try_to_join(token, self.enrolled.folder("thief"))
        self.assertNotEqual(status, 0)
        self.assertIn("token_used", said)
        self.assertNotIn(token, said)

    def test_of_two_with_one_token_exactly_one_joins(self):
        before, began = self.refused_writes(), time.monotonic()
        winners = collections.Counter(map(self.race, range(RACES)))
        by = ", ".join(f"{count} by {name}" for name, count in sorted(winners.items()))
        self.notes.append(f"{RACES} rounds of two joins at once: exactly one joined in each, {by}; the API server "
                          f"refused {self.refused_writes() - before} writes ({time.monotonic() - began:.0f} s)")

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

    def test_a_token_that_was_lost_or_has_expired_is_replaced_as_the_condition_says(self):
        self.enrolled.add("gate-1")
        first = self.enrolled.token("gate-1")
        self.enrolled.wait_for_reason("gate-1", "Joined", "TokenIssued")
        self.enrolled.delete_secret("gate-1")
        self.enrolled.follow_advice("gate-1")
        second = self.enrolled.token("gate-1", other_than=first)
        self.enrolled.end_token("gate-1")
        self.enrolled.wait_for_reason("gate-1", "Joined", "TokenExpired")
        wait_until(lambda: self.enrolled.secret("gate-1") is None, 10, "the token to be removed")
        status, said = self.enrolled.try_to_join(second, self.enrolled.folder("late"))
        self.assertNotEqual(status, 0)
        self.assertIn("token_expired", said)
        self.enrolled.follow_advice("gate-1")
        third = self.enrolled.token("gate-1", other_than=second)
        status, said = self.enrolled.try_to_join(third, self.enrolled.folder("gate-1"))
        self.assertEqual(status, 0, said)

    def test_a_renewal_at_another_replica_is_noted_in_the_status(self):
        self.enrolled.add("gate-1")
        parts = token_parts(self.enrolled.token("gate-1"))
        key, request = request_for(parts["u"], self.folder)
        kind, issued = raw_join(self.servers[0].port, parts["i"], parts["s"], request)
        self.assertEqual(kind, ISSUED)
        certificate = self.folder / "first.pem"
        certificate.write_text(ssl.DER_cert_to_PEM_cert(issued["chain"]))
        self.enrolled.wait_for("gate-1", "Joined")
        self.assertEqual(self.enrolled.status("gate-1")["certificate"]["serial"], serial_of(certificate))
        agent = BareAgent(self, self.servers[1].port, Credentials(certificate, key, self.pair.authority.ca))
        tunnel = wait_until(agent.dial, 5, "a tunnel")
        hello = {"v_min": 1, "v_max": 1, "instance": os.urandom(16), "epoch": 1, "slot": 0, "caps": ["renew"]}
        tunnel.sendall(frame(HELLO, 0, msgpack.packb(hello)))
        while payload_of(tunnel, WELCOME) is None:
            pass
        _, request = request_for(parts["u"], self.folder, "second")
        tunnel.sendall(frame(RENEW, 0, msgpack.packb({"request": request})))
        while payload_of(tunnel, ISSUED) is None:
            pass
        wait_until(lambda: self.enrolled.status("gate-1")["certificate"]["serial"] != serial_of(certificate), 10,
                   "the serial of the new one")
        tunnel.close()  # It does not leave when the server asks it to.

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

    def test_an_agent_is_not_put_out_while_the_cluster_does_not_answer(self):
        agent = self.connected("gate-1")
        for server in self.servers:
            server.stop()
        self.api.stop()
        try:
            for server in self.servers:
                server.start()
                wait_until(lambda server=server: "agent.refused" in server.output(), 20, "it to try again")
        finally:
            self.api.start()
        wait_until(lambda: min(self.tunnels()) > 0, BACK_SECONDS_MAX, "it to be back on both replicas")
        self.assertNotIn("not_enrolled", agent.output())

    def test_a_foreign_certificate_does_not_show_up_as_an_object(self):
        self.pair.agent.start().wait_until_ready()
        self.assertEqual(self.api.kubectl("get", AGENTS, f"--namespace={NAMESPACE}", "--output=name"), "")


if __name__ == "__main__":
    program_cache.api_server()
    unittest.main(verbosity=2)
