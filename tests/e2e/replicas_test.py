# SPDX-License-Identifier: Apache-2.0
"""Several servers behind one address, that of a load balancer: an agent keeps tunnels to each, while servers start and
stop."""

import contextlib
import signal
import socket
import time

import msgpack

from tests.harness import certificates
from tests.harness.balancer import Balancer
from tests.harness.case import Case
from tests.harness.culvert_program import Agent, Server
from tests.harness.echo_client import assert_echoes
from tests.harness.echo_load import EchoLoad
from tests.harness.hostile_server import GOAWAY, HostileServer
from tests.harness.sockets import receive_exactly
from tests.harness.tcp_server import echo_port, serve
from tests.harness.waiting import wait_until

REQUESTS = 500
WRONG_REPLICA = 5
LOST_PAUSE_SECONDS = 45  # The longest pause between two tries is 30 to 37 s.


class ReplicaCase(Case):
    def setUp(self):
        super().setUp()
        self.authority = certificates.Authority(self.folder / "certificates")
        self.credentials = self.authority.server()
        self.echo, self.servers, self.listeners = echo_port(self), {}, {}
        self.balancer = Balancer(self, [])
        self.agent = Agent(self)
        self.agent.connect(self.balancer.port, self.authority.agent())
        self.agent.mapping("erp:443", self.echo)

    def server(self, name, replicas, starts=True):
        """Another replica behind the balancer. Its service "who" answers with its name."""
        server = self.servers[name] = Server(self, self.credentials, name=f"server-{name}")
        if replicas is not None:
            server.tables["tunnel"].update(replica=name, replicas=replicas)
        self.listeners[name] = server.listener("erp:443")

        def send_name(client):
            client.sendall(name.encode())
            client.recv(1)

        server.service("who", serve(self, send_name))
        server.service("echo", self.echo)
        self.balancer.ports.append(server.port)
        return server.start().wait_until_ready() if starts else server

    def set_ready(self, server, replicas):
        """Configures which replicas are ready, as the cluster does."""
        server.tables["tunnel"]["replicas"] = replicas
        server.reload()

    def reached(self):
        """Name of each replica -> tunnels that are up."""
        return {replica["name"]: replica["tunnels_up"] for replica in self.agent.status()["servers"][0]["replicas"]}

    def tunnels_up(self):
        return self.agent.status()["servers"][0]["tunnels_up"]

    def wait_for(self, seconds=10, **replicas):
        with contextlib.suppress(AssertionError):
            wait_until(lambda: self.reached() == replicas, seconds, every=0.1)
        self.assertEqual(self.reached(), replicas)

    @contextlib.contextmanager
    def conversation(self, name):
        """A stream through this server, which must stay open until the end of the block."""
        with socket.create_connection(("127.0.0.1", self.listeners[name]), timeout=20) as client:
            def check_echo(text):
                client.sendall(text)
                self.assertEqual(receive_exactly(client, len(text)), text)
            check_echo(b"before")
            yield check_echo
            check_echo(b"after")


class Replicas(ReplicaCase):
    seconds = 75

    def test_an_agent_reaches_every_replica_and_uses_each(self):
        for name in "abc":
            self.server(name, ["a", "b", "c"])
        channel = self.agent.channel(self.balancer.port, "who")
        self.agent.start().wait_until_ready()
        self.wait_for(a=2, b=2, c=2)
        for port in self.listeners.values():
            for _ in range(REQUESTS):
                assert_echoes(self, port)
        with contextlib.ExitStack() as together:
            clients = [together.enter_context(socket.create_connection(("127.0.0.1", channel), timeout=20))
                       for _ in range(24)]
            self.assertEqual({receive_exactly(client, 1) for client in clients}, {b"a", b"b", b"c"})
        metrics = self.agent.metrics()
        self.assertEqual((metrics["culvert_replicas_known"], metrics["culvert_replicas_reached"]), (3, 3))
        server = self.agent.status()["servers"][0]
        self.assertEqual((server["tunnels_wanted"], server["tunnels_up"]), (6, 6))

    def test_a_replica_that_dies_does_not_affect_the_others_and_is_reached_again(self):
        a, _ = self.server("a", ["a", "b"]), self.server("b", ["a", "b"])
        self.agent.start().wait_until_ready()
        self.wait_for(a=2, b=2)
        with self.conversation("b") as check_echo, EchoLoad(self, self.listeners["b"]) as load:
            a.kill()
            self.wait_for(a=0, b=2)
            time.sleep(3)
            self.assertTrue(self.agent.is_ready())
            check_echo(b"meanwhile")
            a.start().wait_until_ready()
            self.wait_for(LOST_PAUSE_SECONDS, a=2, b=2)
            assert_echoes(self, self.listeners["a"])
        self.assertEqual(load.failures, [])
        self.assertGreater(load.answered, 50)

    def test_a_replica_that_is_replaced_by_another_name_is_forgotten(self):
        a, b = self.server("a", ["a", "b"]), self.server("b", ["a", "b"])
        self.agent.start().wait_until_ready()
        self.wait_for(a=2, b=2)
        with self.conversation("b") as check_echo, EchoLoad(self, self.listeners["b"]) as load:
            a.kill()
            self.server("c", ["b", "c"])
            self.set_ready(b, ["b", "c"])
            self.wait_for(b=2, c=2)
            check_echo(b"meanwhile")
            assert_echoes(self, self.listeners["c"])
        self.assertEqual(load.failures, [])

    def test_all_replaced_at_once_do_not_strand_the_agent(self):
        for name in "ab":
            self.server(name, ["a", "b"])
        self.agent.start().wait_until_ready()
        self.wait_for(a=2, b=2)
        for name in "ab":
            self.servers[name].kill()
        for name in "cd":
            self.server(name, ["c", "d"])
        self.wait_for(c=2, d=2)
        for name in "cd":
            assert_echoes(self, self.listeners[name])

    def test_a_rolling_update_fails_no_request(self):
        """As in a Deployment: a new replica is ready before an old one is stopped."""
        names = ["a", "b"]
        for name in names:
            self.server(name, names)
        channel = self.agent.channel(self.balancer.port, "echo")
        self.agent.start().wait_until_ready()
        self.wait_for(a=2, b=2)
        with EchoLoad(self, channel) as through_any:
            for old, new, other in (("a", "c", "b"), ("b", "d", "c")):
                with self.conversation(other) as check_echo, EchoLoad(self, self.listeners[other]) as through_other:
                    all_names = [*names, new]
                    self.server(new, all_names)
                    for name in names:
                        self.set_ready(self.servers[name], all_names)
                    self.wait_for(**dict.fromkeys(all_names, 2))
                    names = [name for name in all_names if name != old]
                    self.servers[old].send(signal.SIGTERM)
                    for name in names:
                        self.set_ready(self.servers[name], names)
                    self.assertEqual(self.servers[old].exit_status(20), 0)
                    self.wait_for(**dict.fromkeys(names, 2))
                    check_echo(b"meanwhile")
                self.assertEqual(through_other.failures, [])
        self.assertEqual(through_any.failures, [])
        self.assertGreater(through_any.answered, 100)
        self.assertNotIn("stale_epoch", self.agent.output())
        self.assertNotIn("tunnel.replaced", self.agent.output())


