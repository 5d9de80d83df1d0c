# SPDX-License-Identifier: Apache-2.0
"""X-Forwarded-* and Forwarded of consumers: who may send them."""

from tests.harness.one_back_end import OneBackEnd
from tests.harness.strict_http_client import Client
from tests.harness.tcp_server import serve
from tests.harness.token_issuer import Issuer
from tests.harness.waiting import wait_until

NAMES = (b"Forwarded", b"X-Forwarded-Host", b"X-Forwarded-Port", b"X-Forwarded-Prefix", b"X-Forwarded-Proto")
SENT = b"".join(b"%s: from-consumer\r\n" % name for name in NAMES)


class Forwarded(OneBackEnd):
    seconds = 20

    def fields(self, more=b"", connect=False):
        """The lines that the back end got for a request with all of them, and with X-Forwarded-For."""
        request = (b"HTTP/1.1\r\nHost: back\r\n%sX-Forwarded-For: 192.0.2.1\r\nX_Forwarded_Host: evil\r\n"
                   b"X-Real-IP: 1\r\n" % SENT)
        with Client(self.address) as client:
            if connect:
                client.send(b"CONNECT back:80 HTTP/1.1\r\nHost: back:80\r\n%s\r\n" % more)
                self.assertEqual(client.answer(b"CONNECT").status, 200)
                client.send(b"GET / %s\r\n" % request)
            else:
                client.send(b"GET http://back/ %s%s\r\n" % (request, more))
            answer = client.answer()
        self.assertEqual(answer.status, 200, answer.body)
        return answer.body.split(b"\r\n")

    def assert_passed(self, *arguments, **keywords):
        lines = self.fields(*arguments, **keywords)
        for name in NAMES:
            self.assertIn(name + b": from-consumer", lines)
        self.assertIn(b"X-Forwarded-For: 192.0.2.1, 127.0.0.1", lines)
        self.assert_never_passed(lines)

    def assert_removed(self, *arguments, **keywords):
        lines = self.fields(*arguments, **keywords)
        self.assertFalse([line for line in lines if b"from-consumer" in line])
        self.assertIn(b"X-Forwarded-For: 127.0.0.1", lines)
        self.assert_never_passed(lines)

    def assert_never_passed(self, lines):
        self.assertFalse([line for line in lines if line.startswith((b"X_", b"X-Real-IP"))])

    def test_nobody_may_send_them_by_default(self):
        self.start()
        self.assert_removed()
        self.assert_removed(connect=True)

    def test_a_network_may_where_the_file_says_so(self):
        self.start(http_proxy={"trust_forwarded": ["10.0.0.0/8", "127.0.0.0/8"]})
        self.assert_passed()
        self.assert_passed(connect=True)
        self.running.server.tables["http_proxy"]["trust_forwarded"] = ["10.0.0.0/8"]
        self.running.server.reload()
        self.assert_removed()
        self.assert_removed(connect=True)

    def test_a_subject_may_where_the_file_says_so(self):
        issuer = Issuer(self)
        pair = self.pair(tunnels=1)
        pair.proxy()
        proxy = pair.server.tables["http_proxy"]
        del proxy["account"]
        proxy.update(issuer=[issuer.settings()], trust_forwarded=["gateway"])
        self.address = proxy["listen"].split(":")
        self.heads, self.connections = [], 0
        pair.agent.web("back:80", serve(self, self.echo))
        self.running = pair.start()

        def login(subject):
            return b"Proxy-Authorization: Bearer %s\r\n" % issuer.token(sub=subject).encode()

        def keys_are_there():
            with Client(self.address) as client:
                client.send(b"GET http://back/ HTTP/1.1\r\nHost: back\r\n%s\r\n" % login("gateway"))
                return client.answer().status == 200

        wait_until(keys_are_there, what="the issuer's keys")
        for connect in (False, True):
            self.assert_passed(login("gateway"), connect)
            self.assert_removed(login("gateway2"), connect)
            self.assert_passed(login("gateway"), connect)

    def test_the_internal_host_header_does_not_replace_what_was_trusted(self):
        self.start(host_header="internal", http_proxy={"trust_forwarded": ["127.0.0.1"]})
        self.assert_passed()
        with Client(self.address) as client:
            client.send(b"GET http://back/ HTTP/1.1\r\nHost: back\r\n\r\n")
            self.assertIn(b"X-Forwarded-Host: back\r\n", client.answer().body)
