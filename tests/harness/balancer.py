# SPDX-License-Identifier: Apache-2.0
"""A TCP load balancer."""

import collections
import contextlib
import socket
import threading

from tests.harness.tcp_server import serve


class Balancer:
    """Connects to the one of `ports` with the fewest connections, in turn where that is equal. Skips ports that
    refuse."""

    def __init__(self, case, ports):
        self.ports, self.connections, self.turn, self.lock = list(ports), collections.Counter(), 0, threading.Lock()
        self.accepted = 0
        self.port = serve(case, self.carry)

    def next_ports(self):
        with self.lock:
            self.turn, self.accepted = self.turn + 1, self.accepted + 1
            turned = [self.ports[(self.turn + i) % len(self.ports)] for i in range(len(self.ports))]
            return sorted(turned, key=lambda port: self.connections[port])

    def leave_out(self, port):
        """New connections go to the other ports."""
        with self.lock:
            self.ports.remove(port)

    def put_back(self, port):
        with self.lock:
            self.ports.append(port)

    def carry(self, client):
        for port in self.next_ports():
            with contextlib.suppress(ConnectionRefusedError):
                with socket.create_connection(("127.0.0.1", port)) as server:
                    for end in (client, server):
                        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self.connections[port] += 1
                    back = threading.Thread(target=self.splice, args=(server, client), daemon=True)
                    back.start()
                    self.splice(client, server)
                    back.join()
                    self.connections[port] -= 1
                return

    @staticmethod
    def splice(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
