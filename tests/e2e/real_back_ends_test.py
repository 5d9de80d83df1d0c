# SPDX-License-Identifier: Apache-2.0
"""How the answers of real back ends (nginx, Apache, Node.js) arrive: names, answers with and without bodies, TLS."""

import json
import socket
import time

from tests.harness import certificates
from tests.harness.back_ends.old_tls import old_version, without_secure_renegotiation
from tests.harness.back_ends.web_servers import apache, nginx
from tests.harness.case import Case
from tests.harness.files import sha256
from tests.harness.private_network import PrivateNetwork, fields_of
from tests.harness.waiting import wait_until

MIB = 1 << 20
EVERYTHING = [{"path": "/", "match": "sub_paths"}]


class Names(Case):
    """A back end names itself by its own name or by Host; the client always sees the virtual host."""

    NGINX = """
        location = /moved { return 302 /hello; }
        location = /away { return 302 https://elsewhere.example/x; }
        location = /named {
            add_header Content-Location http://$host:$server_port/hello;
            add_header Set-Cookie "sid=1; Domain=$host; Path=/";
            add_header Set-Cookie "other=2; Domain=elsewhere.example";
            return 200 "$http_host|$http_x_forwarded_host";
        }"""
    APACHE = """
        Redirect 302 /moved /hello
        Redirect 302 /away https://elsewhere.example/x
        Header always set Content-Location "expr=http://%{HTTP_HOST}/hello"
        Header always add Set-Cookie "expr=sid=1; Domain=%{SERVER_NAME}; Path=/" """

    def test_redirects_cookies_and_hosts_with_both_host_headers(self):
        pair = self.pair()
        proxy, socks = pair.proxy(), pair.socks()
        ports = {"nginx": nginx(self, more=self.NGINX), "apache": apache(self, more=self.APACHE)}
        (self.folder / "www/folder").mkdir()
        for path in ("hello", "folder/index.html"):
            (self.folder / "www" / path).write_text("hello")
        for name, port in ports.items():
            for host_header, outside in (("virtual", 80), ("virtual", 8080), ("internal", 80), ("internal", 8080)):
                pair.agent.web(f"{name}-{host_header}:{outside}", port, internal=f"localhost:{port}",
                               host_header=host_header)
        pair.start()
        for name, port in ports.items():
            for virtual in (f"{name}-virtual", f"{name}-virtual:8080", f"{name}-internal", f"{name}-internal:8080"):
                for way in (["-x", proxy], ["-x", proxy, "-p"], ["--socks5-hostname", socks]):
                    with self.subTest(f"{virtual} {way[0]}"):
                        self.look(f"http://{virtual}", way, name, port)

    def look(self, site, way, name, port):
        curl = ["curl", "-sS", "--max-time", 20, *way]
        virtual, is_internal = site.removeprefix("http://"), "internal" in site
        text = self.command(*curl, "-L", "-w", " %{url_effective}", f"{site}/moved", f"{site}/folder")
        self.assertEqual(text, f"hello {site}/hellohello {site}/folder/")
        head = self.command(*curl, "-D", "-", "-o", "/dev/null", f"{site}/away")
        self.assertEqual(fields_of(head)[1]["location"], ["https://elsewhere.example/x"])
        head = self.command(*curl, "-D", "-", "-o", self.folder / "body",
                            f"{site}/{'named' if name == 'nginx' else 'hello'}")
        fields = fields_of(head)[1]
        # A Domain of the back end would become one without a dot.
        domain = "" if is_internal else f" Domain={virtual.partition(':')[0]};"
        self.assertEqual((fields["content-location"], fields["set-cookie"][0]),
                         ([f"{site}/hello"], f"sid=1;{domain} Path=/"))
        if name == "nginx":
            self.assertEqual(fields["set-cookie"][1], "other=2; Domain=elsewhere.example")
            self.assertEqual((self.folder / "body").read_text(),
                             f"localhost:{port}|{virtual}" if is_internal else f"{virtual}|")


