# SPDX-License-Identifier: Apache-2.0
"""Tests with a real API server, which is built if the cache does not have it. Two modules at once, each with an API
server of its own; first all those that mostly wait."""

import concurrent.futures
import pathlib
import time

from tests.run.processes import PARALLEL, PYTHON, run
from tests.run.result import Result, report, say
from tests.run.test_module import report_module, run_module
from tests.run.tracked_files import tracked

PROGRAMS_SECONDS_MAX = 3600  # for a complete build of the API server
MODULE_SECONDS_MAX = 1800
# They wait for minutes, so they run at the same time.
MOSTLY_WAITING = ["cut_watches_test", "many_objects_test", "outage_test"]


def run_suite(options):
    started = time.monotonic()
    status, output = run([*PYTHON, "-m", "tests.harness.kubernetes.program_cache"], seconds_max=PROGRAMS_SECONDS_MAX)
    if status != 0:
        return report(False, "tests/harness/kubernetes/program_cache.py", time.monotonic() - started, output)
    say(f"the API server and its tools are there ({time.monotonic() - started:.0f} s)")
    total = Result()
    paths = {pathlib.Path(path).stem: path for path in tracked("tests/kubernetes/*_test.py")}
    waiting = [(name, paths.pop(name)) for name in MOSTLY_WAITING]
    total.add(run_together(options, waiting, len(waiting)))
    total.add(run_together(options, list(paths.items()), PARALLEL))
    return total


def run_together(options, modules, count):
    """Runs `count` of the modules (name, path) at the same time."""
    total = Result()
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        outcomes = pool.map(lambda each: run_module(options, each[1], MODULE_SECONDS_MAX), modules)
        for (name, _), outcome in zip(modules, outcomes):
            total.add(report_module(name, *outcome))
    return total
