# SPDX-License-Identifier: Apache-2.0
"""An issuer of tokens: its keys, good tokens and bad ones, and a JWKS endpoint that fails on demand."""

import base64
import hashlib
import hmac
import json
import ssl
import time

from tests.harness.commands import openssl, openssl_bytes
from tests.harness.tcp_server import serve


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Key:
    def __init__(self, folder, key_id):
        self.id, self.file = key_id, folder / f"{key_id}-{time.monotonic_ns()}.pem"
        openssl("genrsa", "-out", self.file, 2048)
        modulus = openssl("rsa", "-in", self.file, "-noout", "-modulus").strip().split("=")[1]
        self.jwk = {"kty": "RSA", "kid": self.id, "alg": "RS256", "use": "sig", "n": base64url(bytes.fromhex(modulus)),
                    "e": "AQAB"}

    def sign(self, claims, header=None):
        header = header or {"alg": "RS256", "kid": self.id}
        text = base64url(json.dumps(header).encode()) + "." + base64url(json.dumps(claims).encode())
        if header["alg"] == "none":
            return text + "."
        if header["alg"] == "HS256":
            public = openssl_bytes("rsa", "-in", self.file, "-pubout")
            return text + "." + base64url(hmac.digest(public, text.encode(), hashlib.sha256))
        return text + "." + base64url(openssl_bytes("dgst", "-sha256", "-sign", self.file, data=text.encode()))


class Issuer:
    """`mode` of its endpoint: "well", "down" (500), "garbage", "slow" (never answers). `asked` counts the requests."""

    name = "https://issuer.example"

    def __init__(self, case, credentials=None, address="127.0.0.1"):
        self.case, self.mode, self.asked = case, "well", 0
        self.keys = [Key(case.folder, "k1")]
        context = None
        if credentials:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(credentials.certificate, credentials.private_key)

        def conversation(connection):
            if context:
                connection = context.wrap_socket(connection, server_side=True)
            with connection:
                answer(connection)

        def answer(connection):
            connection.recv(65536)
            self.asked += 1
            if self.mode == "slow":
                time.sleep(60)
            if self.mode == "down":
                connection.sendall(b"HTTP/1.1 500 Down\r\nContent-Length: 0\r\n\r\n")
            body = b"<html>" * 1000 if self.mode == "garbage" else self.jwks().encode()
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body))
            if context:
                connection.unwrap()

        port = serve(case, conversation, address)
        self.url = f"{'https' if credentials else 'http'}://localhost:{port}/keys"

    def jwks(self):
        return json.dumps({"keys": [key.jwk for key in self.keys]})

    def rotate(self):
        """Replaces all keys with a new one."""
        self.keys = [Key(self.case.folder, f"k{time.monotonic_ns()}")]

    def token(self, key=None, header=None, **claims):
        """A good token of account acme. `claims` and `header` change it; None removes a claim."""
        all_claims = {"iss": self.name, "aud": "culvert", "client_id": "c1", "exp": int(time.time()) + 600,
                      "zid": "acme", **claims}
        return (key or self.keys[-1]).sign({name: value for name, value in all_claims.items() if value is not None},
                                           header)

    def settings(self, **more):
        keys = {} if "jwks_file" in more else {"jwks_url": self.url}
        return {"issuer": self.name, **keys, "audience": ["culvert"], "client_ids": ["c1"], "account_claim": "/zid",
                **more}
