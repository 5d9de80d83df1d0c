# SPDX-License-Identifier: Apache-2.0
"""What real back ends answer, by nginx, Apache and Node.js, and how it comes through: their own names, bodies or none, TLS."""

import json
import socket

import certificates
from backends import apache, nginx, sha256
from culvert import Case, wait_until
from on_premise import OnPremise, fields_of

MIB = 1 << 20
EVERYTHING = [{"path": "/", "match": "sub_paths"}]


class Names(Case):
    """A back end calls itself by its own name, or by what Host says; what the client gets of that is the virtual host."""

    NGINX = """
        location = /moved { return 302 /hello; }
        location = /away { return 302 https://elsewhere.example/x; }
        location = /named {
            add_header Content-Location http://$host:$server_port/hello;
            add_header Set-Cookie "sid=1; Domain=$host; Path=/"; add_header Set-Cookie "other=2; Domain=elsewhere.example";
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
                pair.agent.web(f"{name}-{host_header}:{outside}", port, internal=f"localhost:{port}", host_header=host_header)
        pair.start()
        for name, port in ports.items():
            for virtual in (f"{name}-virtual", f"{name}-virtual:8080", f"{name}-internal", f"{name}-internal:8080"):
                for way in (["-x", proxy], ["-x", proxy, "-p"], ["--socks5-hostname", socks]):
                    with self.subTest(f"{virtual} {way[0]}"):
                        self.look(f"http://{virtual}", way, name, port)

    def look(self, site, way, name, port):
        curl = ["curl", "-sS", "--max-time", 20, *way]
        virtual, is_internal = site.removeprefix("http://"), "internal" in site
        host = virtual.partition(":")[0]
        text = self.command(*curl, "-L", "-w", " %{url_effective}", f"{site}/moved", f"{site}/folder")
        self.assertEqual(text, f"hello {site}/hellohello {site}/folder/")
        head = self.command(*curl, "-D", "-", "-o", "/dev/null", f"{site}/away")
        self.assertEqual(fields_of(head)[1]["location"], ["https://elsewhere.example/x"])
        head = self.command(*curl, "-D", "-", "-o", self.folder / "body", f"{site}/{'named' if name == 'nginx' else 'hello'}")
        fields = fields_of(head)[1]
        self.assertEqual((fields["content-location"], fields["set-cookie"][0]), ([f"{site}/hello"], f"sid=1; Domain={host}; Path=/"))
        if name == "nginx":
            self.assertEqual(fields["set-cookie"][1], "other=2; Domain=elsewhere.example")
            self.assertEqual((self.folder / "body").read_text(), f"localhost:{port}|{virtual}" if is_internal else f"{virtual}|")


class Answers(Case):
    """Heads without bodies, bodies that are asked about first, and what comes after a body."""

    seconds = 15

    def setUp(self):
        super().setUp()
        self.premise = OnPremise(self)
        self.digest = self.premise.file("file", 2 * MIB)
        self.ways = {way: ["curl", "-sS", "--max-time", 20, *options] for way, options in self.premise.curl_options().items()}
        self.premise.start()

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
                text = self.command(*curl, "-I", *options, f"{site}/file", "--next", *curl[1:], *unchanged, "--next", *curl[1:], *whole)
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

    def test_an_upgrade_that_the_back_end_declines_is_a_request_like_others(self):
        for label, curl, site in self.each_way("nginx", "apache"):
            with self.subTest(label):
                options = ["-w", "%{http_code} %{num_connects}\n", "-o", "/dev/null"]
                text = self.command(*curl, "-H", "Connection: Upgrade", "-H", "Upgrade: websocket", *options, f"{site}/socket",
                                    "--next", *curl[1:], *options, f"{site}/file")
                self.assertEqual(text.split(), ["404", "1", "200", "0"])
        # Nor does the stream wait for what the client does next.
        host, port = self.premise.proxy.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as client:
            client.sendall(b"GET http://nginx/open/socket HTTP/1.1\r\nHost: nginx\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            self.assertIn(b" 404 ", client.recv(65536))
            wait_until(lambda: self.premise.pair.agent.metrics()["culvert_streams"] == 0, what="the end of the stream")

    def test_a_body_that_asks_first_is_awaited_or_refused(self):
        for label, curl, site in self.each_way("node"):
            with self.subTest(label):
                post = [*curl, "--expect100-timeout", 15, "-D", "-", "--data-binary", f"@{self.folder}/www/open/file"]
                head = self.command(*post, "-o", self.folder / "body", f"{site}/post")
                self.assertIn("HTTP/1.1 100", head)
                seen = json.loads((self.folder / "body").read_text())
                self.assertEqual((fields_of(head)[0], seen["sha256"], seen["fields"]["expect"]), (200, self.digest, "100-continue"))
                head = self.command(*post, "-w", "uploaded %{size_upload}", f"{site}/too-large")
                self.assertNotIn("HTTP/1.1 100", head)
                self.assertEqual((fields_of(head)[0], head.rpartition("uploaded ")[2]), (413, "0"))

    def test_trailers_come_after_the_body(self):
        for label, curl, site in self.each_way("node"):
            with self.subTest(label):
                text = self.command(*curl, "-D", self.folder / "head", f"{site}/trailers")
                self.assertEqual(text, "body and trailers")
                self.assertEqual((self.folder / "head").read_text().splitlines()[-1], "X-Checksum: c0ffee")


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
        """The status and the body by each way; the code instead of the body where it is Culvert's problem."""
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
        client, stranger = (authority.issue("client", "DNS:agent", "clientAuth") for authority in (self.authority, self.other))
        wants = f"ssl_client_certificate {self.authority.ca}; ssl_verify_client on;"
        ports = [nginx(self, self.credentials, more=wants + ' add_header X-Client "$ssl_client_s_dn";'),
                 apache(self, self.credentials, more=f"SSLCACertificateFile {self.authority.ca}\nSSLVerifyClient require")]

        def shown(credentials):
            return {**self.right, "client_certificate": credentials.certificate, "client_key": credentials.private_key}

        self.start(**{f"{kind}{number}": (port, more) for number, port in enumerate(ports)
                      for kind, more in (("right", shown(client)), ("none", self.right), ("stranger", shown(stranger)))})
        for number in range(2):
            self.assertEqual(list(self.ask(f"right{number}")), [(200, "hello over TLS")] * 2)
        # nginx says it by HTTP, and Apache by TLS.
        for kind in ("none", "stranger"):
            for status, body in self.ask(f"{kind}0"):
                self.assertEqual(status, 400)
                self.assertIn("SSL certificate", body)
            for status, body in self.ask(f"{kind}1"):
                self.assertEqual(status, 502)
                self.assertNotIn("hello", body)
