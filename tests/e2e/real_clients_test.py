# SPDX-License-Identifier: Apache-2.0
"""Common clients, unmodified, through the HTTP proxy and the SOCKS5 proxy to real back ends."""

import hashlib
import json
import re
import subprocess

import requests

from tests.harness import certificates
from tests.harness.back_ends.ftp import ftp_server
from tests.harness.back_ends.ldap import slapd
from tests.harness.back_ends.node import NODE_FOLDER, node_packages
from tests.harness.back_ends.postgres import Postgres
from tests.harness.back_ends.web_servers import nginx
from tests.harness.case import Case
from tests.harness.culvert_program import ACCOUNT
from tests.harness.environment import ROOT
from tests.harness.files import make_file, sha256
from tests.harness.private_network import SECRET, WEB, PrivateNetwork
from tests.harness.tcp_server import echo_port

MIB = 1 << 20


class CurlAndWget(Case):
    seconds = 20

    def setUp(self):
        super().setUp()
        self.network = PrivateNetwork(self)
        self.digest = self.network.file("big", 20 * MIB)
        self.network.start()

    def test_curl_in_each_of_its_ways(self):
        down = self.folder / "down"
        for way, options in self.network.curl_options().items():
            curl = ["curl", "-sS", "--max-time", 20, *options]
            with self.subTest(way):
                for name in ("nginx", "apache"):
                    self.command(*curl, "--fail", "-o", down, f"http://{name}/open/big")
                    self.assertEqual(sha256(down), self.digest)
                seen = json.loads(self.command(*curl, "-T", down, "http://node/open/up?q=%20x"))
                self.assertEqual((seen["method"], seen["path"], seen["size"], seen["sha256"]),
                                 ("PUT", "/open/up?q=%20x", 20 * MIB, self.digest))
                self.assertEqual((seen["fields"]["host"], seen["fields"]["via"]),
                                 ("10.1.2.2" if "address" in way else "node", "1.1 culvert"))
                for name in WEB:
                    problem = json.loads(self.command(*curl, f"http://{name}/closed"))
                    self.assertEqual((problem["status"], problem["code"]), (403, "request.not_exposed"))
        self.command("curl", "-sS", "--socks5-hostname", self.network.socks, "-U", f"{ACCOUNT}:wrong",
                     "http://nginx/open/big", status=97)
        # Bytes that cannot be checked do not reach an HTTP mapping.
        self.assertIn("wrong version", self.command("curl", "-sS", "-x", self.network.proxy,
                                                    "https://nginx:80/open/big", status=35))

    def test_wget_continues_where_it_was_cut_off(self):
        wget = ["wget", "-q", "--tries=1", "--timeout=20", "-e", "use_proxy=yes", "-e",
                f"http_proxy={self.network.proxy}", "-O"]
        down = self.folder / "down"
        for name in ("nginx", "apache"):
            with self.subTest(name):
                with open(self.folder / "www/open/big", "rb") as source:
                    down.write_bytes(source.read(7 * MIB + 1))
                before = self.network.pair.agent.metrics()["culvert_stream_bytes_total"]
                self.command(*wget, down, "-c", f"http://{name}/open/big")
                self.assertEqual(sha256(down), self.digest)
                # Only the rest was sent.
                self.assertLess(self.network.pair.agent.metrics()["culvert_stream_bytes_total"] - before, 14 * MIB)
        seen = json.loads(self.command(*wget, "-", "--post-file", down, "http://node/open/post"))
        self.assertEqual((seen["method"], seen["sha256"]), ("POST", self.digest))
        self.command(*wget, "-", "http://nginx/closed", status=8)


