# SPDX-License-Identifier: Apache-2.0
"""A real OAuth server, npm's oidc-provider, and a resource that takes its tokens. node/oauth_server.js is the program,
and knows the paths."""

import dataclasses
import json
import pathlib
import urllib.request

from tests.harness.back_ends.node import NODE_FOLDER, node_packages
from tests.harness.ports import free_port
from tests.harness.program import Program
from tests.harness.waiting import wait_until

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
# Every client needs the encoding of RFC 6749 2.3.1 for it.
SECRET = "s3cret: +%/?&=~*!"


@dataclasses.dataclass(frozen=True)
class Client:
    """One client of the server. Its tokens are opaque unless `format` is "jwt"; those have `claims` and `audience`."""
    id: str
    auth: str = "basic"  # how it proves itself: "basic", "form", "tls" (a CA's certificate), "self_signed"
    secret: str | None = SECRET
    certificate: pathlib.Path | None = None
    format: str = "opaque"
    lifetime: int = 600  # of its tokens, in seconds
    audience: str = "culvert"
    claims: dict = dataclasses.field(default_factory=dict)

    def settings(self):
        settings = {key: value for key, value in dataclasses.asdict(self).items() if value is not None}
        if self.auth in ("tls", "self_signed"):
            settings.pop("secret", None)
        if self.certificate:
            settings["certificate"] = str(self.certificate)
        return settings


class OAuthServer:
    """Starts at once, by HTTP and, with `credentials`, by HTTPS, where clients may present certificates of
    `credentials.ca`. `users`: names and passwords of grant "password". `trusted`: a key set (JWKS) whose tokens it
    takes as assertions in addition to its own. `issuer`: its name in tokens, instead of its URL."""

    def __init__(self, case, clients, credentials=None, users=None, trusted=None, issuer=None):
        self.port, self.tls_port = free_port(), free_port()
        name = f"oauth-{self.port}"  # A test may have several.
        self.issuer = issuer or f"http://localhost:{self.port}"
        settings = {"port": self.port, "issuer": self.issuer, "clients": [client.settings() for client in clients],
                    "users": users or {}, "trusted": trusted}
        if credentials:
            settings["tls"] = {"port": self.tls_port, "certificate": str(credentials.certificate),
                               "private_key": str(credentials.private_key), "client_ca": str(credentials.ca)}
        file = case.folder / f"{name}.json"
        file.write_text(json.dumps(settings))
        self.environment = node_packages()
        self.url, self.tls_url = f"http://127.0.0.1:{self.port}", f"https://localhost:{self.tls_port}"
        self.program = Program(case, name, ["/usr/bin/node", NODE_FOLDER / "oauth_server.js", file],
                               environment=self.environment).start()
        self.program.wait_for_port(self.tls_port if credentials else self.port, 30)

    def ask(self, what, content=None):
        """One control: ask("GET requests"), ask("PUT behaviour", {...})."""
        method, path = what.split()
        request = urllib.request.Request(f"{self.url}/control/{path}", method=method,
                                         data=None if content is None else json.dumps(content).encode())
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def behave(self, **by_client):
        """Replaces what the server does for clients: behave(c1={"lifetime": 2, "expires_in": False, "delay": 300,
        "fault": "500"}). `expires_in` is what it says, False: nothing. Faults are listed in oauth_server.js."""
        self.ask("PUT behaviour", by_client)

    def requests(self, client=None):
        """The token requests since the start, in order."""
        return [each for each in self.ask("GET requests") if client in (None, each["client"])]

    def wait_for_requests(self, client, count, seconds=10):
        wait_until(lambda: len(self.requests(client)) >= count, seconds, f"{count} token requests of {client}")
        return self.requests(client)

    def revoke(self, client):
        """None of the client's tokens is valid from now on."""
        self.ask("POST revoke", {"client": client})