class WrongNames(Case):
    def test_the_agent_leaves_a_server_that_has_another_name_than_expected(self):
        pair = self.pair(tunnels=2)
        server = HostileServer(self, pair.server.port, pair.server_credentials)
        pair.agent.start()
        server.accept(replica="a")
        server.accept(replica="b")
        self.assertEqual(server.hello["replica"], "a")
        deadline = time.monotonic() + 5
        while (frame := server.receive())[0] != GOAWAY:
            self.assertLess(time.monotonic(), deadline, "the agent keeps the tunnel")
        self.assertEqual(msgpack.unpackb(frame[2])["reason"], WRONG_REPLICA)


class Names(ReplicaCase):
    seconds = 20

    def test_a_server_that_gets_a_name_keeps_its_streams(self):
        server = self.server("a", None)
        self.agent.start().wait_until_ready()
        wait_until(lambda: self.tunnels_up() == 2, what="two tunnels")
        self.wait_for()
        with self.conversation("a"):
            server.tables["tunnel"].update(replica="a", replicas=["a"])
            server.reload()
            self.wait_for(a=2)
            with self.conversation("a"):
                del server.tables["tunnel"]["replica"], server.tables["tunnel"]["replicas"]
                server.reload()
                self.wait_for()
                wait_until(lambda: self.tunnels_up() == 2, what="two tunnels without a name")
                assert_echoes(self, self.listeners["a"])

    def test_streams_to_every_replica_outlive_a_changed_server(self):
        """A changed [[server]] in the agent's file: its links replace the old ones, replica by replica."""
        for name in "ab":
            self.server(name, ["a", "b"])
        self.agent.start().wait_until_ready()
        self.wait_for(a=2, b=2)
        # Makes their epochs differ.
        self.servers["a"].kill()
        self.wait_for(a=0, b=2)
        self.servers["a"].start().wait_until_ready()
        self.wait_for(LOST_PAUSE_SECONDS, a=2, b=2)
        with self.conversation("a"), self.conversation("b"):
            self.agent.tables["server"][0]["tunnels_min"] = 3
            self.agent.reload()
            self.wait_for(a=3, b=3)
            for name in "ab":
                assert_echoes(self, self.listeners[name])
        self.assertNotIn("tunnel.replaced", self.agent.output())

    def test_a_replica_that_does_not_exist_is_dialled_rarely(self):
        self.server("a", ["a", "nobody"])
        self.agent.start().wait_until_ready()
        self.wait_for(a=2, nobody=0)
        self.agent.wait_for_output("warn replica.unreachable", 30)
        accepted = self.balancer.accepted
        self.assertLess(accepted, 20, "it needed few tries")
        time.sleep(10)
        self.assertEqual(self.balancer.accepted, accepted, "it is now dialled once in 30 s")
        self.assertEqual(self.agent.output().count("warn"), 1)
        self.assertTrue(self.agent.is_ready())
        metrics = self.agent.metrics()
        self.assertEqual((metrics["culvert_replicas_known"], metrics["culvert_replicas_reached"]), (2, 1))
