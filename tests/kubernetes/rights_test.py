# SPDX-License-Identifier: Apache-2.0
"""The server's rights, in both directions: whatever it asks for is allowed, and whatever is allowed it asks for. A walk through all that
it does is a list of steps; a new function of the server adds one."""

import unittest

import audit
import cache
from api_server import wait_until
from cluster import NAMESPACE
from cluster_case import ClusterCase

ACCOUNT = f"{NAMESPACE}:culvert-server"


class Rights(ClusterCase):
    api_arguments = audit.ARGUMENTS

    # --- the walk ---------------------------------------------------------------------------------------------------------

    def follow_the_mappings(self):
        self.pair.start()

    def say_what_became_of_one(self):
        self.apply("good", "one.test:80")
        wait_until(lambda: self.condition("good", "Ready") == ("True", "Ready"), 10, "it to be ready")

    def tell_of_a_bad_one(self):
        self.apply("bad", "10.0.0.1:80", "other")
        wait_until(lambda: self.condition("bad", "Accepted") == ("False", "BadInternalAddress"), 10, "it to be refused")

    def look_up_a_named_port(self):
        self.apply("named", "one.test:http", "named")
        wait_until(lambda: self.condition("named", "TargetResolved") == ("True", "Resolved"), 10, "it to be resolved")

    def hold_the_lease(self):
        before = self.lease()
        wait_until(lambda: self.lease() != before, 10, "it to be renewed", every=0.5)

    STEPS = (follow_the_mappings, say_what_became_of_one, tell_of_a_bad_one, look_up_a_named_port, hold_the_lease)

    # ----------------------------------------------------------------------------------------------------------------------

    def lease(self):
        return self.api.kubectl("get", "lease", "culvert-server", f"--namespace={NAMESPACE}", "--output=jsonpath={.spec.renewTime}")

    def test_the_server_may_what_it_does_and_nothing_else(self):
        rights = audit.rights_of(self.api, ACCOUNT)
        self.assertTrue(rights)
        for step in self.STEPS:
            step(self)
        # A watch is in the log once it is over.
        for program in (self.pair.agent, self.pair.server):
            program.stop()
        wait_until(lambda: any(each.right.verb == "watch" for each in audit.requests_of(self.api, ACCOUNT)), 10, "the watches to end")
        asked = audit.requests_of(self.api, ACCOUNT)
        for request in asked:
            self.assertNotIn(request.status, (401, 403), request)
            self.assertTrue(any(right.covers(request.right) for right in rights), f"by whose leave? {request}")
        unused = sorted(right for right in rights if not any(right.covers(each.right) for each in asked))
        self.assertEqual(unused, [], "it may what it does not need")
        for right in rights:
            self.assertNotIn("*", (right.verb, right.group, right.resource), right)
            self.assertNotIn(right.resource, ("secrets", "pods/exec", "serviceaccounts/token"), right)


if __name__ == "__main__":
    cache.api_server()
    unittest.main(verbosity=2)
