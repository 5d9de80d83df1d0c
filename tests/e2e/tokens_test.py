# SPDX-License-Identifier: Apache-2.0
"""Access to the HTTP proxy, and the account: tokens and their issuers' keys, and fields of trusted clients."""

import json
import socket
import time

from tests.harness import certificates
from tests.harness.case import Case
from tests.harness.culvert_program import Agent
from tests.harness.http_server import echo_request, http_server
from tests.harness.ports import free_port
from tests.harness.proxy_fields import ACCOUNT_FIELD, SERVICE_TOKEN_FIELD, TRUST
from tests.harness.token_issuer import Issuer, Key
from tests.harness.waiting import wait_until


class Tokens(Case):
    seconds = 90

    def start(self, **proxy):
        """Starts a server with this proxy, and an agent for each of the accounts acme and other. Their back ends name
        the account."""
        pair = self.pair(tunnels=1)
        self.proxy = f"127.0.0.1:{free_port()}"
        pair.server.tables["http_proxy"] = {"listen": self.proxy, **proxy}
        other = Agent(self, "other")
        other.connect(pair.server.port, pair.authority.agent("other", "two"), tunnels_min=1, tunnels_max=1)
        for agent in (pair.agent, other):
            def answer(*request, account=agent.name):
                return echo_request(*request).replace(b"Content-Type:",
                                                      b"X-Account: " + account.encode() + b"\r\nContent-Type:")
            agent.web("erp:80", http_server(self, answer))
        pair.start()
        other.start().wait_until_ready()
        return pair

    def ask(self, token=None, *arguments, scheme="Bearer"):
        """(status, code of the problem or name of the agent, head)."""
        body = self.folder / "body"
        body.unlink(missing_ok=True)
        with_token = ["--proxy-header", f"Proxy-Authorization: {scheme} {token}"] if token is not None else []
        head = self.command("curl", "-sS", "-x", f"http://{self.proxy}", "-D", "-", "-o", body, "--max-time", 20,
                            *with_token, *arguments, "http://erp/")
        status = int(head.split()[1])
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in head.splitlines()[1:])}
        if status == 200:
            self.seen = json.loads(body.read_text())["fields"]
            self.assertFalse([name for name in self.seen if name.startswith(("sap-", "proxy-"))])
            return status, fields["x-account"].replace("agent", "acme"), head
        return status, json.loads(body.read_text())["code"], head

    def assert_refused(self, token, code, *arguments, **keywords):
        status, said, head = self.ask(token, *arguments, **keywords)
        self.assertEqual((status, said), (407, code))
        challenge = next(line for line in head.splitlines() if line.startswith("Proxy-Authenticate: "))
        self.assertRegex(challenge, rf'^Proxy-Authenticate: Bearer error="[a-z_]+", error_description="{code}: [^"]+"$')

    def assert_served(self, account, token=None, *arguments, **keywords):
        self.assertEqual(self.ask(token, *arguments, **keywords)[:2], (200, account))

    def wait_for_keys(self, issuer):
        wait_until(lambda: self.ask(issuer.token())[0] == 200, what="the issuer's keys")

    def test_the_token_names_the_account_and_every_check_has_its_code(self):
        issuer = Issuer(self)
        self.start(issuer=[issuer.settings()])
        self.wait_for_keys(issuer)
        now, stranger = int(time.time()), Key(self.folder, "k1x")
        self.assert_served("acme", issuer.token())
        self.assert_served("other", issuer.token(zid="other"))
        self.assert_served("acme", issuer.token(), scheme="bEARER")
        # Beside a token, neither field has an effect.
        named = ["-H", f"{ACCOUNT_FIELD}: other", "-H", f"{SERVICE_TOKEN_FIELD}: {issuer.token(zid='other')}"]
        self.assert_served("acme", issuer.token(), *named)
        self.assertEqual(self.ask(issuer.token(zid="nobody"), *named)[:2], (503, "request.no_agent"))
        self.assert_refused(None, "request.token_missing", *named)
        for token, code in [
                ("", "malformed"), ("x", "malformed"), (issuer.token() + "x=", "malformed"),
                (issuer.token(padding="x" * 5650), "too_long"),
                (issuer.token(header={"alg": "none", "kid": "k1"}), "algorithm"),
                (issuer.token(header={"alg": "HS256", "kid": "k1"}), "algorithm"),
                (issuer.token(iss="https://other"), "wrong_issuer"),
                (issuer.token(header={"alg": "RS256", "kid": "k2"}), "unknown_key"),
                (issuer.token(key=stranger, header={"alg": "RS256", "kid": "k1"}), "bad_signature"),
                (issuer.token(exp=now - 1), "expired"), (issuer.token(exp=None), "expired"),
                (issuer.token(nbf=now + 400), "not_yet_valid"), (issuer.token(aud="other"), "wrong_audience"),
                (issuer.token(client_id="c2"), "wrong_client"), (issuer.token(client_id=None), "wrong_client"),
                (issuer.token(zid=None), "no_account"), (issuer.token(zid="a/b"), "no_account")]:
            with self.subTest(code):
                self.assert_refused(token, "request.token_" + code)
        self.assert_refused(issuer.token(), "request.token_malformed", scheme="Basic")
        # CONNECT needs a token too, and so does each request on a connection.
        refused = self.command("curl", "-sS", "--proxytunnel", "-x", f"http://{self.proxy}", "http://erp/", status=56)
        self.assertIn("407", refused)
        text = self.command("curl", "-sS", "-x", f"http://{self.proxy}", "-o", "/dev/null", "-w", "%{http_code} ", "-H",
                            f"Proxy-Authorization: Bearer {issuer.token()}", "http://erp/", "--next", "-sS", "-x",
                            f"http://{self.proxy}", "-o", "/dev/null", "-w", "%{http_code} ", "http://erp/")
        self.assertEqual(text, "200 407 ")

    def test_socks_clients_log_in_with_the_same_tokens_if_enabled(self):
        issuer = Issuer(self)
        port = free_port()
        server = self.start(issuer=[issuer.settings()]).server
        self.wait_for_keys(issuer)

        def login(token):
            """Offers method 0x80 to the SOCKS5 proxy, then sends the token: (answer to the offer, answer to the token,
            connection)."""
            client = socket.create_connection(("127.0.0.1", port), timeout=10)
            self.addCleanup(client.close)
            client.sendall(b"\x05\x01\x80")
            offer = client.recv(2)
            if offer != b"\x05\x80":
                return offer, None, client
            client.sendall(b"\x01" + len(token).to_bytes(4, "big") + token.encode() + b"\x00")
            return offer, client.recv(2), client

        server.tables["socks5_proxy"] = {"listen": f"127.0.0.1:{port}", "unauthenticated_account": "acme"}
        server.reload()
        self.assertEqual(login(issuer.token())[0], b"\x05\xff")
        server.tables["socks5_proxy"] = {"listen": f"127.0.0.1:{port}", "tokens": True}
        server.reload()
        for token in (issuer.token(client_id="c2"), "x"):
            self.assertNotEqual(login(token)[1], b"\x01\x00")
        wait_until(lambda: self.assertNotEqual(login(issuer.token(exp=1))[1], b"\x01\x00")
                   or "reason=request.token_expired" in server.output(), every=0.2)
        for account in ("other", "acme"):
            token = issuer.token(zid=account, scope=" ".join(["purchase.orders.read"] * 150))
            self.assertGreater(len(token), 4096)
            _, answer_to_token, client = login(token)
            self.assertEqual(answer_to_token, b"\x01\x00")
            client.sendall(b"\x05\x01\x00\x03\x03erp\x00\x50")
            self.assertEqual(client.recv(10)[:2], b"\x05\x00")
            client.sendall(b"GET / HTTP/1.1\r\nHost: erp\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: client.recv(65536), b""))
            self.assertIn(b"X-Account: " + {"acme": b"agent"}.get(account, b"other"), answer)
        server.tables["http_proxy"] = {"listen": self.proxy, "account": "acme"}
        self.assertIn("those of [[http_proxy.issuer]]", server.check()[1])

    def test_keys_rotate_and_the_endpoint_may_fail(self):
        issuer = Issuer(self)
        issuer.mode = "down"
        pair = self.start(issuer=[issuer.settings()])
        self.assert_refused(issuer.token(), "request.token_keys_unavailable")
        pair.server.wait_for_output("warn jwks.failed")
        issuer.mode = "garbage"
        pair.server.wait_for_output("code=jwks.malformed", 20)
        self.assert_refused(issuer.token(), "request.token_keys_unavailable")
        issuer.mode = "well"
        wait_until(lambda: self.ask(issuer.token())[0] == 200, 40)
        old = issuer.token()

        issuer.rotate()
        asked = issuer.asked
        self.assert_refused(issuer.token(), "request.token_unknown_key")
        for _ in range(100):
            self.assert_refused(issuer.token(header={"alg": "RS256", "kid": "none"}), "request.token_unknown_key")
        wait_until(lambda: self.ask(issuer.token())[0] == 200, 40, "the new key", 0.5)
        self.assertEqual(issuer.asked, asked + 1)
        # The old key is gone, and with it the tokens that it verified.
        self.assert_refused(old, "request.token_unknown_key")

        issuer.mode = "slow"
        last, asked = issuer.token(), issuer.asked
        self.assert_refused(old, "request.token_unknown_key")
        wait_until(lambda: issuer.asked > asked, 40, "a request that is not answered", 0.2)
        begun = time.monotonic()
        self.assert_served("acme", last)
        self.assert_served("acme", issuer.token(jti="new"))
        self.assertLess(time.monotonic() - begun, 3)

    def test_keys_are_fetched_by_https_from_a_verified_server(self):
        authority = certificates.Authority(self.folder / "issuers")
        issuer = Issuer(self, authority.server("localhost", file="issuer"))
        other = Issuer(self, authority.server("elsewhere", file="elsewhere"))
        other.name = "https://other"
        proxy = {"issuer": [issuer.settings(ca=authority.ca), other.settings(ca=authority.ca)]}
        server = self.start(**proxy).server
        self.wait_for_keys(issuer)
        self.assert_refused(other.token(), "request.token_keys_unavailable")
        server.wait_for_output("code=tls.wrong_name")
        # The system's store does not know its authority; the keys fetched before stay valid.
        del server.tables["http_proxy"]["issuer"][0]["ca"]
        server.reload()
        self.assert_served("acme", issuer.token())
        server.wait_for_output("code=tls.unknown_ca")

    def test_a_fixed_account_and_tokens_of_service_accounts_by_file(self):
        issuer, file = Issuer(self), self.folder / "jwks.json"
        file.write_text(issuer.jwks())
        subject = "system:serviceaccount:shop:web"
        pair = self.start(issuer=[{"issuer": issuer.name, "jwks_file": file, "audience": ["culvert"],
                                   "account": "other",
                                   "subjects": [subject]}])
        self.assert_served("other", issuer.token(sub=subject))
        self.assert_refused(issuer.token(sub=subject + "2"), "request.token_wrong_subject")
        self.assert_refused(issuer.token(), "request.token_wrong_subject")
        # A replaced file is read without a reload, and a broken one changes nothing.
        issuer.rotate()
        self.assert_refused(issuer.token(sub=subject), "request.token_unknown_key")
        file.with_suffix(".new").write_text(issuer.jwks())
        file.with_suffix(".new").replace(file)
        wait_until(lambda: self.ask(issuer.token(sub=subject))[0] == 200, 10, "the new key")
        file.write_text("{}")
        pair.server.wait_for_output("error reload.refused code=jwks.malformed")
        self.assert_served("other", issuer.token(sub=subject))
        self.assertEqual(pair.server.check()[0], 78)

    def test_without_tokens_only_the_configured_source_names_the_account(self):
        token = Issuer(self).token(zid="other", exp=1, iss="anybody")
        by_field, by_token = ["-H", f"{ACCOUNT_FIELD}: other"], ["-H", f"{SERVICE_TOKEN_FIELD}: {token}"]
        server = self.start(account="acme").server
        self.assert_served("acme", None, *by_field, *by_token)
        self.assert_served("acme", token)

        server.tables["http_proxy"] = {"listen": self.proxy, "account_from": ACCOUNT_FIELD, "trust": TRUST}
        server.reload()
        self.assert_served("other", None, *by_field)
        self.assert_served("acme", None, "-H", f"{ACCOUNT_FIELD}: acme", *by_token)
        for fields in ([], by_token, [*by_field, *by_field], ["-H", f"{ACCOUNT_FIELD}: a/b"],
                       ["-H", f"{ACCOUNT_FIELD};"]):
            self.assertEqual(self.ask(None, *fields)[:2], (400, "request.no_account"), fields)

        server.tables["http_proxy"] = {"listen": self.proxy, "account_from": SERVICE_TOKEN_FIELD,
                                       "account_claim": "/zid",
                                       "trust": TRUST}
        server.reload()
        self.assert_served("other", None, *by_token)
        self.assert_served("other", None, "-H", f"{SERVICE_TOKEN_FIELD}: Bearer {token}")
        for fields in ([], by_field, [*by_token, *by_token]):
            self.assertEqual(self.ask(token, *fields)[:2], (400, "request.no_account"), fields)
        self.assert_refused(None, "request.token_malformed", "-H", f"{SERVICE_TOKEN_FIELD}: x")

        del server.tables["http_proxy"]["trust"]
        self.assertIn("add trust", server.check()[1])
        server.send(1)
        server.wait_for_output("error reload.refused")
        self.assert_served("other", None, *by_token)
