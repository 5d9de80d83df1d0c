# SPDX-License-Identifier: Apache-2.0
"""A program that dies, freezes or stops: the other one notices in time, and its connections end with an error."""

import signal
import socket
import threading
import time

from tests.harness.case import Case
from tests.harness.echo_client import assert_echoes, assert_still_echoes, open_echo_stream
from tests.harness.sockets import receive_exactly
from tests.harness.tcp_server import echo, echo_port, serve
from tests.harness.waiting import wait_until


def pour(connection):
    block = bytes(1 << 16)
    while True:
        connection.sendall(block)


class Faults(Case):
    seconds = 60

    def test_the_agent_is_back_within_two_seconds_of_a_new_server(self):
        pair = self.pair()
        ports = [pair.to_cloud(port := echo_port(self)), pair.to_premise(port)]
        pair.start()
        for _ in range(3):
            for port in ports:
                assert_echoes(self, port)
            pair.server.kill()
            wait_until(lambda: not pair.agent.is_ready(), 10, "the agent to see the loss")
            pair.server.start()
            wait_until(lambda: socket.create_connection(("127.0.0.1", pair.server.port)).close() is None, 10,
                       "the new server", every=0.005)
            listens = time.monotonic()
            wait_until(pair.agent.is_ready, 10, "the agent to be back")
            self.assertLess(time.monotonic() - listens, 2, "seconds from the server's listen to the agent's tunnel")
            pair.server.wait_until_ready()

    def kill(self, pick):
        """Kills one program while streams run. The client and the back end of the survivor see an error; the kernel
        closes the connections of the killed program."""
        ends, done = [], threading.Semaphore(0)

        def pour_until_cut(connection):
            try:
                pour(connection)
            except OSError as error:
                ends.append(type(error).__name__)
                done.release()

        backend = serve(self, pour_until_cut)
        pair = self.pair()
        ports = {"agent": pair.to_cloud(backend), "server": pair.to_premise(backend)}
        pair.start()
        victim = pick(pair)
        clients = {kind: socket.create_connection(("127.0.0.1", port), timeout=30) for kind, port in ports.items()}
        for client in clients.values():
            receive_exactly(client, 1 << 20)
        victim.kill()
        for kind, client in clients.items():
            try:
                while client.recv(1 << 20):
                    pass
                end = "clean"
            except ConnectionResetError:
                end = "reset"
            client.close()
            if kind != victim.kind:
                self.assertEqual(end, "reset", f"how the stream ended at the {kind}, which survived")
        for _ in clients:
            self.assertTrue(done.acquire(timeout=30), f"back ends that saw an error: {ends}")

    def test_a_killed_server_ends_streams_with_an_error(self):
        self.kill(lambda pair: pair.server)

    def test_a_killed_agent_ends_streams_with_an_error(self):
        self.kill(lambda pair: pair.agent)

    def freeze(self, pick):
        pair = self.pair()
        backend = serve(self, pour)
        # The port of the program that stays alive.
        ports = {"server": pair.to_cloud(backend), "agent": pair.to_premise(backend)}
        pair.start()
        victim = pick(pair)
        witness = pair.agent if victim is pair.server else pair.server
        with socket.create_connection(("127.0.0.1", ports[victim.kind]), timeout=30) as client:
            receive_exactly(client, 1 << 20)
            victim.send(signal.SIGSTOP)
            started = time.monotonic()
            with self.assertRaises(ConnectionResetError):
                while client.recv(1 << 20):
                    pass
            self.assertLess(time.monotonic() - started, 15, "seconds until the frozen peer was declared dead")
        self.assert_gauges_at_zero([witness])
        victim.send(signal.SIGCONT)
        wait_until(lambda: self.pours(ports[victim.kind]), 20, "a new tunnel after the thaw")

    def pours(self, port):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            return len(client.recv(1)) == 1

    def test_a_frozen_server_is_declared_dead_within_fifteen_seconds(self):
        self.freeze(lambda pair: pair.server)

    def test_a_frozen_agent_is_declared_dead_within_fifteen_seconds(self):
        self.freeze(lambda pair: pair.agent)

    def test_an_agent_without_its_server_keeps_trying(self):
        pair = self.pair()
        port = pair.to_cloud(echo_port(self))
        pair.agent.start()
        pair.agent.wait_for_output("dial.refused")
        pair.server.start().wait_until_ready()
        pair.agent.wait_until_ready()
        assert_echoes(self, port)

    def test_a_graceful_stop_lets_a_running_answer_end(self):
        """SIGTERM while a stream is open: it may finish, and no new one is accepted."""
        pair = self.pair()
        port = pair.to_cloud(serve(self, echo))
        pair.start()
        with open_echo_stream(self, port) as client:
            pair.agent.send(signal.SIGTERM)
            wait_until(lambda: not pair.agent.is_ready(), 10, "the agent to drain")
            assert_still_echoes(self, client)
        self.assertEqual(pair.agent.exit_status(20), 0)
