# SPDX-License-Identifier: Apache-2.0
"""A configuration that changes under traffic, and one that must be refused."""

import contextlib
import hashlib
import signal
import socket
import threading

from tests.harness import certificates
from tests.harness.case import Case
from tests.harness.culvert_program import CONFIGURATION, TRY_AGAIN, Agent
from tests.harness.echo_client import assert_echoes, assert_still_echoes, open_echo_stream, receive_until_closed
from tests.harness.ports import free_port
from tests.harness.tcp_server import echo_port, serve
from tests.harness.toml_text import toml
from tests.harness.waiting import wait_until

RELOADS = 20
class Reload(Case):
    seconds = 30

    def test_a_download_runs_through_twenty_reloads(self):
        """Other channels, mappings, listeners and both certificates change; the stream is not affected."""
        go_on = threading.Event()

        def pour(connection):
            sent, digest, block = 0, hashlib.sha256(), bytes(range(256)) * 256
            while not go_on.is_set() or sent < (64 << 20):
                connection.sendall(block)
                digest.update(block)
                sent += len(block)
            connection.shutdown(socket.SHUT_WR)
            result.append((sent, digest.hexdigest()))

        result, received = [], []
        pair = self.pair()
        ports = [pair.to_cloud(backend := serve(self, pour)), pair.to_premise(backend)]
        other = echo_port(self)
        pair.start()

        def download(port):
            size, digest = 0, hashlib.sha256()
            with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
                while data := client.recv(1 << 18):
                    size, _ = size + len(data), digest.update(data)
            received.append((size, digest.hexdigest()))

        threads = [threading.Thread(target=download, args=[port]) for port in ports]
        for thread in threads:
            thread.start()
        fixed = {program: {key: list(value) for key, value in program.tables.items() if isinstance(value, list)}
                 for program in (pair.server, pair.agent)}
        for index in range(RELOADS):
            for program in (pair.server, pair.agent):
                program.tables.update({key: list(value) for key, value in fixed[program].items()})
            channel = pair.to_cloud(other, f"other-{index}")
            listener = pair.to_premise(other, f"other-{index}:1")
            if index % 5 == 0:
                self.renew(pair, index)
            pair.server.reload()
            pair.agent.reload()
            assert_echoes(self, channel)
            assert_echoes(self, listener)
        go_on.set()
        for thread in threads:
            thread.join(120)
        self.assertEqual(sorted(received), sorted(result))
        self.assertEqual(len(received), 2)

    def renew(self, pair, index):
        """Uses new certificates of the same authority, in new files."""
        server = pair.authority.server("localhost", "127.0.0.1", file=f"server-{index}")
        agent = pair.authority.agent(days=31 + index)
        pair.server.tables["tunnel"].update(certificate=server.certificate, private_key=server.private_key)
        pair.agent.tables["server"][0].update(certificate=agent.certificate, private_key=agent.private_key)

    def test_a_bad_file_is_refused_with_its_line_and_changes_nothing(self):
        pair = self.pair()
        ports = {pair.server: pair.to_premise(backend := echo_port(self)), pair.agent: pair.to_cloud(backend)}
        pair.start()
        for program, port in ports.items():
            with self.subTest(program.kind):
                good = program.config.read_text()
                program.config.write_text(good + "\n[limits]\nno_such_key = 1\n")
                line = len(good.splitlines()) + 3
                status, said = program.ask("reload")
                self.assertEqual(status, CONFIGURATION)
                for text in (f"{program.config.name}:{line}", "no_such_key"):
                    self.assertIn(text, said)
                    program.wait_for_output(text)
                assert_echoes(self, port)
                program.reload()
                assert_echoes(self, port)

    def test_a_port_in_use_is_refused_and_changes_nothing(self):
        pair = self.pair()
        port = pair.to_cloud(backend := echo_port(self))
        pair.start()
        taken = pair.agent.channel(pair.server.port, "web")
        with socket.create_server(("127.0.0.1", taken)):
            pair.agent.write()
            status, said = pair.agent.ask("reload")
            self.assertEqual(status, TRY_AGAIN)
            self.assertIn(str(taken), said)
            assert_echoes(self, port)
        pair.agent.reload()
        assert_echoes(self, taken)
        self.assertTrue(backend)

    def test_ports_move_to_another_address_in_one_reload(self):
        pair = self.pair()
        ports = [pair.to_cloud(echo_port(self)), pair.to_premise(echo_port(self))]
        tunnel, listener = pair.server.tables["tunnel"], pair.server.tables["virtual_listener"][0]
        channel = pair.agent.tables["channel"][0]
        pair.start()
        with contextlib.ExitStack() as kept:
            streams = [kept.enter_context(open_echo_stream(self, port)) for port in ports]
            for host in ("0.0.0.0", "127.0.0.1", "0.0.0.0"):
                for table in (tunnel, listener, channel):
                    table["listen"] = f"{host}:{table['listen'].rpartition(':')[2]}"
                listener["allow_from"] = channel["allow_from"] = ["127.0.0.0/8"]
                pair.server.reload()
                pair.agent.reload()
                for port, stream in zip(ports, streams):
                    assert_echoes(self, port)
                    assert_still_echoes(self, stream)
        self.assertEqual(pair.agent.stop(), 0)
        pair.agent.start().wait_until_ready()

    def test_a_metrics_port_in_use_is_reported_and_the_rest_is_in_force(self):
        pair = self.pair()
        backend = echo_port(self)
        pair.start()
        metrics, taken = pair.server.tables["metrics"], free_port()
        with socket.create_server(("127.0.0.1", taken)):
            port = pair.to_premise(backend)
            pair.agent.reload()
            pair.server.tables["metrics"] = {"listen": f"127.0.0.1:{taken}"}
            pair.server.write()
            status, said = pair.server.ask("reload")
            self.assertEqual(status, TRY_AGAIN)
            self.assertIn(str(taken), said)
            assert_echoes(self, port)
        pair.server.tables["metrics"] = metrics
        pair.server.reload()
        self.assertTrue(pair.server.is_ready())

    def test_a_signal_reads_files_that_did_not_change(self):
        server = self.pair().server.start().wait_until_ready()
        server.send(signal.SIGHUP)
        server.wait_for_output("info reloaded")

    def test_a_reload_during_a_drain_is_refused_with_the_reason(self):
        pair = self.pair()
        port = pair.to_cloud(echo_port(self))
        pair.start()
        with open_echo_stream(self, port):
            pair.agent.send(signal.SIGTERM)
            pair.agent.wait_for_output("info draining")
            status, said = pair.agent.ask("reload")
            self.assertEqual(status, TRY_AGAIN)
            self.assertIn("the program is stopping", said)
        pair.agent.exit_status()

    def test_a_changed_file_is_read_without_a_signal(self):
        pair = self.pair()
        pair.start()
        backend, port = echo_port(self), None
        pair.server.service("late", backend)
        pair.server.write()
        port = pair.agent.channel(pair.server.port, "late")
        pair.agent.write()
        wait_until(lambda: answers_one_byte(port), 15, "the new channel")

    def test_a_kubernetes_volume_is_reread_when_its_link_is_swapped(self):
        """/etc/culvert/server.toml -> ..data/server.toml, ..data -> ..2026_1: only the inner link changes."""
        pair = self.pair()
        port = pair.to_cloud(echo_port(self), "late")
        pair.start()
        volume, agent = self.folder / "volume", pair.agent
        agent.stop()
        volume.mkdir()
        agent.config, agent.command[-1] = volume / "agent.toml", str(volume / "agent.toml")
        self.publish(agent, "..1")
        (volume / "agent.toml").symlink_to("..data/agent.toml")
        agent.write = lambda: None
        agent.start().wait_until_ready()
        assert_echoes(self, port)
        second = agent.channel(pair.server.port, "late")
        self.publish(agent, "..2")
        wait_until(lambda: answers_one_byte(second), 15, "the channel of the swapped file")

    def publish(self, program, name):
        volume = self.folder / "volume"
        (volume / name).mkdir()
        (volume / name / "agent.toml").write_text(toml(program.tables))
        link = volume / "..data_tmp"
        link.symlink_to(name)
        link.replace(volume / "..data")

    def test_a_removed_channel_accepts_no_connections_but_keeps_its_streams(self):
        pair = self.pair()
        port = pair.to_cloud(echo_port(self))
        pair.start()
        with open_echo_stream(self, port) as client:
            pair.agent.tables["channel"].clear()
            pair.agent.reload()
            self.assertRaises(ConnectionRefusedError, socket.create_connection, ("127.0.0.1", port))
            assert_still_echoes(self, client)