class PythonRequests(Case):
    def test_a_session_by_the_http_proxy_and_by_socks(self):
        network = PrivateNetwork(self)
        digest = network.file("big", 8 * MIB)
        network.start()
        for proxy in (network.proxy, f"socks5h://{network.socks}", f"socks5h://{ACCOUNT}:{SECRET}@{network.socks}"):
            with self.subTest(proxy), requests.Session() as session:
                session.trust_env = False
                session.proxies = {"http": proxy}
                for _ in range(3):
                    for name in ("nginx", "apache"):
                        self.assertEqual(hashlib.sha256(session.get(f"http://{name}/open/big",
                                                                    timeout=20).content).hexdigest(), digest)
                with open(self.folder / "www/open/big", "rb") as source:
                    pieces = iter(lambda: source.read(99_999), b"")
                    seen = session.post("http://node/open/x", data=pieces, params={"a": "b c"}, timeout=20).json()
                self.assertEqual((seen["path"], seen["sha256"], seen["fields"]["transfer-encoding"]),
                                 ("/open/x?a=b+c", digest, "chunked"))
                self.assertEqual(session.get("http://node/closed", timeout=20).status_code, 403)
                self.assertEqual(session.get("http://nginx/open/none", timeout=20).status_code, 404)


class NodeAndJava(Case):
    """They also use HTTPS: opaque bytes to a back end that the client verifies."""

    seconds = 20
    DOWN = ["http://nginx/open/big", "http://apache/open/big", "https://tls/open/big"]

    def setUp(self):
        super().setUp()
        self.network = PrivateNetwork(self)
        self.digest = self.network.file("big", 8 * MIB)
        self.authority = certificates.Authority(self.folder / "backend")
        self.network.pair.agent.mapping("tls:443", nginx(self, self.authority.server("tls", file="tls"),
                                                         name="nginx-tls"))
        self.network.start()

    def node(self, part):
        task = {"proxy": self.network.proxy, "socks": f"socks5h://{ACCOUNT}:{SECRET}@{self.network.socks}",
                "ca": self.authority.ca.read_text(), "file": str(self.folder / "www/open/big")}
        return json.loads(self.command("/usr/bin/node", NODE_FOLDER / "client.js", part, json.dumps(task),
                                       env=node_packages()))

    def test_undici_and_its_proxy_agent(self):
        said = self.node("undici")
        self.assertEqual(said["down"], dict.fromkeys(self.DOWN, self.digest))
        self.assertEqual([said["up"][key] for key in ("method", "path", "sha256")], ["POST", "/open/up", self.digest])
        self.assertEqual(said["many"], {"200": 300})
        self.assertEqual(said["closed"], [403, "request.not_exposed"])
        self.assertEqual(said["trailers"], ["body and trailers", "c0ffee"])
        # Node's own client, which can send trailers, in absolute form.
        self.assertEqual(said["own"], ["11", "dead"])

    def test_web_sockets_of_ws(self):
        said = self.node("ws")
        for way in ("absolute form", "CONNECT", "SOCKS5"):
            with self.subTest(way):
                self.assertEqual(said[way], {"sizes": [0, 1, 125, 126, 65535, 65536, 4 * MIB], "text": "grüße",
                                             "pong": "ping",
                                             "closed": [4001, "enough"], "not allowed": 403})
        node = next(program for program in self.programs if program.name == "node")
        self.assertEqual(node.output().count("closed 4001 enough"), 3)

    def test_java_and_its_http_client(self):
        trust = self.folder / "trust.p12"
        self.command("/usr/bin/keytool", "-importcert", "-noprompt", "-storepass", "changeit", "-keystore", trust,
                     "-file", self.authority.ca)
        said = self.command("/usr/bin/java", "-XX:TieredStopAtLevel=1", f"-Djavax.net.ssl.trustStore={trust}",
                            "-Djavax.net.ssl.trustStorePassword=changeit", ROOT / "tests/e2e/java/Client.java",
                            self.network.proxy.rpartition(":")[2], self.folder / "www/open/big")
        self.assertEqual(said.splitlines(), [
            *(f"{uri} 200 {self.digest}" for uri in self.DOWN), f"up 200 {self.digest}", "closed 403", "many 300",
            "socket echo of 70000"])


