# SPDX-License-Identifier: Apache-2.0
"""A TCP relay that fails on demand: its connections are reset, or stall without an end."""

import contextlib
import selectors
import socket
import struct
import threading

from tests.harness.ports import free_port


class BreakableRelay:
    """Relays 127.0.0.1:`port` to 127.0.0.1:`target`, in a thread of its own, until close()."""

    def __init__(self, target):
        self.target, self.port = target, free_port()
        self.peers, self.lock, self.over = {}, threading.Lock(), False
        self.selector = selectors.DefaultSelector()
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def close(self):
        self.over = True
        self.thread.join()
        self.reset_all()
        self.listener.close()

    def reset_all(self):
        """Resets every connection."""
        with self.lock:
            for connection in list(self.peers):
                self.drop(connection)

    def freeze(self):
        """Stops relaying on the connections that exist now, and returns their number. New ones work."""
        with self.lock:
            for connection in self.peers:
                with contextlib.suppress(KeyError):
                    self.selector.unregister(connection)
            return len(self.peers) // 2

    def run(self):
        while not self.over:
            for key, _ in self.selector.select(timeout=0.05):
                with self.lock:
                    self.accept() if key.fileobj is self.listener else self.pass_on(key.fileobj)

    def accept(self):
        connection, _ = self.listener.accept()
        try:
            other = socket.create_connection(("127.0.0.1", self.target), timeout=5)
        except OSError:
            return connection.close()
        for each, peer in ((connection, other), (other, connection)):
            each.settimeout(5)
            self.peers[each] = peer
            self.selector.register(each, selectors.EVENT_READ)

    def pass_on(self, connection):
        if connection not in self.peers:
            return
        try:
            data = connection.recv(1 << 16)
            self.peers[connection].sendall(data)
        except OSError:
            data = b""
        if not data:
            self.drop(connection)

    def drop(self, connection):
        """Resets both sides of a connection."""
        peer = self.peers.pop(connection, None)
        if peer is None:
            return
        self.peers.pop(peer, None)
        for each in (connection, peer):
            with contextlib.suppress(KeyError):
                self.selector.unregister(each)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            each.close()
