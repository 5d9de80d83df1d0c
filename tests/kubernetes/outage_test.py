# SPDX-License-Identifier: Apache-2.0
"""An API server that is down, has forgotten old revisions, or no longer accepts the server's token: under load no
request fails and no mapping is lost, and changes made in the meantime take effect afterwards."""

import time
import unittest
import urllib.error
import urllib.request

from tests.harness.kubernetes import audit, program_cache
from tests.harness.kubernetes.cluster import MAPPINGS, NAMESPACE
from tests.harness.kubernetes.cluster_case import ClusterCase
from tests.harness.kubernetes.request_load import RequestLoad
from tests.harness.waiting import wait_until

OUTAGE_SECONDS = 60
BACK_SECONDS_MAX = 15  # the longest pause between two tries, and the duration of a try


class Outage(ClusterCase):
    api_arguments = audit.ARGUMENTS

    def channel(self, service):
        return self.pair.agent.channel(self.pair.server.port, service)

    def test_a_minute_without_api_server_and_then_a_compacted_storage(self):
        web, edited, deleted, created = map(self.channel, ("web", "edited", "deleted", "created"))
        self.pair.start()
        for name in ("web", "edited", "deleted"):
            self.apply(name, "one.test:80", name)
        for channel in (web, edited, deleted):
            self.assert_reaches(channel, "one", 5)
        with RequestLoad(self, web, "one"):
            over = time.monotonic() + OUTAGE_SECONDS
            self.api.stop()
            while time.monotonic() < over:
                self.assertTrue(self.pair.server.is_ready())
                time.sleep(1)
            since = audit.position(self.api)
            self.api.compact()
            self.api.start()
            # Before the server retries, or at the same time.
            self.api.kubectl("delete", MAPPINGS, "deleted")
            self.apply("edited", "two.test:80", "edited")
            self.apply("created", "two.test:80", "created")
            self.assert_reaches(edited, "two", BACK_SECONDS_MAX)
            self.assert_reaches(created, "two", 2)
            self.assert_refuses(deleted)
            for name in ("web", "edited", "created"):
                self.wait_for_status(name, 20)
        asked = audit.requests_of(self.api, f"{NAMESPACE}:culvert-server", since)
        self.assertTrue([each
                         for each in asked if each.right.verb == "list" and each.right.resource == "servicemappings"],
                        "the watch was older than the storage's oldest revision")
        # It is cut and then refused: one line for each, not one for each try.
        self.assertLessEqual(self.pair.server.output().count("kubernetes.unreachable"), 2)

    # --- tokens -------------------------------------------------------------------------------------------------------

    def bound_token(self, secret):
        """A token that is valid until this Secret is deleted."""
        self.api.kubectl("create", "secret", "generic", secret, f"--namespace={NAMESPACE}")
        return self.api.token("culvert-server", NAMESPACE, secret=secret)

    def revoke(self, secret, token):
        """Deletes the Secret. Returns when the API server, which caches tokens for some seconds, refuses its token."""
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
        """A change takes effect, and its status is written."""
        self.apply("web", f"{target}.test:80")
        self.assert_reaches(channel, target, 5)
        self.wait_for_status("web", 12)

    def test_a_token_rotates_without_an_effect_on_requests(self):
        first, second, third = (self.bound_token(name) for name in ("first", "second", "third"))
        self.write_token(first)
        web, other = self.channel("web"), self.channel("other")
        self.pair.start()
        self.apply("other", "one.test:80", "other")
        self.assert_reaches(other, "one")
        self.assert_followed(web, "one")
        with RequestLoad(self, other, "one"):
            # In time, as the kubelet does.
            self.write_token(second)
            time.sleep(11)
            self.revoke("first", first)
            self.assert_followed(web, "two")
            for complaint in ("kubernetes.unreachable", "kubernetes.status_failed", "lease.failed"):
                self.assertNotIn(complaint, self.pair.server.output())
            # Too late: the known mappings stay, and the next token is used at once.
            self.revoke("second", second)
            self.pair.server.wait_for_output("lease.failed", 20)
            self.pair.server.wait_for_output("401")
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
    program_cache.api_server()
    unittest.main(verbosity=2)
