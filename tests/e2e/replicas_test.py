# SPDX-License-Identifier: Apache-2.0
"""Several servers behind one address, which a balancer answers: an agent keeps tunnels to each, whoever comes and goes."""

import collections
import contextlib
import signal
import socket
import threading
import time

import msgpack

import certificates
from backends import echo_port, receive_exactly, serve
from conversations import echoes
from culvert import Agent, Case, Server, wait_until
from lying_server import GOAWAY, LyingServer

REQUESTS = 500
WRONG_REPLICA = 5
LOST_PAUSE_SECONDS = 45  # In the end one try in 30 to 37 s.


class Balancer:
    """TCP to whichever of `ports` has the fewest connections, in turn where that is alike. Who refuses is passed over."""

    def __init__(self, case, ports):
        self.ports, self.connections, self.turn, self.lock = list(ports), collections.Counter(), 0, threading.Lock()
        self.accepted = 0
        self.port = serve(case, self.carry)

    def next_ports(self):
        with self.lock:
            self.turn, self.accepted = self.turn + 1, self.accepted + 1
            turned = [self.ports[(self.turn + i) % len(self.ports)] for i in range(len(self.ports))]
            return sorted(turned, key=lambda port: self.connections[port])

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


class Load:
    """Asks for an echo, over and over, in a thread. `failures` tells what went wrong."""

    def __init__(self, case, port):
        self.case, self.port, self.failures, self.answered, self.goes_on = case, port, [], 0, True
        self.thread = threading.Thread(target=self.ask, daemon=True)

    def ask(self):
        while self.goes_on:
            try:
                echoes(self.case, self.port, b"under load")
                self.answered += 1
            except (OSError, EOFError, AssertionError) as error:
                self.failures.append(repr(error))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.goes_on = False
        self.thread.join(30)


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
        """Another replica behind the balancer. Its service "who" tells its name."""
        server = self.servers[name] = Server(self, self.credentials, name=f"server-{name}")
        if replicas is not None:
            server.tables["tunnel"].update(replica=name, replicas=replicas)
        self.listeners[name] = server.listener("erp:443")

        def tell_name(client):
            client.sendall(name.encode())
            client.recv(1)

        server.service("who", serve(self, tell_name))
        server.service("echo", self.echo)
        self.balancer.ports.append(server.port)
        return server.start().wait_until_ready() if starts else server

    def tell(self, server, replicas):
        """What the cluster would: these are ready now."""
        server.tables["tunnel"]["replicas"] = replicas
        server.reload()

    def reached(self):
        """Name -> tunnels that are up; a replica without a name is none."""
        return {replica["name"]: replica["tunnels_up"] for replica in self.agent.status()["servers"][0]["replicas"]}

    def tunnels_up(self):
        return self.agent.status()["servers"][0]["tunnels_up"]

    def wait_for(self, seconds=10, **replicas):
        with contextlib.suppress(AssertionError):
            wait_until(lambda: self.reached() == replicas, seconds, every=0.1)
        self.assertEqual(self.reached(), replicas)

    @contextlib.contextmanager
    def conversation(self, name):
        """A stream through this server, which must still be the same one at the end."""
        with socket.create_connection(("127.0.0.1", self.listeners[name]), timeout=20) as client:
            def speaks(text):
                client.sendall(text)
                self.assertEqual(receive_exactly(client, len(text)), text)
            speaks(b"before")
            yield speaks
            speaks(b"after")


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
                echoes(self, port)
        with contextlib.ExitStack() as together:
            clients = [together.enter_context(socket.create_connection(("127.0.0.1", channel), timeout=20)) for _ in range(24)]
            self.assertEqual({receive_exactly(client, 1) for client in clients}, {b"a", b"b", b"c"})
        metrics = self.agent.metrics()
        self.assertEqual((metrics["culvert_replicas_known"], metrics["culvert_replicas_reached"]), (3, 3))
        server = self.agent.status()["servers"][0]
        self.assertEqual((server["tunnels_wanted"], server["tunnels_up"]), (6, 6))

    def test_one_that_dies_costs_the_others_nothing_and_is_reached_again(self):
        a, _ = self.server("a", ["a", "b"]), self.server("b", ["a", "b"])
        self.agent.start().wait_until_ready()
        self.wait_for(a=2, b=2)
        with self.conversation("b") as speaks, Load(self, self.listeners["b"]) as load:
            a.kill()
            self.wait_for(a=0, b=2)
            time.sleep(3)
            self.assertTrue(self.agent.is_ready())
            speaks(b"meanwhile")
            a.start().wait_until_ready()
            self.wait_for(LOST_PAUSE_SECONDS, a=2, b=2)
            echoes(self, self.listeners["a"])
        self.assertEqual(load.failures, [])
        self.assertGreater(load.answered, 50)

    def test_one_that_is_replaced_by_another_name_is_forgotten(self):
        a, b = self.server("a", ["a", "b"]), self.server("b", ["a", "b"])
        self.agent.start().wait_until_ready()
        self.wait_for(a=2, b=2)
        with self.conversation("b") as speaks, Load(self, self.listeners["b"]) as load:
            a.kill()
            self.server("c", ["b", "c"])
            self.tell(b, ["b", "c"])
            self.wait_for(b=2, c=2)
            speaks(b"meanwhile")
            echoes(self, self.listeners["c"])
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
            echoes(self, self.listeners[name])

    def test_a_rolling_update_fails_no_request(self):
        """As a Deployment does it: a new one is ready before an old one is told to go."""
        names = ["a", "b"]
        for name in names:
            self.server(name, names)
        channel = self.agent.channel(self.balancer.port, "echo")
        self.agent.start().wait_until_ready()
        self.wait_for(a=2, b=2)
        with Load(self, channel) as through_any:
            for old, new, other in (("a", "c", "b"), ("b", "d", "c")):
                with self.conversation(other) as speaks, Load(self, self.listeners[other]) as through_other:
                    everybody = [*names, new]
                    self.server(new, everybody)
                    for name in names:
                        self.tell(self.servers[name], everybody)
                    self.wait_for(**dict.fromkeys(everybody, 2))
                    names = [name for name in everybody if name != old]
                    self.servers[old].send(signal.SIGTERM)
                    for name in names:
                        self.tell(self.servers[name], names)
                    self.assertEqual(self.servers[old].exit_status(20), 0)
                    self.wait_for(**dict.fromkeys(names, 2))
                    speaks(b"meanwhile")
                self.assertEqual(through_other.failures, [])
        self.assertEqual(through_any.failures, [])
        self.assertGreater(through_any.answered, 100)
        self.assertNotIn("stale_epoch", self.agent.output())
        self.assertNotIn("tunnel.replaced", self.agent.output())


