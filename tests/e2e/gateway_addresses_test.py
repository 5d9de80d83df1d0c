# SPDX-License-Identifier: Apache-2.0
"""Which addresses targets may have: names and literals that lead to this host or a private network are refused, and
the address that was checked is the one that is dialled."""

import itertools
import unittest

from tests.harness.back_ends.judge import Judge, answering
from tests.harness.case import Case
from tests.harness.culvert_program import CONFIGURATION
from tests.harness.environment import AS_ROOT
from tests.harness.gateway import Gateway
from tests.harness.names import NameServer, with_hosts
from tests.harness.own_network import enter_own_network

# Where a target must not be unless allow_targets has it.
FORBIDDEN = {
    "loopback": "127.0.0.1", "loopback-2": "127.1.2.3", "this-host": "0.0.0.0", "this-network": "0.1.2.3",
    "private-10": "10.0.0.1", "private-172": "172.16.0.1", "private-172-end": "172.31.255.254",
    "private-192": "192.168.1.1", "shared": "100.64.0.1", "link-local": "169.254.1.1", "metadata": "169.254.169.254",
    "multicast": "224.0.0.1", "broadcast": "255.255.255.255", "reserved": "240.0.0.1",
    "loopback-6": "::1", "any-6": "::", "mapped-loopback": "::ffff:127.0.0.1", "mapped-private": "::ffff:10.0.0.1",
    "mapped-metadata": "::ffff:169.254.169.254", "compatible": "::127.0.0.1", "nat64": "64:ff9b::7f00:1",
    "6to4": "2002:7f00:1::1", "unique-local": "fd00::1", "unique-local-metadata": "fd00:ec2::254",
    "link-local-6": "fe80::1", "multicast-6": "ff02::1"}
ALLOWED = "127.0.0.2"


