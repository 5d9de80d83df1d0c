# SPDX-License-Identifier: Apache-2.0
"""When a call is sent again after 401, or after 403 for a CSRF token: counted at the target, which must never get a
second POST that it may have acted on."""

import hashlib
import itertools

from tests.harness.back_ends.judge import Csrf, Judge, answering, cut_off, refusing
from tests.harness.case import Case
from tests.harness.gateway import Gateway
from tests.harness.oauth_server import SECRET, Client, OAuthServer
from tests.harness.tcp_server import serve
from tests.harness.waiting import wait_until

KEPT = 64 << 10  # A body up to this size is kept for a second try.
IDEMPOTENT = ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE")


class Retries(Case):
    seconds = 30

    def setUp(self):
        super().setUp()
        self.judge = Judge(self)
        self.oauth = OAuthServer(self, [Client("c1")])
        self.gateway = Gateway(self)
        self.url = self.gateway.api(self.judge.url, credentials=self.gateway.oauth(self.oauth, "c1", SECRET))
        self.numbers = itertools.count()
        self.gateway.start()

    def ask(self, action, method, size=None, chunked=False, *more, status=0):
        """(answer, calls at the target, token requests for it) of one request. `status`: curl's."""
        path = f"/{next(self.numbers)}"
        self.judge.on(path, action)
        arguments = ["-X", method, *more] if method != "HEAD" else ["-I"]
        if size is not None:
            (self.folder / "up").write_bytes(bytes(range(256)) * (size >> 8) + bytes(size & 255))
            arguments += ["-T", self.folder / "up"]
            arguments += ["-H", "Transfer-Encoding: chunked"] if chunked else []
        before = len(self.oauth.requests("c1"))
        answered = self.gateway.call(self.url + path, *arguments, status=status)
        return answered, self.judge.calls_of(path), len(self.oauth.requests("c1")) - before

    def assert_whole(self, call, size):
        content = bytes(range(256)) * (size >> 8) + bytes(size & 255)
        self.assertEqual((call.whole, call.size, call.sha256), (True, size, hashlib.sha256(content).hexdigest()))

    def test_idempotent_methods_are_sent_again_once(self):
        # The token has been fetched before, so a refusal may be its fault.
        self.ask(refusing(401, 0), "GET")
        for body in (b"", b"refused"):
            for method in IDEMPOTENT:
                with self.subTest(body=body, method=method):
                    answered, calls, _ = self.ask(refusing(401, 1, body=body), method)
                    self.assertEqual((answered.status, len(calls)), (200, 2))
                    answered, calls, _ = self.ask(refusing(401, 9, body=body), method)
                    self.assertEqual((answered.status, len(calls)), (401, 2))
                    self.assertEqual(answered.body, b"" if method == "HEAD" else body)
            for size in (None, 5):
                for method in ("POST", "PATCH"):
                    with self.subTest(body=body, method=method, size=size):
                        answered, calls, _ = self.ask(refusing(401, 1, body=body), method, size)
                        self.assertEqual((answered.status, answered.body, len(calls)), (401, body, 1))

    def test_a_401_brings_a_new_token_and_other_statuses_do_not(self):
        def authorization_of(calls):
            return [call.value("authorization") for call in calls]

        self.ask(refusing(401, 0), "GET")
        answered, calls, fetched = self.ask(refusing(401, 1), "GET")
        self.assertEqual((answered.status, fetched), (200, 1))
        first, second = authorization_of(calls)
        self.assertNotEqual(first, second)
        # 403 is what a known client may not do: another token does not help.
        for status in (400, 403, 404, 407, 409, 429, 500, 502, 503):
            answered, calls, fetched = self.ask(refusing(status, 1), "GET")
            self.assertEqual((answered.status, len(calls), fetched), (status, 1, 0))
        # A refused POST is not sent again, but the next one has a new token.
        answered, calls, _ = self.ask(refusing(401, 1), "POST", 5)
        self.assertEqual((answered.status, len(calls)), (401, 1))
        answered, (call,), _ = self.ask(refusing(401, 0), "POST", 5)
        self.assertEqual((answered.status, call.value("authorization") in (first, second)), (200, False))

    def test_bodies_that_are_kept_and_those_that_are_not(self):
        self.ask(refusing(401, 0), "GET")
        for size, chunked in ((1, False), (KEPT, False), (KEPT, True), (KEPT + 1, False), (KEPT + 1, True),
                              (5 << 20, False), (5 << 20, True)):
            for method in ("PUT", "DELETE", "POST", "PATCH"):
                with self.subTest(size=size, chunked=chunked, method=method):
                    answered, calls, _ = self.ask(refusing(401, 1, body=b"no"), method, size, chunked)
                    again = method in IDEMPOTENT and size <= KEPT
                    self.assertEqual((answered.status, len(calls)), (200, 2) if again else (401, 1))
                    self.assert_whole(calls[-1], size)

    def test_an_early_refusal(self):
        """The target answers before it has read the body. Whether a byte was sent by then depends on the moment."""
        self.ask(refusing(401, 0), "GET")
        for when in ("early", "early_close"):
            for method, size, chunked in itertools.product(("PUT", "POST"), (100, 5 << 20), (False, True)):
                with self.subTest(when=when, method=method, size=size, chunked=chunked):
                    answered, calls, _ = self.ask(refusing(401, 1, when), method, size, chunked)
                    self.assertIn((answered.status, len(calls)), ((401, 1), (200, 2)))
                    if len(calls) == 2:
                        self.assertTrue(method == "PUT" and size <= KEPT or calls[0].size == 0, calls[0])
                        self.assert_whole(calls[1], size)

    def test_a_body_that_waits_for_100_continue_is_not_consumed(self):
        self.ask(refusing(401, 0), "GET")
        for method, size in itertools.product(("PUT", "POST"), (100, 5 << 20)):
            with self.subTest(method=method, size=size):
                answered, calls, _ = self.ask(refusing(401, 1, "early"), method, size, False, "-H",
                                              "Expect: 100-continue", "--expect100-timeout", "20")
                self.assertEqual((answered.status, len(calls), calls[0].size), (200, 2, 0))
                self.assert_whole(calls[1], size)

    def test_a_connection_that_breaks_before_an_answer(self):
        """A request without a body that never got a byte of an answer may be sent again if it is idempotent; a POST
        may not."""
        for how in ("head", "length", "chunked", "reset"):
            _, calls, _ = self.ask(cut_off(how), "POST", 5, status=None)
            self.assertEqual(len(calls), 1, how)
        counted = []

        def ends(connection):
            if connection.recv(65536):
                counted.append(1)

        url = self.gateway.api(f"http://127.0.0.1:{serve(self, ends)}", "ends")
        self.gateway.server.reload()
        answered = self.gateway.call(url, "-d", "body")
        self.assertEqual((answered.status, answered.reason, len(counted)), (502, "gateway.target_broke_off", 1))
        self.gateway.call(url)
        self.assertLessEqual(len(counted), 3)

    def test_a_pooled_connection_that_the_target_closed_is_not_an_error(self):
        """The target closes idle connections whenever it likes: a call that meets the end gets a new connection."""
        def one_answer(connection):
            data = b""
            while not data.endswith(b"\r\n\r\nbody"):
                if not (part := connection.recv(65536)):
                    return
                data += part
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

        url = self.gateway.api(f"http://127.0.0.1:{serve(self, one_answer)}", "closing")
        self.gateway.server.reload()
        for _ in range(50):
            self.assertEqual(self.gateway.call(url, "-d", "body").status, 200)


