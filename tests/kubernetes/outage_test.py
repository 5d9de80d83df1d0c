# SPDX-License-Identifier: Apache-2.0
"""An API server that is away, has forgotten, or takes the server's token no longer: under load no request fails and no mapping is lost,
and what was changed meanwhile takes effect afterwards."""

import time
import unittest
import urllib.error
import urllib.request

import audit
import cache
from api_server import wait_until
from cluster import MAPPINGS, NAMESPACE
from cluster_case import ClusterCase
from load import Load

OUTAGE_SECONDS = 60
BACK_SECONDS_MAX = 15  # the longest pause between two tries, and what a try takes


class Outage(ClusterCase):
    api_arguments = audit.ARGUMENTS

    def channel(self, service):
        return self.pair.agent.channel(self.pair.server.port, service)

    def test_a_minute_without_api_server_and_a_storage_that_has_forgotten(self):
        web, edited, deleted, created = map(self.channel, ("web", "edited", "deleted", "created"))
        self.pair.start()
        for name in ("web", "edited", "deleted"):
            self.apply(name, "one.test:80", name)
        for channel in (web, edited, deleted):
            self.says(channel, "one", 5)
        with Load(self, web, "one"):
            over = time.monotonic() + OUTAGE_SECONDS
            self.api.stop()
            while time.monotonic() < over:
                self.assertTrue(self.pair.server.is_ready())
                time.sleep(1)
            since = audit.position(self.api)
            self.api.compact()
            self.api.start()
            # Before the server asks again, or at the same time.
            self.api.kubectl("delete", MAPPINGS, "deleted")
            self.apply("edited", "two.test:80", "edited")
            self.apply("created", "two.test:80", "created")
            self.says(edited, "two", BACK_SECONDS_MAX)
            self.says(created, "two", 2)
            self.refuses(deleted)
            for name in ("web", "edited", "created"):
                self.wait_for_status(name, 20)
        asked = audit.requests_of(self.api, f"{NAMESPACE}:culvert-server", since)
        self.assertTrue([each for each in asked if each.right.verb == "list" and each.right.resource == "servicemappings"],
                        "the watch was older than the storage's memory")
        # It breaks off, and then is refused: a line for each, not for each try.
        self.assertLessEqual(self.pair.server.output().count("kubernetes.unreachable"), 2)

    # --- tokens -----------------------------------------------------------------------------------------------------------

    def bound_token(self, secret):
        """One that is good until this Secret is deleted."""
        self.api.kubectl("create", "secret", "generic", secret, f"--namespace={NAMESPACE}")
        return self.api.token("culvert-server", NAMESPACE, secret=secret)

    def revoke(self, secret, token):
        """Returns once the API server, which remembers tokens for some seconds, refuses this one."""
        self.api.kubectl("delete", "secret", secret, f"--namespace={NAMESPACE}")
        wait_until(lambda: self.status_of(token) == 401, 30, "the token to be refused", every=0.5)

    def status_of(self, token):
        context = self.api.context(is_admin=False)
        request = urllib.request.Request(f"{self.api.url}/apis", headers={"Authorization": f"Bearer {token}"})
        try:
            with urllib.request.urlopen(request, timeout=10, context=context) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    def assert_followed(self, channel, target):
        """An edit takes effect and is spoken of."""
        self.apply("web", f"{target}.test:80")
        self.says(channel, target, 5)
        self.wait_for_status("web", 12)

    def test_a_token_rotates_without_anybody_noticing(self):
        first, second, third = (self.bound_token(name) for name in ("first", "second", "third"))
        self.write_token(first)
        web, other = self.channel("web"), self.channel("other")
        self.pair.start()
        self.apply("other", "one.test:80", "other")
        self.says(other, "one")
        self.assert_followed(web, "one")
        with Load(self, other, "one"):
            # In time, as the kubelet does it.
            self.write_token(second)
            time.sleep(11)
            self.revoke("first", first)
            self.assert_followed(web, "two")
            for complaint in ("kubernetes.unreachable", "kubernetes.status_failed", "lease.failed"):
                self.assertNotIn(complaint, self.pair.server.output())
            # Too late: what is known stays, and the next token is taken at once.
            self.revoke("second", second)
            self.pair.server.wait_for_output("lease.failed", 20)
            self.assertIn("401", self.pair.server.output())
            self.write_token(third)
            self.assert_followed(web, "one")
        for token in (first, second, third):
            self.assertNotIn(token, self.pair.server.output())

    def test_a_server_that_starts_with_a_bad_token_waits_for_a_good_one(self):
        good = self.token.read_text()
        self.write_token("expired")
        self.pair.server.start()
        self.pair.server.wait_for_output("code=kubernetes.refused")
        self.assertFalse(self.pair.server.is_ready())
        self.assertNotIn("expired", self.pair.server.output())
        self.write_token(good)
        self.pair.server.wait_until_ready(BACK_SECONDS_MAX)


if __name__ == "__main__":
    cache.api_server()
    unittest.main(verbosity=2)
