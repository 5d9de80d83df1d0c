# SPDX-License-Identifier: Apache-2.0
"""Two replicas of the server and two agents of one location are upgraded from the last release one after the other,
and then back again. As in a cluster, no new connections are led to a program that is about to stop."""

import collections
import contextlib
import signal
import threading
import unittest

from tests.compatibility.last_release import NEW, OLD, MixedCase
from tests.harness import certificates
from tests.harness.balancer import Balancer
from tests.harness.culvert_program import ACCOUNT, Agent, Server
from tests.harness.echo_client import assert_still_echoes, open_echo_stream
from tests.harness.echo_load import EchoLoad
from tests.harness.http_server import http_server
from tests.harness.ports import free_port
from tests.harness.strict_http import Broken
from tests.harness.strict_http_client import Client
from tests.harness.tcp_server import echo_port
from tests.harness.waiting import wait_until

NAMES = ["a", "b"]  # of the servers, and of the agents
TUNNELS_SECONDS_MAX = 45  # An agent that misses a replica for long tries every 30 to 37 s.
BODY = b"0123456789" * 2000
# Requests that the back end holds. A server may send many to one agent before the other one gets any.
HELD_MIN, HELD_MAX = 4, 80


def post(client, path):
    client.send(b"POST http://web%s HTTP/1.1\r\nHost: web\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
                % (path, len(BODY), BODY))


def answer_to(client):
    """Status and body of a whole answer."""
    try:
        answer = client.answer(b"POST")
    except Broken as broken:
        raise AssertionError(f"a broken answer: {broken}") from None
    assert answer and answer.whole, f"no whole answer: {answer}"
    return answer.status, answer.body


class HttpLoad(EchoLoad):
    """Sends requests to the HTTP proxy, each on a connection of its own, and none of them twice."""

    def request(self):
        with Client(("127.0.0.1", self.port), seconds=20) as client:
            post(client, b"/")
            answer = answer_to(client)
            assert answer == (200, BODY), f"status {answer[0]}, {len(answer[1])} bytes: {answer[1][:200]}"


class BackEnd:
    """Answers each request with its body; those to /held after release()."""

    def __init__(self, case):
        self.held, self.released = 0, threading.Event()
        self.port = http_server(case, self.answer)
        case.addCleanup(self.release)

    def answer(self, _method, path, _fields, body):
        if path == "/held":
            self.held += 1
            self.released.wait(60)
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    def release(self):
        self.released.set()
        self.held, self.released = 0, threading.Event()


class OneAddress(Balancer):
    """For a port of each program, by name."""

    def __init__(self, case):
        super().__init__(case, [])
        self.port_of = {}

    def add(self, name, port):
        self.port_of[name] = port
        self.put_back(port)


