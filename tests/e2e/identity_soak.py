# SPDX-License-Identifier: Apache-2.0
"""An agent with certificates of one minute renews itself under traffic, for as long as asked: no request fails, and no
stream is cut. Too long for every run; identity_test.Renewal does the same for two renewals.

    /usr/bin/python3 -B -m tests.e2e.identity_soak --minutes 15
"""

import argparse
import contextlib
import http.client
import sys
import threading
import time
import unittest

from tests.harness.case import Case
from tests.harness.certificates import Authority
from tests.harness.culvert_program import ACCOUNT
from tests.harness.echo_client import assert_echoes, assert_still_echoes, open_echo_stream
from tests.harness.enrolment import EnrolledPair
from tests.harness.http_server import echo_request, http_server
from tests.harness.ports import free_port
from tests.harness.process_usage import descriptors, memory_kib
from tests.harness.tcp_server import echo_port
from tests.harness.waiting import wait_until

SECONDS_PER_RENEWAL_MAX = 45  # two thirds of a minute, a tenth of it later, and the time of a renewal


class Way:
    """One kind of traffic, in a thread of its own: calls `ask` every `every` seconds until the end of the `with`."""

    def __init__(self, name, ask, every=0.05):
        self.name, self.ask, self.every, self.over = name, ask, every, threading.Event()
        self.answered, self.slowest, self.faults = 0, 0.0, []
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        while not self.over.wait(self.every):
            began = time.monotonic()
            try:
                self.ask()
                self.answered += 1
            except (OSError, EOFError, AssertionError, http.client.HTTPException) as fault:
                self.faults.append(f"{time.strftime('%H:%M:%S', time.gmtime())} {fault!r}")
            self.slowest = max(self.slowest, time.monotonic() - began)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join(30)


class Soak(Case):
    minutes = 15

    def test_renewals_under_traffic(self):
        pair = EnrolledPair(self, Authority(self.folder / "certificates"))
        channel, listener = pair.to_cloud(echo_port(self)), pair.to_premise(echo_port(self))
        self.proxy = free_port()
        pair.server.tables["http_proxy"] = {"listen": f"127.0.0.1:{self.proxy}", "account": ACCOUNT}
        pair.agent.web("web:80", http_server(self, echo_request))
        pair.server.start().wait_until_ready()
        pair.join(pair.token("one", "--lifetime", "1m"))
        pair.use_identity()
        pair.agent.start().wait_until_ready()
        with contextlib.ExitStack() as all_ways:
            streams = [all_ways.enter_context(open_echo_stream(self, port)) for port in (channel, listener)]
            kept = all_ways.enter_context(contextlib.closing(self.proxy_client()))
            ways = [Way("channel", lambda: assert_echoes(self, channel)),
                    Way("virtual listener", lambda: assert_echoes(self, listener)),
                    Way("proxy", self.request_once),
                    Way("proxy, one connection", lambda: self.request(kept)),
                    *(Way(f"one stream of the {name}", lambda each=stream: assert_still_echoes(self, each), every=0.1)
                      for name, stream in zip(("channel", "virtual listener"), streams))]
            for way in ways:
                all_ways.enter_context(way)
            time.sleep(60)  # so that memory is compared with that of a program which has renewed
            before = [(memory_kib(each, "Pss_Anon"), descriptors(each)) for each in (pair.server, pair.agent)]
            time.sleep(self.minutes * 60 - 60)
            after = [(memory_kib(each, "Pss_Anon"), descriptors(each)) for each in (pair.server, pair.agent)]
        renewals = pair.agent.output().count("info identity.renewed")
        print(f"note: {renewals} renewals in {self.minutes} minutes; KiB and descriptors of server and agent after one "
              f"minute: {before}, at the end: {after}")
        for way in ways:
            print(f"note: {way.name}: {way.answered} requests, the slowest took {way.slowest * 1000:.0f} ms, "
                  f"{len(way.faults)} failed")
        for way in ways:
            self.assertEqual(way.faults[:5], [], way.name)
            self.assertGreater(way.answered, self.minutes * 60, way.name)
        self.assertGreaterEqual(renewals, int(self.minutes * 60 / SECONDS_PER_RENEWAL_MAX))
        self.assertNotIn(" warn ", pair.agent.output())
        wait_until(lambda: len(pair.server.status()["tunnels"]) == 2, 40, "the old tunnels to leave")

    def proxy_client(self):
        return http.client.HTTPConnection("127.0.0.1", self.proxy, timeout=20)

    def request(self, client):
        client.request("GET", "http://web:80/")
        answer = client.getresponse()
        answer.read()
        self.assertEqual(answer.status, 200)

    def request_once(self):
        with contextlib.closing(self.proxy_client()) as client:
            self.request(client)


def main():
    parser = argparse.ArgumentParser(prog="python3 -m tests.e2e.identity_soak")
    parser.add_argument("--minutes", type=float, default=15)
    Soak.minutes = max(parser.parse_args().minutes, 2)
    tests = unittest.defaultTestLoader.loadTestsFromTestCase(Soak)
    return 0 if unittest.TextTestRunner(verbosity=2).run(tests).wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
