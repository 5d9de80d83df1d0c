# SPDX-License-Identifier: Apache-2.0
"""What a person sees when something is wrong: one plain line that says what, where and what to do, and an exit status that tells whether
a restart can help (docs/errors.md)."""

import socket
import subprocess

import certificates
from backends import echo_port, serve
from conversations import closes
from culvert import Agent, Case, Pair, Server

# As sysexits.h names them, so that systemd's RestartPreventExitStatus can tell them apart.
USAGE, TRY_AGAIN, CONFIGURATION = 64, 75, 78


class StartUp(Case):
    seconds = 15

    def fails(self, program, status, *expected):
        """`program` ends by itself with this status, and says all of `expected` in one line."""
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
                self.fails(program, CONFIGURATION, f"{program.config.name}:{line}", "levle", "level")
                status, text = program.check()
                self.assertEqual(status, CONFIGURATION)
                self.assertIn(f"{program.config.name}:{line}", text)

    def test_check_accepts_a_good_file_without_running(self):
        pair, programs = self.both()
        pair.to_cloud(1)
        pair.to_premise(1)
        for program in programs:
            self.assertEqual(program.check()[0], 0, program.check()[1])

    def test_a_missing_file_is_named(self):
        _, programs = self.both()
        for program in programs:
            program.command[-1] = str(self.folder / "nowhere.toml")
            self.fails(program, CONFIGURATION, "nowhere.toml")

    def test_a_port_in_use_is_named(self):
        pair = Pair(self)
        with socket.create_server(("127.0.0.1", pair.server.port)):
            self.fails(pair.server, TRY_AGAIN, str(pair.server.port), "another program has this port")
        port = pair.to_cloud(1)
        with socket.create_server(("127.0.0.1", port)):
            self.fails(pair.agent, TRY_AGAIN, str(port), "another program has this port")

    def test_a_missing_certificate_is_named(self):
        pair, _ = self.both()
        pair.server.tables["tunnel"]["certificate"] = "nowhere.pem"
        self.fails(pair.server, CONFIGURATION, "nowhere.pem", "certificate")
        pair.agent.tables["server"][0]["ca"] = "nowhere.pem"
        self.fails(pair.agent, CONFIGURATION, "nowhere.pem", "ca")

    def test_a_key_that_belongs_to_another_certificate_is_named(self):
        pair, _ = self.both()
        pair.server.tables["tunnel"]["private_key"] = pair.agent_credentials.private_key
        self.fails(pair.server, CONFIGURATION, pair.agent_credentials.private_key.name)

    def test_a_key_that_others_can_read_is_refused(self):
        pair, _ = self.both()
        pair.agent_credentials.private_key.chmod(0o644)
        self.fails(pair.agent, CONFIGURATION, pair.agent_credentials.private_key.name)

    def test_a_certificate_for_another_purpose_is_refused(self):
        pair, _ = self.both()
        wrong = pair.authority.agent(usage="serverAuth")
        pair.agent.tables["server"][0].update(certificate=wrong.certificate, private_key=wrong.private_key)
        self.fails(pair.agent, CONFIGURATION, wrong.certificate.name, "clientAuth", "make-certificates")

    def test_an_expired_certificate_is_refused(self):
        pair, _ = self.both()
        wrong = pair.authority.agent(days=-1)
        pair.agent.tables["server"][0].update(certificate=wrong.certificate, private_key=wrong.private_key)
        self.fails(pair.agent, CONFIGURATION, wrong.certificate.name, "expired on")

    def test_an_open_listener_without_allow_from_is_refused(self):
        pair, _ = self.both()
        pair.to_cloud(1)
        pair.agent.tables["channel"][0]["listen"] = "0.0.0.0:5001"
        self.fails(pair.agent, CONFIGURATION, "allow_from", "0.0.0.0")

    def test_a_channel_without_its_server_says_what_to_add(self):
        pair, _ = self.both()
        pair.agent.tables["channel"].append({"endpoint": "tcp://elsewhere.test:443/web", "listen": "127.0.0.1:5001"})
        self.fails(pair.agent, CONFIGURATION, "elsewhere.test", "[[server]]")

    def test_version_and_help_and_a_wrong_option(self):
        for kind in (Server, Agent):
            with self.subTest(kind.kind):
                self.assertRegex(self.command(kind.binary(), "--version"), r"\d+\.\d+\.\d+")
                self.assertIn("--config", self.command(kind.binary(), "--help"))
                answer = subprocess.run([kind.binary(), "--no-such"], capture_output=True, text=True, timeout=10, check=False)
                self.assertEqual((answer.returncode, "--no-such" in answer.stderr), (USAGE, True))


class Refusals(Case):
    """What an agent says while it keeps trying."""

    seconds = 20

    def refused(self, code, credentials=None, **server):
        """The agent must log and show `code`, and never become ready. `credentials` takes the pair's authority."""
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
        self.refused("tls.unknown_ca", ca=certificates.Authority(self.folder / "other").ca)

    def test_a_server_with_another_name(self):
        self.refused("tls.wrong_name", server_name="elsewhere.test")

    def test_an_agent_of_another_authority(self):
        pair = self.refused("tls.peer_refused", lambda _: certificates.Authority(self.folder / "other").agent())
        pair.server.wait_for_output("tls.unknown_ca")

    def test_an_agent_of_another_trust_domain(self):
        pair = self.refused("tunnel.denied", lambda authority: authority.agent(domain="elsewhere.test"))
        pair.server.wait_for_output("identity.wrong_trust_domain")

    def test_an_unreachable_server(self):
        self.refused("dial.refused", address="127.0.0.1:1")

    def test_a_peer_that_speaks_no_tls(self):
        port = serve(self, lambda connection: connection.sendall(b"220 mail.test ESMTP\r\n"))
        self.refused("tls.not_tls", address=f"127.0.0.1:{port}")

    def test_a_refused_service_is_named_in_the_agents_log(self):
        pair = self.pair()
        port = pair.agent.channel(pair.server.port, "no-such-service")
        pair.start()
        self.assertEqual(closes(port), b"")
        pair.agent.wait_for_output("no-such-service")

    def test_a_virtual_host_without_an_agent_is_named_in_the_servers_log(self):
        pair = self.pair()
        port = pair.to_premise(echo_port(self))
        pair.server.start().wait_until_ready()
        self.assertEqual(closes(port), b"")
        pair.server.wait_for_output("erp")
