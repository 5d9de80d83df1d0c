# SPDX-License-Identifier: Apache-2.0
"""Streams that open and close at a high rate. `scripts/bench --churn` runs the same for longer, and faster."""

import json
import os
import subprocess
import time

from tests.harness.case import Case
from tests.harness.environment import BUILD, SCALE
from tests.harness.ports import free_port
from tests.harness.process_usage import descriptors, memory_kib
from tests.harness.program import Program
from tests.harness.waiting import wait_until

LOAD = BUILD / "tests/bench/load"
# Streams per second, both ways together. Two cores that other tests use too can do this; with sanitizers they are
# slower.
RATE = float(os.environ.get("CULVERT_CHURN_RATE", "1000" if SCALE == 1 else "100"))
SECONDS = float(os.environ.get("CULVERT_CHURN_SECONDS", "5"))
WARM_UP_SECONDS = 3  # Afterwards allocators, pools and tables have reached their size.
LATE_SECONDS_MAX = 30
# Share of RATE that is required. Among all tests the machine may be busy; a rate that was asked for must be reached.
STREAMS_SHARE_MIN = 0.95 if "CULVERT_CHURN_RATE" in os.environ else 0.5
GROWTH_KIB_MAX = 512  # for each process


def descriptors_at_rest(program):
    """Without the descriptors of a request for metrics that has just been answered."""
    least = descriptors(program)
    for _ in range(20):
        time.sleep(0.05)
        least = min(least, descriptors(program))
    return least


class Churn(Case):
    alone = True
    seconds = 15

    def test_memory_descriptors_and_gauges_return_to_where_they_were(self):
        port = free_port()
        Program(self, "backend", [LOAD, "backend", port]).start().wait_for_port(port)
        pair = self.pair()
        ways = [pair.to_cloud(port), pair.to_premise(port)]
        pair.start()
        programs = [pair.server, pair.agent]
        self.churn(ways, WARM_UP_SECONDS)
        self.assert_gauges_at_zero(programs)
        before = [(descriptors_at_rest(each), memory_kib(each, "Pss_Anon")) for each in programs]
        streams = sum(each.metrics()["culvert_streams_total"] for each in programs)

        opened = self.churn(ways, SECONDS)
        self.assertGreaterEqual(opened, STREAMS_SHARE_MIN * RATE * SECONDS,
                                "streams that were opened; is the machine busy?")
        self.assert_gauges_at_zero(programs)
        # Both programs count each stream.
        self.assertEqual(sum(each.metrics()["culvert_streams_total"] for each in programs) - streams, 2 * opened)
        for program, (files, memory) in zip(programs, before):
            wait_until(lambda p=program, n=files: descriptors(p) == n, 10,
                       f"{program.name} to have {files} descriptors again")
            if SCALE != 1:
                continue  # Sanitizers keep freed memory, and look for leaks themselves.
            grown = memory_kib(program, "Pss_Anon") - memory
            print(f"note: {program.name} grew by {grown} KiB over {opened} streams at {RATE:.0f}/s")
            self.assertLess(grown, GROWTH_KIB_MAX, f"KiB by which {program.name} grew; it had {memory}")

    def churn(self, ports, seconds):
        """Opens half of the streams each way. Returns how many were opened, answered and closed; anything else is an
        error."""
        clients = [subprocess.Popen(list(map(str, [LOAD, "churn", port, RATE / len(ports), seconds])),
                                    stdin=subprocess.DEVNULL,
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for port in ports]
        for client in clients:
            self.addCleanup(client.kill)
        outcomes = [client.communicate(timeout=seconds + LATE_SECONDS_MAX) for client in clients]
        self.assertEqual([client.returncode for client in clients], [0] * len(clients), outcomes)
        return sum(json.loads(output)["count"] for output, _ in outcomes)
