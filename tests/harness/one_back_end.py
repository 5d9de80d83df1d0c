# SPDX-License-Identifier: Apache-2.0
"""A case with one HTTP mapping, whose back end is a conversation of the test."""

import socket

from tests.harness.case import Case
from tests.harness.strict_http_client import Client
from tests.harness.tcp_server import serve

OK = b"HTTP/1.1 200 OK\r\n"


class OneBackEnd(Case):
    """A case with one HTTP mapping."""
    seconds = 10

    def start(self, conversation=None, **more):
        """One mapping, "back", to an echo of heads or to `conversation`."""
        pair = self.pair(tunnels=1)
        self.proxy = pair.proxy(**more.pop("http_proxy", {}))
        self.address = self.proxy.removeprefix("http://").split(":")
        self.heads, self.connections = [], 0
        pair.agent.web("back:80", serve(self, conversation or self.echo), **more)
        self.running = pair.start()

    def echo(self, connection):
        """Answers each request with its head."""
        self.connections += 1
        while head := self.read_head(connection):
            self.heads.append(head)
            connection.sendall(OK + b"Content-Length: %d\r\n\r\n%s" % (len(head), head))

    @staticmethod
    def read_head(connection):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            if not (byte := connection.recv(1)):
                return b""
            head += byte
        return head

    def connect(self):
        client = socket.create_connection((self.address[0], int(self.address[1])), timeout=20)
        self.addCleanup(client.close)
        return client

    def ask(self, request, method=b"GET"):
        with Client(self.address) as client:
            client.send(request)
            return client.answer(method)
