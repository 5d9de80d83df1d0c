# SPDX-License-Identifier: Apache-2.0
"""How an agent reaches its servers: through a proxy, several of them, and each account for itself."""

import certificates
from backends import Squid, echo, serve, silent_port
from culvert import Agent, Case, Pair, Server, wait_until
from conversations import closes, echoes


class ThroughAProxy(Case):
    seconds = 40

    def setUp(self):
        super().setUp()
        self.pair = Pair(self)
        self.port = self.pair.to_cloud(serve(self, echo))
        self.pair.server.start().wait_until_ready()
        self.password = self.folder / "proxy-password"

    def through(self, proxy_port, password="correct horse"):
        self.password.write_text(password + "\n")
        self.password.chmod(0o600)
        self.pair.agent.tables["server"][0].update(proxy=f"http://127.0.0.1:{proxy_port}", proxy_user="culvert",
                                                   proxy_password_file=str(self.password))
        return self.pair.agent.start()

    def test_the_tunnel_passes_squid_with_basic_authentication(self):
        squid = Squid(self, self.pair.server.port)
        self.through(squid.port).wait_until_ready()
        echoes(self, self.port)
        wait_until(lambda: f"CONNECT 127.0.0.1:{self.pair.server.port}" in squid.access_log.read_text() or squid.program.stop() == 0, 10)

    def test_a_wrong_password_is_told_apart(self):
        squid = Squid(self, self.pair.server.port)
        agent = self.through(squid.port, "wrong")
        agent.wait_for_output("proxy.authentication_required")
        self.assertIn("proxy.authentication_required", str(agent.status()))
        self.assertNotIn("wrong\n", agent.output().replace("wrong password", ""))
        # The file is read at each dial, so the right password needs no restart.
        self.password.write_text("correct horse\n")
        agent.wait_until_ready(30)
        echoes(self, self.port)

    def test_a_forbidden_target_is_told_apart(self):
        agent = self.through(Squid(self, allowed_port=1).port)
        agent.wait_for_output("proxy.forbidden")
        self.assertIn("proxy.forbidden", str(agent.status()))

    def test_a_silent_proxy_is_told_apart(self):
        agent = self.through(silent_port(self))
        agent.wait_for_output("proxy.timed_out", seconds=40)

    def test_an_unreachable_proxy_is_told_apart(self):
        agent = self.through(1)
        agent.wait_for_output("proxy.unreachable")

    def test_no_proxy_names_what_is_dialled_directly(self):
        self.pair.agent.tables["server"][0]["no_proxy"] = ["127.0.0.0/8"]
        self.through(1).wait_until_ready()
        echoes(self, self.port)


class TwoAccounts(Case):
    seconds = 15

    def test_neither_server_sees_the_mappings_of_the_other(self):
        """One agent, account acme on server one and beta on server two; both ask for the same virtual host and service."""
        agent = Agent(self)
        servers, channels, listeners = {}, {}, {}
        for account in ("acme", "beta"):
            authority = certificates.Authority(self.folder / account, account)
            server = servers[account] = Server(self, authority.server(), name=f"server-{account}")
            agent.connect(server.port, authority.agent(account), name=account)
            server.service("web", serve(self, lambda c, a=account: c.sendall(f"cloud of {a}".encode())), account)
            channels[account] = agent.channel(server.port, "web")
            on_premise = serve(self, lambda c, a=account: c.sendall(f"premise of {a}".encode()))
            agent.mapping(f"{account}-erp:443", on_premise, server=account)
        for account, server in servers.items():
            for other in servers:
                listeners[account, other] = server.listener(f"{other}-erp:443", account)
            server.start().wait_until_ready()
        agent.start().wait_until_ready()
        for account in servers:
            self.assertEqual(closes(channels[account]), f"cloud of {account}".encode())
            for other in servers:
                expected = f"premise of {account}".encode() if account == other else b""
                self.assertEqual(closes(listeners[account, other]), expected, f"{other}-erp:443 asked at the server of {account}")

    def test_an_account_cannot_reach_the_services_of_another_on_the_same_server(self):
        pair = self.pair()
        mine = pair.to_cloud(serve(self, lambda c: c.sendall(b"acme")), "web")
        pair.server.service("secret", serve(self, lambda c: c.sendall(b"beta")), "beta")
        theirs = pair.agent.channel(pair.server.port, "secret")
        pair.start()
        self.assertEqual([closes(mine), closes(theirs)], [b"acme", b""])
        # And the refusal does not tell whether such a service exists.
        self.assertNotIn("beta", pair.agent.output())


class Locations(Case):
    def test_a_service_belongs_to_the_locations_that_it_names(self):
        pair = self.pair()
        port = pair.to_cloud(serve(self, lambda c: c.sendall(b"plant")), "web")
        pair.server.tables["service_mapping"][0]["locations"] = ["plant-1"]
        other = Agent(self, "agent-plant")
        other.connect(pair.server.port, pair.authority.agent(agent="two", location="plant-1"))
        theirs = other.channel(pair.server.port, "web")
        pair.start()
        other.start().wait_until_ready()
        self.assertEqual([closes(port), closes(theirs)], [b"", b"plant"])

    def test_a_virtual_listener_leads_to_its_location_only(self):
        pair = self.pair()
        default = pair.to_premise(serve(self, lambda c: c.sendall(b"default")))
        other = Agent(self, "agent-plant")
        other.connect(pair.server.port, pair.authority.agent(agent="two", location="plant-1"))
        other.mapping("erp:443", serve(self, lambda c: c.sendall(b"plant")))
        plant = pair.server.listener("erp:443", location="plant-1")
        pair.start()
        other.start().wait_until_ready()
        self.assertEqual([closes(default), closes(plant)], [b"default", b"plant"])
