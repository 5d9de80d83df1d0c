# SPDX-License-Identifier: Apache-2.0
"""Clients of the HTTP proxy that are slow on purpose: they are disconnected, clients that only wait are not, and other
clients are not affected."""

import contextlib
import http.client
import json
import selectors
import socket
import statistics
import subprocess
import threading
import time
import urllib.parse

from tests.harness.back_ends.web_servers import nginx
from tests.harness.case import Case
from tests.harness.environment import SCALE
from tests.harness.files import make_file
from tests.harness.sockets import raise_descriptor_limit, receive_all, receive_exactly
from tests.harness.tcp_server import serve

SLOW_CLIENTS = 500
GOOD_CLIENTS = 8
GOOD_SECONDS = 12
P99_SECONDS_MAX = 0.5 / SCALE
# The server's deadlines, which it checks once a second.
TOO_SLOW_SECONDS, STALL_SECONDS, LATE_SECONDS = 10, 60, 4 / SCALE
MODES = {
    # Options of slowhttptest: -d sends the absolute form to a proxy, -i is the pause between two pieces.
    "headers": ["-H", "-i", "2"],
    "body": ["-B", "-t", "PUT", "-s", "8192", "-x", "10", "-i", "2"],
    "range": ["-R", "-a", "5", "-b", "900"],  # a field as long as a line may be
    "read": ["-X", "-w", "256", "-y", "512", "-n", "2", "-z", "32", "-k", "3"],
}


class Slow(Case):
    def start(self):
        self.pair_ = self.pair()
        self.where = urllib.parse.urlsplit(self.pair_.proxy())
        return self.pair_

    def client(self, receive_buffer=None):
        client = socket.socket()
        client.settimeout(20)
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.connect((self.where.hostname, self.where.port))
        return client


