# SPDX-License-Identifier: Apache-2.0
"""Requests that name more than their own path: WebDAV's Destination and If, methods in fields, and fields that rewrite
the target. nginx and Apache are the back ends."""

from tests.harness.back_ends.web_servers import apache, nginx
from tests.harness.case import Case
from tests.harness.http_server import echo_request, http_server
from tests.harness.strict_http_client import Client

DAV = ["GET", "PUT", "COPY", "MOVE", "PROPFIND", "LOCK", "UNLOCK", "DELETE"]


class Requests(Case):
    seconds = 8

    def send(self, host, method, path, *fields, body=b""):
        with Client(("127.0.0.1", self.port)) as client:
            lines = "".join(f"{field}\r\n" for field in fields)
            client.send(f"{method} http://{host}{path} HTTP/1.1\r\nHost: {host}\r\n{lines}"
                        f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
            return client.answer(method.encode())


class WebDav(Requests):
    def start(self):
        pair = self.pair()
        self.port = int(pair.proxy().rsplit(":", 1)[1])
        self.root = self.folder / "www"
        credentials = pair.server_credentials
        plain = nginx(self, location="dav_methods PUT DELETE MKCOL COPY MOVE; create_full_put_path on;")
        secure = nginx(self, credentials, "nginx-tls", location="dav_methods PUT DELETE MKCOL COPY MOVE;")
        tls = {"protocol": "https", "backend_ca": credentials.ca, "backend_server_name": "localhost"}
        dav = "\n".join(["LoadModule dav_module /usr/lib/apache2/modules/mod_dav.so",
                         "LoadModule dav_fs_module /usr/lib/apache2/modules/mod_dav_fs.so",
                         f"DavLockDB {self.folder}/locks", f"<Directory {self.root}>", "Dav On", "</Directory>"])
        rules = [{"path": "/open", "match": "sub_paths", "methods": DAV},
                 {"path": "/read", "match": "sub_paths", "methods": ["GET", "MOVE", "COPY"]}]
        self.hosts = []
        for header in ("virtual", "internal"):
            for name, port, more in (("nginx", plain, {}), ("nginxs", secure, tls),
                                     ("apache", apache(self, name=f"apache-{header}", more=dav), {}),
                                     ("apaches", apache(self, credentials, f"apaches-{header}", dav), tls)):
                self.hosts.append(f"{name}-{header}")
                pair.agent.web(f"{name}-{header}:80", port, rules, host_header=header, **more)
        for name in ("open", "read", "closed"):
            (self.root / name).mkdir()
            (self.root / name).chmod(0o777)
        self.folder.chmod(0o777)
        pair.start()

    def prepare(self):
        (self.root / "open/a").write_text("a")
        (self.root / "open/b").unlink(missing_ok=True)

    def test_what_lies_at_the_destination_is_judged_and_spelt_for_the_back_end(self):
        self.start()
        for host in self.hosts:
            for method in ("COPY", "MOVE"):
                for spelling in (f"http://{host}/open/b", f"http://{host}:80/open/b", "/open/b"):
                    with self.subTest(host=host, method=method, spelling=spelling):
                        self.prepare()
                        answer = self.send(host, method, "/open/a", f"Destination: {spelling}")
                        self.assertIn(answer.status, (201, 204), answer)
                        self.assertEqual((self.root / "open/b").read_text(), "a")

    def test_nothing_is_written_where_the_rules_allow_no_put(self):
        self.start()
        for host in self.hosts:
            for method in ("COPY", "MOVE"):
                for spelling in (f"http://{host}/closed/evil", "/closed/evil", f"http://{host}/read/evil",
                                 f"http://{host}/open/../closed/evil", f"http://{host}/open/%2e%2e/closed/evil",
                                 f"http://{host}//closed/evil", f"//{host}/open/evil", f"http://other/open/evil",
                                 f"https://{host}/open/evil", f"http://{host}:81/open/evil", "open/evil", "",
                                 f"http://{host}/%6fpen/../closed/evil", f"http://{host}/open/evil#x",
                                 f"http://{host}/open/evil, http://{host}/closed/evil", f"http://u@{host}/open/evil"):
                    with self.subTest(host=host, method=method, spelling=spelling):
                        self.prepare()
                        answer = self.send(host, method, "/open/a", f"Destination: {spelling}")
                        self.assertEqual(answer.status, 403, answer)
                        self.assertTrue(answer.is_ours)
                self.prepare()
                two = self.send(host, method, "/open/a", "Destination: /open/b", "destination: /open/c")
                self.assertEqual(two.status, 403)
        for place in ("closed/evil", "read/evil", "open/evil", "open/c"):
            self.assertFalse((self.root / place).exists(), place)

    def test_the_tags_of_if_are_judged_too(self):
        self.start()
        host = "apache-internal"
        lock = self.send(host, "LOCK", "/open/a", "Content-Type: application/xml", body=b"<lockinfo xmlns='DAV:'>"
                         b"<lockscope><exclusive/></lockscope><locktype><write/></locktype></lockinfo>")
        self.assertIn(lock.status, (200, 201), lock)
        token = lock.value(b"lock-token").decode()
        self.assertEqual(self.send(host, "PUT", "/open/a", body=b"x").status, 423)
        tagged = f"If: <http://{host}/open/a> ({token})"
        self.assertIn(self.send(host, "PUT", "/open/a", tagged, body=b"x").status, (201, 204))
        self.assertIn(self.send(host, "PUT", "/open/a", f"If: ({token})", body=b"y").status, (201, 204))
        for tag in (f"http://{host}/closed/a", "http://other/open/a", f"http://{host}/open/../closed/a"):
            answer = self.send(host, "PUT", "/open/a", f"If: <{tag}> ({token})", body=b"z")
            self.assertTrue(answer.is_ours and answer.status == 403, answer)
        self.assertTrue(self.send(host, "PUT", "/open/a", "If: <http://x", body=b"z").is_ours)


    def test_inside_connect_the_host_may_have_another_name(self):
        self.start()
        host = "nginx-internal"
        self.prepare()
        with Client(("127.0.0.1", self.port)) as client:
            self.assertEqual(client.connect(f"{host}:80".encode()).status, 200)
            client.send(b"MOVE /open/a HTTP/1.1\r\nHost: alias:8080\r\nDestination: http://alias:8080/open/b\r\n\r\n")
            self.assertEqual(client.answer(b"MOVE").status, 204)
        self.assertEqual((self.root / "open/b").read_text(), "a")


class Overrides(Requests):
    def start(self):
        pair = self.pair()
        self.port = int(pair.proxy().rsplit(":", 1)[1])
        back = http_server(self, echo_request)
        pair.agent.web("few:80", back, [{"path": "/", "match": "sub_paths", "methods": ["GET", "POST", "MERGE"]}])
        pair.agent.web("all:80", back)
        pair.start()

    def test_a_method_in_a_field_is_judged_as_the_method(self):
        self.start()
        for name in ("X-HTTP-Method", "x-http-method-override", "X-Method-Override", "X_HTTP_METHOD"):
            with self.subTest(name=name):
                self.assertEqual(self.send("few", "POST", "/x", f"{name}: MERGE").status, 200)
                for fields in ([f"{name}: DELETE"], [f"{name}: delete"], [f"{name}: MERGE", f"{name}: DELETE"],
                               [f"{name}: MERGE, DELETE"]):
                    self.assertEqual(self.send("few", "POST", "/x", *fields).status, 403, fields)
                    self.assertEqual(self.send("all", "POST", "/x", *fields).status, 200, fields)

    def test_fields_that_rewrite_the_target_do_not_arrive(self):
        self.start()
        for name in ("X-Original-URL", "X-Rewrite-URL", "X-Original-Host", "X-Forwarded-Prefix", "X-Host"):
            answer = self.send("all", "GET", "/x", f"{name}: /admin", "X-Mine: kept")
            self.assertNotIn(name.lower().encode(), answer.body, name)
            self.assertIn(b"x-mine", answer.body)
