# SPDX-License-Identifier: Apache-2.0
"""Streams that come and go at a high rate. `scripts/bench --churn` runs the same for longer, and faster."""

import json
import os
import pathlib
import re
import subprocess
import time

from culvert import BUILD, SCALE, Case, Program, free_port, wait_until

LOAD = BUILD / "tests/bench/load"
# Streams per second, both ways together. Two cores that other tests use too carry it; under sanitizers they are slower.
RATE = float(os.environ.get("CULVERT_CHURN_RATE", "1000" if SCALE == 1 else "100"))
SECONDS = float(os.environ.get("CULVERT_CHURN_SECONDS", "5"))
WARM_UP_SECONDS = 3  # After that allocators, pools and tables have their size.
LATE_SECONDS_MAX = 30
# Of the streams that the rate asks for. Among all tests the machine may have other work; who asks for a rate wants it.
STREAMS_SHARE_MIN = 0.95 if "CULVERT_CHURN_RATE" in os.environ else 0.5
GROWTH_KIB_MAX = 512  # of a process


def memory_kib(program):
    """Pss of what is the program's own. Of a library's pages it would change whenever another program begins or ends."""
    text = pathlib.Path(f"/proc/{program.process.pid}/smaps_rollup").read_text(encoding="ascii")
    return int(re.search(r"^Pss_Anon:\s+(\d+)", text, re.M)[1])


def descriptors(program):
    return len(os.listdir(f"/proc/{program.process.pid}/fd"))


def descriptors_at_rest(program):
    """Without those of a question for metrics that has just been answered."""
    least = descriptors(program)
    for _ in range(20):
        time.sleep(0.05)
        least = min(least, descriptors(program))
    return least


class Churn(Case):
    alone = True
    seconds = 15

    def test_memory_descriptors_and_gauges_stay_where_they_were(self):
        port = free_port()
        Program(self, "backend", [LOAD, "backend", port]).start().wait_for_port(port)
        pair = self.pair()
        ways = [pair.to_cloud(port), pair.to_premise(port)]
        pair.start()
        programs = [pair.server, pair.agent]
        self.churn(ways, WARM_UP_SECONDS)
        self.assert_gauges_at_zero(programs)
        before = [(descriptors_at_rest(each), memory_kib(each)) for each in programs]
        streams = sum(each.metrics()["culvert_streams_total"] for each in programs)

        opened = self.churn(ways, SECONDS)
        self.assertGreaterEqual(opened, STREAMS_SHARE_MIN * RATE * SECONDS, "streams that were opened; has the machine other work?")
        self.assert_gauges_at_zero(programs)
        # Each stream is counted by both.
        self.assertEqual(sum(each.metrics()["culvert_streams_total"] for each in programs) - streams, 2 * opened)
        for program, (files, memory) in zip(programs, before):
            wait_until(lambda p=program, n=files: descriptors(p) == n, 10, f"{program.name} to have {files} descriptors again")
            if SCALE != 1:
                continue  # Sanitizers keep what was freed, and look for leaks themselves.
            grown = memory_kib(program) - memory
            print(f"note: {program.name} grew by {grown} KiB over {opened} streams at {RATE:.0f}/s")
            self.assertLess(grown, GROWTH_KIB_MAX, f"KiB by which {program.name} grew; it had {memory}")

    def churn(self, ports, seconds):
        """Half of the streams each way. Returns how many were opened, answered and ended; any other outcome is an error."""
        clients = [subprocess.Popen(list(map(str, [LOAD, "churn", port, RATE / len(ports), seconds])), stdin=subprocess.DEVNULL,
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for port in ports]
        for client in clients:
            self.addCleanup(client.kill)
        outcomes = [client.communicate(timeout=seconds + LATE_SECONDS_MAX) for client in clients]
        self.assertEqual([client.returncode for client in clients], [0] * len(clients), outcomes)
        return sum(json.loads(output)["count"] for output, _ in outcomes)
