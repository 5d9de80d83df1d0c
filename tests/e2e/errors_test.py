# SPDX-License-Identifier: Apache-2.0
"""What an operator sees when something is wrong: one line that says what, where and what to do, and an exit status that
says whether a restart can help (docs/errors.md)."""

import socket
import subprocess

from tests.harness import certificates
from tests.harness.case import Case
from tests.harness.culvert_program import CONFIGURATION, TRY_AGAIN, USAGE, Agent, Server
from tests.harness.echo_client import receive_until_closed
from tests.harness.pair import Pair
from tests.harness.tcp_server import echo_port, serve


class StartUp(Case):
    seconds = 15

    def assert_exits(self, program, status, *expected):
        """`program` exits with this status, and prints all of `expected` in one line."""
        program.start()
        self.assertEqual(program.exit_status(15), status, program.output())
        lines = [line for line in program.output().splitlines() if all(text in line for text in expected)]
        self.assertEqual(len(lines), 1, f"one line with {expected} in:\n{program.output()}")

    def both(self):
        pair = Pair(self)
        return pair, (pair.server, pair.agent)

    def test_an_unknown_key_names_file_line_and_the_likely_one(self):
        _, programs = self.both()
        for program in programs:
            with self.subTest(program.kind):
                program.tables["log"] = {"levle": "info"}
                program.write()
                line = program.config.read_text().splitlines().index('levle = "info"') + 1
                self.assert_exits(program, CONFIGURATION, f"{program.config.name}:{line}", "levle", "level")
                status, text = program.check()
                self.assertEqual(status, CONFIGURATION)
                self.assertIn(f"{program.config.name}:{line}", text)

    def test_check_accepts_a_good_file(self):
        pair, programs = self.both()
        pair.to_cloud(1)
        pair.to_premise(1)
        for program in programs:
            self.assertEqual(program.check()[0], 0, program.check()[1])

    def test_a_missing_file_is_named(self):
        _, programs = self.both()
        for program in programs:
            program.command[-1] = str(self.folder / "nowhere.toml")
            self.assert_exits(program, CONFIGURATION, "nowhere.toml")

    def test_a_port_in_use_is_named(self):
        pair = Pair(self)
        with socket.create_server(("127.0.0.1", pair.server.port)):
            self.assert_exits(pair.server, TRY_AGAIN, str(pair.server.port), "another program has this port")
        port = pair.to_cloud(1)
        with socket.create_server(("127.0.0.1", port)):
            self.assert_exits(pair.agent, TRY_AGAIN, str(port), "another program has this port")

    def test_a_missing_certificate_is_named(self):
        pair, _ = self.both()
        pair.server.tables["tunnel"]["certificate"] = "nowhere.pem"
        self.assert_exits(pair.server, CONFIGURATION, "nowhere.pem", "certificate")
        pair.agent.tables["server"][0]["ca"] = "nowhere.pem"
        self.assert_exits(pair.agent, CONFIGURATION, "nowhere.pem", "ca")

    def test_a_key_that_belongs_to_another_certificate_is_named(self):
        pair, _ = self.both()
        pair.server.tables["tunnel"]["private_key"] = pair.agent_credentials.private_key
        self.assert_exits(pair.server, CONFIGURATION, pair.agent_credentials.private_key.name)

    def test_a_key_that_others_can_read_is_refused(self):
        pair, _ = self.both()
        pair.agent_credentials.private_key.chmod(0o644)
        self.assert_exits(pair.agent, CONFIGURATION, pair.agent_credentials.private_key.name)

    def test_a_certificate_for_another_purpose_is_refused(self):
        pair, _ = self.both()
        wrong = pair.authority.agent(usage="serverAuth")
        pair.agent.tables["server"][0].update(certificate=wrong.certificate, private_key=wrong.private_key)
        self.assert_exits(pair.agent, CONFIGURATION, wrong.certificate.name, "clientAuth", "make-certificates")

    def test_an_expired_certificate_is_refused(self):
        pair, _ = self.both()
        wrong = pair.authority.agent(days=-1)
        pair.agent.tables["server"][0].update(certificate=wrong.certificate, private_key=wrong.private_key)
        self.assert_exits(pair.agent, CONFIGURATION, wrong.certificate.name, "expired on")

    def test_an_open_listener_without_allow_from_is_refused(self):
        pair, _ = self.both()
        pair.to_cloud(1)
        pair.agent.tables["channel"][0]["listen"] = "0.0.0.0:5001"
        self.assert_exits(pair.agent, CONFIGURATION, "allow_from", "0.0.0.0")

    def test_a_channel_without_its_server_says_what_to_add(self):
        pair, _ = self.both()
        pair.agent.tables["channel"].append({"endpoint": "tcp://elsewhere.test:443/web", "listen": "127.0.0.1:5001"})
        self.assert_exits(pair.agent, CONFIGURATION, "elsewhere.test", "[[server]]")

    def test_version_and_help_and_a_wrong_option(self):
        for kind in (Server, Agent):
            with self.subTest(kind.kind):
                self.assertRegex(self.command(kind.binary(), "--version"), r"\d+\.\d+\.\d+")
                self.assertIn("--config", self.command(kind.binary(), "--help"))
                answer = subprocess.run([kind.binary(), "--no-such"], capture_output=True, text=True, timeout=10,
                                        check=False)
                self.assertEqual((answer.returncode, "--no-such" in answer.stderr), (USAGE, True))


