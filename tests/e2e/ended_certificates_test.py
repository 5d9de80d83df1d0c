# SPDX-License-Identifier: Apache-2.0
"""A certificate made by hand ends while its tunnel is up (threats E5). Five minutes later the tunnel takes no new
streams. Soon after, it is closed, unless the agent has shown a later certificate: then its streams continue."""

import shutil
import time
import unittest

from tests.harness.case import Case
from tests.harness.clocks import clock_in
from tests.harness.echo_client import assert_echoes, assert_still_echoes, open_echo_stream, receive_until_closed
from tests.harness.environment import SCALE
from tests.harness.tcp_server import echo_port
from tests.harness.waiting import wait_until

MINUTE, DAY = 60, 86400
LEEWAY = 5 * MINUTE
# The server looks every 15 s which certificates have ended, and libfaketime once per second what the clock says.
LOOK_SECONDS = 17


class EndedCertificates(Case):
    seconds = 45

    def start(self):
        """The agent's certificate ends in a day."""
        pair = self.pair(tunnels=1)
        self.agent, self.server, self.authority = pair.agent, pair.server, pair.authority
        self.credentials = self.authority.agent(days=1)
        self.agent.tables["server"][0] |= {"certificate": self.credentials.certificate,
                                           "private_key": self.credentials.private_key}
        back_end = echo_port(self)
        self.to_cloud, self.to_premise = pair.to_cloud(back_end), pair.to_premise(back_end)
        self.clock = self.folder / "clock"
        self.clock.write_text("+0\n")
        self.server.environment = clock_in(self.clock)
        pair.start()

    def pass_end(self, by):
        """The server's clock is now so many seconds behind the end of the certificate, and it has looked."""
        self.clock.write_text(f"+{DAY + by}\n")
        looked = time.monotonic() + LOOK_SECONDS
        wait_until(lambda: time.monotonic() > looked, 2 * LOOK_SECONDS, "the server to look", every=0.2)

    def tunnels(self):
        """How many came up, and how many ended."""
        return self.server.output().count(" tunnel.up "), self.server.output().count(" tunnel.down ")

    def assert_all_works(self, *streams):
        for stream in streams:
            assert_still_echoes(self, stream)
        assert_echoes(self, self.to_cloud)
        assert_echoes(self, self.to_premise)

    def assert_is_cut(self, stream):
        stream.settimeout(5)
        with self.assertRaises(ConnectionResetError):
            while stream.recv(100):
                pass


@unittest.skipIf(SCALE != 1, "libfaketime and sanitizers do not go together")
class NoLaterCertificate(EndedCertificates):
    def test_a_tunnel_ends_five_minutes_after_its_certificate(self):
        self.start()
        with open_echo_stream(self, self.to_cloud) as up, open_echo_stream(self, self.to_premise) as down:
            self.pass_end(LEEWAY - MINUTE)
            self.assert_all_works(up, down)
            self.clock.write_text(f"+{DAY + LEEWAY + MINUTE}\n")
            wait_until(lambda: "tunnel.draining" in self.agent.output(), LOOK_SECONDS, "the agent to be asked to leave")
            for stream in (up, down):
                assert_still_echoes(self, stream)
            for port in (self.to_cloud, self.to_premise):
                self.assertEqual(receive_until_closed(port), b"")
            wait_until(lambda: self.tunnels() == (1, 1), LOOK_SECONDS, "the end of the tunnel")
            for stream in (up, down):
                self.assert_is_cut(stream)
        for program in (self.server, self.agent):
            self.assertIn("code=tunnel.certificate_expired", program.output())


@unittest.skipIf(SCALE != 1, "libfaketime and sanitizers do not go together")
class LaterCertificate(EndedCertificates):
    def test_streams_continue_if_the_agent_has_a_later_certificate(self):
        """It was replaced by hand, and shown for the first time when the server asks the tunnel to leave."""
        self.start()
        with open_echo_stream(self, self.to_cloud) as up, open_echo_stream(self, self.to_premise) as down:
            later = self.authority.agent(days=20)
            shutil.copy(later.private_key, self.credentials.private_key)
            shutil.copy(later.certificate, self.credentials.certificate)
            self.agent.reload()
            self.pass_end(LEEWAY + MINUTE)
            wait_until(lambda: self.tunnels()[0] == 2, 5, "a tunnel with the later certificate")
            self.assert_all_works(up, down)
            self.pass_end(LEEWAY + MINUTE)
            self.assert_all_works(up, down)
            self.assertEqual(self.tunnels(), (2, 0))


if __name__ == "__main__":
    unittest.main(verbosity=2)
