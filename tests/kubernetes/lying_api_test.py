# SPDX-License-Identifier: Apache-2.0
"""An API server that errs, is busy, forgets, or breaks off in the middle of a word: nothing is taken for gone because of it, no request
fails, and as soon as it answers again, so does the server's table."""

import unittest

import cache
from api_server import wait_until
from cluster_case import COLLECTION, ClusterCase, mapping
from load import Load
from lying_api import LyingApi, cut, half, status

LIST, WATCH = f"GET {COLLECTION}?limit=", f"GET {COLLECTION}?watch=1"
GONE = {"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410}}
OVERLOADED = (503, {"Content-Type": "text/plain"}, b"overloaded")
PAGES, PAGE_OBJECTS = 3, 500
OBJECTS = PAGES * PAGE_OBJECTS - 100


class LyingApiTest(ClusterCase):

    def setUp(self):
        super().setUp()
        self.lying = LyingApi(self.api)
        self.addCleanup(self.lying.close)
        table = self.pair.server.tables["kubernetes"]
        table["api_server"] = f"http://127.0.0.1:{self.lying.port}"
        del table["ca"]
        self.web, self.other = (self.pair.agent.channel(self.pair.server.port, name) for name in ("web", "other"))

    def known(self):
        return self.pair.server.status()["kubernetes"][0]["service_mappings"]

    def assert_followed(self, target, seconds=10):
        """Whatever was wrong, is over."""
        self.apply("other", f"{target}.test:80", "other")
        self.says(self.other, target, seconds)
        self.wait_for_status("other")
        self.assertTrue(self.lying.is_done())

    def start(self):
        self.pair.start()
        self.apply("web", "one.test:80")
        self.says(self.web, "one", 5)
        self.assert_followed("two")

    def test_a_list_that_fails_deletes_nothing(self):
        self.start()
        with Load(self, self.web, "one"):
            for number, lie in enumerate((status(500, "InternalError"), OVERLOADED, status(403, "Forbidden"), status(401, "Unauthorized"),
                                          status(410, "Expired"), half, cut, (200, {"Content-Type": "application/json"}, b"{}"))):
                self.lying.lie(LIST, lie)
                self.lying.tell_watchers(GONE)
                wait_until(self.lying.is_done, 10, f"lie {number}")
                self.assertEqual(self.known(), 2)
                self.assert_followed(("one", "two")[number % 2], 5)

    def test_a_watch_that_fails_loses_nothing(self):
        self.start()
        with Load(self, self.web, "one"):
            for number, event in enumerate((None, GONE, '{"type": "MODIFIED", "object": {"metadata": {"na', "no JSON at all", "[]",
                                            {"type": "ERROR", "object": {"kind": "Status", "code": 500, "message": "a lie"}})):
                self.lying.tell_watchers(event)
                self.assert_followed(("one", "two")[number % 2], 5)
            for number, lie in enumerate((status(410, "Expired"), status(500, "InternalError"), OVERLOADED)):
                self.lying.lie(WATCH, lie)
                self.lying.tell_watchers(None)
                self.assert_followed(("one", "two")[number % 2], 5)
            self.assertEqual(self.known(), 2)

    def test_who_is_busy_is_waited_for(self):
        self.start()
        self.lying.lie(LIST, status(429, "TooManyRequests", **{"Retry-After": "3"}))
        self.lying.tell_watchers(GONE)
        self.assert_followed("one", 8)
        first, second = [time for time, question in self.lying.asked if LIST in question][-2:]
        self.assertGreaterEqual(second - first, 3)
        # And a status is not lost.
        self.lying.lie("PATCH", status(429, "TooManyRequests", **{"Retry-After": "1"}), OVERLOADED, status(409, "Conflict"))
        self.assert_followed("two", 8)

    def test_a_list_whose_rest_has_expired_is_begun_anew(self):
        for number in range(OBJECTS // 100):
            self.cluster.apply(*(mapping(f"many-{number}-{each}", "one.test:80", f"many-{number}-{each}") for each in range(100)))
        self.lying.lie("&continue=", status(410, "Expired"))
        self.pair.server.start().wait_until_ready()
        self.assertEqual(self.known(), OBJECTS)
        lists = [question for _, question in self.lying.asked if LIST in question]
        self.assertEqual(["continue" in each for each in lists], [False, True] + [False, True, True], "a whole one after half of one")
        # The same with a table that is in force: half of a list says nothing of the rest.
        self.lying.lie("&continue=", half)
        self.lying.tell_watchers(GONE)
        wait_until(self.lying.is_done, 10, "the lie")
        for _ in range(10):
            self.assertEqual(self.known(), OBJECTS)
        self.pair.agent.start().wait_until_ready()
        self.apply("other", "one.test:80", "other")
        self.says(self.other, "one")
        self.assertEqual(self.known(), OBJECTS + 1)


if __name__ == "__main__":
    cache.api_server()
    unittest.main(verbosity=2)