def answers_one_byte(port):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(b"x")
        return client.recv(1) == b"x"


class Denial(Case):
    seconds = 20

    def test_allow_from_is_checked_at_accept(self):
        pair = self.pair()
        backend = serve(self, lambda c: c.sendall(b"welcome"))
        ports = [pair.to_cloud(backend, allow_from=["127.0.0.2/32"]), pair.to_premise(backend)]
        pair.server.tables["virtual_listener"][0]["allow_from"] = ["127.0.0.2/32"]
        pair.start()
        for port, program in zip(ports, (pair.agent, pair.server)):
            with self.subTest(program.kind):
                self.assertEqual(receive_until_closed(port, source="127.0.0.2"), b"welcome")
                self.assertEqual(receive_until_closed(port, source="127.0.0.3"), b"")
                program.wait_for_output("127.0.0.3")

    def test_allow_from_may_change_by_a_reload(self):
        pair = self.pair()
        port = pair.to_cloud(serve(self, lambda c: c.sendall(b"welcome")))
        pair.start()
        self.assertEqual(receive_until_closed(port, source="127.0.0.3"), b"welcome")
        pair.agent.tables["channel"][0]["allow_from"] = ["127.0.0.2/32"]
        pair.agent.reload()
        self.assertEqual([receive_until_closed(port, source="127.0.0.3"),
                          receive_until_closed(port, source="127.0.0.2")], [b"", b"welcome"])

    def check_denial(self, key, value):
        pair = self.pair()
        port = pair.to_cloud(backend := echo_port(self))
        other = another_agent(self, pair, backend)
        pair.start()
        other.start().wait_until_ready()
        with open_echo_stream(self, port) as client:
            pair.server.tables["deny"] = {key: [value(pair)]}
            pair.server.reload()
            client.settimeout(5)
            self.assertRaises(ConnectionResetError, client.recv, 1)
        wait_until(lambda: not pair.agent.is_ready(), 5, "the denied agent to have no tunnel")
        pair.agent.wait_for_output("denied")
        assert_echoes(self, int(other.tables["channel"][0]["listen"].rsplit(":", 1)[1]))
        # When it is removed from the list, it comes back.
        pair.server.tables["deny"] = {}
        pair.server.reload()
        pair.agent.wait_until_ready(60)
        assert_echoes(self, port)

    def test_a_denied_serial_ends_live_tunnels_within_five_seconds(self):
        self.check_denial("certificate_serials", lambda pair: pair.agent_credentials.serial())

    def test_a_denied_agent_ends_live_tunnels_within_five_seconds(self):
        self.check_denial("agents", lambda pair: certificates.spiffe("acme", "one"))


