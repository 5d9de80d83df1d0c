# SPDX-License-Identifier: Apache-2.0
"""TLS as peers use it that keep to the standard and not to our protocol."""

import socket
import ssl
import struct
import time

from tests.harness.bare_agent import agent_tls
from tests.harness.case import Case
from tests.harness.hostile_server import HostileServer
from tests.harness.ports import free_port
from tests.harness.program import Program
from tests.harness.sockets import receive_all
from tests.harness.waiting import wait_until

ALERT_BYTES = 24  # a record of TLS 1.3


class Tls(Case):
    seconds = 5

    def close(self, plain, tls, incoming, outgoing):
        """Shakes hands, ends TLS, and returns the records that come back before the connection ends."""
        plain.settimeout(10)

        def carry_on(step):
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    plain.sendall(outgoing.read())
                    incoming.write(plain.recv(1 << 16))

        carry_on(tls.do_handshake)
        with self.assertRaises(ssl.SSLError):  # It waits for the answer, or has frames that came before.
            tls.unwrap()
        plain.sendall(outgoing.read())
        return receive_all(plain)

    def test_a_close_notify_is_answered_by_the_server(self):
        pair = self.pair()
        pair.server.start().wait_until_ready()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = agent_tls(pair.agent_credentials).wrap_bio(incoming, outgoing, server_hostname="localhost")
        with socket.create_connection(("127.0.0.1", pair.server.port)) as plain:
            self.assertEqual(len(self.close(plain, tls, incoming, outgoing)), ALERT_BYTES)

    def test_a_close_notify_is_answered_by_the_agent(self):
        pair = self.pair(tunnels=1)
        server = HostileServer(self, pair.server.port, pair.server_credentials)
        pair.agent.start()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = server.context.wrap_bio(incoming, outgoing, server_side=True)
        with server.listening.accept()[0] as plain:
            records = self.close(plain, tls, incoming, outgoing)
        self.assertEqual(records[-ALERT_BYTES:][:5], b"\x17\3\3\0\x13", "an alert, possibly behind HELLO")

    def test_early_data_is_skipped(self):
        """A client has a ticket of another server for early data, which ours does not know (RFC 8446 4.2.10)."""
        pair = self.pair()
        pair.server.start().wait_until_ready()
        other, session, early = free_port(), self.folder / "session", self.folder / "early"
        early.write_bytes(b"early " * 500)
        server, agent = pair.server_credentials, pair.agent_credentials
        Program(self, "s_server", ["openssl", "s_server", "-accept", other, "-cert", server.certificate, "-key",
                                   server.private_key, "-tls1_3", "-early_data", "-alpn", "culvert/1",
                                   "-quiet"]).start().wait_for_port(other)
        common = ["-cert", agent.certificate, "-key", agent.private_key, "-CAfile", agent.ca, "-alpn", "culvert/1",
                  "-servername", "localhost", "-tls1_3"]
        self.command("sh", "-c", '(sleep 0.5; echo Q) | exec openssl s_client "$@"', "-", "-connect",
                     f"127.0.0.1:{other}", "-sess_out", session, *common, status=None)
        said = self.command("sh", "-c", '(sleep 0.5; echo Q) | exec openssl s_client "$@"', "-", "-connect",
                            f"127.0.0.1:{pair.server.port}", "-sess_in", session, "-early_data", early, *common,
                            status=None)
        self.assertIn("Early data was rejected", said)
        self.assertIn("Verify return code: 0 (ok)", said)
        self.assertNotIn("alert", said)


class TunnelPort(Case):
    """What a load balancer in front does, and an operator reads."""

    seconds = 5

    def setUp(self):
        super().setUp()
        self.server = self.pair().server
        self.server.tables["log"] = {"level": "debug"}
        self.server.start().wait_until_ready()

    def send(self, opening, is_reset=False):
        plain = socket.create_connection(("127.0.0.1", self.server.port), timeout=5)
        if is_reset:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        plain.sendall(opening)
        plain.close()

    def test_a_connection_without_a_byte_is_counted_and_no_warning(self):
        for is_reset in (False, True):
            self.send(b"", is_reset)
        wait_until(lambda: self.server.metrics()["culvert_tunnel_probes_total"] == 2, 5, "both probes")
        self.send(b"\x16")
        self.server.wait_for_output("warn tunnel.refused")
        self.assertEqual(self.server.output().count("debug tunnel.probe"), 2)
        self.assertEqual(self.server.output().count("tunnel.refused"), 1)
        self.assertEqual([self.server.metrics()[f"culvert_tunnel{name}_total"] for name in ("_probes", "s_refused")],
                         [2, 1])

    def test_http_and_the_proxy_protocol_are_named(self):
        for opening, words in ((b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", "plain HTTP"),
                               (b"PROXY TCP4 192.0.2.1 192.0.2.2 40000 443\r\n", "PROXY protocol, version 1"),
                               (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", "PROXY protocol, version 2")):
            time.sleep(1.1)  # Of limited lines one is written each second.
            self.send(opening)
            self.server.wait_for_output(words)
