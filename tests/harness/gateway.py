# SPDX-License-Identifier: Apache-2.0
"""A server with the application gateway, and calls of it."""

import json
import re
from typing import NamedTuple

from tests.harness.commands import run
from tests.harness.ports import free_port
from tests.harness.private_network import fields_of

LOOPBACK = "127.0.0.0/8"
USER, PASSWORD = "culvert", "pass word: 1"


class Answered(NamedTuple):
    status: int
    fields: dict  # name in lower case -> list of values
    body: bytes

    def json(self):
        return json.loads(self.body)

    @property
    def reason(self):
        """Of an error of the gateway's own; None: the answer is the target's."""
        return self.json().get("reason")


class Gateway:
    """The gateway of `case`'s server, whose targets may be on loopback. `more`: other keys of [gateway]."""

    def __init__(self, case, pair=None, **more):
        self.case, self.pair = case, pair or case.pair(tunnels=1)
        self.server = self.pair.server
        addresses = [f"127.0.0.1:{free_port()}" for _ in range(3)]
        self.services, self.entries, self.health = (f"http://{each}" for each in addresses)
        self.applications = self.server.tables["application"] = []
        self.secrets = 0  # files with a client's secret
        self.table = self.server.tables["gateway"] = {
            "listen": addresses[0], "listen_entries": addresses[1], "listen_health": addresses[2],
            "allow_from": [LOOPBACK], "allow_targets": [LOOPBACK], **more}

    def api(self, url, service="orders", application="shop", **more):
        """Adds an entry. Returns its URL on the port of services."""
        known = next((each for each in self.applications if each["name"] == application), None)
        if known is None:
            self.applications.append(known := {"name": application, "api": []})
        known["api"].append({"service": service, "url": url, **more})
        return f"{self.services}/{application}/{re.sub('[^a-z0-9]+', '-', service.lower()).strip('-')}"

    def secret(self, name, text, mode=0o600):
        """A file with a secret."""
        path = self.case.folder / name
        path.write_text(text)
        path.chmod(mode)
        return path

    def basic(self, username=USER, password=PASSWORD):
        """Credentials of type Basic."""
        return {"type": "Basic", "username": username, "password_file": self.secret(f"{username}.password", password)}

    def oauth(self, server, client, secret, **more):
        """Credentials of type OAuth, of a client of an OAuthServer."""
        self.secrets += 1
        return {"type": "OAuth", "token_url": f"{server.url}/oauth/token", "client_id": client,
                "client_secret_file": self.secret(f"{self.secrets}.secret", secret), **more}

    def certificate(self, credentials, **more):
        """Credentials of type CertificateGen, or those that `more` says."""
        return {"type": "CertificateGen", "certificate": credentials.certificate,
                "private_key": credentials.private_key, **more}

    def start(self, with_agent=False):
        """Starts the server, and the agent if its mappings are targets."""
        self.server.start().wait_until_ready()
        if with_agent:
            self.pair.agent.start().wait_until_ready()
        return self

    def call(self, url, *arguments, seconds=20, status=0):
        """What curl gets. `status`: its exit status (None: any)."""
        sink = self.case.folder / f"body-{free_port()}"
        head = run("curl", "-sS", "-D", "-", "-o", sink, "--max-time", seconds, *arguments, url, status=status)
        body = sink.read_bytes() if sink.exists() and "-I" not in arguments else b""
        sink.unlink(missing_ok=True)
        status, fields = fields_of(head)
        return Answered(status, fields, body)