class Others(Case):
    """Other protocols, through CONNECT and SOCKS5."""

    seconds = 15

    def setUp(self):
        super().setUp()
        self.pair_ = self.pair()
        self.proxy = self.pair_.proxy().removeprefix("http://")
        self.socks = self.pair_.socks(unauthenticated_account=ACCOUNT,
                                      consumer=[self.pair_.consumer(SECRET, ["echo:7"])])

    def proxychains(self, kind, *command, **keywords):
        config = self.folder / f"{kind}.conf"
        host, port = {"http": self.proxy, "socks5": self.socks}[kind].split(":")
        config.write_text(f"strict_chain\nquiet_mode\nproxy_dns\n[ProxyList]\n{kind} {host} {port}\n")
        return self.command("proxychains4", "-q", "-f", config, *command, **keywords)

    def run_into(self, sink, *arguments, stdin):
        """The exit status of a program whose output is bytes."""
        return subprocess.run([str(a) for a in arguments], stdin=stdin, stdout=sink, timeout=60, check=False).returncode

    def test_ncat(self):
        self.pair_.agent.mapping("echo:7", echo_port(self))
        self.pair_.start()
        digest = make_file(self.folder / "bytes", 10 * MIB)
        for arguments in (["http", "--proxy", self.proxy], ["socks5", "--proxy", self.socks, "--proxy-dns", "remote"],
                          ["socks5", "--proxy", self.socks, "--proxy-dns", "remote", "--proxy-auth",
                           f"{ACCOUNT}:{SECRET}"]):
            ncat = ["ncat", "--proxy-type", *arguments]
            with self.subTest(arguments), open(self.folder / "bytes",
                                               "rb") as source, open(self.folder / "back", "wb") as sink:
                self.assertEqual(self.run_into(sink, *ncat, "echo", 7, stdin=source), 0)
                self.assertEqual(sha256(self.folder / "back"), digest)
                self.command(*ncat, "hidden", 7, status=1)

    def test_psql(self):
        database = Postgres(self)
        self.pair_.agent.mapping("db:5432", database.port)
        self.pair_.start()
        psql = ["psql", "-U", "postgres", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-p", 5432]
        query = "select count(*), md5(string_agg(i::text, ',' order by i)) from generate_series(1, 100000) i"
        answer = "100000|" + hashlib.md5(",".join(map(str, range(1, 100_001))).encode()).hexdigest()
        for kind in ("socks5", "http"):
            with self.subTest(kind):
                self.assertEqual(self.proxychains(kind, *psql, "-h", "db", "-c", query).strip(), answer)
                self.proxychains(kind, *psql, "-h", "hidden", "-c", "select 1", status=2)

    def test_ldapsearch_without_tls_and_with_tls_by_the_agent(self):
        authority = certificates.Authority(self.folder / "directory")
        plain, tls = slapd(self, authority.server("directory.internal"))
        self.pair_.agent.mapping("directory:389", plain, "ldap")
        self.pair_.agent.mapping("secure:389", tls, "ldaps", backend_ca=authority.ca,
                                 backend_server_name="directory.internal")
        self.pair_.agent.mapping("wrong:389", tls, "ldaps", backend_ca=authority.ca,
                                 backend_server_name="other.internal")
        self.pair_.start()
        change = self.folder / "change.ldif"
        for number, host in enumerate(("directory", "secure")):
            uri = ["-x", "-o", "nettimeout=20", "-H", f"ldap://{host}:389"]
            with self.subTest(host):
                text = self.proxychains("socks5", "ldapsearch", *uri, "-LLL", "-b", "dc=example",
                                        "(objectClass=person)", "description")
                self.assertEqual(text.count("dn: cn=person "), 1000)
                change.write_text(f"dn: cn=new {number},dc=example\nchangetype: add\n"
                                  f"objectClass: person\ncn: new {number}\nsn: new\n")
                self.proxychains("http", "ldapmodify", *uri, "-D", "cn=admin,dc=example", "-w", "secret", "-f", change)
                text = self.proxychains("socks5", "ldapsearch", *uri, "-LLL", "-b", "dc=example", f"(cn=new {number})",
                                        "sn")
                self.assertEqual(text.split(), ["dn:", "cn=new", f"{number},dc=example", "sn:", "new"])
        self.proxychains("socks5", "ldapsearch", "-x", "-H", "ldap://wrong:389", "-b", "dc=example", status=255)
        self.pair_.agent.wait_for_output("tls.")


class Ftp(Case):
    """An FTP server says at which port it expects each data connection: EPSV names the port alone, PASV an address,
    too."""

    seconds = 2
    ADDRESS = "10.9.8.7"  # what answers to PASV name
    IGNORING = ["--disable-epsv", "--ftp-skip-pasv-ip"]  # curl's default since 7.74
    BELIEVING = ["--disable-epsv", "--no-ftp-skip-pasv-ip"]
    REFUSED = {"SOCKS5": 97, "CONNECT": 56}  # curl's exit statuses

    def setUp(self):
        super().setUp()
        pair = self.pair()
        self.ways = {"SOCKS5": ["--socks5-hostname", pair.socks()], "CONNECT": ["-x", pair.proxy(), "-p"]}
        self.agent = pair.agent
        port, self.passive = ftp_server(self, self.ADDRESS)
        ports = f"{self.passive[0]}-{self.passive[-1]}"
        moved = f"{self.passive[0] + 100}-{self.passive[-1] + 100}"
        for host, seen in (("ftp", ports), ("moved", moved)):
            self.agent.mapping(f"{host}:21", port)
            self.agent.mapping(f"{host}:{seen}", ports)
        self.digest = make_file(self.folder / "ftp/down", 2 * MIB)
        pair.start()

    def curl(self, *arguments, status=0):
        """curl's trace, with what was said on the control connection."""
        return self.command("curl", "-sSv", "--max-time", 20, *arguments, status=status)

    def assert_transfers(self, *options, command):
        """Lists, fetches and uploads a file, each by one `command` and no other."""
        here = self.folder / "here"
        trace = self.curl(*options, "-l", "-o", here, "ftp://ftp/")
        self.assertEqual(here.read_text().split(), ["down"])
        trace += self.curl(*options, "-o", here, "ftp://ftp/down")
        self.assertEqual(sha256(here), self.digest)
        trace += self.curl(*options, "-T", here, "ftp://ftp/up")
        self.assertEqual(sha256(self.folder / "ftp/up"), self.digest)
        (self.folder / "ftp/up").unlink()
        self.assertEqual(re.findall("(?m)^> (EPSV|PASV|EPRT|PORT)", trace), [command] * 3)

    def assert_refused(self, name, *arguments):
        """The control connection works, and the data connection does not."""
        trace = self.curl(*arguments, "-o", self.folder / "here", status=self.REFUSED[name])
        self.assertIn("< 230 Login successful", trace)
        self.assertNotIn("> RETR", trace)
        return trace

    def test_epsv_works_with_a_range_of_ports(self):
        for name, way in self.ways.items():
            with self.subTest(name):
                self.assert_transfers(*way, command="EPSV")

    def test_the_cloud_side_must_see_the_ports_under_their_own_numbers(self):
        for name, way in self.ways.items():
            with self.subTest(name):
                trace = self.assert_refused(name, *way, "ftp://moved/down")
                self.assertRegex(trace, r"229 .*\(\|\|\|\d+\|\)")

    def test_pasv_works_with_a_client_that_ignores_the_address(self):
        for name, way in self.ways.items():
            with self.subTest(name):
                self.assert_transfers(*way, *self.IGNORING, command="PASV")

    def test_pasv_with_a_client_that_believes_the_address_needs_a_mapping_of_it(self):
        for name, way in self.ways.items():
            with self.subTest(name):
                trace = self.assert_refused(name, *way, *self.BELIEVING, "ftp://ftp/down")
                self.assertIn("227 Entering passive mode (10,9,8,7,", trace)
        ports = f"{self.passive[0]}-{self.passive[-1]}"
        self.agent.mapping(f"{self.ADDRESS}:{ports}", ports)
        self.agent.reload()
        for name, way in self.ways.items():
            with self.subTest(name):
                self.assert_transfers(*way, *self.BELIEVING, command="PASV")