class RollingUpgrade(MixedCase):
    def setUp(self):
        super().setUp()
        self.authority = certificates.Authority(self.folder / "certificates")
        self.credentials = self.authority.server()
        self.echo, self.back_ends = echo_port(self), {name: BackEnd(self) for name in NAMES}
        self.tunnels, self.proxies, self.listeners, self.channels = (OneAddress(self) for _ in range(4))
        self.servers = {name: self.server(name) for name in NAMES}
        self.agents = {name: self.agent(name) for name in NAMES}
        self.drains = collections.Counter()

    def server(self, name):
        server = Server(self, self.credentials, name=f"server-{name}")
        server.use_build(OLD)
        server.tables["tunnel"].update(replica=name, replicas=NAMES)
        server.service("echo", self.echo)
        proxy = free_port()
        server.tables["http_proxy"] = {"listen": f"127.0.0.1:{proxy}", "account": ACCOUNT}
        self.proxies.add(name, proxy)
        self.listeners.add(name, server.listener("echo:1"))
        self.tunnels.add(name, server.port)
        return server.start().wait_until_ready()

    def agent(self, name):
        agent = Agent(self, name=f"agent-{name}")
        agent.use_build(OLD)
        agent.connect(self.tunnels.port, self.authority.agent(agent=name))
        agent.mapping("echo:1", self.echo)
        agent.web("web:80", self.back_ends[name].port)
        self.channels.add(name, agent.channel(self.tunnels.port, "echo"))
        return agent.start().wait_until_ready()

    def wait_for_tunnels(self):
        """Until every agent has two tunnels to each server."""
        def reached(agent):
            return {each["name"]: each["tunnels_up"] for each in agent.status()["servers"][0]["replicas"]}
        wanted = dict.fromkeys(NAMES, 2)
        for agent in self.agents.values():
            with contextlib.suppress(AssertionError):
                wait_until(lambda each=agent: reached(each) == wanted, TUNNELS_SECONDS_MAX, every=0.1)
            self.assertEqual(reached(agent), wanted, agent.name)

    def set_ready(self, *names):
        """Tells the servers of these names which of them are ready, as the cluster does."""
        for name in names:
            self.servers[name].tables["tunnel"]["replicas"] = list(names)
            self.servers[name].reload()

    def replace_server(self, name, build, loads):
        server, (other,) = self.servers[name], [each for each in NAMES if each != name]
        with (self.left_out(name, loads, self.proxies, self.listeners),
              self.open_streams([self.proxies.port_of[name]], self.channels.ports, NAMES) as check_streams):
            self.begin_to_stop(server)
            self.set_ready(other)
            self.await_requests(loads)
            check_streams()
            self.start_other(server, build)
            self.set_ready(*NAMES)
            self.wait_for_tunnels()

    def replace_agent(self, name, build, loads):
        agent = self.agents[name]
        with (self.left_out(name, loads, self.channels),
              self.open_streams(self.proxies.ports, [self.channels.port_of[name]], [name]) as check_streams):
            self.begin_to_stop(agent)
            self.await_requests(loads)
            check_streams()
            self.start_other(agent, build)
            self.wait_for_tunnels()

    @contextlib.contextmanager
    def left_out(self, name, loads, *addresses):
        """Clients of these addresses are led to the other program."""
        for address in addresses:
            address.leave_out(address.port_of[name])
        self.await_requests(loads)
        yield
        for address in addresses:
            address.put_back(address.port_of[name])

    @contextlib.contextmanager
    def open_streams(self, proxies, channels, agents):
        """Streams that are open while a program stops: requests through these proxies, until each of these agents has
        one, and connections to these channels. Gives the function that ends them, and checks that they were not cut."""
        with contextlib.ExitStack() as stack:
            clients = []
            while len(clients) < HELD_MIN or any(self.back_ends[name].held == 0 for name in agents):
                self.assertLess(len(clients), HELD_MAX, f"not each of the agents {agents} got a request")
                port = proxies[len(clients) % len(proxies)]
                clients.append(stack.enter_context(Client(("127.0.0.1", port), seconds=60)))
                post(clients[-1], b"/held")
                wait_until(lambda: sum(each.held for each in self.back_ends.values()) == len(clients), 20, "a request")
            streams = [stack.enter_context(open_echo_stream(self, port)) for port in channels for _ in range(3)]

            def check():
                for stream in streams:
                    assert_still_echoes(self, stream)
                    stream.close()
                for back_end in self.back_ends.values():
                    back_end.release()
                self.assertEqual([answer_to(client) for client in clients], [(200, BODY)] * len(clients))

            yield check

    @staticmethod
    def await_requests(loads):
        for load in loads:
            load.wait_for_new_requests()

    def begin_to_stop(self, program):
        self.drains[program.name] += 1
        program.send(signal.SIGTERM)
        wait_until(lambda: program.output().count("info draining") == self.drains[program.name], 10, "the drain")

    def start_other(self, program, build):
        """Starts the program of the other build when the one that stops has ended."""
        self.assertEqual(program.exit_status(20), 0)
        program.use_build(build)
        program.start().wait_until_ready()
        self.assert_runs(program, build)

    def test_no_request_fails_while_programs_are_upgraded_and_downgraded(self):
        self.wait_for_tunnels()
        with contextlib.ExitStack() as stack:
            loads = [stack.enter_context(load) for load in (
                EchoLoad(self, self.channels.port), EchoLoad(self, self.listeners.port),
                HttpLoad(self, self.proxies.port))]
            for build in (NEW, OLD):
                for name in NAMES:
                    self.replace_server(name, build, loads)
                for name in NAMES:
                    self.replace_agent(name, build, loads)
                self.await_requests(loads)
        self.assertEqual([load.failures for load in loads], [[], [], []])
        self.assertGreater(min(load.answered for load in loads), 200)


if __name__ == "__main__":
    unittest.main(verbosity=2)
