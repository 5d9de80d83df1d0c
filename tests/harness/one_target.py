# SPDX-License-Identifier: Apache-2.0
"""A case with a gateway that has one target, and bytes to send to it."""

import urllib.parse

from tests.harness.back_ends.judge import Judge
from tests.harness.case import Case
from tests.harness.gateway import Gateway


class OneTarget(Case):
    """A gateway with one target, a Judge, whose base is /api."""

    def start(self, abandoned_after="2s", **more):
        self.judge = Judge(self)
        self.gateway = Gateway(self, abandoned_after=abandoned_after)
        self.url = self.gateway.api(f"{self.judge.url}/api", **more)
        parts = urllib.parse.urlsplit(self.gateway.services)
        self.address, self.path = (parts.hostname, parts.port), urllib.parse.urlsplit(self.url).path
        return self.gateway.start()

    def head(self, method, rest, *lines):
        return "\r\n".join([f"{method} {self.path}{rest} HTTP/1.1", "Host: gateway", *lines, "", ""]).encode()
