# SPDX-License-Identifier: Apache-2.0
"""An API server that fails, is busy, has forgotten, or breaks off in the middle of an answer: nothing is deleted
because of it, no request fails, and the server's table is right as soon as the API server answers again."""

import unittest

from tests.harness.kubernetes import program_cache
from tests.harness.kubernetes.cluster_case import COLLECTION, ClusterCase, mapping
from tests.harness.kubernetes.faulty_api import FaultyApi, cut, half, status
from tests.harness.kubernetes.request_load import RequestLoad
from tests.harness.waiting import wait_until

LIST, WATCH = f"GET {COLLECTION}?limit=", f"GET {COLLECTION}?watch=1"
GONE = {"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired",
                                    "code": 410}}
OVERLOADED = (503, {"Content-Type": "text/plain"}, b"overloaded")
PAGES, PAGE_OBJECTS = 3, 500
OBJECTS = PAGES * PAGE_OBJECTS - 100


class FaultyApiTest(ClusterCase):

    def setUp(self):
        super().setUp()
        self.faulty = FaultyApi(self.api)
        self.addCleanup(self.faulty.close)
        table = self.pair.server.tables["kubernetes"]
        table["api_server"] = f"http://127.0.0.1:{self.faulty.port}"
        del table["ca"]
        self.web, self.other = (self.pair.agent.channel(self.pair.server.port, name) for name in ("web", "other"))

    def known(self):
        return self.pair.server.status()["kubernetes"][0]["service_mappings"]

    def assert_followed(self, target, seconds=10):
        """The server follows the API server again: a change arrives, and its status is written."""
        self.apply("other", f"{target}.test:80", "other")
        self.assert_reaches(self.other, target, seconds)
        self.wait_for_status("other")
        self.assertTrue(self.faulty.has_used_all())

    def start(self):
        self.pair.start()
        self.apply("web", "one.test:80")
        self.assert_reaches(self.web, "one", 5)
        self.assert_followed("two")

    def test_a_list_that_fails_deletes_nothing(self):
        self.start()
        with RequestLoad(self, self.web, "one"):
            for number, fault in enumerate((status(500, "InternalError"), OVERLOADED, status(403, "Forbidden"),
                                            status(401, "Unauthorized"),
                                            status(410, "Expired"), half, cut,
                                            (200, {"Content-Type": "application/json"}, b"{}"))):
                self.faulty.answer_next(LIST, fault)
                self.faulty.end_watches(GONE)
                wait_until(self.faulty.has_used_all, 10, f"fault {number}")
                self.assertEqual(self.known(), 2)
                self.assert_followed(("one", "two")[number % 2], 5)

    def test_a_watch_that_fails_loses_nothing(self):
        self.start()
        with RequestLoad(self, self.web, "one"):
            for number, event in enumerate((None, GONE, '{"type": "MODIFIED", "object": {"metadata": {"na',
                                            "no JSON at all", "[]",
                                            {"type": "ERROR",
                                             "object": {"kind": "Status", "code": 500, "message": "made up"}})):
                self.faulty.end_watches(event)
                self.assert_followed(("one", "two")[number % 2], 5)
            for number, fault in enumerate((status(410, "Expired"), status(500, "InternalError"), OVERLOADED)):
                self.faulty.answer_next(WATCH, fault)
                self.faulty.end_watches()
                self.assert_followed(("one", "two")[number % 2], 5)
            self.assertEqual(self.known(), 2)

    def test_a_busy_api_server_gets_the_pause_that_it_asks_for(self):
        self.start()
        self.faulty.answer_next(LIST, status(429, "TooManyRequests", **{"Retry-After": "3"}))
        self.faulty.end_watches(GONE)
        self.assert_followed("one", 8)
        first, second = [time for time, request in self.faulty.requests if LIST in request][-2:]
        self.assertGreaterEqual(second - first, 3)
        # A status is not lost either.
        self.faulty.answer_next("PATCH", status(429, "TooManyRequests", **{"Retry-After": "1"}), OVERLOADED,
                                status(409, "Conflict"))
        self.assert_followed("two", 8)

    def test_a_list_that_expires_between_two_pages_is_started_again(self):
        for number in range(OBJECTS // 100):
            self.cluster.apply(*(mapping(f"many-{number}-{each}", "one.test:80", f"many-{number}-{each}")
                                 for each in range(100)))
        self.faulty.answer_next("&continue=", status(410, "Expired"))
        self.pair.server.start().wait_until_ready()
        self.assertEqual(self.known(), OBJECTS)
        lists = [request for _, request in self.faulty.requests if LIST in request]
        self.assertEqual(["continue" in each for each in lists], [False, True] + [False, True, True],
                         "a whole list after half of one")
        # The same with a table that is in force: half of a list says nothing about the rest.
        self.faulty.answer_next("&continue=", half)
        self.faulty.end_watches(GONE)
        wait_until(self.faulty.has_used_all, 10, "the fault")
        for _ in range(10):
            self.assertEqual(self.known(), OBJECTS)
        self.pair.agent.start().wait_until_ready()
        self.apply("other", "one.test:80", "other")
        self.assert_reaches(self.other, "one")
        self.assertEqual(self.known(), OBJECTS + 1)


if __name__ == "__main__":
    program_cache.api_server()
    unittest.main(verbosity=2)
