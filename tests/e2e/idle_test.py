# SPDX-License-Identifier: Apache-2.0
"""The cost of being idle: of a program, of an agent at the server, of a stream. Memory is checked in release builds
only; with sanitizers, all agents and streams must stay connected."""

import selectors
import socket
import threading
import time

from tests.harness.case import Case
from tests.harness.environment import BUILD, SCALE
from tests.harness.ports import free_port
from tests.harness.process_usage import memory_kib
from tests.harness.program import Program
from tests.harness.sockets import raise_descriptor_limit, reset
from tests.harness.waiting import wait_until

MANY_AGENTS = BUILD / "tests/e2e/many_agents"
AGENT_KIB_MAX, SERVER_KIB_MAX = 12 << 10, 16 << 10
CHECKED = SCALE == 1


class IdleAgents(Case):
    alone = True
    seconds = 20
    agents = 1000 if CHECKED else 200
    tunnels = 2
    per_agent_kib_max = 48
    idle_seconds = 13  # A peer that does not answer PING is declared dead by then.

    def test_a_thousand_idle_agents_cost_a_server_little_more_than_tls(self):
        raise_descriptor_limit()
        pair = self.pair()
        server = pair.server.start().wait_until_ready()
        idle = memory_kib(server)
        # The first agents include the cost of what all share.
        crowds = [self.crowd("first", server, 50)]
        before = memory_kib(server, "Pss_Anon")
        crowds.append(self.crowd("agents", server, self.agents))
        since = time.monotonic()
        bare = self.bare_connection_kib(pair.authority.folder)
        wait_until(lambda: time.monotonic() - since > self.idle_seconds, self.idle_seconds + 1)
        per_agent = (memory_kib(server, "Pss_Anon") - before) / self.agents
        self.assertEqual(server.metrics()["culvert_tunnels"], (50 + self.agents) * self.tunnels)
        for crowd in crowds:
            self.assertTrue(crowd.is_running(), crowd.output())
            crowd.kill()
        print(f"note: an idle server takes {idle / 1024:.1f} MiB, an idle agent on it with {self.tunnels} tunnels "
              f"{per_agent:.1f} KiB, of which bare OpenSSL takes {self.tunnels * bare:.1f} KiB")
        if CHECKED:
            self.assertLess(idle, SERVER_KIB_MAX)
            self.assertLess(per_agent, max(self.per_agent_kib_max, 1.2 * self.tunnels * bare))

    def crowd(self, name, server, agents):
        crowd = Program(self, name, [MANY_AGENTS, "dial", server.port, self.folder / "certificates", agents,
                                     self.tunnels]).start()
        crowd.wait_for_output(f"READY {agents * self.tunnels}\n", 60)
        return crowd

    def bare_connection_kib(self, authority, connections=1000):
        """Memory of one connection in a plain OpenSSL server with our settings."""
        port = free_port()
        server = Program(self, "accept", [MANY_AGENTS, "accept", port, authority]).start().wait_for_port(port)
        crowds, sizes = [], []
        for count in (50, connections):
            crowds.append(Program(self, f"shake-{count}", [MANY_AGENTS, "shake", port, authority, count]).start())
            crowds[-1].wait_for_output("READY", 60)
            server.wait_for_output("ACCEPTED 50\n" if count == 50 else f"ACCEPTED {50 + connections}\n")
            sizes.append(memory_kib(server, "Pss_Anon"))
        for program in (*crowds, server):
            program.kill()
        return (sizes[1] - sizes[0]) / connections


class IdleStreams(Case):
    alone = True
    seconds = 15
    streams = 9000 if CHECKED else 1000
    opened_together = 64

    def test_an_idle_stream_takes_less_than_a_kibibyte_in_each_program(self):
        descriptors = raise_descriptor_limit()
        streams = min(self.streams, (descriptors - 500) // 2 // 1000 * 1000)  # both ends are in this process
        pair = self.pair()
        port = pair.to_premise(self.echo_of_many(), connections_max=self.streams)
        pair.server.tables["virtual_listener"][0]["connections_max"] = self.streams
        pair.start()
        programs = {"server": pair.server, "agent": pair.agent}
        idle = {name: memory_kib(program) for name, program in programs.items()}
        clients = self.open(port, 50)
        before = {name: memory_kib(program, "Pss_Anon") for name, program in programs.items()}
        clients += self.open(port, streams - 50)
        grown = {name: (memory_kib(program, "Pss_Anon") - before[name]) / (streams - 50)
                 for name, program in programs.items()}
        self.assertEqual(pair.agent.gauges()["culvert_relays"], streams)
        for client in clients:
            reset(client)  # leaves no TIME_WAIT behind
        print(f"note: an idle agent takes {idle['agent'] / 1024:.1f} MiB; {streams} idle streams take "
              f"{grown['server']:.2f} KiB each in the server, {grown['agent']:.2f} in the agent")
        if CHECKED:
            self.assertLess(idle["agent"], AGENT_KIB_MAX)
            self.assertLess(idle["server"], SERVER_KIB_MAX)
            self.assertLess(max(grown.values()), 1, grown)

    def open(self, port, count):
        """Opens streams; each has carried a byte to the back end and back."""
        clients = []
        while len(clients) < count:
            batch = [socket.create_connection(("127.0.0.1", port), timeout=20)
                     for _ in range(min(self.opened_together, count - len(clients)))]
            for client in batch:
                client.sendall(b"x")
            for client in batch:
                self.assertEqual(client.recv(1), b"x")
            clients += batch
        return clients

    def echo_of_many(self):
        """An echo server with one thread for all connections. Returns the port."""
        listening, events = socket.create_server(("127.0.0.1", free_port()), backlog=4096), selectors.DefaultSelector()
        events.register(listening, selectors.EVENT_READ)
        stop, stopped = socket.socketpair()
        events.register(stopped, selectors.EVENT_READ)

        def run():
            while True:
                for key, _ in events.select():
                    if key.fileobj is stopped:
                        return
                    if key.fileobj is listening:
                        events.register(listening.accept()[0], selectors.EVENT_READ)
                        continue
                    try:
                        data = key.fileobj.recv(64)
                    except ConnectionResetError:
                        data = b""
                    if data:
                        key.fileobj.sendall(data)
                    else:
                        events.unregister(key.fileobj)
                        key.fileobj.close()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        for done in (listening.close, thread.join, stop.close):
            self.addCleanup(done)
        return listening.getsockname()[1]