class LyingNames(Case):
    def test_a_server_of_another_name_than_the_wanted_is_left(self):
        pair = self.pair(tunnels=2)
        server = LyingServer(self, pair.server.port, pair.server_credentials)
        pair.agent.start()
        server.accept(replica="a")
        server.accept(replica="b")
        self.assertEqual(server.hello["replica"], "a")
        deadline = time.monotonic() + 5
        while (frame := server.receive())[0] != GOAWAY:
            self.assertLess(time.monotonic(), deadline, "the agent stays")
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
                echoes(self, self.listeners["a"])

    def test_streams_to_every_replica_outlive_a_changed_server(self):
        """Of another [[server]] in the agent's file: its links take the place of the old ones, replica by replica."""
        for name in "ab":
            self.server(name, ["a", "b"])
        self.agent.start().wait_until_ready()
        self.wait_for(a=2, b=2)
        # So that their epochs differ.
        self.servers["a"].kill()
        self.wait_for(a=0, b=2)
        self.servers["a"].start().wait_until_ready()
        self.wait_for(LOST_PAUSE_SECONDS, a=2, b=2)
        with self.conversation("a"), self.conversation("b"):
            self.agent.tables["server"][0]["tunnels_min"] = 3
            self.agent.reload()
            self.wait_for(a=3, b=3)
            for name in "ab":
                echoes(self, self.listeners[name])
        self.assertNotIn("tunnel.replaced", self.agent.output())

    def test_a_name_that_nobody_has_is_dialled_now_and_then_only(self):
        self.server("a", ["a", "nobody"])
        self.agent.start().wait_until_ready()
        self.wait_for(a=2, nobody=0)
        self.agent.wait_for_output("warn replica.unreachable", 30)
        accepted = self.balancer.accepted
        self.assertLess(accepted, 20, "it took few tries")
        time.sleep(10)
        self.assertEqual(self.balancer.accepted, accepted, "it is dialled once in 30 s now")
        self.assertEqual(self.agent.output().count("warn"), 1)
        self.assertTrue(self.agent.is_ready())
        metrics = self.agent.metrics()
        self.assertEqual((metrics["culvert_replicas_known"], metrics["culvert_replicas_reached"]), (2, 1))
