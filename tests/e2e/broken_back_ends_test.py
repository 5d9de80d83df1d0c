# SPDX-License-Identifier: Apache-2.0
"""Back ends that break rules of HTTP: what all programs read alike is taken, what was good is given on, and the rest is
an error that says which of the two sides broke off, with a line in the agent's log."""

import json
import time

from tests.harness.case import Case
from tests.harness.sockets import reset
from tests.harness.strict_http_client import Client
from tests.harness.tcp_server import serve
from tests.harness.waiting import wait_until

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


class Answers(Case):
    seconds = 8
    long = "another"

    def start(self):
        self.answers, self.connections = {}, 0
        pair = self.pair(tunnels=1)
        self.port = int(pair.proxy().rsplit(":", 1)[1])
        port = serve(self, self.converse)
        for host in ("back", self.long):
            pair.agent.web(f"{host}:80", port)
        self.running = pair.start()

    def converse(self, connection):
        """Sends the bytes that the path names; "reset" behind them resets the connection."""
        self.connections += 1
        file = connection.makefile("rb")
        while line := file.readline():
            while file.readline().rstrip():
                pass
            answer = self.answers[line.split()[1].decode()]
            connection.sendall(answer.removesuffix(b"!close").removesuffix(b"!reset"))
            if answer.endswith(b"!reset"):
                return reset(connection)
            if answer.endswith(b"!close"):
                return None
        return None

    def ask_later(self, answer):
        """After a second: the agent's log has one line of a kind in each."""
        time.sleep(1.1)
        return self.ask(answer)

    def ask(self, answer, method=b"GET", path="/x"):
        self.answers[path] = answer
        with Client(("127.0.0.1", self.port)) as client:
            client.send(b"%s http://back%s HTTP/1.1\r\nHost: back\r\n\r\n" % (method, path.encode()))
            return client.answer(method)

    def assert_agent_says(self, code):
        """The agent's log has a line back_end.broken with this code and the mapping."""
        line = f"back_end.broken virtual_host=back:80 code={code}"
        wait_until(lambda: line in self.running.agent.output(), what=line)


