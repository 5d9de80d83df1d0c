# SPDX-License-Identifier: Apache-2.0
"""What tests with real clients connect to: a private network with real back ends behind an agent, and both proxies of
the server."""

import re

from tests.harness.back_ends.node import node
from tests.harness.back_ends.web_servers import apache, nginx
from tests.harness.culvert_program import ACCOUNT
from tests.harness.files import make_file

SECRET = "s3cret"
WEB = ["nginx", "apache", "node"]
# What each of them exposes.
RESOURCES = [{"path": "/open", "match": "sub_paths"}, {"path": "/open/socket", "upgrade": True}]


class PrivateNetwork:
    """nginx, Apache and Node.js, each as NAME:80 and, for clients that resolve names themselves, as 10.1.2.N:80. Files
    are below /open; /closed exists too, but is not exposed."""

    def __init__(self, case):
        self.case, self.pair = case, case.pair()
        (case.folder / "www/open").mkdir(parents=True)
        (case.folder / "www/closed").write_text("a secret")
        for number, (name, start) in enumerate(zip(WEB, (nginx, apache, node))):
            port = start(case)
            for virtual in (f"{name}:80", f"10.1.2.{number}:80"):
                self.pair.agent.web(virtual, port, RESOURCES)
        self.proxy = self.pair.proxy()
        self.socks = self.pair.socks(unauthenticated_account=ACCOUNT,
                                     consumer=[self.pair.consumer(SECRET,
                                                                  [f"{name}:80" for name in (*WEB, "echo", "tls")])])

    def file(self, name, size):
        """Makes www/open/NAME; returns its SHA-256."""
        return make_file(self.case.folder / "www/open" / name, size)

    def curl_options(self):
        """Options of curl for each way to a virtual host."""
        resolve = [option for number, name in enumerate(WEB) for option in ("--resolve", f"{name}:80:10.1.2.{number}")]
        return {"absolute form": ["-x", self.proxy], "CONNECT": ["-x", self.proxy, "--proxytunnel"],
                "SOCKS5 by name": ["--socks5-hostname", self.socks],
                "SOCKS5 by address": ["--socks5", self.socks, *resolve],
                "SOCKS5 with a secret": ["--socks5-hostname", self.socks, "--proxy-user", f"{ACCOUNT}:{SECRET}"]}

    def start(self):
        self.pair.start()
        return self


def fields_of(head):
    """(status, name in lower case -> list of values) of the last head that `curl -D -` wrote."""
    last = re.split(r"(?m)^(?=HTTP/)", head)[-1].splitlines()
    fields = {}
    for line in last[1:]:
        name, _, value = line.partition(":")
        if value:
            fields.setdefault(name.lower(), []).append(value.strip())
    return int(last[0].split()[1]), fields
