# SPDX-License-Identifier: Apache-2.0
"""Clients and back ends that take their time: every byte comes, and only who owes one is cut off."""

import socket
import threading
import time

from tests.harness.case import Case
from tests.harness.sockets import receive_all, receive_exactly
from tests.harness.strict_http import Text, read_answer
from tests.harness.tcp_server import serve
from tests.harness.waiting import wait_until

SIZES = [*range(256 << 10, (8 << 20) + 1, 1 << 20), 4_456_448]


def body_of(size):
    return bytes(range(256)) * (size // 256) + b"x" * (size % 256)


def answering(connection):
    """Answers /length/N and /chunked/N with N bytes; a body of the request is read first."""
    file = connection.makefile("rb")
    while line := file.readline():
        length = 0
        while field := file.readline().rstrip().lower():
            if field.startswith(b"content-length:"):
                length = int(field.split(b":")[1])
        file.read(length)
        _, framing, size = line.split()[1].decode().split("/")
        body = body_of(int(size))
        if framing == "length":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        else:
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body) + body
                               + b"\r\n0\r\n\r\n")


class HalfClosed(Case):
    """A client that closes its direction behind its request, and reads later."""

    seconds = 25

    def start(self):
        pair = self.pair()
        self.proxy, self.socks = pair.proxy().removeprefix("http://").split(":"), pair.socks().split(":")
        port = serve(self, answering)
        pair.agent.web("back:80", port)
        pair.agent.mapping("raw:80", port)
        pair.start()

    def connect(self, address):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
        client.settimeout(30)
        client.connect((address[0], int(address[1])))
        return client

    def through_connect(self, host):
        client = self.connect(self.proxy)
        client.sendall(b"CONNECT %s:80 HTTP/1.1\r\nHost: %s:80\r\n\r\n" % (host, host))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
        self.assertIn(b" 200 ", head)
        return client

    def through_socks(self, host):
        client = self.connect(self.socks)
        client.sendall(b"\5\1\0\5\1\0\3%c%s\0\x50" % (len(host), host))
        receive_exactly(client, 12)
        return client

    def read_late(self, client, request, size, count=1, version=b"1.1"):
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        time.sleep(0.7)
        text = Text(receive_all(client), 0, True)
        for _ in range(count):
            answer = read_answer(text, b"GET")
            self.assertEqual((answer.status, len(answer.body), answer.whole), (200, size, True))
            self.assertTrue(answer.body == body_of(size))
        client.close()

    def each(self, check):
        """Calls check(size) for all sizes, several at once."""
        faults = []

        def run(size):
            try:
                check(size)
            except (AssertionError, OSError) as fault:
                faults.append(f"{size}: {fault}"[:300])

        threads = [threading.Thread(target=run, args=[size]) for size in SIZES]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(faults, [])

    def test_gets_every_byte(self):
        self.start()
        get = b"GET http://back/%s/%d HTTP/%s\r\nHost: back\r\n\r\n"
        post = b"POST http://back/length/%d HTTP/1.1\r\nHost: back\r\nContent-Length: 5\r\n\r\nhello"
        inside = b"GET /length/%d HTTP/1.1\r\nHost: back\r\n\r\n"
        for name, check in {
                "by length": lambda n: self.read_late(self.connect(self.proxy), get % (b"length", n, b"1.1"), n),
                "chunked": lambda n: self.read_late(self.connect(self.proxy), get % (b"chunked", n, b"1.1"), n),
                "HTTP/1.0": lambda n: self.read_late(self.connect(self.proxy), get % (b"chunked", n, b"1.0"), n),
                "POST": lambda n: self.read_late(self.connect(self.proxy), post % n, n),
                "pipelined": lambda n: self.read_late(self.connect(self.proxy), get % (b"length", n, b"1.1") * 2, n, 2),
                "CONNECT": lambda n: self.read_late(self.through_connect(b"back"), inside % n, n),
                "CONNECT, raw": lambda n: self.read_late(self.through_connect(b"raw"), inside % n, n),
                "SOCKS": lambda n: self.read_late(self.through_socks(b"back"), inside % n, n),
                "SOCKS, raw": lambda n: self.read_late(self.through_socks(b"raw"), inside % n, n)}.items():
            with self.subTest(way=name):
                self.each(check)


class Steady(Case):
    """idle_timeout is for a side that owes a byte."""

    seconds = 20

    def start(self, conversation, **settings):
        pair = self.pair()
        self.proxy = pair.proxy().removeprefix("http://").split(":")
        pair.agent.web("back:80", serve(self, conversation), **settings)
        self.running = pair.start()

    def connect(self, receive_buffer=64 << 10):
        """Without `receive_buffer` the kernel chooses it, and then announces free space rarely, in large steps."""
        client = socket.socket()
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.settimeout(30)
        client.connect((self.proxy[0], int(self.proxy[1])))
        self.addCleanup(client.close)
        return client

    def stalls(self):
        return [line for line in self.running.agent.output().splitlines() if "back_end.stalled" in line]

    def test_a_steady_reader_is_not_cut(self):
        """The back end is done in a moment, the client takes six times idle_timeout."""
        self.start(answering, idle_timeout="1s")
        client, size = self.connect(receive_buffer=None), 8 << 20
        client.sendall(b"GET http://back/length/%d HTTP/1.1\r\nHost: back\r\nConnection: close\r\n\r\n" % size)
        got, began = b"", time.monotonic()
        while part := client.recv(1 << 16):
            got += part
            if time.monotonic() - began < 6:
                time.sleep(max(0, began + len(got) / 400_000 - time.monotonic()))
        self.assertTrue(got.endswith(body_of(size)))
        self.assertEqual(self.stalls(), [])

    def test_a_steady_upload_is_not_cut(self):
        self.start(answering, first_byte_timeout="1s", idle_timeout="1s")
        client = self.connect()
        client.sendall(b"POST http://back/length/2 HTTP/1.1\r\nHost: back\r\nContent-Length: 12000\r\n\r\n")
        for _ in range(3):
            time.sleep(2.2)
            client.sendall(b"x" * 4000)
        self.assertIn(b" 200 ", client.recv(100))
        client.close()
        self.assertEqual(self.stalls(), [])

    def test_a_back_end_that_owes_a_byte_is_cut_and_named(self):
        def stalling(connection):
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello")
            time.sleep(8)

        self.start(stalling, idle_timeout="1s")
        client = self.connect()
        client.sendall(b"GET http://back/ HTTP/1.1\r\nHost: back\r\n\r\n")
        got = b""
        with self.assertRaises(ConnectionResetError):
            while part := client.recv(1000):
                got += part
        self.assertTrue(got.endswith(b"hello"), got)
        wait_until(self.stalls, what="a line in the log")
        self.assertRegex(self.stalls()[0],
                         "virtual_host=back:80 owed_by=back_end owed=\"the response's body\" waited_ms=[12]")
        self.running.server.wait_for_output("response.cut")

    def test_a_back_end_that_never_answers_is_named(self):
        self.start(receive_all, first_byte_timeout="1s")
        client = self.connect()
        client.sendall(b"GET http://back/ HTTP/1.1\r\nHost: back\r\n\r\n")
        self.assertIn(b" 504 ", client.recv(100))
        client.close()
        wait_until(self.stalls, what="a line in the log")
        self.assertRegex(self.stalls()[0], "owed_by=back_end owed=\"a response\"")