class SlowClients(Slow):
    alone = True
    seconds = 90

    def start_with_nginx(self, *names):
        raise_descriptor_limit()
        pair = self.start()
        port = nginx(self)
        make_file(self.folder / "www/small", 1000)
        make_file(self.folder / "www/large", 4 << 20)
        for name in names:
            pair.agent.web(f"{name}:80", port, connections_max=SLOW_CLIENTS + 100)
        return pair.start()

    def test_slowhttptest_in_its_four_modes_does_not_affect_good_traffic(self):
        self.start_with_nginx("good", *MODES)
        for name, options in MODES.items():
            with self.subTest(mode=name):
                target = f"http://{name}/{'large' if name in ('range', 'read') else 'up'}"
                attack = subprocess.Popen(
                    ["slowhttptest", *options, "-c", str(SLOW_CLIENTS), "-r", "250", "-l", str(GOOD_SECONDS - 2), "-p",
                     "3", "-v", "1", "-u", target, "-d", self.where.netloc], stdin=subprocess.DEVNULL,
                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                self.addCleanup(attack.kill)
                self.check_latency(f"slowhttptest, {name}", self.good_traffic())
                output = attack.communicate(timeout=30)[0].decode(errors="replace")
                # It also sends a request of its own through the proxy.
                self.assertRegex(output, r"service available:\S*\s+\S*YES", output[-1500:])

    def test_clients_that_drip_do_not_affect_good_traffic_and_get_408(self):
        self.start_with_nginx("good", "drip")
        openings = [
            b"GET http://drip/small HTTP/1.1\r\nHost: drip\r\nX-Long: ",
            b"PUT http://drip/up HTTP/1.1\r\nHost: drip\r\nContent-Length: 100000\r\n\r\n",
            b"PUT http://drip/up HTTP/1.1\r\nHost: drip\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n",
        ]
        outcomes, dripping = [], threading.Thread(target=lambda: outcomes.extend(self.drip(openings)))
        dripping.start()
        self.check_latency("clients that drip", self.good_traffic())
        dripping.join()
        self.assertEqual(len(outcomes), SLOW_CLIENTS)
        for kind, seconds, said in outcomes:
            self.assertTrue(said.startswith(b"HTTP/1.1 408 "), (kind, seconds, said))
            self.assertEqual(json.loads(said.split(b"\r\n\r\n", 1)[1])["code"], "request.too_slow")
            self.assertTrue(TOO_SLOW_SECONDS <= seconds <= TOO_SLOW_SECONDS + LATE_SECONDS, (kind, seconds))

    def drip(self, openings):
        """Yields (index of the opening, seconds until the end, answer) for each client, which sends a byte every half
        second."""
        events, clients = selectors.DefaultSelector(), {}
        for index in range(SLOW_CLIENTS):
            client = self.client()
            client.sendall(openings[index % len(openings)])
            clients[client] = (index % len(openings), time.monotonic())
            events.register(client, selectors.EVENT_READ)
        deadline, next_drop = time.monotonic() + TOO_SLOW_SECONDS + LATE_SECONDS + 5, 0
        while clients and time.monotonic() < deadline:
            for key, _ in events.select(0.1):
                kind, since = clients.pop(key.fileobj)
                events.unregister(key.fileobj)
                seconds = time.monotonic() - since
                with key.fileobj:
                    yield kind, seconds, receive_all(key.fileobj)
            if time.monotonic() > next_drop:
                next_drop = time.monotonic() + 0.5
                for client in clients:
                    with contextlib.suppress(OSError):
                        client.send(b"x")

    def check_latency(self, name, times):
        p99 = statistics.quantiles(times, n=100)[98]
        print(f"note: beside {name}: {len(times)} good requests, {1e3 * statistics.median(times):.2f} ms (median), "
              f"p99 {1e3 * p99:.1f} ms")
        self.assertLess(p99, P99_SECONDS_MAX)

    def good_traffic(self):
        """The duration of each request, in seconds, of clients that keep their connections. No request may fail."""
        expected, times, faults = (self.folder / "www/small").read_bytes(), [], []

        def ask():
            try:
                connection, until = http.client.HTTPConnection(self.where.hostname, self.where.port,
                                                               timeout=10), time.monotonic() + GOOD_SECONDS
                while time.monotonic() < until:
                    began = time.monotonic()
                    connection.request("GET", "http://good/small")
                    answer = connection.getresponse()
                    if (answer.status, answer.read()) != (200, expected):
                        raise AssertionError(f"status {answer.status}")
                    times.append(time.monotonic() - began)
                    time.sleep(0.005)
                connection.close()
            except Exception as fault:  # pylint: disable=broad-except
                faults.append(repr(fault))

        threads = [threading.Thread(target=ask) for _ in range(GOOD_CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(faults, [])
        return times


class PatientClients(Slow):
    """A client that only waits is not slow; a client that does not read what is ready for it is."""

    seconds = 75

    def test_only_clients_that_block_something_are_disconnected(self):
        pair = self.start()
        pair.agent.web("sse:80", serve(self, self.pause_between_events))
        pair.agent.web("ws:80", serve(self, self.upgrade), [{"path": "/", "upgrade": True}])
        pair.agent.web("late:80", serve(self, self.continue_late))
        pair.agent.web("huge:80", serve(self, self.pour))
        pair.agent.mapping("raw:80", serve(self, self.pour_after_silence))
        pair.start()
        outcomes = {}
        threads = [threading.Thread(target=self.note, args=[outcomes, story]) for story in (
            self.waits_for_events, self.keeps_a_web_socket, self.waits_for_100_continue, self.sends_just_fast_enough,
            self.stops_reading_inside_connect, self.reads_slowly, self.stops_reading)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for name, outcome in outcomes.items():
            with self.subTest(name):
                self.assertEqual(outcome, "correct")

    @staticmethod
    def note(outcomes, story):
        try:
            story()
            outcomes[story.__name__] = "correct"
        except Exception as fault:  # pylint: disable=broad-except
            outcomes[story.__name__] = repr(fault)

    # ---- back ends

    @staticmethod
    def pause_between_events(connection):
        connection.recv(65536)
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n6\r\ndata:\n\r\n")
        time.sleep(STALL_SECONDS + 5)
        connection.sendall(b"5\r\nlate\n\r\n0\r\n\r\n")

    @staticmethod
    def upgrade(connection):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        connection.sendall(connection.recv(10))

    @staticmethod
    def continue_late(connection):
        file = connection.makefile("rb")
        while file.readline().strip():
            pass
        time.sleep(TOO_SLOW_SECONDS + 5)
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        file.read(5)
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    @staticmethod
    def pour(connection):
        file = connection.makefile("rb")
        lines = []
        while line := file.readline().strip():
            lines.append(line)
        length = [int(line.split()[1]) for line in lines if line.lower().startswith(b"content-length:")]
        file.read(length[0] if length else 0)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        for _ in range(1000):
            connection.sendall(bytes(100_000))

    @staticmethod
    def pour_after_silence(connection):
        connection.recv(1)
        for _ in range(300):
            connection.sendall(bytes(100_000))

    # ---- clients

    def request(self, method, name, *fields, receive_buffer=None):
        client = self.client(receive_buffer)
        client.settimeout(STALL_SECONDS + 30)
        client.sendall("\r\n".join([f"{method} http://{name}/ HTTP/1.1", f"Host: {name}", *fields, "", ""]).encode())
        return client

    def waits_for_events(self):
        with self.request("GET", "sse", "Connection: close") as client:
            self.assertTrue(receive_all(client).endswith(b"late\n\r\n0\r\n\r\n"))

    def keeps_a_web_socket(self):
        with self.request("GET", "ws", "Connection: Upgrade", "Upgrade: websocket") as client:
            self.assertIn(b" 101 ", client.recv(65536))
            time.sleep(STALL_SECONDS + 5)
            client.sendall(b"hello")
            self.assertEqual(receive_exactly(client, 5), b"hello")

    def waits_for_100_continue(self):
        with self.request("PUT", "late", "Content-Length: 5", "Expect: 100-continue") as client:
            self.assertIn(b" 100 ", client.recv(65536))
            client.sendall(b"hello")
            self.assertIn(b" 204 ", client.recv(65536))

    def sends_just_fast_enough(self):
        """400 bytes per second, which is more than 256."""
        with self.request("PUT", "huge", "Content-Length: 12000") as client:
            for _ in range(30):
                client.sendall(bytes(400))
                time.sleep(1)
            self.assertIn(b" 200 ", client.recv(1000))

    def stops_reading_inside_connect(self):
        with self.client() as client:
            client.settimeout(STALL_SECONDS + 30)
            client.sendall(b"CONNECT raw:80 HTTP/1.1\r\nHost: raw:80\r\n\r\n")
            self.assertIn(b" 200 ", client.recv(65536))
            client.sendall(b"x")
            time.sleep(STALL_SECONDS + 5)
            receive_exactly(client, 30_000_000)

    def reads_slowly(self):
        """2 kB per second: in a minute far less than our kernel buffers. The client's kernel reports progress only when
        its buffer is empty, since segments on loopback are that long; therefore the buffer is small."""
        with self.request("GET", "huge", receive_buffer=32 << 10) as client:
            for _ in range(STALL_SECONDS + 10):
                receive_exactly(client, 2000)
                time.sleep(1)

    def stops_reading(self):
        with self.request("GET", "huge") as client:
            began = time.monotonic()
            receive_exactly(client, 10_000)
            # It must end with a reset, so that no client takes a part for the whole.
            while client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                self.assertLess(time.monotonic() - began, STALL_SECONDS + 2 * LATE_SECONDS, "seconds without a reset")
                time.sleep(0.1)
            self.assertGreater(time.monotonic() - began, STALL_SECONDS)
