# SPDX-License-Identifier: Apache-2.0
"""Mappings of the agent: removed under traffic, with forbidden addresses, with targets that do not answer."""

import contextlib
import json
import socket
import time

from tests.harness.case import Case
from tests.harness.echo_client import assert_echoes, receive_until_closed
from tests.harness.http_server import http_server
from tests.harness.ports import free_port
from tests.harness.sockets import reset
from tests.harness.tcp_server import echo_port, serve
from tests.harness.waiting import wait_until


def stays_open(case, client):
    client.sendall(b"still here")
    case.assertEqual(client.recv(100), b"still here")


class Mappings(Case):
    seconds = 15

    def open_events(self, pair):
        """A connection that has received the beginning of a response without an end."""
        host, port = pair.proxy_address
        client = socket.create_connection((host, port), timeout=10)
        client.sendall(b"GET http://events/ HTTP/1.1\r\nHost: events\r\n\r\n")
        self.assertIn(b"one", client.recv(4096))
        return client

    def test_streams_of_a_removed_mapping_end_and_others_continue(self):
        def events(connection):
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: one\n\n")
            connection.recv(1)

        pair = self.pair()
        gone, kept = pair.to_premise(echo_port(self), "gone:1"), pair.to_premise(echo_port(self), "kept:1")
        url = pair.proxy()
        pair.proxy_address = ("127.0.0.1", int(url.rsplit(":", 1)[1]))
        pair.agent.web("events:80", serve(self, events))
        pair.start()
        with socket.create_connection(("127.0.0.1", gone), timeout=10) as first, \
                socket.create_connection(("127.0.0.1", kept), timeout=10) as second, self.open_events(pair) as third:
            stays_open(self, first)
            stays_open(self, second)
            mappings = pair.agent.tables["system_mapping"]
            # Changed rules apply to new requests; an open one keeps the rules with which it was opened.
            mappings[2]["resource"] = [{"path": "/other"}]
            pair.agent.reload()
            time.sleep(1.5)
            stays_open(self, first)
            mappings[0]["enabled"] = False
            del mappings[2]
            pair.agent.reload()
            for client in (first, third):
                with self.assertRaises(ConnectionResetError):
                    client.recv(1)
            stays_open(self, second)
        pair.agent.wait_for_output("warn mapping.withdrawn streams=2")
        self.assertEqual(receive_until_closed(gone), b"")
        mappings[0]["enabled"] = True
        pair.agent.reload()
        assert_echoes(self, gone)

    def test_a_name_resolves_to_this_host_only_if_the_mapping_allows_it(self):
        pair = self.pair()
        port = echo_port(self)
        hosts = self.folder / "hosts"
        hosts.write_text("127.0.0.1 localhost back-end\n")
        pair.agent.command = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', hosts,
                              *pair.agent.command]
        ways = {name: pair.to_premise(port, f"{name}:1", internal=f"back-end:{port}", **more) for name, more in {
            "silent": {}, "allowed": {"addresses": ["127.0.0.0/8"]},
            "elsewhere": {"addresses": ["10.0.0.0/8"]}}.items()}
        literal = pair.to_premise(port, "literal:1")
        denied = pair.to_premise(port, "denied:1", addresses=["10.0.0.0/8"])
        pair.start()
        assert_echoes(self, ways["allowed"])
        assert_echoes(self, literal)
        for way in (ways["silent"], ways["elsewhere"], denied):
            self.assertEqual(receive_until_closed(way), b"")
        pair.agent.wait_for_output("code=dial.address_denied")

    def test_targets_that_do_not_answer_are_reported_at_load_and_on_request(self):
        pair = self.pair()
        alive, dead, quiet = echo_port(self), free_port(), free_port()
        pair.agent.mapping("alive:1", alive, check=True)
        pair.agent.mapping("dead:1", dead, check=True)
        pair.agent.mapping("quiet:1", quiet)
        pair.server.service("web", dead)
        pair.start()
        pair.agent.wait_for_output("warn target.unreachable target=dead:1 code=dial.refused")
        self.assertEqual(pair.agent.output().count("target.unreachable"), 1)
        errors = {each["virtual"]: each["last_error"] for each in pair.agent.status()["system_mappings"]}
        self.assertEqual([bool(errors[name]) for name in ("alive:1", "dead:1", "quiet:1")], [False, True, False])

        def targets(program):
            status, text = program.ask("targets", "--json")
            self.assertEqual(status, 0, text)
            return {each["target"]: (each["answers"], each["code"]) for each in json.loads(text)["targets"]}

        self.assertEqual(targets(pair.agent), {"alive:1": (True, ""), "dead:1": (False, "dial.refused"),
                                               "quiet:1": (False, "dial.refused")})
        self.assertEqual(targets(pair.server), {"web of account acme": (False, "dial.refused")})

    def test_an_http_mapping_dials_no_more_at_once_than_the_server_may(self):
        pair = self.pair()
        url = pair.proxy()
        with socket.create_server(("127.0.0.1", 0), backlog=0) as silent, contextlib.ExitStack() as fillers:
            for _ in range(4):  # The backlog is full: further connections wait for their answer.
                filler = fillers.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(silent.getsockname())
            pair.agent.web("silent:80", silent.getsockname()[1], connect_timeout="20s")
            pair.agent.tables["limits"] = {"dials_max": 1}
            pair.start()
            address = ("127.0.0.1", int(url.rsplit(":", 1)[1]))
            first, second = (fillers.enter_context(socket.create_connection(address, timeout=10)) for _ in range(2))
            for client in (first, second):
                client.sendall(b"GET http://silent/ HTTP/1.1\r\nHost: silent\r\n\r\n")
            wait_until(lambda: pair.agent.gauges()["culvert_relays"] == 2, 5, "both requests")
            self.assertEqual(pair.agent.gauges()["culvert_dials_in_flight"], 1)
            reset(first)
            wait_until(lambda: pair.agent.gauges()["culvert_relays"] == 1, 5, "the end of the first request")
            wait_until(lambda: pair.agent.gauges()["culvert_dials_in_flight"] == 1, 5, "the second dial")
            reset(second)

    def test_a_disabled_channel_has_no_port(self):
        pair = self.pair()
        port = pair.to_cloud(echo_port(self), enabled=False)
        pair.start()
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)
        pair.agent.tables["channel"][0]["enabled"] = True
        pair.agent.reload()
        assert_echoes(self, port)

    def test_locations_and_cookies_are_mapped_to_the_virtual_name(self):
        def answer(_method, path, fields, _body):
            return (f"HTTP/1.1 302 Found\r\nLocation: {path.split('?', 1)[1]}\r\n"
                    f"Content-Location: http://{fields['host']}/here\r\n"
                    "Set-Cookie: a=b; Domain=127.0.0.1; Path=/\r\nContent-Length: 0\r\n\r\n").encode()

        pair = self.pair()
        url = pair.proxy()
        port = http_server(self, answer)
        pair.agent.web("erp:80", port, host_header="internal")
        pair.start()
        for location, mapped in [(f"http://127.0.0.1:{port}/x?y", "http://erp/x?y"),
                                 ("http://elsewhere/x", "http://elsewhere/x"),
                                 ("/relative", "/relative")]:
            head = self.command("curl", "-sS", "-D", "-", "-o", "/dev/null", "-x", url,
                                f"http://erp/?{location}").splitlines()
            self.assertIn(f"Location: {mapped}", head)
            self.assertIn("Content-Location: http://erp/here", head)
            self.assertIn("Set-Cookie: a=b; Path=/", head)
