# SPDX-License-Identifier: Apache-2.0
"""What the agent exposes: taken away under traffic, led to forbidden addresses, found dead."""

import json
import socket
import time

from backends import echo_port, serve
from conversations import closes, echoes
from culvert import Case, free_port
from http_proxy_test import http_server


def stays_open(case, client):
    client.sendall(b"still here")
    case.assertEqual(client.recv(100), b"still here")


class Mappings(Case):
    seconds = 15

    def events(self, pair):
        """A response that does not end: (connection that has read its head)."""
        host, port = pair.proxy_address
        client = socket.create_connection((host, port), timeout=10)
        client.sendall(b"GET http://events/ HTTP/1.1\r\nHost: events\r\n\r\n")
        self.assertIn(b"one", client.recv(4096))
        return client

    def test_streams_of_a_mapping_that_is_taken_away_end_and_others_go_on(self):
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
                socket.create_connection(("127.0.0.1", kept), timeout=10) as second, self.events(pair) as third:
            stays_open(self, first)
            stays_open(self, second)
            mappings = pair.agent.tables["system_mapping"]
            # Rules that change are for what comes; what is open keeps those that it was opened with.
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
        self.assertEqual(closes(gone), b"")
        mappings[0]["enabled"] = True
        pair.agent.reload()
        echoes(self, gone)

    def test_a_name_leads_to_this_host_only_where_the_mapping_says_so(self):
        pair = self.pair()
        port = echo_port(self)
        hosts = self.folder / "hosts"
        hosts.write_text("127.0.0.1 localhost back-end\n")
        pair.agent.command = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', hosts, *pair.agent.command]
        ways = {name: pair.to_premise(port, f"{name}:1", internal=f"back-end:{port}", **more) for name, more in {
            "silent": {}, "allowed": {"addresses": ["127.0.0.0/8"]}, "elsewhere": {"addresses": ["10.0.0.0/8"]}}.items()}
        literal = pair.to_premise(port, "literal:1")
        denied = pair.to_premise(port, "denied:1", addresses=["10.0.0.0/8"])
        pair.start()
        echoes(self, ways["allowed"])
        echoes(self, literal)
        for way in (ways["silent"], ways["elsewhere"], denied):
            self.assertEqual(closes(way), b"")
        self.assertIn("code=dial.address_denied", pair.agent.output())

    def test_targets_that_do_not_answer_are_named_when_loaded_and_when_asked_for(self):
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

        self.assertEqual(targets(pair.agent), {"alive:1": (True, ""), "dead:1": (False, "dial.refused"), "quiet:1": (False, "dial.refused")})
        self.assertEqual(targets(pair.server), {"web of account acme": (False, "dial.refused")})

    def test_a_channel_that_is_not_enabled_has_no_port(self):
        pair = self.pair()
        port = pair.to_cloud(echo_port(self), enabled=False)
        pair.start()
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)
        pair.agent.tables["channel"][0]["enabled"] = True
        pair.agent.reload()
        echoes(self, port)

    def test_locations_and_cookies_come_back_under_the_virtual_name(self):
        def answer(_method, path, fields, _body):
            return (f"HTTP/1.1 302 Found\r\nLocation: {path.split('?', 1)[1]}\r\nContent-Location: http://{fields['host']}/here\r\n"
                    "Set-Cookie: a=b; Domain=127.0.0.1; Path=/\r\nContent-Length: 0\r\n\r\n").encode()

        pair = self.pair()
        url = pair.proxy()
        port = http_server(self, answer)
        pair.agent.web("erp:80", port, host_header="internal")
        pair.start()
        for location, mapped in [(f"http://127.0.0.1:{port}/x?y", "http://erp/x?y"), ("http://elsewhere/x", "http://elsewhere/x"),
                                 ("/relative", "/relative")]:
            head = self.command("curl", "-sS", "-D", "-", "-o", "/dev/null", "-x", url, f"http://erp/?{location}").splitlines()
            self.assertIn(f"Location: {mapped}", head)
            self.assertIn("Content-Location: http://erp/here", head)
            self.assertIn("Set-Cookie: a=b; Domain=erp; Path=/", head)
