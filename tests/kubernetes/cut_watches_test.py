# SPDX-License-Identifier: Apache-2.0
"""A connection to the API server that breaks repeatedly, or stalls without an end: no event is lost, and no request
fails."""

import random
import time
import unittest

from tests.harness.kubernetes import program_cache
from tests.harness.kubernetes.breakable_relay import BreakableRelay
from tests.harness.kubernetes.cluster import MAPPINGS
from tests.harness.kubernetes.cluster_case import ClusterCase, answer_of
from tests.harness.kubernetes.request_load import RequestLoad
from tests.harness.waiting import wait_until

CUT_SECONDS, CUT_EVERY = 60, 2
HALF_OPEN_SECONDS_MAX = 45  # until a dead watch is detected and replaced


class CutWatches(ClusterCase):

    def setUp(self):
        super().setUp()
        self.relay = BreakableRelay(self.api.port)
        self.addCleanup(self.relay.close)
        self.join(self.pair.server, self.relay.port)
        self.web = self.pair.agent.channel(self.pair.server.port, "web")

    def start(self):
        self.pair.start()
        self.apply("web", "one.test:80")
        self.assert_reaches(self.web, "one", 5)

    def test_a_watch_that_is_cut_every_two_seconds_for_a_minute(self):
        services = [f"service-{number}" for number in range(8)]
        channels = {service: self.pair.agent.channel(self.pair.server.port, service) for service in services}
        desired = dict.fromkeys(services)
        chance = random.Random(5)
        self.start()
        changes = 0
        with RequestLoad(self, self.web, "one"):
            over = time.monotonic() + CUT_SECONDS
            while time.monotonic() < over:
                until = time.monotonic() + CUT_EVERY
                self.relay.reset_all()
                for service in chance.sample(services, 2):
                    desired[service] = chance.choice([each for each in ("one", "two",
                                                                        None) if each != desired[service]])
                    changes += 1
                    if desired[service]:
                        self.apply(service, f"{desired[service]}.test:80", service)
                    else:
                        self.api.kubectl("delete", MAPPINGS, service)
                # Everything else must be unchanged.
                wait_until(lambda: {service: answer_of(channels[service]) for service in services} == desired, 6,
                           f"{desired}", every=0.2)
                time.sleep(max(0, until - time.monotonic()))
            for service in services:
                if desired[service]:
                    self.wait_for_status(service, 15)
        self.assertGreater(changes, CUT_SECONDS / CUT_EVERY)

    def test_a_stalled_connection_is_replaced(self):
        self.start()
        self.wait_for_status("web", 10)
        with RequestLoad(self, self.web, "one"):
            self.assertGreater(self.relay.freeze(), 0)
            frozen = time.monotonic()
            self.apply("later", "two.test:80", "later")
            while self.pair.server.status()["kubernetes"][0]["service_mappings"] < 2:
                self.assertLess(time.monotonic() - frozen, HALF_OPEN_SECONDS_MAX,
                                "the dead watch is not detected yet")
                time.sleep(0.5)
            self.notes.append(f"a stalled watch was detected after {time.monotonic() - frozen:.0f} s")
            self.wait_for_status("later", 40)


if __name__ == "__main__":
    program_cache.api_server()
    unittest.main(verbosity=2)
