# SPDX-License-Identifier: Apache-2.0
"""How long lines, heads and interim responses may be, and what an error says of those that are too long."""

import json
import time

from tests.harness.one_back_end import OK, OneBackEnd
from tests.harness.strict_http_client import Client

KIB = 1 << 10


def problem(answer):
    return json.loads(answer.body)


class Limits(OneBackEnd):
    seconds = 15

    def start_with_limits(self, conversation=None, server=None, agent=None, **more):
        """`server` and `agent`: their [limits]."""
        self.start(conversation, **more)
        for program, limits in ((self.running.server, server), (self.running.agent, agent)):
            if limits:
                program.tables.setdefault("limits", {}).update(limits)
                program.reload()

    def ways(self):
        """(name, a client, the target's form) of each way by which a request with a head may come."""
        yield "proxy", Client(self.address), b"http://back"
        inside = Client(self.address)
        self.assertEqual(inside.connect(b"back:80").status, 200)
        yield "CONNECT", inside, b""

    def test_a_field_line_has_16_kib_unless_the_file_says_more(self):
        self.start()
        for size, status in ((16 * KIB, 200), (16 * KIB + 1, 431)):
            for way, client, host in self.ways():
                with self.subTest(way, size=size), client:
                    line = b"Cookie: " + b"c" * (size - 8)
                    client.send(b"GET %s/ HTTP/1.1\r\nHost: back\r\n%s\r\n\r\n" % (host, line))
                    answer = client.answer()
                    self.assertEqual(answer.status, status)
                    if status == 431:
                        self.assertEqual(problem(answer)["code"], "http.line_too_long")
        self.running.server.tables["limits"] = {"head_line_max": "32KiB"}
        self.running.server.reload()
        for way, client, host in self.ways():
            with self.subTest(way), client:
                client.send(b"GET %s/ HTTP/1.1\r\nHost: back\r\nCookie: %s\r\n\r\n" % (host, b"c" * (30 * KIB)))
                self.assertEqual(client.answer().status, 200)

    def test_a_target_has_8_kib_in_every_form(self):
        self.start()
        for size, status in ((8 * KIB, 200), (8 * KIB + 1, 414)):
            for way, client, host in self.ways():
                with self.subTest(way, size=size), client:
                    client.send(b"GET %s/%s HTTP/1.1\r\nHost: back\r\n\r\n" % (host, b"a" * (size - 1)))
                    self.assertEqual(client.answer().status, status)

    def test_a_head_has_no_more_than_the_file_says(self):
        self.start_with_limits(server={"head_max": "8KiB"}, agent={"head_max": "4KiB"})
        fields = b"".join(b"X-%d: %s\r\n" % (i, b"x" * 990) for i in range(9))
        answer = self.ask(b"GET http://back/ HTTP/1.1\r\nHost: back\r\n%s\r\n" % fields)
        self.assertEqual((answer.status, problem(answer)["code"]), (431, "http.head_too_long"))

    def test_an_error_names_the_field_of_a_response_and_its_size(self):
        def long_cookie(connection):
            while self.read_head(connection):
                connection.sendall(OK + b"Content-Length: 0\r\nSet-Cookie: %s\r\n\r\n" % (b"c" * 20_000))

        self.start(long_cookie)
        answer = self.ask(b"GET http://back/ HTTP/1.1\r\nHost: back\r\n\r\n")
        self.assertEqual((answer.status, problem(answer)["code"]), (502, "request.target_not_http"))
        self.assertIn("Set-Cookie has 20012 bytes", problem(answer)["detail"])
        self.assertIn("head_line_max = 16384", problem(answer)["detail"])
        self.running.agent.wait_for_output("warn back_end.broken virtual_host=back:80 code=http.line_too_long "
                                           "detail=\"Set-Cookie has 20012 bytes")
        self.running.agent.tables["limits"] = {"head_line_max": "20KiB"}
        self.running.agent.reload()
        answer = self.ask(b"GET http://back/ HTTP/1.1\r\nHost: back\r\n\r\n")
        self.assertEqual((answer.status, len(answer.value(b"set-cookie"))), (200, 20_000))

    def test_an_error_names_the_field_in_which_a_head_becomes_too_long(self):
        def endless(connection):
            self.read_head(connection)
            connection.sendall(OK + b"X-Endless: " + b"x" * (70 * KIB))
            connection.recv(1)

        self.start(endless)
        answer = self.ask(b"GET http://back/ HTTP/1.1\r\nHost: back\r\n\r\n")
        self.assertEqual(answer.status, 502)
        self.assertIn("the head is too long: X-Endless has", problem(answer)["detail"])

    def test_an_error_names_the_byte_that_is_refused_and_its_position(self):
        self.start()
        for request, place in (
                (b"GET http://back/a?b\x01c HTTP/1.1\r\nHost: back\r\n\r\n", "byte 0x01 at position 20 of line 1"),
                (b"GET http://back/a?b c HTTP/1.1\r\nHost: back\r\n\r\n", "byte 0x20 at position 20 of line 1"),
                (b"GET http://back/\xe9 HTTP/1.1\r\nHost: back\r\n\r\n", "byte 0xe9 at position 17 of line 1"),
                (b"GET http://back/a%2g HTTP/1.1\r\nHost: back\r\n\r\n", "byte 0x25 at position 18 of line 1"),
                (b"GET http://back/ HTTP/1.1\r\nHost: back\r\nX: a\x7fb\r\n\r\n", "byte 0x7f at position 5 of line 3")):
            with self.subTest(request):
                answer = self.ask(request)
                self.assertEqual(answer.status, 400)
                self.assertIn(place, problem(answer)["detail"])


class Interims(OneBackEnd):
    seconds = 20

    def test_any_number_is_passed_on_and_each_is_a_sign_of_life(self):
        def working(connection):
            self.read_head(connection)
            for number in range(40):
                connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </%d>\r\n\r\n" % number)
                time.sleep(0.1)
            connection.sendall(OK + b"Content-Length: 2\r\n\r\nok")

        self.start(working, first_byte_timeout="1s")
        answer = self.ask(b"GET http://back/ HTTP/1.1\r\nHost: back\r\n\r\n")
        self.assertEqual((answer.status, answer.body, answer.interims), (200, b"ok", (103,) * 40))

    def test_more_than_64_kib_in_10_seconds_is_an_error(self):
        def flood(connection):
            self.read_head(connection)
            for _ in range(70):
                connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: %s\r\n\r\n" % (b"x" * 1000))
            connection.recv(1)

        self.start(flood)
        answer = self.ask(b"GET http://back/ HTTP/1.1\r\nHost: back\r\n\r\n")
        self.assertEqual((answer.status, problem(answer)["code"]), (502, "request.target_not_http"))
        self.assertIn("more than 64 KiB of interim responses", problem(answer)["detail"])
        self.running.agent.wait_for_output("back_end.broken virtual_host=back:80 code=http.too_many_interim")

    def test_a_client_of_http_1_0_gets_none(self):
        def hinting(connection):
            self.read_head(connection)
            connection.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 20 + OK + b"Content-Length: 2\r\n\r\nok")

        self.start(hinting)
        answer = self.ask(b"GET http://back/ HTTP/1.0\r\n\r\n")
        self.assertEqual((answer.status, answer.body, answer.interims), (200, b"ok", ()))
