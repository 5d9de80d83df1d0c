# SPDX-License-Identifier: Apache-2.0
"""The last release does not know identities: what becomes of an agent that has one, and of a server that enrols."""

import os
import time
import unittest

import msgpack

from tests.compatibility.last_release import NEW, OLD, MixedCase
from tests.harness.balancer import Balancer
from tests.harness.bare_agent import BareAgent
from tests.harness.certificates import Authority, Credentials
from tests.harness.echo_client import assert_echoes, assert_still_echoes, open_echo_stream
from tests.harness.enrolment import EnrolledPair, receive_frame
from tests.harness.hostile_server import HELLO, WELCOME, frame
from tests.harness.tcp_server import echo_port
from tests.harness.waiting import wait_until

LIFETIME_SECONDS = 60  # the shortest
# A renewal is due at two thirds of the life, plus or minus a tenth of it.
DUE_SECONDS_MAX = 47
# After its first failures an agent pauses for 0.5 to 1 s, then for twice as long each time.
TRIES_MAX = 6


class Rollback(MixedCase):
    def enrolled(self):
        return EnrolledPair(self, Authority(self.folder / "certificates"))

    def test_an_old_agent_connects_to_a_server_that_enrols_with_a_certificate_from_elsewhere(self):
        pair = self.enrolled()
        other = Authority(self.folder / "other", name="other")
        pair.server.tables["tunnel"]["client_ca"] = other.ca
        to_cloud, to_premise = pair.to_cloud(echo_port(self)), pair.to_premise(echo_port(self))
        credentials = other.agent()
        pair.agent.use_build(OLD)
        pair.agent.connect(pair.server.port, Credentials(credentials.certificate, credentials.private_key,
                                                         pair.authority.ca))
        pair.server.start().wait_until_ready()
        pair.agent.start().wait_until_ready()
        self.assert_runs(pair.agent, OLD)
        assert_echoes(self, to_cloud)
        assert_echoes(self, to_premise)

    def test_a_capability_that_an_agent_does_not_offer_is_not_named(self):
        """As SPEC 5.6 demands; an old agent offers none."""
        pair = self.enrolled()
        other = Authority(self.folder / "other", name="other")
        pair.server.tables["tunnel"]["client_ca"] = other.ca
        agent = other.agent()
        credentials = Credentials(agent.certificate, agent.private_key, pair.authority.ca)
        pair.server.start().wait_until_ready()
        for offered, named in (([], []), (["later"], []), (["renew", "later"], ["renew"]),
                               (["later", "heads", "renew"], ["renew", "heads"])):
            tunnel = BareAgent(self, pair.server.port, credentials).dial()
            tunnel.sendall(frame(HELLO, 0, msgpack.packb({"v_min": 1, "v_max": 1, "instance": os.urandom(16),
                                                          "epoch": 1, "slot": 0, "caps": offered})))
            kind, welcome = receive_frame(tunnel)
            tunnel.close()
            self.assertEqual((kind, welcome.get("caps", [])), (WELCOME, named), offered)

    def test_tunnels_with_an_identity_outlive_a_server_that_is_taken_back(self):
        pair = self.enrolled()
        to_cloud, to_premise = pair.to_cloud(echo_port(self)), pair.to_premise(echo_port(self))
        dials = Balancer(self, [pair.server.port])
        pair.server.start().wait_until_ready()
        pair.join(pair.token("one", "--lifetime", f"{LIFETIME_SECONDS}s"))
        joined = time.monotonic()
        pair.use_identity()
        pair.agent.tables["server"][0]["address"] = f"localhost:{dials.port}"
        pair.agent.start().wait_until_ready()
        enrolment = pair.server.tables.pop("enrolment")
        pair.server.tables["tunnel"]["client_ca"] = pair.authority.ca
        self.replace_server(pair, OLD)
        identity = lambda: pair.agent.status()["identities"][0]
        serial = identity()["serial"]
        with open_echo_stream(self, to_cloud) as stream:
            accepted = dials.accepted
            wait_until(lambda: identity()["last_error"], DUE_SECONDS_MAX, "the renewal to fail", every=0.2)
            self.assertIn("the server does not enrol agents", identity()["last_error"])
            self.assertEqual(identity()["serial"], serial)
            # Until shortly before the certificate's end.
            wait_until(lambda: time.monotonic() > joined + LIFETIME_SECONDS - 4, LIFETIME_SECONDS)
            assert_still_echoes(self, stream)
            assert_echoes(self, to_premise)
            self.assertLessEqual(dials.accepted - accepted, TRIES_MAX, "the agent does not hammer")
        self.assertNotIn("tunnel.down", pair.server.output().rpartition("info started")[2])

        del pair.server.tables["tunnel"]["client_ca"]
        pair.server.tables["enrolment"] = enrolment
        self.replace_server(pair, NEW)
        wait_until(lambda: identity()["serial"] != serial, 40, "the renewal")
        self.assertEqual(identity()["last_error"], "")
        assert_echoes(self, to_cloud)

    def replace_server(self, pair, build):
        self.assertEqual(pair.server.stop(), 0)
        pair.server.use_build(build)
        pair.server.start().wait_until_ready()
        self.assert_runs(pair.server, build)
        wait_until(lambda: len(pair.server.status()["tunnels"]) == 2, 20, "the tunnels")


if __name__ == "__main__":
    unittest.main(verbosity=2)
