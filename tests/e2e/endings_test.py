# SPDX-License-Identifier: Apache-2.0
"""How a conversation ends is part of it: half-close, close-delimited bodies and resets arrive as what they were."""

import socket
import subprocess
import threading

from backends import echo, receive_all, receive_exactly, reset, serve
from conversations import closes
from culvert import SCALE, Case

MIB = 1 << 20


class Endings(Case):
    seconds = 20

    def ways(self, conversation):
        """Ports of both directions to a server that holds this conversation."""
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
                answer = subprocess.run(["nc", "-N", "127.0.0.1", str(port)], input=b"x" * MIB, capture_output=True, timeout=30, check=True)
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
                # Close-delimited, so curl has nothing but the reset to tell it.
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
                # Before it was dialled, the back end need not hear of it at all.
                if done.wait(20 if wait_for_data else 1):
                    self.assertEqual(ends.pop(), "reset")

    def test_a_client_that_resets_is_a_reset_for_the_back_end(self):
        self.reset_by_client(wait_for_data=True)

    def test_a_client_that_resets_at_once_is_no_clean_end_for_the_back_end(self):
        self.reset_by_client(wait_for_data=False)

    def test_an_idle_conversation_stays_usable(self):
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
            self.assertEqual(closes(port), b"")
        with socket.create_connection(("127.0.0.1", alive), timeout=10) as client:
            client.sendall(b"still here")
            self.assertEqual(receive_exactly(client, 10), b"still here")
