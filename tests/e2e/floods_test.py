# SPDX-License-Identifier: Apache-2.0
"""Somebody who opens connections in great number keeps nobody else out."""

import contextlib
import http.client
import os
import socket
import ssl
import threading
import time
import urllib.parse

from tests.harness.case import Case
from tests.harness.echo_client import assert_echoes
from tests.harness.environment import SCALE
from tests.harness.bare_agent import BareAgent
from tests.harness.sockets import raise_descriptor_limit, receive_all, receive_exactly
from tests.harness.tcp_server import echo_port, serve, silent_port
from tests.harness.waiting import wait_until
from tests.testing.wan.network import inside

FLOOD_SOURCE = "127.0.0.2"
SILENT_SECONDS, LATE_SECONDS = 10, 4 / SCALE


class Flood:
    """Silent connections to a port from one address: `burst` at once, then `rate` per second until close()."""

    def __init__(self, port, burst, rate, source=FLOOD_SOURCE):
        raise_descriptor_limit()
        self.port, self.source, self.held, self.ended = port, source, [], threading.Event()
        for _ in range(burst):
            self.connect()
        self.thread = threading.Thread(target=self.flow, args=[rate])
        self.thread.start()

    def connect(self):
        with contextlib.suppress(OSError):
            self.held.append(socket.create_connection(("127.0.0.1", self.port), 5, (self.source, 0)))

    def flow(self, rate):
        while not self.ended.wait(1 / rate):
            self.connect()

    def close(self):
        self.ended.set()
        self.thread.join()
        for connection in self.held:
            connection.close()


class TunnelPort(Case):
    seconds = 20

    def test_a_flood_of_silent_connections_from_one_address_costs_a_good_agent_no_dial(self):
        pair = self.pair(tunnels=8)
        port = pair.to_cloud(echo_port(self))
        pair.server.start().wait_until_ready()
        with contextlib.closing(Flood(pair.server.port, burst=1500, rate=200)):
            pair.server.wait_for_output("warn tunnel.flood")
            good = BareAgent(self, pair.server.port, pair.agent_credentials)
            for _ in range(146):
                good.dial().close()
            began = time.monotonic()
            pair.agent.start().wait_until_ready()
            wait_until(lambda: pair.agent.status()["servers"][0]["tunnels_up"] == 8, 10, "all tunnels")
            self.assertLess(time.monotonic() - began, 5)
            self.assertNotIn("server.unreachable", pair.agent.output())
            assert_echoes(self, port)
            pair.server.wait_for_output(FLOOD_SOURCE)


class OneCertificate(Case):
    seconds = 20

    def test_has_so_many_tunnels_and_no_more_and_its_oldest_process_goes_first(self):
        pair = self.pair()
        port = pair.to_cloud(echo_port(self))
        pair.server.start().wait_until_ready()
        thief = BareAgent(self, pair.server.port, pair.agent_credentials)
        tunnels = [thief.greet() for _ in range(200)]
        self.assertTrue(all(welcomed for _, welcomed in tunnels))
        wait_until(lambda: pair.server.metrics()["culvert_tunnels"] == 64, 10, "64 tunnels")
        pair.server.wait_for_output("warn agent.too_many_tunnels")
        self.assertEqual(self.closed(tunnels), [True] * 136 + [False] * 64)
        # The owner of the certificate is not kept out.
        pair.agent.start().wait_until_ready()
        assert_echoes(self, port)
        wait_until(lambda: pair.server.metrics()["culvert_tunnels"] == 64, 10, "64 tunnels")
        self.assertEqual(self.closed(tunnels), [True] * 138 + [False] * 62)
        for tunnel, _ in tunnels:
            tunnel.close()

    @staticmethod
    def closed(tunnels):
        """Whether each connection has ended. A server's PING may have come."""
        def is_closed(tunnel):
            tunnel.setblocking(False)
            try:
                while tunnel.recv(4096):
                    pass
            except (ssl.SSLWantReadError, BlockingIOError):
                return False
            except OSError:
                pass
            return True
        return [is_closed(tunnel) for tunnel, _ in tunnels]

    def test_connections_that_prove_it_and_stay_silent_are_limited_too(self):
        pair = self.pair()
        pair.server.start().wait_until_ready()
        thief = BareAgent(self, pair.server.port, pair.agent_credentials)
        held = []
        with self.assertRaises(OSError):
            for _ in range(1100):
                held.append(thief.dial())
        self.assertGreater(len(held), 400)
        for each in held:
            each.close()