class CsrfTokens(Case):
    """Tokens with cookies, for unsafe calls; 403 with X-CSRF-Token: Required asks for new ones."""

    def setUp(self):
        super().setUp()
        self.judge, self.csrf = Judge(self), Csrf()
        self.judge.on("/csrf", self.csrf.page)
        self.judge.on("/api/orders", self.csrf.guarded)
        self.gateway = Gateway(self)
        self.urls = [self.gateway.api(f"{self.judge.url}/api", f"orders-{user}", csrf_url=f"{self.judge.url}/csrf",
                                      credentials=self.gateway.basic(user)) for user in ("anna", "otto")]
        self.url = f"{self.urls[0]}/orders"
        self.gateway.start()

    def test_unsafe_calls_have_a_token_and_its_cookies(self):
        self.assertEqual(self.gateway.call(self.url).status, 200)
        self.assertEqual(self.judge.count("/csrf"), 0)
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            answered = self.gateway.call(self.url, "-X", method, "-d", "body", "-H", "Cookie: mine=1")
            self.assertEqual(answered.status, 200)
            self.assertIn("mine=1", answered.json()["fields"]["cookie"])
            self.assertNotIn("set-cookie", answered.fields)
        (fetch,) = self.judge.calls_of("/csrf")
        self.assertEqual((fetch.method, fetch.value("x-csrf-token").lower()), ("GET", "fetch"))
        self.assertEqual(fetch.value("authorization"), self.judge.calls_of("/api/orders")[0].value("authorization"))

    def test_cookies_are_not_shared_between_credentials(self):
        for _ in range(3):
            for url in self.urls:
                self.assertEqual(self.gateway.call(f"{url}/orders", "-d", "body").status, 200)
        self.assertEqual(self.judge.count("/csrf"), 2)

    def test_expired_tokens_are_renewed(self):
        self.assertEqual(self.gateway.call(self.url, "-d", "body").status, 200)
        self.csrf.renew()
        count = self.judge.count("/api/orders")
        # The target may have acted on the POST for all that we know.
        answered = self.gateway.call(self.url, "-d", "body")
        self.assertEqual((answered.status, self.judge.count("/api/orders") - count), (403, 1))
        self.assertEqual(self.gateway.call(self.url, "-d", "body").status, 200)
        self.csrf.renew()
        count = self.judge.count("/api/orders")
        answered = self.gateway.call(self.url, "-X", "PUT", "-d", "body")
        self.assertEqual((answered.status, self.judge.count("/api/orders") - count), (200, 2))
        self.assertEqual(self.judge.count("/csrf"), 3)

    def test_a_caller_that_fetches_a_token_itself_is_served_too(self):
        """As the SAP Cloud SDK does for each destination: its token and cookies must not mix with ours."""
        self.judge.on("/api/page", self.csrf.page)
        for _ in range(2):
            fetched = self.gateway.call(f"{self.urls[0]}/page", "-H", "X-CSRF-Token: Fetch")
            cookies = "; ".join(each.split(";")[0] for each in fetched.fields["set-cookie"])
            answered = self.gateway.call(self.url, "-d", "body", "-H", f"Cookie: {cookies}", "-H",
                                         f"X-CSRF-Token: {fetched.fields['x-csrf-token'][0]}")
            self.assertEqual(answered.status, 200)

    def test_a_token_page_that_fails(self):
        statuses = (500, 404, 200, 401, 302)
        urls = {}
        for status in statuses:
            self.judge.on(f"/csrf/{status}", refusing(status, 1, body=b"CANARY-PAGE"))
            urls[status] = self.gateway.api(f"{self.judge.url}/api", f"s{status}",
                                            csrf_url=f"{self.judge.url}/csrf/{status}")
        self.gateway.server.reload()
        for status, url in urls.items():
            with self.subTest(status):
                answered = self.gateway.call(f"{url}/orders", "-d", "body")
                self.assertEqual((answered.status, answered.reason), (502, "gateway.csrf_failed"))
                self.assertNotIn(b"CANARY", answered.body)
                self.assertEqual(self.gateway.call(f"{url}/orders").status, 200)
        self.assertEqual(self.judge.count("/api/orders", "POST"), 0)
        for status, url in urls.items():
            self.judge.on(f"/csrf/{status}", self.csrf.page)
            wait_until(lambda url=url: self.gateway.call(f"{url}/orders", "-d", "body").status == 200, 20,
                       "another request of the page", 0.2)

    def test_a_token_that_the_page_refuses_is_replaced(self):
        oauth = OAuthServer(self, [Client("c1")])
        refused = set()

        def unless_refused(action):
            def checked(exchange):
                token = exchange.call.value("authorization")
                return answering(401)(exchange) if token in refused else action(exchange)
            return checked

        self.judge.on("/checked/page", unless_refused(self.csrf.page))
        self.judge.on("/checked/orders", unless_refused(self.csrf.guarded))
        url = self.gateway.api(f"{self.judge.url}/checked", "checked", csrf_url=f"{self.judge.url}/checked/page",
                               credentials=self.gateway.oauth(oauth, "c1", SECRET))
        self.gateway.server.reload()
        self.assertEqual(self.gateway.call(f"{url}/orders").status, 200)
        refused.add(self.judge.calls[-1].value("authorization"))
        # The page was the first to refuse the token: a second call has another, at the latest.
        wait_until(lambda: self.gateway.call(f"{url}/orders", "-d", "body").status == 200, 5, "another token", 0.5)
