# SPDX-License-Identifier: Apache-2.0
"""Five thousand ServiceMappings: all come into force and get a status, at a known cost; then the server writes nothing
more; a restart finds them again; and after their deletion they are not in force any more."""

import concurrent.futures
import contextlib
import http.client
import json
import time
import unittest

from tests.harness.kubernetes import audit, program_cache
from tests.harness.kubernetes.cluster import NAMESPACE
from tests.harness.kubernetes.cluster_case import COLLECTION, ClusterCase, mapping
from tests.harness.kubernetes.request_load import RequestLoad
from tests.harness.process_usage import cpu_seconds
from tests.harness.waiting import wait_until

OBJECTS, TARGETS, LANES = 5000, 1000, 8
DELETED_AT_ONCE = 500          # A busy API server takes more than its 34 s for 5000 in one request, and answers 504.
LABEL = "culvert-test=many"
IN_FORCE_SECONDS_MAX = 10      # after the creation of the last object
STATUS_SECONDS_MAX = 180       # the same
RESTART_SECONDS_MAX = 15
IDLE_SECONDS = 60
IDLE_CPU_SECONDS_MAX = 20      # during IDLE_SECONDS
MEMORY_MAX = 64 << 20          # for all objects together


class ManyObjects(ClusterCase):
    seconds = 240
    api_arguments = audit.ARGUMENTS

    def setUp(self):
        super().setUp()
        self.server = self.pair.server
        self.cluster.names |= {f"service-{number}.many": self.cluster.names["one.test"] for number in range(TARGETS)}
        self.cluster.set_name()
        # At both ends of the list and in the middle.
        self.channels = {number: self.pair.agent.channel(self.server.port, f"service-{number}")
                         for number in (0, 2500, OBJECTS - 1)}
        self.last, self.log_begin = time.monotonic(), 0

    # --- the API, faster than kubectl ---------------------------------------------------------------------------------

    @contextlib.contextmanager
    def connection(self):
        with contextlib.closing(http.client.HTTPSConnection("127.0.0.1", self.api.port, timeout=60,
                                                            context=self.api.context())) as connection:
            def ask(method, path, body=None):
                connection.request(method, path, body and json.dumps(body), {"Content-Type": "application/json"})
                answer = connection.getresponse()
                text = answer.read()
                assert answer.status < 300, f"{method} {path}: {answer.status} {text[:1000]}"
                return json.loads(text)
            yield ask

    def create(self, numbers):
        with self.connection() as ask:
            for number in numbers:
                content = mapping(f"many-{number}", f"service-{number % TARGETS}.many:80", f"service-{number}")
                content["metadata"]["labels"] = dict([LABEL.split("=")])
                ask("POST", COLLECTION, content)

    def conditions(self):
        """For each object: type -> condition."""
        with self.connection() as ask:
            return [{each["type"]: each for each in item.get("status", {}).get("conditions", [])}
                    for item in ask("GET", COLLECTION)["items"]]

    def all_is_well(self):
        return all(len(each) == 4 and all(condition["status"] == "True" for condition in each.values())
                   for each in self.conditions())

    # --- the server ---------------------------------------------------------------------------------------------------

    def in_force(self):
        """How many services the table has, by the log since the last start."""
        parts = self.server.output()[self.log_begin:].rsplit(" services=", 1)
        return int(parts[1].split()[0]) if len(parts) == 2 else None

    def memory(self):
        with open(f"/proc/{self.server.process.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmRSS"))

    def note(self, what):
        now = time.monotonic()
        self.notes.append(
            f"{what}: {now - self.last:.1f} s, {self.memory() >> 20} MiB, {cpu_seconds(self.server):.1f} s of CPU")
        self.last = now

    def assert_all_in_force(self, seconds):
        wait_until(lambda: self.in_force() == OBJECTS, seconds, f"{OBJECTS} in force", every=0.2)
        for channel in self.channels.values():
            self.assert_reaches(channel, "one", 2)

    def test_five_thousand(self):
        self.pair.start()
        before = self.memory()
        self.note("nothing yet")
        with concurrent.futures.ThreadPoolExecutor(LANES) as pool:
            list(pool.map(self.create, [range(lane, OBJECTS, LANES) for lane in range(LANES)]))
        self.note("created")
        self.assert_all_in_force(IN_FORCE_SECONDS_MAX)
        self.note("in force")
        with RequestLoad(self, self.channels[2500], "one"):
            wait_until(self.all_is_well, STATUS_SECONDS_MAX, "all to have a status", every=2)
            self.note("all have a status")
            self.assertLess(self.memory() - before, MEMORY_MAX)
            self.assert_silence()
        self.restart()
        self.delete_all_but_one()

    def assert_silence(self):
        """When everything is in order, only the Lease is written."""
        time.sleep(3)  # for requests on their way
        since, cpu = audit.position(self.api), cpu_seconds(self.server)
        time.sleep(IDLE_SECONDS)
        self.note("idle")
        asked = [request.right for request in audit.requests_of(self.api, f"{NAMESPACE}:culvert-server", since)]
        self.assertEqual([right for right in asked if right.verb not in ("get", "list",
                                                                         "watch") and right.resource != "leases"], [])
        self.assertEqual([right for right in asked if right.verb == "list"], [], "a watch is enough")
        self.assertLessEqual(len(asked), 2 * IDLE_SECONDS)
        self.assertLess(cpu_seconds(self.server) - cpu, IDLE_CPU_SECONDS_MAX)

    def restart(self):
        resolved = [each["TargetResolved"] for each in self.conditions()]
        self.server.stop()
        since = audit.position(self.api)
        self.last, self.log_begin = time.monotonic(), len(self.server.output())
        self.server.start().wait_until_ready(RESTART_SECONDS_MAX)
        wait_until(lambda: self.in_force() == OBJECTS, RESTART_SECONDS_MAX, "all in force again", every=0.2)
        self.note("in force after a restart")
        self.pair.agent.wait_until_ready()
        self.assert_all_in_force(5)
        # A target that is not resolved yet is not reported as missing.
        wait_until(self.all_is_well, STATUS_SECONDS_MAX, "all to be well again", every=2)
        flipped = [each for before, each in zip(resolved, self.conditions(),
                                                strict=True) if each["TargetResolved"] != before]
        self.assertEqual(flipped[:1], [], f"{len(flipped)} targets were reported as missing")
        written = [request.right for request in audit.requests_of(self.api, f"{NAMESPACE}:culvert-server", since)
                   if request.right.verb == "patch"]
        self.notes.append(f"{len(written)} statuses were written after a restart")

    def delete_all_but_one(self):
        self.api.kubectl("label", "servicemappings.connectivityproxy.sap.com", "many-2500", LABEL.split("=")[0] + "-")
        self.last = time.monotonic()
        with RequestLoad(self, self.channels[2500], "one"):
            with self.connection() as ask:
                while ask("GET", f"{COLLECTION}?labelSelector={LABEL}&limit=1")["items"]:
                    ask("DELETE", f"{COLLECTION}?labelSelector={LABEL}&limit={DELETED_AT_ONCE}")
            self.note("deleted")
            wait_until(lambda: self.in_force() == 1, IN_FORCE_SECONDS_MAX, "only one to be in force")
            self.note("gone")
            self.assert_refuses(self.channels[0])
        self.assertEqual(self.server.status()["kubernetes"][0]["service_mappings"], 1)


if __name__ == "__main__":
    program_cache.api_server()
    unittest.main(verbosity=2)
