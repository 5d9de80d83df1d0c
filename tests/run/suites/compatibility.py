# SPDX-License-Identifier: Apache-2.0
"""Runs the programs of the last release with those of this checkout. Builds the former if that was not done before."""

import concurrent.futures
import time

from tests.compatibility.last_release import REVISION
from tests.run.build import build
from tests.run.processes import PARALLEL, PYTHON, run
from tests.run.result import Result, report, say
from tests.run.test_module import report_module, run_module
from tests.run.tracked_files import tracked

BUILD_SECONDS_MAX = 3600
MODULE_SECONDS_MAX = 600


def run_suite(options):
    if not build("release", "server/culvert-server", "agent/culvert-agent"):
        return Result(failed=1)
    started = time.monotonic()
    status, output = run([*PYTHON, "-m", "tests.harness.revision", REVISION], seconds_max=BUILD_SECONDS_MAX)
    if status != 0:
        return report(False, f"build of {REVISION[:12]}", time.monotonic() - started, output)
    say(f"the programs of {REVISION[:12]} are there ({time.monotonic() - started:.0f} s)")
    total = Result()
    paths = tracked("tests/compatibility/*_test.py")
    with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
        outcomes = pool.map(lambda path: run_module(options, path, MODULE_SECONDS_MAX), paths)
        for path, outcome in zip(paths, outcomes):
            total.add(report_module(path, *outcome))
    return total