def another_agent(case, pair, backend):
    """A second agent of the same account, which the denial of the first must not affect."""
    other = Agent(case, "agent-two")
    other.connect(pair.server.port, pair.authority.agent(agent="two"))
    pair.server.service("two", backend)
    other.channel(pair.server.port, "two")
    return other


class Exposure(Case):
    def test_the_agent_refuses_what_its_own_file_does_not_expose(self):
        pair = self.pair()
        backend = serve(self, lambda c: c.sendall(b"welcome"))
        exposed = pair.to_premise(backend, "erp:443")
        hidden = [pair.server.listener(name) for name in (f"127.0.0.1:{backend}", "erp:444", "erp.corp:443", "crm:443")]
        pair.start()
        self.assertEqual(receive_until_closed(exposed), b"welcome")
        for port in hidden:
            self.assertEqual(receive_until_closed(port), b"")

    def test_a_port_range_maps_port_by_port(self):
        pair = self.pair()
        base = free_port()
        while True:
            try:
                sockets = [socket.create_server(("127.0.0.1", base + offset)) for offset in range(3)]
                break
            except OSError:
                base = free_port()
        pair.agent.tables["system_mapping"].append(
            {"protocol": "tcp", "virtual": "sap:3200-3202", "internal": f"127.0.0.1:{base}-{base + 2}", "check": False})
        ports = [pair.server.listener(f"sap:{3200 + offset}") for offset in range(3)]
        pair.start()
        for port, listening in zip(ports, sockets):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
                client.sendall(b"x")
                listening.settimeout(10)
                accepted, _ = listening.accept()
                accepted.settimeout(10)
                self.assertEqual(accepted.recv(1), b"x")
                accepted.close()
            listening.close()
