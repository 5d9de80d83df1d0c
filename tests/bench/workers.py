# SPDX-License-Identifier: Apache-2.0
"""Checks how the server's work spreads over its workers, for `scripts/bench --workers`: bulk from four agents with one
worker and with two, by turns. Two cores that also carry agents and load cannot show twice the throughput; they show
that two workers cost no more CPU per byte than one, and share the work."""

import json
import os
import pathlib
import statistics
import subprocess

from tests.harness.case import Case
from tests.harness.culvert_program import Agent
from tests.harness.environment import BUILD
from tests.harness.ports import free_port
from tests.harness.program import Program

LOAD = BUILD / "tests/bench/load"
AGENTS = 4
ROUNDS = int(os.environ.get("CULVERT_WORKERS_ROUNDS", "5"))
SECONDS = 2


class Workers(Case):
    def test_two_workers_share_the_work_and_cost_no_more_than_one(self):
        backend = free_port()
        Program(self, "backend", [LOAD, "backend", backend]).start().wait_for_port(backend)
        costs, shares = {1: [], 2: []}, []
        for _ in range(ROUNDS):
            for workers in (1, 2):
                cost, parts = self.measure(workers, backend)
                costs[workers].append(cost)
                if workers == 2:
                    shares.append(min(parts) / sum(parts))
        ratio = statistics.median(two / one for one, two in zip(costs[1], costs[2]))
        share = statistics.median(shares)
        one, two = statistics.median(costs[1]), statistics.median(costs[2])
        print(f"note: server CPU per GB with one worker {one:.2f} s, with two {two:.2f} s: {ratio:.2f} x; "
              f"the worker that does less does {share:.0%}")
        self.assertLessEqual(ratio, 1.1)
        self.assertGreaterEqual(share, 0.4)

    def measure(self, workers, backend):
        """Returns the CPU seconds of the server per GB, and those of each of its workers."""
        pair = self.pair()
        pair.server.tables["limits"] = {"workers": workers}
        ports = [pair.to_cloud(backend)]
        agents = [pair.agent]
        for index in range(1, AGENTS):
            agent = Agent(self, f"agent{index}")
            agent.connect(pair.server.port, pair.agent_credentials)
            ports.append(agent.channel(pair.server.port, "web"))
            agents.append(agent)
        pair.start()
        for agent in agents[1:]:
            agent.start().wait_until_ready()
        os.sched_setaffinity(pair.server.process.pid, {0, 1} if os.cpu_count() > 1 else {0})
        before = self.spent(pair.server.process.pid)
        clients = [subprocess.Popen([LOAD, "bulk", str(port), "down", "2", str(SECONDS)], stdin=subprocess.DEVNULL,
                                    stdout=subprocess.PIPE, text=True) for port in ports]
        carried = sum(json.loads(client.communicate(timeout=60)[0])["bytes"] for client in clients)
        after = self.spent(pair.server.process.pid)
        for program in [*agents, pair.server]:
            program.stop()
        used = [after[name] - before[name] for name in sorted(after) if name.startswith("worker-")]
        return sum(used) / carried * 1e9, used

    @staticmethod
    def spent(pid):
        ticks = os.sysconf("SC_CLK_TCK")
        spent = {}
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            text = (task / "stat").read_text(encoding="ascii")
            name = text[text.index("(") + 1:text.rindex(")")]
            fields = text[text.rindex(")") + 2:].split()
            spent[name] = spent.get(name, 0) + (int(fields[11]) + int(fields[12])) / ticks
        return spent