class OneAccount(Case):
    seconds = 20
    descriptors = 240

    def test_leaves_descriptors_to_the_others(self):
        pair = self.pair()
        port = pair.to_cloud(echo_port(self))
        proxy = urllib.parse.urlsplit(pair.proxy()).port
        pair.agent.web("erp:80", serve(self, ProxyPorts.answer))
        pair.server.command = ["prlimit", f"--nofile={self.descriptors}", *pair.server.command]
        pair.server.service("hole", silent_port(self), account="hog")
        pair.server.start().wait_until_ready()
        welcomed, held = 0, []
        for number in range(4):
            hog = BareAgent(self, pair.server.port, pair.authority.agent("hog", f"agent-{number}"))
            for slot in range(60):
                with contextlib.suppress(OSError):
                    tunnel, is_welcome = hog.greet(slot.to_bytes(16))
                    welcomed += is_welcome
                    held.append(tunnel)
        self.assertLess(welcomed, self.descriptors * 3 / 4)
        self.assertGreater(welcomed, self.descriptors / 2)
        pair.server.wait_for_output("warn share.used")
        pair.agent.start().wait_until_ready()
        assert_echoes(self, port)
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", proxy, timeout=10)) as client:
            ProxyPorts.get(self, client)
        self.assertNotIn("exhausted", pair.server.output())
        for each in held:
            each.close()


class ProxyPorts(Case):
    """More silent clients than a port may have connections."""

    seconds = 30
    connections_max = 200

    def start(self, **more):
        pair = self.pair()
        self.proxy = urllib.parse.urlsplit(pair.proxy(connections_max=self.connections_max, **more)).port
        self.socks = int(pair.socks(connections_max=self.connections_max, **more).rpartition(":")[2])
        pair.agent.web("erp:80", serve(self, self.answer))
        pair.agent.mapping("raw:80", echo_port(self))
        return pair

    @staticmethod
    def answer(connection):
        with contextlib.suppress(OSError):
            while connection.recv(65536):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def get(self, connection):
        connection.request("GET", "http://erp:80/")
        answer = connection.getresponse()
        self.assertEqual((answer.status, answer.read()), (200, b"ok"))

    def http_client(self):
        return contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.proxy, timeout=10))

    def check_socks(self):
        with socket.create_connection(("127.0.0.1", self.socks), timeout=10) as client:
            client.sendall(b"\5\1\0\5\1\0\3\3raw\0\x50hello")
            self.assertEqual(receive_exactly(client, 17), b"\5\0\5\0\0\1" + bytes(6) + b"hello")

    def test_silent_clients_keep_nobody_out(self):
        pair = self.start().start()
        for name, port in (("http_proxy", self.proxy), ("socks5_proxy", self.socks)):
            with contextlib.ExitStack() as held:
                held.enter_context(contextlib.closing(Flood(port, burst=self.connections_max + 42, rate=50)))
                pair.server.wait_for_output(f"warn port.full port={name}")
                for _ in range(50):
                    if port == self.proxy:
                        self.get(held.enter_context(self.http_client()))
                    else:
                        self.check_socks()

    def test_a_silent_client_is_disconnected_soon_and_one_that_is_kept_alive_is_not(self):
        self.start().start()
        with self.http_client() as kept:
            self.get(kept)
            began = time.monotonic()
            with socket.create_connection(("127.0.0.1", self.proxy), timeout=30) as silent:
                self.assertEqual(receive_all(silent), b"")
            seconds = time.monotonic() - began
            self.assertTrue(SILENT_SECONDS <= seconds <= SILENT_SECONDS + LATE_SECONDS, seconds)
            self.get(kept)

    def test_one_source_has_only_its_share(self):
        """In a network of its own, since loopback is no source of its own."""
        namespace = f"culvert-{os.getpid()}"
        self.command("ip", "netns", "add", namespace)
        self.addCleanup(self.command, "ip", "netns", "del", namespace)
        for change in (["link", "set", "lo", "up"], ["address", "add", "10.9.0.1/24", "dev", "lo"],
                       ["address", "add", "10.9.0.2/24", "dev", "lo"], ["address", "add", "10.9.0.3/24", "dev", "lo"]):
            self.command("ip", "-n", namespace, *change)
        self.enterContext(inside(f"/run/netns/{namespace}"))
        pair = self.start(allow_from=["10.9.0.0/24", "127.0.0.0/8"])
        ports = {"http_proxy": (self.proxy, 100), "socks5_proxy": (self.socks, 3)}
        for name, (port, _) in ports.items():
            pair.server.tables[name]["listen"] = f"0.0.0.0:{port}"
        pair.server.tables["socks5_proxy"]["connections_per_source_max"] = 3
        pair.start()
        for port, share in ports.values():
            with contextlib.ExitStack() as held:
                for _ in range(share):
                    held.enter_context(socket.create_connection(("10.9.0.1", port), 5, ("10.9.0.2", 0)))
                wait_until(lambda: pair.server.metrics()["culvert_clients"] == share, 10, "all clients")
                with self.assertRaises(ConnectionResetError):
                    socket.create_connection(("10.9.0.1", port), 5, ("10.9.0.2", 0)).recv(1)
                pair.server.wait_for_output("warn port.source_full")
                for _ in range(share + 1):
                    held.enter_context(socket.create_connection(("127.0.0.1", port), 5))
                with socket.create_connection(("10.9.0.1", port), 5, ("10.9.0.3", 0)) as other:
                    wait_until(lambda: pair.server.metrics()["culvert_clients"] == min(
                        2 * share + 2, self.connections_max), 10, "the other clients")
                    other.setblocking(False)
                    self.assertRaises(BlockingIOError, other.recv, 1)
            wait_until(lambda: pair.server.metrics()["culvert_clients"] == 0, 10, "no clients")