class Lenient(Answers):
    def test_a_write_that_succeeded_is_no_error(self):
        self.start()
        cases = [(b"204 No", b"Transfer-Encoding: chunked\r\n", b""),
                 (b"204 No", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
                 (b"204 No", b"Content-Length: 5\r\n", b""), (b"204 No", b"Content-Length: 5\r\n", b"hello"),
                 (b"304 No", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
                 (b"304 No", b"Content-Length: 5\r\n", b"hello")]
        for status, field, body in cases:
            with self.subTest(status=status, field=field, body=body):
                answer = self.ask(b"HTTP/1.1 %s\r\n%s\r\n%s" % (status, field, body), b"PUT")
                before = self.connections
                self.assertEqual((answer.status, answer.is_ours), (int(status[:3]), False))
                self.assertIsNone(answer.value(b"transfer-encoding"))
                if answer.status == 204:
                    self.assertIsNone(answer.value(b"content-length"))
                after = self.ask(OK + b"Content-Length: 2\r\n\r\nok")
                self.assertEqual((after.status, after.body), (200, b"ok"), "and what followed is no answer")
                self.assertEqual(self.connections, before + 1)

    def test_framing_that_all_read_alike_is_taken(self):
        self.start()
        hello, chunks = b"hello", b"5\r\nhello\r\n0\r\n\r\n"
        for field, body in ((b"Content-Length: 5\r\n" * 2, hello), (b"Content-Length: 5, 5\r\n", hello),
                            (b"Transfer-Encoding: chunked\r\n" * 2, chunks),
                            (b"Content-Length: 7\r\nTransfer-Encoding: chunked\r\n", chunks),
                            (b"Transfer-Encoding: chunked\r\n", b"5   \r\nhello\r\n0\t\r\n\r\n"),
                            (b"Transfer-Encoding: chunked\r\n", b"5 ;a=b\r\nhello\r\n0\r\n\r\n")):
            with self.subTest(field=field):
                answer = self.ask(OK + field + b"\r\n" + body)
                self.assertEqual((answer.status, answer.body, answer.whole), (200, hello, True))

    def test_framing_that_is_read_in_two_ways_is_refused(self):
        self.start()
        for field in (b"Content-Length: 5\r\nContent-Length: 6\r\n", b"Content-Length: 5, 6\r\n",
                      b"Content-Length: 5 5\r\n", b"Transfer-Encoding: gzip, chunked\r\n"):
            with self.subTest(field=field):
                answer = self.ask(OK + field + b"\r\nhello")
                self.assertEqual((answer.status, json.loads(answer.body)["code"]), (502, "request.target_not_http"))


class Faults(Answers):
    seconds = 15

    def test_what_came_before_a_fault_is_given_on(self):
        self.start()
        for name, answer, good, code in (
                ("chunk", CHUNKED + b"5\r\nhello\r\nzz\r\n", b"5\r\nhello\r\n", "http.bad_chunk"),
                ("size behind a blank", CHUNKED + b"5\r\nhello\r\n5 5\r\n", b"5\r\nhello\r\n", "http.bad_chunk"),
                ("trailer", CHUNKED + b"5\r\nhello\r\n0\r\nX Y: z\r\n\r\n", b"5\r\nhello\r\n", "http.bad_field_name"),
                ("closed", CHUNKED + b"5\r\nhello\r\n!close", b"5\r\nhello\r\n", "closed_early"),
                ("short", OK + b"Content-Length: 9\r\n\r\nhello!close", b"hello", "closed_early"),
                ("reset", OK + b"Content-Length: 9\r\n\r\nhello!reset", None, "closed_early")):
            with self.subTest(name=name):
                found = self.ask_later(answer)
                self.assertEqual((found.status, found.whole), (200, False), found)
                if good is not None:
                    self.assertEqual(found.body, good)
                self.assert_agent_says(code)

    def test_an_answer_that_is_not_http_is_told_from_one_that_ends(self):
        self.start()
        for answer, code, logged in ((b"SSH-2.0-OpenSSH\r\n", "request.target_not_http", "http.bad_status_line"),
                                     (b"HTTP/1.1 200 OK\r\nX Y: z\r\n\r\n", "request.target_not_http",
                                      "http.bad_field_name"),
                                     (CHUNKED + b"zz\r\nhello\r\n", "request.target_not_http", "http.bad_chunk"),
                                     (b"HTTP/1.1 200 OK\r\nContent-Le!close", "request.target_broke_off",
                                      "closed_early")):
            with self.subTest(answer=answer):
                found = self.ask_later(answer)
                self.assertEqual((found.status, json.loads(found.body)["code"]), (502, code), found)
                self.assert_agent_says(logged)

    def test_cookies_that_become_too_long_are_an_error_of_that_response_only(self):
        """Each Domain of the back end becomes the virtual host, which is longer."""
        self.long = f"{'long.' * 12}example"
        self.start()
        cookies = (b"Set-Cookie: a=b" + b";domain=127.0.0.1" * 480 + b"\r\n") * 7
        self.answers["/x"] = OK + cookies + b"Content-Length: 0\r\n\r\n"
        with Client(("127.0.0.1", self.port)) as client:
            client.send(b"GET http://%s/x HTTP/1.1\r\nHost: x\r\n\r\n" % self.long.encode())
            self.assertEqual(client.answer().status, 502)
        self.assertEqual(self.ask(OK + b"Content-Length: 2\r\n\r\nok").body, b"ok")

    def test_a_refused_head_has_no_body(self):
        self.start()
        for request in (b"HEAD http://nowhere/ HTTP/1.1\r\nHost: x\r\n\r\n", b"HEAD /x HTTP/1.1\r\nHost: x\r\n\r\n",
                        b"HEAD http://back/ HTTP/1.1\r\nX Y: z\r\n\r\n"):
            with Client(("127.0.0.1", self.port)) as client:
                client.send(request)
                client.finish()
                while not client.ended:
                    client.more()
                self.assertTrue(client.data.startswith(b"HTTP/1.1 4"), client.data)
                self.assertTrue(client.data.endswith(b"\r\n\r\n"), client.data)


class OwnFields(Answers):
    def test_a_back_end_does_not_speak_in_our_name(self):
        self.start()
        answer = self.ask(OK + b"X-Request-Id: 0123456789abcdef\r\nContent-Length: 0\r\n"
                          b"Proxy-Status: culvert-server; error=x, cache; fwd=miss; details=\"a, b\"\r\n"
                          b"Proxy-Status: \"culvert-agent\"; error=x\r\n\r\n")
        self.assertIsNone(answer.value(b"x-request-id"))
        self.assertEqual(answer.value(b"proxy-status"), b'cache; fwd=miss; details="a, b", culvert-server')
        self.assertIsNone(self.ask(OK + b"Content-Length: 0\r\n\r\n").value(b"proxy-status"))
        failed = self.ask(b"nonsense\r\n\r\n")
        self.assertTrue(failed.value(b"x-request-id"))
