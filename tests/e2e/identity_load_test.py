# SPDX-License-Identifier: Apache-2.0
"""Many agents that join and renew at the same time. The long form, with any number of agents (1,000 take 5 minutes):

    /usr/bin/python3 -B -m tests.e2e.identity_load_test --agents 1000
"""

import argparse
import collections
import concurrent.futures
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import unittest

from tests.harness.case import Case
from tests.harness.certificates import Authority
from tests.harness.environment import BUILD, SCALE
from tests.harness.enrolment import EnrolledPair
from tests.harness.joining_crowd import Crowd, Member
from tests.harness.ports import free_port
from tests.harness.process_usage import memory_kib
from tests.harness.program import Program
from tests.harness.sockets import raise_descriptor_limit
from tests.harness.waiting import wait_until

CHECKED = SCALE == 1  # Sanitizer builds are slow, and keep freed memory.
LOAD = BUILD / "tests/bench/load"


class Requests:
    """Short connections through a channel, 200 each second, until the end of the `with`: each must be answered."""

    def __init__(self, case, port):
        self.case, self.port, self.over = case, port, threading.Event()
        self.answered, self.slowest_p99_ms, self.fault = 0, 0.0, ""
        self.thread = threading.Thread(target=self.ask, daemon=True)

    def ask(self):
        while not self.over.is_set() and not self.fault:
            answer = subprocess.run([LOAD, "churn", str(self.port), "200", "1"], stdin=subprocess.DEVNULL,
                                    capture_output=True, text=True, timeout=60, check=False)
            if answer.returncode != 0:
                self.fault = answer.stderr
                return
            figures = json.loads(answer.stdout)
            self.answered += figures["count"]
            self.slowest_p99_ms = max(self.slowest_p99_ms, figures["p99_us"] / 1000)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join(90)
        self.case.assertEqual(self.fault, "")


def prepare(pair, folder, count, *options):
    """Adds the agents, and makes their keys and requests. Each has an address of its own, as real ones have: of many
    unproven connections from one address the server drops some."""
    def one(number):
        return Member.prepare(pair.token(f"n{number}", *options), folder, f"n{number}",
                              source=f"127.1.{number // 250}.{number % 250 + 1}")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return list(pool.map(one, range(count)))


class ManyAgents(Case):
    alone = True
    seconds = 30
    first, agents = (150, 300) if CHECKED else (30, 60)
    rate_min = 50  # per second, on two cores that the agents use, too
    p99_ms_max = 250  # 19 to 40 on a quiet machine
    growth_kib_max = 8 << 10  # 3 MiB are usual

    def test_a_crowd_joins_and_renews_at_once_and_another_agent_notices_nothing(self):
        raise_descriptor_limit()
        pair = EnrolledPair(self, Authority(self.folder / "certificates"))
        back_end = free_port()
        Program(self, "backend", [LOAD, "backend", back_end]).start().wait_for_port(back_end)
        port = pair.to_cloud(back_end)
        pair.start()
        # After the first ones the server has the memory of as many connections as there are at the same time.
        members = prepare(pair, self.folder, self.first + self.agents)
        first, crowd = (Crowd(self, pair.server.port, pair.authority.ca, each)
                        for each in (members[:self.first], members[self.first:]))
        for order in ("join", "greet", "renew"):
            first.all(order)
        with Requests(self, port) as requests:
            before = memory_kib(pair.server, "Pss_Anon")
            joined = crowd.all("join")
            after_joins = memory_kib(pair.server, "Pss_Anon")
            crowd.all("greet")
            before_renewals = memory_kib(pair.server, "Pss_Anon")
            renewed = crowd.all("renew")
            after = memory_kib(pair.server, "Pss_Anon")
        for each in (first, crowd):
            each.all("leave")
        self.check("joined", joined, after_joins - before)
        self.check("renewed", renewed, after - before_renewals)
        print(f"note: another agent's {requests.answered} requests in the meantime: p99 {requests.slowest_p99_ms:.1f} "
              "ms in the slowest second")
        self.assertGreater(requests.answered, 0)
        if CHECKED:
            self.assertLess(requests.slowest_p99_ms, self.p99_ms_max)
        metrics = pair.server.metrics()
        self.assertEqual((metrics["culvert_agents_joined_total"], metrics["culvert_agents_renewed_total"],
                          metrics["culvert_enrolment_denied_total"]), (len(members) + 1, len(members), 0))
        self.assertEqual({each["state"] for each in json.loads(pair.agents("list", "--json"))}, {"joined"})

    def check(self, what, pace, grown_kib):
        rate, longest = pace
        print(f"note: {self.agents} agents {what} at {rate:.0f}/s, the slowest in {longest:.2f} s; the server grew by "
              f"{grown_kib} KiB")
        if CHECKED:
            self.assertGreater(rate, self.rate_min)
            self.assertLess(grown_kib, self.growth_kib_max)


