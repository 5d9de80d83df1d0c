# SPDX-License-Identifier: Apache-2.0
"""Agents that join with a token, renew their certificates, and are disabled: docs/security.md says how."""

import concurrent.futures
import contextlib
import os
import pathlib
import socket
import ssl
import struct
import subprocess
import threading
import time

import msgpack

from tests.harness.bare_agent import agent_tls
from tests.harness.case import Case
from tests.harness.certificates import Authority, Credentials, serial_of, spiffe
from tests.harness.commands import openssl
from tests.harness.culvert_program import ACCOUNT, CONFIGURATION, TRY_AGAIN, Agent
from tests.harness.echo_client import assert_echoes, assert_still_echoes, open_echo_stream
from tests.harness.enrolment import (DENIED, ISSUED, RENEW, TOKEN_REFUSED, TOKEN_USED, TOO_MANY_ATTEMPTS, EnrolledPair,
                                     Impostor, join_connection, raw_join, receive_frame, request_for, token_parts)
from tests.harness.hostile_server import HELLO, WELCOME, frame
from tests.harness.sockets import receive_exactly
from tests.harness.tcp_server import echo_port
from tests.harness.waiting import wait_until


class Identity(Case):
    seconds = 30

    def enrolled(self, **enrolment):
        return EnrolledPair(self, Authority(self.folder / "certificates"), **enrolment)

    def test_two_commands_from_a_running_server_to_the_first_request(self):
        pair = self.enrolled()
        to_cloud, to_premise = pair.to_cloud(echo_port(self)), pair.to_premise(echo_port(self))
        pair.server.start().wait_until_ready()
        token = pair.token()
        self.assertEqual(token.count("\n"), 1, "the token, and only the token")
        began = time.monotonic()
        said = pair.join(token)
        self.assertIn("joined as spiffe://test.culvert/account/acme/agent/one", said)
        pair.use_identity()
        pair.agent.start().wait_until_ready()
        assert_echoes(self, to_cloud)
        assert_echoes(self, to_premise)
        self.assertLess(time.monotonic() - began, 10)
        files = pair.identity / "current"
        self.assertEqual((files / "key.pem").stat().st_mode & 0o777, 0o600)
        self.assertIn("OK", openssl("verify", "-x509_strict", "-purpose", "sslclient", "-CAfile",
                                    files / "authorities.pem", files / "certificate.pem"))
        self.assertIn("URI:" + spiffe(ACCOUNT, "one"),
                      openssl("x509", "-in", files / "certificate.pem", "-noout", "-ext", "subjectAltName"))
        self.assertIn(serial_of(files / "certificate.pem"), pair.agents("show", "one"))
        self.assertEqual(pair.agent.status()["identities"][0]["serial"], serial_of(files / "certificate.pem"))

    def test_a_drop_in_is_all_that_the_agent_needs(self):
        pair = self.enrolled()
        port = pair.to_cloud(echo_port(self))
        pair.server.start().wait_until_ready()
        pair.agent.write()
        self.command(pair.agent.binary(), "--config", pair.agent.config, "join", "--directory", pair.identity, "--name",
                     "cloud", input=pair.token().encode(), stdin=None)
        drop_in = pathlib.Path(f"{pair.agent.config}.d/cloud.toml").read_text()
        self.assertIn(f'address = "localhost:{pair.server.port}"\nidentity = "{pair.identity}"', drop_in)
        pair.agent.start().wait_until_ready()
        assert_echoes(self, port)

    def test_a_container_joins_when_it_starts(self):
        pair = self.enrolled()
        port = pair.to_cloud(echo_port(self))
        pair.server.start().wait_until_ready()
        token = self.folder / "token"
        token.touch(0o600)
        token.write_text(pair.token())
        pair.use_identity(join_token_file=token)
        pair.agent.start().wait_until_ready()
        assert_echoes(self, port)
        self.assertEqual(pair.agent.stop(), 0)
        token.unlink()
        pair.agent.start().wait_until_ready()
        assert_echoes(self, port)

    def test_without_an_identity_the_agent_says_what_to_do(self):
        pair = self.enrolled()
        pair.use_identity()
        status, said = pair.agent.check()
        self.assertEqual(status, CONFIGURATION)
        self.assertIn("holds no identity yet: run culvert-agent join", said)

    def test_a_port_in_use_is_reported_at_the_start_and_at_a_reload(self):
        pair = self.enrolled()
        with socket.create_server(("127.0.0.1", pair.server.port)):
            pair.server.start()
            self.assertEqual(pair.server.exit_status(10), TRY_AGAIN)
        self.assertIn("tunnel.listen: cannot listen on", pair.server.output())
        # The state directory of a reload is opened before the port is, and given back.
        enrolment = pair.server.tables.pop("enrolment")
        pair.server.tables["tunnel"]["client_ca"] = pair.authority.ca
        pair.server.start().wait_until_ready()
        pair.server.tables["enrolment"] = enrolment
        listen = pair.server.tables["tunnel"]["listen"]
        with socket.create_server(("127.0.0.1", 0)) as taken:
            pair.server.tables["tunnel"]["listen"] = f"127.0.0.1:{taken.getsockname()[1]}"
            pair.server.write()
            self.assertIn("tunnel.listen: cannot listen on", pair.server.ask("reload")[1])
        pair.server.tables["tunnel"]["listen"] = listen
        pair.server.reload()
        pair.join(pair.token())

    # ---- tokens

    def test_a_token_works_once(self):
        pair = self.enrolled()
        pair.server.start().wait_until_ready()
        token = pair.token()
        pair.join(token, self.folder / "first")
        self.assertIn("(join.token_used)", pair.join(token, self.folder / "second", status=TRY_AGAIN))
        self.assertFalse((self.folder / "second" / "current").exists())
        again = pair.agents("token", "one")
        pair.join(again, self.folder / "second")

    def test_of_many_at_once_one_joins(self):
        pair = self.enrolled()
        pair.server.start().wait_until_ready()
        for number in range(5):
            parts = token_parts(pair.token(f"n{number}"))
            requests = [request_for(parts["u"], self.folder, f"k{each}")[1] for each in range(8)]
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                answers = list(pool.map(lambda request, p=parts: raw_join(pair.server.port, p["i"], p["s"], request),
                                        requests))
            kinds = [kind for kind, _ in answers]
            self.assertEqual(sorted(kinds), [ISSUED] + [DENIED] * 7)
            self.assertEqual({message["reason"] for kind, message in answers if kind == DENIED}, {TOKEN_USED})
            # An answer may be lost: the same key may ask again.
            winner = requests[kinds.index(ISSUED)]
            self.assertEqual(raw_join(pair.server.port, parts["i"], parts["s"], winner)[0], ISSUED)

    def test_a_wrong_token_is_refused_and_says_nothing(self):
        pair = self.enrolled()
        pair.server.start().wait_until_ready()
        parts = token_parts(pair.token())
        _, request = request_for(parts["u"], self.folder)
        flipped = bytes([parts["s"][0] ^ 1]) + parts["s"][1:]
        wrong_secret = raw_join(pair.server.port, parts["i"], flipped, request)
        unknown_id = raw_join(pair.server.port, "unknown", parts["s"], request)
        self.assertEqual(wrong_secret[0], DENIED)
        self.assertEqual(wrong_secret[1]["reason"], TOKEN_REFUSED)
        self.assertEqual(wrong_secret, unknown_id)
        _, foreign = request_for(spiffe("other", "one"), self.folder, "foreign")
        kind, message = raw_join(pair.server.port, parts["i"], parts["s"], foreign)
        self.assertEqual(kind, DENIED)
        self.assertIn("must be for", message["text"])
        self.assertEqual(raw_join(pair.server.port, parts["i"], parts["s"], request)[0], ISSUED)

    def test_a_disabled_agent_cannot_join(self):
        pair = self.enrolled()
        pair.server.start().wait_until_ready()
        token = pair.token()
        pair.agents("disable", "one")
        self.assertIn("(join.agent_disabled)", pair.join(token, status=TRY_AGAIN))
        pair.agents("enable", "one")
        pair.join(token)

    def test_nothing_is_sent_to_a_server_that_the_token_does_not_pin(self):
        pair = self.enrolled()
        pair.server.start().wait_until_ready()
        token = pair.token()
        pair.server.stop()
        # The same address, the right name, another authority.
        impostor = Impostor(self, Authority(self.folder / "other").server(), pair.server.port)
        said = pair.join(token, status=CONFIGURATION)
        self.assertIn("not the one that the token is for", said)
        self.assertEqual((impostor.connections, impostor.received), (1, b""))

    def test_guesses_are_penalised_by_source(self):
        pair = self.enrolled()
        pair.server.start().wait_until_ready()
        parts = token_parts(pair.token())
        _, request = request_for(parts["u"], self.folder)
        reasons = [raw_join(pair.server.port, parts["i"], os.urandom(32), request)[1]["reason"] for _ in range(200)]
        self.assertEqual(reasons[:10], [TOKEN_REFUSED] * 10)
        # One more is allowed every 6 s.
        self.assertLess(reasons[10:].count(TOKEN_REFUSED), 10)
        self.assertEqual(set(reasons), {TOKEN_REFUSED, TOO_MANY_ATTEMPTS})
        self.assertEqual(raw_join(pair.server.port, parts["i"], parts["s"], request)[1].get("reason"),
                         TOO_MANY_ATTEMPTS)
        began = time.monotonic()
        self.assertEqual(raw_join(pair.server.port, parts["i"], parts["s"], request, source="127.0.0.9")[0], ISSUED)
        self.assertLess(time.monotonic() - began, 1)

    def test_a_join_connection_is_no_tunnel(self):
        pair = self.enrolled()
        pair.server.start().wait_until_ready()
        hello = msgpack.packb({"v_min": 1, "v_max": 1, "instance": os.urandom(16), "epoch": 1, "slot": 0})
        for first in (frame(HELLO, 0, hello), frame(RENEW, 0, msgpack.packb({"request": b"x"})), b"GET / HTTP/1.1\r\n"):
            with join_connection(pair.server.port) as connection, contextlib.suppress(ConnectionError, ssl.SSLError):
                connection.sendall(first)
                while data := connection.recv(4096):
                    self.assertNotEqual(data[0], WELCOME)
        self.assertEqual(pair.server.status()["tunnels"], [])

    def test_a_server_without_enrolment_refuses_to_join(self):
        pair = self.pair()
        pair.server.start().wait_until_ready()
        with self.assertRaises(ssl.SSLError):
            join_connection(pair.server.port)

    # ---- agents that may not connect

    def test_a_disabled_agent_is_out_at_once_and_enabled_it_returns(self):
        pair = self.enrolled()
        port = pair.to_cloud(echo_port(self))
        pair.start()
        with open_echo_stream(self, port):
            began = time.monotonic()
            pair.agents("disable", "one")
            wait_until(lambda: not pair.server.status()["tunnels"], 5, "the tunnels to end")
            self.assertLess(time.monotonic() - began, 5)
        pair.agent.wait_for_output("code=tunnel.agent_disabled")
        time.sleep(3)
        refused = pair.server.metrics()["culvert_tunnels_refused_total"]
        self.assertLess(refused, 30, "the agent does not hammer")
        pair.agents("enable", "one")
        pair.agent.wait_until_ready(30)
        assert_echoes(self, port)
        pair.agents("remove", "one")
        pair.agent.wait_for_output("code=tunnel.not_enrolled")

    def test_a_removed_agent_stays_out_over_a_restart(self):
        pair = self.enrolled()
        pair.start()
        pair.agents("remove", "one")
        pair.server.stop()
        pair.server.start().wait_until_ready()
        pair.agent.wait_for_output("code=tunnel.not_enrolled")

    def test_certificates_from_elsewhere_count_unless_enrolment_is_required(self):
        pair = self.enrolled()
        other = Authority(self.folder / "other", name="other")
        pair.server.tables["tunnel"]["client_ca"] = other.ca
        port = pair.to_cloud(echo_port(self))
        credentials = other.agent()
        pair.agent.connect(pair.server.port, Credentials(credentials.certificate, credentials.private_key,
                                                         pair.authority.ca))
        pair.server.start().wait_until_ready()
        pair.agent.start().wait_until_ready()
        assert_echoes(self, port)
        pair.server.tables["enrolment"]["required"] = True
        pair.server.reload()
        pair.agent.wait_for_output("code=tunnel.not_enrolled")

    # ---- what may not be seen

    def test_secrets_are_nowhere(self):
        pair = self.enrolled()
        pair.start()
        token = pair.agents("token", "one").strip()
        pair.join(token + "\n", self.folder / "second")
        parts = token_parts(token)
        key = (pair.identity / "current" / "key.pem").read_text().splitlines()[1]
        wanted = [token.encode(), parts["s"], parts["s"].hex().encode(), key.encode()]
        seen = [pair.server.output().encode(), pair.agent.output().encode(), str(pair.server.status()).encode(),
                str(pair.agent.status()).encode(), pair.agents("show", "one", "--json").encode(),
                pair.server.http("/metrics")[1].encode(), pair.agent.http("/metrics")[1].encode(),
                *(path.read_bytes() for path in (self.folder / "state").rglob("*") if path.is_file())]
        for program in (pair.server, pair.agent):
            for name in ("cmdline", "environ"):
                seen.append(pathlib.Path(f"/proc/{program.process.pid}/{name}").read_bytes())
        for secret in wanted:
            self.assertFalse([text for text in seen if secret in text])


