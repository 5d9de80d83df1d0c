# SPDX-License-Identifier: Apache-2.0
"""Two servers in one cluster behind one address: the agent reaches both, each serves every request, one of them writes
status, and the status covers both."""

import http.client
import time
import unittest

from tests.harness.balancer import Balancer
from tests.harness.culvert_program import ACCOUNT, Server
from tests.harness.kubernetes import program_cache
from tests.harness.kubernetes.cluster_case import ClusterCase
from tests.harness.ports import free_port
from tests.harness.tcp_server import serve
from tests.harness.waiting import wait_until


REQUESTS = 1000
WRITER_SECONDS_MAX = 20


def answer(connection):
    """An on-premise system with kept HTTP connections."""
    data = b""
    while part := connection.recv(65536):
        data += part
        while b"\r\n\r\n" in data:
            data = data.split(b"\r\n\r\n", 1)[1]
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nerp")


def tunnels_up(server):
    return sum(tunnel["state"] == "up" for tunnel in server.status()["tunnels"])


class Replicas(ClusterCase):
    def setUp(self):
        super().setUp()
        second = Server(self, self.pair.server_credentials, name="server-2")
        self.join(second)
        self.servers = [self.pair.server, second]
        for number, server in enumerate(self.servers, 1):
            self.replicate(server, f"replica-{number}", f"10.0.0.{number}")
            server.proxy_port = free_port()
            server.tables["http_proxy"] = {"listen": f"127.0.0.1:{server.proxy_port}", "account": ACCOUNT}
        self.pair.agent.web("erp:80", serve(self, answer))

    def start(self, *ports):
        """The first server writes. The agent dials a balancer of `ports`, by default those of both servers."""
        self.servers[0].start()
        wait_until(lambda: self.writer() is self.servers[0], 15, "the first one to write")
        self.servers[1].start().wait_until_ready()
        self.pair.agent.tables["server"][0][
            "address"] = f"127.0.0.1:{Balancer(self, ports or [each.port for each in self.servers]).port}"
        self.pair.agent.start().wait_until_ready()

    def writer(self):
        running = [server for server in self.servers if server.is_running() and server.is_ready()]
        return next((server for server in running if server.status()["kubernetes"][0]["writes_status"]), None)

    def test_each_server_serves_every_request(self):
        self.start()
        for server in self.servers:
            wait_until(lambda server=server: tunnels_up(server) >= 2, 15, f"the agent at {server.name}")
            for start in range(0, REQUESTS, 100):
                client = http.client.HTTPConnection("127.0.0.1", server.proxy_port, timeout=10)
                for _ in range(start, start + 100):
                    client.request("GET", "http://erp:80/")
                    response = client.getresponse()
                    self.assertEqual((response.status, response.read()), (200, b"erp"))
                client.close()

    def test_status_covers_both(self):
        # The agent reaches only the server that does not write.
        self.start(self.servers[1].port)
        self.apply("sm", "one.test:80")
        wait_until(lambda: self.condition("sm", "AgentConnected") == ("True", "Connected"), 15, "the agent to count")
        for server in self.servers:
            self.assertEqual(server.status()["kubernetes"][0]["replicas"], ["replica-1", "replica-2"])
        self.publish_replicas("replica-2")
        wait_until(lambda: self.condition("sm", "AgentConnected") == ("False", "NoAgent"), 10, "it not to count")
        self.publish_replicas()
        wait_until(lambda: self.condition("sm", "AgentConnected") == ("True", "Connected"), 10,
                   "the agent to count again")
        self.pair.agent.stop()
        wait_until(lambda: self.condition("sm", "AgentConnected") == ("False", "NoAgent"), 10, "it to be gone")

    def test_the_other_one_writes_after_the_writer_is_killed(self):
        self.start()
        writer, other = self.servers
        self.assertFalse(other.status()["kubernetes"][0]["writes_status"])
        writer.kill()
        killed = time.monotonic()
        self.apply("sm", "one.test:80")
        wait_until(lambda: self.condition("sm", "Accepted"), WRITER_SECONDS_MAX, "the other one to write")
        self.notes.append(f"another writer after {time.monotonic() - killed:.1f} s")
        # It comes back, and there are not two writers.
        writer.start().wait_until_ready()
        time.sleep(3)
        self.assertIs(self.writer(), other)
        self.assertFalse(writer.status()["kubernetes"][0]["writes_status"])

    def test_a_writer_that_stops_releases_the_lease_at_once(self):
        self.start()
        self.assertEqual(self.servers[0].stop(), 0)
        self.apply("sm", "one.test:80")
        wait_until(lambda: self.condition("sm", "Accepted"), 6, "the other one to write")


if __name__ == "__main__":
    program_cache.api_server()
    unittest.main(verbosity=2)