class Spread(Case):
    """Many identities with a short life. All of them ask for their certificates at the same moment, on connections
    that are open already, and then belong to the agent, one process."""

    seconds = 65
    identities = 100
    life_seconds = 60
    joining_seconds_max = 1

    def test_identities_that_joined_within_a_second_do_not_renew_together(self):
        raise_descriptor_limit()
        # Both programs sync each certificate to the disk, one after the other. The disk's speed is not the question.
        in_memory = tempfile.TemporaryDirectory(dir="/dev/shm")  # pylint: disable=consider-using-with
        self.addCleanup(in_memory.cleanup)
        folder = pathlib.Path(in_memory.name)
        pair = EnrolledPair(self, Authority(self.folder / "certificates"), state=folder / "state")
        pair.server.start().wait_until_ready()
        members = prepare(pair, folder, self.identities, "--lifetime", f"{self.life_seconds}s")
        crowd = Crowd(self, pair.server.port, pair.authority.ca, members)
        for order in ("connect", "ask", "be_answered"):
            crowd.all(order)
        joined = self.times(pair.server, "agent.joined")
        self.assertEqual(len(joined), self.identities)
        if CHECKED:
            self.assertLess(max(joined) - min(joined), self.joining_seconds_max)
        crowd.all("store")
        for member in members:
            pair.use_identity(directory=member.certificate.with_suffix(""), name=member.certificate.stem,
                              tunnels_min=1, tunnels_max=1)
        pair.agent.start().wait_until_ready(40)
        renewed = lambda: self.times(pair.server, "agent.renewed")
        wait_until(lambda: len(renewed()) >= self.identities, self.life_seconds, "all renewals", every=1)
        first = sorted(renewed())[:self.identities]
        in_second = collections.Counter(int(time) for time in first)
        span = first[-1] - first[0]
        peak, mean = max(in_second.values()), self.identities / span
        print(f"note: {self.identities} identities that joined within {max(joined) - min(joined):.2f} s renewed within "
              f"{span:.1f} s, at most {peak} in one second, {mean:.1f} on average")
        # Two thirds of the life, plus or minus a tenth of it.
        self.assertGreater(span, 0.15 * self.life_seconds)
        self.assertLessEqual(peak, 3 * mean)
        # Of many tunnels that one address opens at once, the server may drop some, and they come again.
        self.assertEqual(re.findall(r"(?m)^\S+ (?:warn|error) (?!server\.unreachable).*", pair.agent.output()), [])

    @staticmethod
    def times(program, event):
        """When the event was logged, in seconds of the day."""
        found = re.findall(rf"(?m)^\S+T(\d+):(\d+):([\d.]+)Z \w+ {re.escape(event)} ", program.output())
        return [int(hour) * 3600 + int(minute) * 60 + float(second) for hour, minute, second in found]


def main():
    parser = argparse.ArgumentParser(prog="python3 -m tests.e2e.identity_load_test")
    parser.add_argument("--agents", type=int, default=1000)
    ManyAgents.agents = Spread.identities = parser.parse_args().agents
    # One agent renews about 50 in a second, and must have nothing to catch up on.
    Spread.life_seconds = max(Spread.life_seconds, Spread.identities * 3 // 10)
    load = unittest.defaultTestLoader.loadTestsFromTestCase
    tests = unittest.TestSuite([load(ManyAgents), load(Spread)])
    return 0 if unittest.TextTestRunner(verbosity=2).run(tests).wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
