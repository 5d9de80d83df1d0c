# SPDX-License-Identifier: Apache-2.0
"""How an agent reaches its servers: through a forward proxy, several servers, and accounts and locations kept apart."""

from tests.harness import certificates
from tests.harness.case import Case
from tests.harness.culvert_program import CONFIGURATION, Agent, Server
from tests.harness.echo_client import assert_echoes, receive_until_closed
from tests.harness.http_server import echo_request, http_server
from tests.harness.pair import Pair
from tests.harness.squid import Squid
from tests.harness.tcp_server import echo, serve, silent_port
from tests.harness.waiting import wait_until


class Readiness(Case):
    seconds = 60

    def test_a_server_counts_an_agent_that_is_ready(self):
        pair = Pair(self)
        port = pair.to_premise(serve(self, echo))
        channel = pair.to_cloud(serve(self, echo))
        url = pair.proxy()
        pair.agent.mapping("web:80", http_server(self, echo_request), "http", resource=[{"path": "/"}])
        pair.server.start().wait_until_ready()
        for turn in range(20):
            pair.agent.start()
            while not pair.agent.is_ready():  # Without a pause, to meet the first moment.
                self.assertTrue(pair.agent.is_running())
            with self.subTest(turn):
                self.assertEqual(self.command("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-x", url,
                                              "http://web/"), "200")
                assert_echoes(self, port)
                assert_echoes(self, channel)
            pair.agent.stop()


class ThroughAProxy(Case):
    seconds = 40

    def setUp(self):
        super().setUp()
        self.pair = Pair(self)
        self.port = self.pair.to_cloud(serve(self, echo))
        self.pair.server.start().wait_until_ready()
        self.password = self.folder / "proxy-password"

    def start_agent(self, proxy_port, password="correct horse"):
        self.password.write_text(password + "\n")
        self.password.chmod(0o600)
        self.pair.agent.tables["server"][0].update(proxy=f"http://127.0.0.1:{proxy_port}", proxy_user="culvert",
                                                   proxy_password_file=str(self.password))
        return self.pair.agent.start()

    def test_the_tunnel_passes_squid_with_basic_authentication(self):
        squid = Squid(self, self.pair.server.port)
        self.start_agent(squid.port).wait_until_ready()
        assert_echoes(self, self.port)
        wait_until(lambda: f"CONNECT 127.0.0.1:{self.pair.server.port}" in squid.access_log.read_text()
                   or squid.program.stop() == 0, 10)

    def test_a_wrong_password_has_its_own_code(self):
        squid = Squid(self, self.pair.server.port)
        agent = self.start_agent(squid.port, "wrong")
        agent.wait_for_output("proxy.authentication_required")
        self.assertIn("proxy.authentication_required", str(agent.status()))
        self.assertNotIn("wrong\n", agent.output().replace("wrong password", ""))
        # The file is read at each dial, so a corrected password needs no restart.
        self.password.write_text("correct horse\n")
        agent.wait_until_ready(30)
        assert_echoes(self, self.port)

    def test_a_proxy_without_basic_has_its_own_code_and_its_schemes_are_named(self):
        agent = self.start_agent(Squid(self, self.pair.server.port, logins=("negotiate", "ntlm")).port)
        agent.wait_for_output("proxy.no_common_scheme")
        status = str(agent.status())
        self.assertIn("a login by Negotiate, NTLM (407), and Culvert speaks Basic only", status)

    def test_a_password_that_is_not_plain_text_is_refused_at_load(self):
        agent = self.start_agent(1)
        for text, flaw in (("\ufeffcorrect horse\n".encode(), "byte order mark"),
                           ("correct horse\n".encode("utf-16"), "UTF-16")):
            self.password.write_bytes(text)
            status, output = agent.check()
            self.assertEqual(status, CONFIGURATION, output)
            self.assertIn(f"proxy_password_file: {self.password} ", output)
            self.assertIn(flaw, output)
            self.assertNotIn("horse", output)

    def test_a_forbidden_target_has_its_own_code(self):
        agent = self.start_agent(Squid(self, allowed_port=1).port)
        agent.wait_for_output("proxy.forbidden")
        self.assertIn("proxy.forbidden", str(agent.status()))

    def test_a_silent_proxy_has_its_own_code(self):
        agent = self.start_agent(silent_port(self))
        agent.wait_for_output("proxy.timed_out", seconds=40)

    def test_an_unreachable_proxy_has_its_own_code(self):
        agent = self.start_agent(1)
        agent.wait_for_output("proxy.unreachable")

    def test_addresses_in_no_proxy_are_dialled_directly(self):
        self.pair.agent.tables["server"][0]["no_proxy"] = ["127.0.0.0/8"]
        self.start_agent(1).wait_until_ready()
        assert_echoes(self, self.port)


class TwoAccounts(Case):
    seconds = 15

    def test_neither_server_sees_the_mappings_of_the_other(self):
        """One agent with account acme at server one and beta at server two, which both use the same virtual host and
        service."""
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
            self.assertEqual(receive_until_closed(channels[account]), f"cloud of {account}".encode())
            for other in servers:
                expected = f"premise of {account}".encode() if account == other else b""
                self.assertEqual(receive_until_closed(listeners[account, other]), expected,
                                 f"{other}-erp:443 asked at the server of {account}")

    def test_an_account_cannot_reach_the_services_of_another_on_the_same_server(self):
        pair = self.pair()
        mine = pair.to_cloud(serve(self, lambda c: c.sendall(b"acme")), "web")
        pair.server.service("secret", serve(self, lambda c: c.sendall(b"beta")), "beta")
        theirs = pair.agent.channel(pair.server.port, "secret")
        pair.start()
        self.assertEqual([receive_until_closed(mine), receive_until_closed(theirs)], [b"acme", b""])
        # The refusal does not reveal whether such a service exists.
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
        self.assertEqual([receive_until_closed(port), receive_until_closed(theirs)], [b"", b"plant"])

    def test_a_virtual_listener_leads_to_its_location_only(self):
        pair = self.pair()
        default = pair.to_premise(serve(self, lambda c: c.sendall(b"default")))
        other = Agent(self, "agent-plant")
        other.connect(pair.server.port, pair.authority.agent(agent="two", location="plant-1"))
        other.mapping("erp:443", serve(self, lambda c: c.sendall(b"plant")))
        plant = pair.server.listener("erp:443", location="plant-1")
        pair.start()
        other.start().wait_until_ready()
        self.assertEqual([receive_until_closed(default), receive_until_closed(plant)], [b"default", b"plant"])