class Refusals(Case):
    """What an agent logs while it retries."""

    seconds = 20

    def assert_refused(self, code, credentials=None, **server):
        """The agent logs `code`, shows it in its status, and does not become ready. `credentials`: a function of the
        pair's authority."""
        pair = Pair(self)
        if credentials:
            mine = credentials(pair.authority)
            server |= {"certificate": mine.certificate, "private_key": mine.private_key}
        pair.agent.tables["server"][0].update(server)
        pair.server.start().wait_until_ready()
        pair.agent.start()
        pair.agent.wait_for_output(code)
        self.assertIn(code, str(pair.agent.status()))
        self.assertFalse(pair.agent.is_ready())
        return pair

    def test_a_server_of_another_authority(self):
        self.assert_refused("tls.unknown_ca", ca=certificates.Authority(self.folder / "other").ca)

    def test_a_server_with_another_name(self):
        self.assert_refused("tls.wrong_name", server_name="elsewhere.test")

    def test_an_agent_of_another_authority(self):
        pair = self.assert_refused("tls.peer_refused", lambda _: certificates.Authority(self.folder / "other").agent())
        pair.server.wait_for_output("tls.unknown_ca")

    def test_an_agent_of_another_trust_domain(self):
        pair = self.assert_refused("tunnel.denied", lambda authority: authority.agent(domain="elsewhere.test"))
        pair.server.wait_for_output("identity.wrong_trust_domain")

    def test_an_unreachable_server(self):
        self.assert_refused("dial.refused", address="127.0.0.1:1")

    def test_a_peer_that_does_not_speak_tls(self):
        port = serve(self, lambda connection: connection.sendall(b"220 mail.test ESMTP\r\n"))
        self.assert_refused("tls.not_tls", address=f"127.0.0.1:{port}")

    def test_a_refused_service_is_named_in_the_agents_log(self):
        pair = self.pair()
        port = pair.agent.channel(pair.server.port, "no-such-service")
        pair.start()
        self.assertEqual(receive_until_closed(port), b"")
        pair.agent.wait_for_output("no-such-service")

    def test_a_virtual_host_without_an_agent_is_named_in_the_servers_log(self):
        pair = self.pair()
        port = pair.to_premise(echo_port(self))
        pair.server.start().wait_until_ready()
        self.assertEqual(receive_until_closed(port), b"")
        pair.server.wait_for_output("erp")