class Renewal(Case):
    """Certificates of one minute, the shortest there are."""

    seconds = 110

    def test_certificates_are_renewed_under_traffic_and_after_their_end(self):
        pair = EnrolledPair(self, Authority(self.folder / "certificates"))
        to_cloud, to_premise = pair.to_cloud(echo_port(self)), pair.to_premise(echo_port(self))
        pair.server.start().wait_until_ready()
        pair.join(pair.token("one", "--lifetime", "1m"))
        pair.join(pair.token("late", "--lifetime", "1m"), self.folder / "late")
        late_ends = time.monotonic() + 60
        pair.use_identity()
        pair.agent.start().wait_until_ready()
        first = serial_of(pair.identity / "current" / "certificate.pem")
        counts, stopping = {"ok": 0}, threading.Event()

        def traffic(port):
            while not stopping.is_set():
                assert_echoes(self, port)
                counts["ok"] += 1
                time.sleep(0.02)

        with concurrent.futures.ThreadPoolExecutor(2) as pool, open_echo_stream(self, to_cloud, seconds=30) as stream:
            running = [pool.submit(traffic, port) for port in (to_cloud, to_premise)]
            try:
                renewals = lambda: pair.agent.output().count("info identity.renewed")
                wait_until(lambda: renewals() >= 2, 105, "two renewals", every=1)
                assert_still_echoes(self, stream)
            finally:
                stopping.set()
            for each in running:
                each.result()
        self.assertGreater(counts["ok"], 500)
        self.assertNotEqual(serial_of(pair.identity / "current" / "certificate.pem"), first)
        self.assertNotIn("warn", pair.agent.output())
        wait_until(lambda: len(pair.server.status()["tunnels"]) == 2, 20, "the old tunnels to leave")

        # The other one was off beyond its certificate's end.
        self.assertGreater(time.monotonic(), late_ends)
        late = Agent(self, "late-agent")
        pair.use_identity(late, self.folder / "late")
        old = serial_of(self.folder / "late" / "current" / "certificate.pem")
        late.start().wait_until_ready()
        self.assertNotEqual(serial_of(self.folder / "late" / "current" / "certificate.pem"), old)
        pair.server.wait_for_output("agent.renewed agent=" + spiffe(ACCOUNT, "late"))

    def test_an_ended_certificate_takes_no_new_streams_and_is_not_renewed_after_the_grace(self):
        pair = EnrolledPair(self, Authority(self.folder / "certificates"), renew_grace="0s")
        pair.server.start().wait_until_ready()
        pair.join(pair.token("one", "--lifetime", "1m"))
        time.sleep(62)
        pair.use_identity()
        pair.agent.start()
        pair.agent.wait_for_output("code=join.renewal_over")
        self.assertIn("join again with a new token", pair.agent.output())
        self.assertFalse(pair.agent.is_ready())
        # A new token helps at once, without a restart of anything else.
        pair.agent.stop()
        pair.join(pair.agents("token", "one"))
        pair.agent.start().wait_until_ready()

    def test_a_client_written_from_the_specification_renews(self):
        pair = EnrolledPair(self, Authority(self.folder / "certificates"))
        pair.server.start().wait_until_ready()
        parts = token_parts(pair.token())
        key, request = request_for(parts["u"], self.folder)
        kind, issued = raw_join(pair.server.port, parts["i"], parts["s"], request)
        self.assertEqual(kind, ISSUED)
        certificate = self.folder / "raw.pem"
        certificate.write_text(ssl.DER_cert_to_PEM_cert(issued["chain"]))
        context = agent_tls(Credentials(certificate, key, pair.authority.ca))
        with context.wrap_socket(socket.create_connection(("127.0.0.1", pair.server.port), timeout=20),
                                 server_hostname="localhost") as tunnel:
            tunnel.sendall(frame(HELLO, 0, msgpack.packb({"v_min": 1, "v_max": 1, "instance": os.urandom(16),
                                                          "epoch": 1, "slot": 0, "caps": ["renew"]})))
            kind, welcome = receive_frame(tunnel)
            self.assertEqual(kind, WELCOME)
            self.assertIn("renew", welcome["caps"])
            tunnel.sendall(frame(RENEW, 0, msgpack.packb({"request": request_for(parts["u"], self.folder, "next")[1]})))
            while True:
                kind, message = receive_any(tunnel)
                if kind in (ISSUED, DENIED):
                    break
            self.assertEqual(kind, ISSUED)
            self.assertIn("URI:" + parts["u"], subprocess.run(
                ["openssl", "x509", "-inform", "DER", "-noout", "-ext", "subjectAltName"], input=message["chain"],
                capture_output=True, check=True).stdout.decode())


def receive_any(connection):
    """A frame whose payload may be no message."""
    kind, _, _, _, size = struct.unpack(">BBHII", receive_exactly(connection, 12))
    payload = receive_exactly(connection, size)
    return kind, msgpack.unpackb(payload) if kind in (ISSUED, DENIED) else payload
