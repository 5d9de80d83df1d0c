# SPDX-License-Identifier: Apache-2.0
"""An HTTP client that sends any bytes and reads the answers strictly."""

import socket

from tests.harness.strict_http import Incomplete, Text, read_answer


class Client:
    """One connection to `address`."""

    def __init__(self, address, source=None, seconds=10):
        self.socket = socket.create_connection(address, timeout=seconds, source_address=source and (source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data, self.at, self.ended, self.was_reset = bytearray(), 0, False, False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        """False if the peer has closed the connection."""
        try:
            self.socket.sendall(data)
        except OSError:
            return False
        return True

    def finish(self):
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def more(self):
        try:
            part = self.socket.recv(65536)
        except ConnectionError:
            part, self.was_reset = b"", True
        self.data += part
        self.ended = not part

    def answer(self, method=b"GET"):
        """The next answer, or None if the connection ends before it begins. Raises TimeoutError if neither happens."""
        while True:
            text = Text(self.data, self.at, self.ended)
            try:
                if not (self.ended and self.at == len(self.data)):
                    found = read_answer(text, method)
                    self.at = text.at if found.whole else len(self.data)
                    return found
                return None
            except Incomplete:
                self.more()

    def is_over(self):
        """Waits for the end of the connection. False: bytes arrived instead."""
        while not self.ended and self.at == len(self.data):
            self.more()
        return self.at == len(self.data)

    def connect(self, authority):
        """Sends CONNECT and returns the answer."""
        self.send(b"CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (authority, authority))
        return self.answer(b"CONNECT")