@unittest.skipIf(not AS_ROOT, "needs namespaces of its own")
class OwnNetwork(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        enter_own_network()


class Addresses(OwnNetwork):
    seconds = 15

    def start(self, table=(), allow=(f"{ALLOWED}/32",), port=None, urls=None):
        """A gateway whose services are named like the keys of `urls`."""
        self.gateway = Gateway(self, allow_targets=list(allow))
        with_hosts(self, self.gateway.server, table)
        self.urls = {name: self.gateway.api(url, name) for name, url in urls.items()}
        return self.gateway.start()

    def assert_denied(self, name):
        answered = self.gateway.call(f"{self.urls[name]}/x")
        self.assertEqual((answered.status, answered.reason), (403, "gateway.address_denied"), name)
        self.assertNotIn(FORBIDDEN.get(name, "127.0.0.1"), answered.body.decode())

    def test_names_and_literals_of_forbidden_addresses(self):
        judge = Judge(self)
        literals = {f"literal-{name}": f"[{address}]" if ":" in address else address
                    for name, address in FORBIDDEN.items()}
        urls = {name: f"http://{name}.example:{judge.port}" for name in FORBIDDEN}
        urls |= {name: f"http://{host}:{judge.port}" for name, host in literals.items()}
        self.start([(f"{name}.example", address) for name, address in FORBIDDEN.items()], urls=urls)
        for name in urls:
            with self.subTest(name):
                self.assert_denied(name)
        self.assertEqual(judge.connections, 0)

    def test_other_spellings_of_an_address(self):
        judge = Judge(self)
        # getaddrinfo() takes them all for 127.0.0.1.
        spellings = ["2130706433", "0x7f000001", "0x7f.1", "127.1", "0177.0.0.1", "127.0.0.1."]
        gateway = Gateway(self, allow_targets=[])
        for number, host in enumerate(spellings):
            gateway.applications.clear()
            gateway.api(f"http://{host}:{judge.port}", f"s{number}")
            status, text = gateway.server.check()
            with self.subTest(host):
                if status == 0:
                    gateway.start()
                    answered = gateway.call(f"{gateway.services}/shop/s{number}/x")
                    self.assertIn(answered.reason, ("gateway.address_denied", "gateway.target_unreachable"))
                    self.assertEqual(gateway.server.stop(), 0)
                else:
                    self.assertEqual(status, CONFIGURATION, text)
        self.assertEqual(judge.connections, 0)

    def test_urls_that_cannot_be_targets(self):
        gateway = Gateway(self)
        for url in ("http://user:pass@shop.example", "http://user@shop.example", "ftp://shop.example", "shop.example",
                    "http://shop.example/a/../b", "http://shop.example/%2e%2e/b", "http://shop.example:0",
                    "http://shop.example:65536", "http://shop.example/#part", "http://", "http:///x",
                    "http://shop.example\\@other.example", "http://shop.example:80@other.example/"):
            gateway.applications.clear()
            gateway.api(url)
            with self.subTest(url):
                status, text = gateway.server.check()
                self.assertEqual(status, CONFIGURATION, text)
                self.assertNotIn("pass@", text)

    def test_allowed_networks_and_a_name_with_several_addresses(self):
        bad, good = Judge(self), Judge(self, address=ALLOWED)
        both = [("both.example", "127.0.0.1"), ("both.example", ALLOWED), ("only.example", ALLOWED)]
        self.start(both, urls={"both": f"http://both.example:{good.port}", "only": f"http://only.example:{good.port}",
                               "literal": good.url, "bad": bad.url})
        for name in ("only", "literal"):
            self.assertEqual(self.gateway.call(f"{self.urls[name]}/x").status, 200)
        self.assert_denied("bad")
        for _ in range(10):
            answered = self.gateway.call(f"{self.urls['both']}/x")
            self.assertTrue(answered.status == 200 or answered.reason == "gateway.address_denied", answered.body)
        self.assertEqual(bad.connections, 0)
        # What is allowed changes with a reload, for pooled connections too.
        self.gateway.table["allow_targets"] = ["127.0.0.1/32"]
        self.gateway.server.reload()
        self.assertEqual(self.gateway.call(f"{self.urls['bad']}/x").status, 200)
        for name in ("only", "literal"):
            self.assert_denied(name)

    def test_redirects_are_not_followed(self):
        bad, good = Judge(self), Judge(self, address=ALLOWED)
        for status in (301, 302, 303, 307, 308):
            good.on(f"/{status}", answering(status, fields=[("Location", f"{bad.url}/x")]))
        self.start(urls={"orders": good.url})
        for status in (301, 302, 303, 307, 308):
            for arguments in ([], ["-d", "body"]):
                answered = self.gateway.call(f"{self.urls['orders']}/{status}", *arguments)
                self.assertEqual((answered.status, answered.fields["location"]), (status, [f"{bad.url}/x"]))
        self.assertEqual(bad.connections, 0)


class Rebinding(OwnNetwork):
    def test_the_checked_address_is_dialled_though_the_name_changes_at_each_look_up(self):
        other = "127.0.0.3"
        good, bad = Judge(self, address=ALLOWED), Judge(self, address=other)
        gateway = Gateway(self, allow_targets=[f"{ALLOWED}/32"])
        turns = itertools.cycle([ALLOWED, other])
        names = NameServer(self, gateway.server, lambda name: [next(turns)] if name == "changing.example" else [])
        # Whoever resolves once to check and once more to dial reaches `bad`.
        urls = [gateway.api(f"http://changing.example:{judge.port}", f"s{judge.port}") for judge in (good, bad)]
        gateway.start()
        statuses = []
        for number in range(40):
            answered = gateway.call(f"{urls[number % 2]}/x")
            statuses.append(answered.status)
            if answered.status != 200:
                self.assertIn(answered.reason, ("gateway.address_denied", "gateway.target_unreachable"))
        self.assertEqual(bad.connections, 0)
        self.assertIn(200, statuses)
        self.assertIn(403, statuses)
        self.assertEqual({name for name, _ in names.questions}, {"changing.example"})