class Answers(Case):
    """Heads without bodies, bodies after "Expect: 100-continue", and requests after a body."""

    seconds = 15

    def setUp(self):
        super().setUp()
        self.network = PrivateNetwork(self)
        self.digest = self.network.file("file", 2 * MIB)
        self.ways = {way: ["curl", "-sS", "--max-time", 20, *options] for way,
                     options in self.network.curl_options().items()}
        self.network.start()

    def each_way(self, *names):
        return [(f"{name} {way}", curl, f"http://{name}/open") for way, curl in self.ways.items() for name in names]

    def test_head_and_not_modified_leave_the_connection_as_it_was(self):
        for label, curl, site in self.each_way("nginx", "apache"):
            with self.subTest(label):
                status, fields = fields_of(self.command(*curl, "-I", f"{site}/file"))
                self.assertEqual((status, fields["content-length"]), (200, [str(2 * MIB)]))
                options = ["-w", "%{http_code} %{size_download} %{num_connects}\n", "-o", "/dev/null"]
                unchanged = ["-H", f"If-None-Match: {fields['etag'][0]}", *options, f"{site}/file"]
                whole = [*options, f"{site}/file", "-o", "/dev/null", f"{site}/none"]
                text = self.command(*curl, "-I", *options, f"{site}/file", "--next", *curl[1:], *unchanged, "--next",
                                    *curl[1:], *whole)
                lines = [line.split() for line in text.splitlines()]
                self.assertEqual([line[:2] for line in lines[:3]], [["200", "0"], ["304", "0"], ["200", str(2 * MIB)]])
                self.assertEqual(lines[3][0], "404")
                self.assertEqual([line[2] for line in lines], ["1", "0", "0", "0"])

    def test_an_answer_without_content_leaves_the_connection_as_it_was(self):
        for label, curl, site in self.each_way("nginx"):
            with self.subTest(label):
                put = ["-T", self.folder / "www/open/file", "-w", "%{http_code} %{num_connects}\n", f"{site}/put"]
                text = self.command(*curl, *put, "--next", *curl[1:], *put)
                self.assertEqual(text.split(), ["201", "1", "204", "0"])
                self.assertEqual(sha256(self.folder / "www/open/put"), self.digest)
                (self.folder / "www/open/put").unlink()

    def test_an_upgrade_that_the_back_end_declines_is_an_ordinary_request(self):
        for label, curl, site in self.each_way("nginx", "apache"):
            with self.subTest(label):
                options = ["-w", "%{http_code} %{num_connects}\n", "-o", "/dev/null"]
                text = self.command(*curl, "-H", "Connection: Upgrade", "-H", "Upgrade: websocket", *options,
                                    f"{site}/socket",
                                    "--next", *curl[1:], *options, f"{site}/file")
                self.assertEqual(text.split(), ["404", "1", "200", "0"])
        # The stream does not wait for the next action of the client.
        host, port = self.network.proxy.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as client:
            client.sendall(b"GET http://nginx/open/socket HTTP/1.1\r\nHost: nginx\r\n"
                           b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            self.assertIn(b" 404 ", client.recv(65536))
            wait_until(lambda: self.network.pair.agent.metrics()["culvert_streams"] == 0, what="the end of the stream")

    def test_a_body_after_expect_is_awaited_or_refused(self):
        for label, curl, site in self.each_way("node"):
            with self.subTest(label):
                post = [*curl, "--expect100-timeout", 15, "-D", "-", "--data-binary", f"@{self.folder}/www/open/file"]
                head = self.command(*post, "-o", self.folder / "body", f"{site}/post")
                self.assertIn("HTTP/1.1 100", head)
                seen = json.loads((self.folder / "body").read_text())
                self.assertEqual((fields_of(head)[0], seen["sha256"], seen["fields"]["expect"]),
                                 (200, self.digest, "100-continue"))
                head = self.command(*post, "-w", "uploaded %{size_upload}", f"{site}/too-large")
                self.assertNotIn("HTTP/1.1 100", head)
                self.assertEqual((fields_of(head)[0], head.rpartition("uploaded ")[2]), (413, "0"))

    def test_trailers_come_after_the_body(self):
        for label, curl, site in self.each_way("node"):
            with self.subTest(label):
                text = self.command(*curl, "-D", self.folder / "head", f"{site}/trailers")
                self.assertEqual(text, "body and trailers")
                self.assertEqual((self.folder / "head").read_text().splitlines()[-1], "X-Checksum: c0ffee")


class Compression(Case):
    """nginx does not compress answers to requests with Via unless its configuration says so."""

    seconds = 1

    def test_nginx_compresses_for_a_proxy_where_gzip_proxied_says_so(self):
        pair = self.pair()
        proxy, gzip = pair.proxy(), "gzip on; gzip_types text/plain;"
        ports = {name: nginx(self, name=name, more=f"{gzip} {more}")
                 for name, more in (("default", ""), ("any", "gzip_proxied any;"))}
        text = "".join(f"{number}: a line of text\n" for number in range(9500))
        (self.folder / "www/text.txt").write_text(text)
        for name, port in ports.items():
            pair.agent.web(f"{name}:80", port)
        pair.start()
        directly, through = [], ["-x", proxy]
        for name, way, is_compressed in (("default", directly, True), ("default", through, False),
                                         ("any", directly, True), ("any", through, True)):
            with self.subTest(f"{name} {way}"):
                url = f"http://{name}/text.txt" if way else f"http://127.0.0.1:{ports[name]}/text.txt"
                curl = ["curl", "-sS", "--max-time", 20, *way, "--compressed", "-H", "Accept-Encoding: gzip", url]
                status, fields = fields_of(self.command(*curl, "-D", "-", "-o", self.folder / "text"))
                self.assertEqual((status, fields.get("content-encoding", [])), (200, ["gzip"] if is_compressed else []))
                self.assertEqual((self.folder / "text").read_text(), text)
                size = int(self.command(*curl, "-w", "%{size_download}", "-o", "/dev/null"))
                if is_compressed:
                    self.assertLess(size, len(text) / 4)
                else:
                    self.assertEqual(size, len(text))


class Tls(Case):
    """The client speaks http://, and the agent TLS to the back end."""

    def start(self, **mappings):
        """Mappings of name -> (port, keywords), for both proxies."""
        pair = self.pair()
        self.ways = [["-x", pair.proxy()], ["--socks5-hostname", pair.socks()]]
        for name, (port, more) in mappings.items():
            pair.agent.web(f"{name}:80", port, protocol="https", **more)
        self.agent = pair.start().agent

    def ask(self, name, code=None):
        """Yields (status, body) for each proxy; with `code`, the code of Culvert's problem instead of the body."""
        for way in self.ways:
            text = self.command("curl", "-sS", "--max-time", 20, "-w", "\n%{http_code}", *way, f"http://{name}/hello")
            body, _, status = text.rpartition("\n")
            yield int(status), json.loads(body)["code"] if code else body

    def setUp(self):
        super().setUp()
        (self.folder / "www").mkdir()
        (self.folder / "www/hello").write_text("hello over TLS")
        self.authority, self.other = (certificates.Authority(self.folder / name, name) for name in ("private", "other"))
        self.credentials = self.authority.server("erp.internal", file="erp")
        self.right = {"backend_ca": self.authority.ca, "backend_server_name": "erp.internal"}

    def test_a_private_authority_is_trusted_where_the_mapping_says_so(self):
        mappings = {}
        for number, start in enumerate((nginx, apache)):
            port = start(self, self.credentials)
            for name, other in (("right", {}), ("stranger", {"backend_ca": self.other.ca}),
                                ("name", {"backend_server_name": "crm.internal"})):
                mappings[f"{name}{number}"] = (port, {**self.right, **other})
            mappings[f"system{number}"] = (port, {"backend_server_name": "erp.internal"})
        self.start(**mappings)
        for number in range(2):
            self.assertEqual(list(self.ask(f"right{number}")), [(200, "hello over TLS")] * 2)
            for name in ("stranger", "name", "system"):
                self.assertEqual(list(self.ask(f"{name}{number}", code=True)), [(502, "request.target_tls_failed")] * 2)

    def test_a_back_end_that_wants_a_certificate_gets_the_mapping_s(self):
        client, stranger = (authority.issue("client", "DNS:agent", "clientAuth")
                            for authority in (self.authority, self.other))
        wants = f"ssl_client_certificate {self.authority.ca}; ssl_verify_client on;"
        ports = [nginx(self, self.credentials, more=wants + ' add_header X-Client "$ssl_client_s_dn";'),
                 apache(self, self.credentials,
                        more=f"SSLCACertificateFile {self.authority.ca}\nSSLVerifyClient require")]

        def shown(credentials):
            return {**self.right, "client_certificate": credentials.certificate, "client_key": credentials.private_key}

        self.start(**{f"{kind}{number}": (port, more) for number, port in enumerate(ports)
                      for kind, more in (("right", shown(client)), ("none", self.right),
                                         ("stranger", shown(stranger)))})
        for number in range(2):
            self.assertEqual(list(self.ask(f"right{number}")), [(200, "hello over TLS")] * 2)
        # nginx refuses by HTTP, and Apache by TLS.
        for kind in ("none", "stranger"):
            for status, body in self.ask(f"{kind}0"):
                self.assertEqual(status, 400)
                self.assertIn("SSL certificate", body)
            for status, body in self.ask(f"{kind}1"):
                self.assertEqual(status, 502)
                self.assertNotIn("hello", body)

    def test_a_back_end_may_want_the_certificate_once_it_knows_the_path(self):
        client, stranger = (authority.issue("client", "DNS:agent", "clientAuth")
                            for authority in (self.authority, self.other))
        late = f"""SSLCACertificateFile {self.authority.ca}
            <Location /hello>
              SSLVerifyClient require
            </Location>
            SSLProtocol -all +TLSv1."""
        ports = {version: apache(self, self.credentials, f"apache{version}", late + version) for version in "23"}

        def shown(credentials):
            return {**self.right, "client_certificate": credentials.certificate, "client_key": credentials.private_key}

        self.start(right=(ports["3"], shown(client)), none=(ports["3"], self.right),
                   stranger=(ports["3"], shown(stranger)), old=(ports["2"], shown(client)))
        self.assertEqual(list(self.ask("right")), [(200, "hello over TLS")] * 2)
        for name in ("none", "stranger"):
            for status, body in self.ask(name):
                self.assertIn(status, (403, 502))
                self.assertNotIn("hello", body)
        self.assertNotIn("target.renegotiation", self.agent.output())
        # Renegotiation would be needed.
        for status, body in self.ask("old"):
            self.assertEqual(status, 502)
            self.assertIn("wants to renegotiate TLS 1.2", body)
            self.assertIn("enable TLS 1.3 there", body)
        self.agent.wait_for_output("warn target.renegotiation target=old:80 ")
        self.agent.wait_for_output("enable TLS 1.3 there")

    def test_tls_of_an_old_version_is_accepted_where_the_mapping_says_so(self):
        rsa = self.authority.issue("rsa", "DNS:erp.internal", "serverAuth", key_type=("rsa:2048",))
        ports = {version: old_version(self, credentials, version, version)
                 for version, credentials in (("tls1", rsa), ("tls1_1", self.credentials))}
        mappings = {}
        for version, key in (("tls1", "1.0"), ("tls1_1", "1.1")):
            name = version.replace("_", "-")
            mappings[f"{name}-default"] = (ports[version], self.right)
            mappings[f"{name}-allowed"] = (ports[version], {**self.right, "tls_minimum": key})
        mappings["tls1-newer"] = (ports["tls1"], {**self.right, "tls_minimum": "1.1"})
        mappings["tls1-legacy"] = (ports["tls1"], {**self.right, "tls_legacy": True})
        self.start(**mappings)
        self.assert_weak(["tls1-allowed", "tls1-1-allowed", "tls1-newer"], ["tls1-legacy"])
        for name in mappings:
            with self.subTest(name):
                if name.endswith("allowed"):
                    self.assertEqual([status for status, _ in self.ask(name)], [200, 200])
                else:
                    self.assert_refused(name, "tls.protocol_version", "set tls_minimum in its system_mapping")

    def test_tls_without_secure_renegotiation_is_accepted_where_the_mapping_says_so(self):
        port = without_secure_renegotiation(self, self.credentials, "old, but there")
        self.start(default=(port, self.right), allowed=(port, {**self.right, "tls_legacy": True}))
        self.assert_weak([], ["allowed"])
        self.assertEqual(list(self.ask("allowed")), [(200, "old, but there")] * 2)
        self.assert_refused("default", "tls.legacy_renegotiation", "set tls_legacy = true in its system_mapping")

    def assert_weak(self, minimum, legacy):
        """These mappings, and no others, have a warning."""
        weak = [line.partition("mapping.weak_tls ")[2].split()[:2] for line in self.agent.output().splitlines()
                if " warn mapping.weak_tls " in line]
        self.assertEqual(sorted(weak), sorted([f"virtual_host={name}:80", f"key={key}"] for names, key in
                                              ((minimum, "tls_minimum"), (legacy, "tls_legacy")) for name in names))

    def assert_refused(self, name, code, remedy):
        def lines():
            return [line for line in self.agent.output().splitlines() if f"target.failed target={name}:80 " in line]

        time.sleep(1.1)  # Of limited lines one is written each second.
        before = len(lines())
        self.assertEqual(list(self.ask(name, code=True)), [(502, "request.target_tls_failed")] * 2)
        wait_until(lambda: len(lines()) > before, what="a line in the log")
        self.assertIn(code, lines()[-1])
        self.assertIn(remedy, lines()[-1])
