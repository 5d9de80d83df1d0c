# SPDX-License-Identifier: Apache-2.0
"""The simulation of the protocol. All seeds are one test. The output names each seed that failed; --seed N of the same
program repeats it."""

import time

from tests.run.build import introspect
from tests.run.processes import run, sanitizer_environment
from tests.run.result import Result, report


def run_suite(options):
    started = time.monotonic()
    program = next((test["cmd"] for test in introspect(options.kind, "--tests") if test["name"] == "simulation"), None)
    if program is None:
        return Result()
    status, output = run([*program, "--seeds", str(options.seeds)], env=sanitizer_environment())
    return report(status == 0, f"simulation, {options.seeds} seeds", time.monotonic() - started, output)
