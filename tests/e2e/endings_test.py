# SPDX-License-Identifier: Apache-2.0
"""How a connection ends is part of its content: half-close, bodies that end by closing, and resets arrive unchanged."""

import socket
import subprocess
import threading
import urllib.parse

from tests.harness.case import Case
from tests.harness.echo_client import receive_until_closed
from tests.harness.environment import SCALE
from tests.harness.sockets import receive_all, receive_exactly, reset
from tests.harness.tcp_server import echo, serve, silent_port
from tests.harness.waiting import wait_until

MIB = 1 << 20


class Endings(Case):
    seconds = 20

    def ways(self, conversation):
        """Items (direction, port), both to a server that holds this conversation."""
        backend = serve(self, conversation)
        pair = self.pair()
        ports = {"cloud": pair.to_cloud(backend), "premise": pair.to_premise(backend)}
        pair.start()
        return ports.items()

    def test_an_http_1_0_body_that_ends_by_closing_arrives_whole(self):
        body = bytes(range(256)) * 4 * 1024 * max(int(8 * SCALE), 1)

        def respond(connection):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: application/octet-stream\r\n\r\n" + body)

        for way, port in self.ways(respond):
            with self.subTest(way):
                target = self.folder / way
                self.command("curl", "-sS", "--fail", "-o", target, f"http://127.0.0.1:{port}/")
                self.assertEqual(target.read_bytes(), body)

    def test_a_client_that_half_closes_still_reads_the_answer(self):
        def count(connection):
            connection.sendall(b"%d bytes\n" % len(receive_all(connection)))

        for way, port in self.ways(count):
            with self.subTest(way):
                answer = subprocess.run(["nc", "-N", "127.0.0.1", str(port)], input=b"x" * MIB, capture_output=True,
                                        timeout=30, check=True)
                self.assertEqual(answer.stdout, b"%d bytes\n" % MIB)

    def test_a_back_end_that_half_closes_still_reads_the_rest(self):
        counted = []
        done = threading.Event()

        def greet_then_read(connection):
            connection.sendall(b"bye")
            connection.shutdown(socket.SHUT_WR)
            counted.append(len(receive_all(connection)))
            done.set()

        for way, port in self.ways(greet_then_read):
            with self.subTest(way):
                done.clear()
                with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
                    self.assertEqual(receive_all(client), b"bye")
                    client.sendall(b"y" * MIB)
                self.assertTrue(done.wait(20))
                self.assertEqual(counted.pop(), MIB)

    def test_a_back_end_that_resets_in_mid_body_is_an_error_for_the_client(self):
        def break_off(connection):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + b"z" * MIB)
            reset(connection)

        for way, port in self.ways(break_off):
            with self.subTest(way):
                with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
                    client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                    with self.assertRaises(ConnectionResetError, msg="a cut-off body looked like a whole one"):
                        receive_all(client)
                # The body ends by closing, so curl notices only by the reset.
                self.command("curl", "-s", "-o", "/dev/null", f"http://127.0.0.1:{port}/", status=56)

    def reset_by_client(self, wait_for_data):
        ends, arrived, done = [], threading.Event(), threading.Event()

        def read(connection):
            try:
                if connection.recv(1):
                    arrived.set()
                receive_all(connection)
                ends.append("clean end")
            except ConnectionResetError:
                ends.append("reset")
            done.set()

        for way, port in self.ways(read):
            with self.subTest(way):
                arrived.clear()
                done.clear()
                with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
                    client.sendall(b"half a request")
                    self.assertTrue(not wait_for_data or arrived.wait(20))
                    reset(client)
                # If the client resets before the dial, the back end may see no connection at all.
                if done.wait(20 if wait_for_data else 1):
                    self.assertEqual(ends.pop(), "reset")

    def test_a_client_that_resets_is_a_reset_for_the_back_end(self):
        self.reset_by_client(wait_for_data=True)

    def test_a_client_that_resets_at_once_is_not_a_clean_end_for_the_back_end(self):
        self.reset_by_client(wait_for_data=False)

    def test_an_idle_connection_stays_usable(self):
        for way, port in self.ways(echo):
            with self.subTest(way), socket.create_connection(("127.0.0.1", port), timeout=20) as client:
                for message in (b"one", b"two"):
                    client.sendall(message)
                    self.assertEqual(receive_exactly(client, 3), message)
                client.settimeout(0.5)
                self.assertRaises(TimeoutError, client.recv, 1)
                client.settimeout(20)
                client.sendall(b"end")
                self.assertEqual(receive_exactly(client, 3), b"end")

    def test_a_back_end_that_refuses_ends_the_connection_at_once(self):
        backend = serve(self, echo)
        pair = self.pair()
        gone_cloud, gone_premise = pair.to_cloud(1, "gone"), pair.to_premise(1, "gone:1")
        alive = pair.to_cloud(backend, "alive")
        pair.start()
        for port in (gone_cloud, gone_premise):
            self.assertEqual(receive_until_closed(port), b"")
        with socket.create_connection(("127.0.0.1", alive), timeout=10) as client:
            client.sendall(b"still here")
            self.assertEqual(receive_exactly(client, 10), b"still here")


class Dials(Case):
    seconds = 15

    def port_with_full_backlog(self):
        """The kernel drops each SYN to it."""
        listening = self.enterContext(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            filler = self.enterContext(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listening.getsockname())
        return listening.getsockname()[1]

    def test_an_opener_that_leaves_ends_the_dial_of_the_other_side(self):
        pair = self.pair()
        full = self.port_with_full_backlog()
        for service, host in (("web", "localhost"), ("literal", "127.0.0.1")):
            pair.server.tables["service_mapping"].append(
                {"account": "acme", "service_id": service, "internal_address": f"{host}:{full}"})
        slow = {"backend_ca": pair.authority.ca, "connect_timeout": "60s"}
        pair.agent.mapping("tls:443", silent_port(self), "tcps", **slow)
        pair.agent.web("web:443", silent_port(self), protocol="https", **slow)
        proxy = urllib.parse.urlsplit(pair.proxy()).port
        ways = {"service": (pair.server, pair.agent.channel(pair.server.port, "web"), b""),
                "address": (pair.server, pair.agent.channel(pair.server.port, "literal"), b""),
                "mapping": (pair.agent, pair.server.listener("tls:443"), b""),
                "address, mapping": (pair.agent, pair.to_premise(full), b""),
                "request": (pair.agent, proxy, b"GET http://web:443/ HTTP/1.1\r\nHost: web:443\r\n\r\n")}
        pair.start()
        for way, (acceptor, port, text) in ways.items():
            with self.subTest(way):
                client = socket.create_connection(("127.0.0.1", port), timeout=10)
                client.sendall(text)
                wait_until(lambda: acceptor.metrics()["culvert_dials_in_flight"] == 1, 5, "the dial")
                reset(client)
                wait_until(lambda: acceptor.metrics()["culvert_dials_in_flight"] == 0, 5, "its end")
