# SPDX-License-Identifier: Apache-2.0
"""One program of the last release and one of this checkout: all ways through a tunnel, and that neither uses what the
other does not know."""

import json
import unittest

from tests.compatibility.last_release import OLD, MixedCase
from tests.harness.echo_client import assert_echoes, assert_still_echoes, open_echo_stream
from tests.harness.http_server import echo_request, http_server
from tests.harness.one_back_end import OneBackEnd
from tests.harness.strict_http_client import Client
from tests.harness.tcp_server import echo, echo_port, serve

INTERIM_RESPONSES = 20
CANONICAL_TARGETS = [b"/", b"/a/b?c=%20d&e", b"/a%20b", b"/$metadata", b"/I('a')", b"/%C3%A9", b"/a%2Fb", b"/x;y=1,2",
                     b"/a?q=%7e", b"/a?q=%FF"]
# Other spellings of a path, and its canonical form: needless encoding, lower-case digits, an empty segment.
OTHER_TARGETS = {b"/%7Euser": b"/~user", b"/%24metadata": b"/%24metadata", b"/I('a%27b')": b"/I('a%27b')",
                 b"/%c3%a9": b"/%C3%A9", b"/a%2fb": b"/a%2Fb", b"/a//b": b"/a/b", b"/{a}": b"/%7Ba%7D"}
# Queries that today's programs send as they come.
OTHER_QUERIES = {b"/a?q=\xe9": b"/a?q=%E9", b"/a?q=\xc3\xa9": b"/a?q=%C3%A9", b"/?100%": b"/?100%25"}


