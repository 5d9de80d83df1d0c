# SPDX-License-Identifier: Apache-2.0
"""SIGTERM: open streams may finish, new ones are refused, and a program without streams exits at once."""

import signal
import socket
import time

from tests.harness.case import Case
from tests.harness.certificates import serial_of
from tests.harness.echo_client import assert_echoes, assert_still_echoes, open_echo_stream, receive_until_closed
from tests.harness.environment import SCALE
from tests.harness.tcp_server import echo_port
from tests.harness.waiting import wait_until

ALLOWED = 1 if SCALE == 1 else 3  # seconds; the sanitizer looks for leaks before the program ends


class Stop(Case):
    seconds = 15

    def test_with_nothing_open_it_takes_less_than_a_second(self):
        for first in ("agent", "server"):
            pair = self.pair()
            port = pair.to_cloud(echo_port(self))
            pair.start()
            assert_echoes(self, port)
            program = getattr(pair, first)
            began = time.monotonic()
            self.assertEqual(program.stop(), 0)
            self.assertLess(time.monotonic() - began, ALLOWED, first)
            pair.agent.stop()
            pair.server.stop()

    def assert_waits_for_a_stream(self, program, way):
        """The stream continues until its client ends it; then the program exits with status 0."""
        with open_echo_stream(self, way, seconds=10) as client:
            program.send(signal.SIGTERM)
            program.wait_for_output("info draining")
            time.sleep(1.5)
            assert_still_echoes(self, client)
            self.assertEqual(receive_until_closed(way), b"", "new ones are refused")
            self.assertTrue(program.is_running())
        self.assertEqual(program.exit_status(5), 0)

    def test_an_agent_waits_for_its_streams_and_accepts_no_new_ones(self):
        pair = self.pair()
        way = pair.to_premise(echo_port(self))
        pair.start()
        self.assert_waits_for_a_stream(pair.agent, way)

    def test_a_server_waits_for_its_streams_and_accepts_no_new_ones(self):
        pair = self.pair()
        way = pair.to_cloud(echo_port(self))
        pair.start()
        self.assert_waits_for_a_stream(pair.server, way)
        pair.agent.wait_for_output("server.unreachable")

    def test_the_wait_ends_after_the_drain_time(self):
        pair = self.pair()
        way = pair.to_premise(echo_port(self))
        pair.agent.tables["limits"] = {"drain_time": "1s"}
        pair.start()
        with socket.create_connection(("127.0.0.1", way), timeout=10) as client:
            client.sendall(b"x")
            self.assertEqual(client.recv(1), b"x")
            began = time.monotonic()
            self.assertEqual(pair.agent.stop(), 0)
            self.assertLess(time.monotonic() - began, 4)
            with self.assertRaises(ConnectionResetError):
                client.recv(1)

    def test_a_certificate_that_was_replaced_is_shown_by_new_tunnels(self):
        pair = self.pair()
        way = pair.to_cloud(echo_port(self))
        old = serial_of(pair.agent_credentials.certificate)
        pair.start()
        assert_echoes(self, way)
        fresh = pair.authority.agent(days=29)
        for name in ("certificate", "private_key"):
            getattr(fresh, name).replace(getattr(pair.agent_credentials, name))
        pair.agent.reload()
        self.assertNotEqual(serial_of(pair.agent_credentials.certificate), old)
        # Tunnels with the old certificate are ended and refused.
        pair.server.tables["deny"] = {"certificate_serials": [old]}
        pair.server.reload()
        wait_until(lambda: pair.server.output().count("tunnel.up") >= 4, 10, "tunnels with the new certificate")
        pair.agent.wait_until_ready()
        assert_echoes(self, way)

        renewed = pair.authority.server(file="renewed")
        for name in ("certificate", "private_key"):
            getattr(renewed, name).replace(getattr(pair.server_credentials, name))
        pair.server.reload()
        shown = self.command("openssl", "s_client", "-connect", f"127.0.0.1:{pair.server.port}", "-alpn", "culvert/1",
                             status=None)
        wanted = serial_of(pair.server_credentials.certificate)
        (self.folder / "shown.pem").write_text(shown[shown.index("-----BEGIN"):shown.index("-----END CERTIFICATE-----")
                                                     + 26])
        self.assertEqual(serial_of(self.folder / "shown.pem"), wanted)
