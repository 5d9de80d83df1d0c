# SPDX-License-Identifier: Apache-2.0
"""SIGTERM: what is open ends in its own time, what comes is told to go elsewhere, and who has nothing to do is gone at once."""

import signal
import socket
import time

from backends import echo_port
from conversations import closes, echoes, goes_on, open_stream
from culvert import Case, wait_until


class Stop(Case):
    seconds = 15

    def test_with_nothing_open_it_takes_less_than_a_second(self):
        for first in ("agent", "server"):
            pair = self.pair()
            port = pair.to_cloud(echo_port(self))
            pair.start()
            echoes(self, port)
            program = getattr(pair, first)
            began = time.monotonic()
            self.assertEqual(program.stop(), 0)
            self.assertLess(time.monotonic() - began, 1, first)
            pair.agent.stop()
            pair.server.stop()

    def stops_under_a_stream(self, program, way):
        """A conversation goes on until its client ends it; then the program ends, with status 0."""
        with open_stream(self, way, seconds=10) as client:
            program.send(signal.SIGTERM)
            program.wait_for_output("info draining")
            time.sleep(1.5)
            goes_on(self, client)
            self.assertEqual(closes(way), b"", "new ones are refused")
            self.assertTrue(program.is_running())
        self.assertEqual(program.exit_status(5), 0)

    def test_an_agent_waits_for_its_streams_and_takes_no_new_ones(self):
        pair = self.pair()
        way = pair.to_premise(echo_port(self))
        pair.start()
        self.stops_under_a_stream(pair.agent, way)

    def test_a_server_waits_for_its_streams_and_takes_no_new_ones(self):
        pair = self.pair()
        way = pair.to_cloud(echo_port(self))
        pair.start()
        self.stops_under_a_stream(pair.server, way)
        pair.agent.wait_for_output("server.unreachable")

    def test_the_wait_has_an_end(self):
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
        old = self.serial(pair.agent_credentials.certificate)
        pair.start()
        echoes(self, way)
        fresh = pair.authority.agent(days=29)
        for name in ("certificate", "private_key"):
            getattr(fresh, name).replace(getattr(pair.agent_credentials, name))
        pair.agent.reload()
        self.assertNotEqual(self.serial(pair.agent_credentials.certificate), old)
        # Whoever shows the old one is thrown out and not let in again.
        pair.server.tables["deny"] = {"certificate_serials": [old]}
        pair.server.reload()
        wait_until(lambda: pair.server.output().count("tunnel.up") >= 4, 10, "tunnels with the new certificate")
        pair.agent.wait_until_ready()
        echoes(self, way)

        renewed = pair.authority.server(file="renewed")
        for name in ("certificate", "private_key"):
            getattr(renewed, name).replace(getattr(pair.server_credentials, name))
        pair.server.reload()
        shown = self.command("openssl", "s_client", "-connect", f"127.0.0.1:{pair.server.port}", "-alpn", "culvert/1", status=None)
        wanted = self.serial(pair.server_credentials.certificate)
        (self.folder / "shown.pem").write_text(shown[shown.index("-----BEGIN"):shown.index("-----END CERTIFICATE-----") + 26])
        self.assertEqual(self.serial(self.folder / "shown.pem"), wanted)

    def serial(self, certificate):
        return self.command("openssl", "x509", "-in", certificate, "-noout", "-serial").strip().split("=")[1].lower()