class Ways:
    """The tests of both pairs. `older` is the program of the last release."""

    older = ""

    def start(self, pair):
        getattr(pair, self.older).use_build(OLD)
        pair.start()
        self.assert_runs(getattr(pair, self.older), OLD)
        return pair

    def curl(self, *arguments):
        return self.command("curl", "-sS", "--fail", "--path-as-is", "--max-time", 20, *arguments)

    def test_every_way_through_the_tunnel_and_a_reload_of_both(self):
        pair = self.pair()
        back, web = echo_port(self), http_server(self, echo_request)
        to_cloud, to_premise = pair.to_cloud(back), pair.to_premise(back)
        proxy, socks = pair.proxy(), pair.socks()
        pair.agent.web("web:80", web)
        self.start(pair)

        def assert_all_ways(name):
            assert_echoes(self, to_cloud)
            assert_echoes(self, to_premise)
            url = f"http://{name}/a?b=c"
            for way in (["-x", proxy], ["--socks5-hostname", socks], ["-x", proxy, "--proxytunnel"]):
                seen = json.loads(self.curl(*way, "-d", "body", url))
                self.assertEqual((seen["path"], seen["body"]), ("/a?b=c", "body"), way)

        assert_all_ways("web")
        with open_echo_stream(self, to_cloud) as up, open_echo_stream(self, to_premise) as down:
            for number in range(3):
                name = f"more-{number}"
                port = pair.to_cloud(back, name)
                pair.agent.web(f"{name}:80", web)
                if number == 1:  # The link changes, and its tunnels are replaced.
                    pair.agent.tables["server"][0]["tunnels_min"] = 3
                pair.server.reload()
                pair.agent.reload()
                pair.agent.wait_until_ready()
                assert_echoes(self, port)
                assert_all_ways(name)
            assert_still_echoes(self, up)
            assert_still_echoes(self, down)

    def test_either_program_drains(self):
        for first in ("agent", "server"):
            pair = self.pair()
            to_cloud, to_premise = pair.to_cloud(echo_port(self)), pair.to_premise(echo_port(self))
            self.start(pair)
            with open_echo_stream(self, to_cloud) as up, open_echo_stream(self, to_premise) as down:
                program = getattr(pair, first)
                program.send(program.stop_signal)
                program.wait_for_output("info draining")
                assert_still_echoes(self, up)
                assert_still_echoes(self, down)
            self.assertEqual(program.exit_status(10), 0)
            pair.agent.stop()
            pair.server.stop()

    def start_web(self, conversation=None, **more):
        """One tunnel, with one HTTP mapping; beside it a TCP mapping to an echo. Returns its port."""
        pair = self.pair(tunnels=1)
        self.proxy = pair.proxy()
        pair.agent.web("web:80", serve(self, conversation) if conversation else http_server(self, echo_request), **more)
        port = pair.to_premise(echo_port(self))
        self.start(pair)
        return port

    def ask(self, request):
        host, port = self.proxy.removeprefix("http://").split(":")
        with Client((host, int(port)), seconds=20) as client:
            client.send(request)
            return client.answer()

    def assert_arrive(self, targets):
        """Requests for these get the back end's answer."""
        self.start_web(encoded_slash="keep")
        answers = {target: self.ask(b"GET http://web%s HTTP/1.1\r\nHost: web\r\n\r\n" % target) for target in targets}
        self.assertEqual({target: answer for target, answer in answers.items() if answer.status != 200}, {})
        return {target: json.loads(answer.body)["path"].encode() for target, answer in answers.items()}

    def test_targets_in_canonical_form_arrive(self):
        self.assertEqual(self.assert_arrive(CANONICAL_TARGETS), {target: target for target in CANONICAL_TARGETS})

    def test_bodies_arrive_in_every_framing(self):
        self.start_web()
        body = self.folder / "body"
        body.write_text("x" * (1 << 20))
        for more in ([], ["-H", "Transfer-Encoding: chunked"], ["-H", "Expect: 100-continue"], ["--http1.0"]):
            seen = json.loads(self.curl("-x", self.proxy, *more, "--data-binary", f"@{body}", "http://web/"))
            self.assertEqual(len(seen["body"]), 1 << 20, more)
        seen = json.loads(self.curl("-x", self.proxy, "-d", "", "http://web/"))
        self.assertEqual((seen["method"], seen["body"]), ("POST", ""))

    def test_trailers_that_are_announced_pass(self):
        def conversation(connection):
            OneBackEnd.read_head(connection)
            OneBackEnd.read_head(connection)  # The body, which ends like a head.
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
                               b"2\r\nOK\r\n0\r\nX-Sum: 1\r\n\r\n")

        self.start_web(conversation)
        answer = self.ask(b"POST http://web/ HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n"
                          b"TE: trailers\r\nConnection: TE\r\n\r\n2\r\nOK\r\n0\r\nX-Sum: 1\r\n\r\n")
        self.assertEqual((answer.status, answer.body), (200, b"OK"), answer)

    def test_a_web_socket_passes(self):
        def conversation(connection):
            OneBackEnd.read_head(connection)
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            echo(connection)

        self.start_web(conversation, resources=[{"path": "/", "match": "sub_paths", "upgrade": True}])
        host, port = self.proxy.removeprefix("http://").split(":")
        with Client((host, int(port))) as client:
            client.send(b"GET http://web/ HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            self.assertEqual(client.answer().status, 101)
            client.send(b"frame")
            client.more()
            self.assertTrue(bytes(client.data).endswith(b"frame"))

    def test_a_login_that_belongs_to_a_connection_passes(self):
        """The old agent knows no bonds, and the old server opens none."""
        self.start_web()
        for _ in range(2):
            answer = self.ask(b"GET http://web/ HTTP/1.1\r\nHost: web\r\nAuthorization: NTLM TlRMTVNTUAAB\r\n\r\n")
            self.assertEqual(answer.status, 200, answer)
            self.assertEqual(json.loads(answer.body)["fields"]["authorization"], "NTLM TlRMTVNTUAAB")

    @staticmethod
    def answer_once(connection):
        OneBackEnd.read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    def assert_harmless(self, conversation, status, **more):
        """A request whose back end does this gets this status, and the streams beside it continue."""
        port = self.start_web(conversation, **more)
        with open_echo_stream(self, port) as stream:
            answer = self.ask(b"GET http://web/ HTTP/1.1\r\nHost: web\r\n\r\n")
            assert_still_echoes(self, stream)
        self.assertEqual(answer.status, status, answer)
        return answer

    def test_a_back_end_that_does_not_speak_http_ends_only_its_request(self):
        """Today's agent reports it to today's server by a HEAD, which the old server does not know."""
        def conversation(connection):
            OneBackEnd.read_head(connection)
            connection.sendall(b"220 mail.example ESMTP\r\n")

        self.assert_harmless(conversation, 502)

    def test_an_agent_that_needs_longer_for_its_dial_says_so_harmlessly(self):
        self.assert_harmless(self.answer_once, 200, connect_timeout="30s")


class OldAgent(Ways, MixedCase):
    """The server is of this checkout."""

    older = "agent"

    def test_targets_in_other_spellings_arrive_in_the_canonical_form(self):
        """The old agent accepts no other form of a path, and a query of ASCII characters only."""
        self.assertEqual(self.assert_arrive(OTHER_TARGETS | OTHER_QUERIES), OTHER_TARGETS | OTHER_QUERIES)

    def test_a_target_that_is_too_long_in_the_canonical_form_ends_only_its_request(self):
        port = self.start_web()
        with open_echo_stream(self, port) as stream:
            for target in (b"/" + b"[" * 3_000, b"/?" + b"\xe9" * 3_000):
                answer = self.ask(b"GET http://web%s HTTP/1.1\r\nHost: web\r\n\r\n" % target)
                self.assertEqual(answer.status, 502, answer)
            assert_still_echoes(self, stream)


class OldServer(Ways, MixedCase):
    """The agent is of this checkout."""

    older = "server"

    def test_targets_in_other_spellings_arrive_in_the_canonical_form(self):
        """It is the old server that changes them. It refuses queries that are not of ASCII characters."""
        self.assertEqual(self.assert_arrive(OTHER_TARGETS), OTHER_TARGETS)

    def test_many_interim_responses_end_no_tunnel(self):
        """The old server ends a tunnel, with all its streams, for an exchange of more than 11 heads."""
        def conversation(connection):
            OneBackEnd.read_head(connection)
            connection.sendall(b"HTTP/1.1 102 Processing\r\n\r\n" * INTERIM_RESPONSES
                               + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")

        self.assertEqual(self.assert_harmless(conversation, 200).body, b"OK")


if __name__ == "__main__":
    unittest.main(verbosity=2)
