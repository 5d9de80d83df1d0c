# SPDX-License-Identifier: Apache-2.0
"""Runs a module of unittest that prints one line for each test, as verbosity 2 does."""

import time

from tests.run.processes import PYTHON, run
from tests.run.result import Result, report, report_notes, say


def run_module(options, path, seconds_max):
    """(status, output, seconds) of the module in this file."""
    started = time.monotonic()
    pattern = ["-k", options.pattern] if options.pattern else []
    module = path.removesuffix(".py").replace("/", ".")
    return *run([*PYTHON, "-m", module, *pattern], seconds_max=seconds_max), time.monotonic() - started


def report_module(name, status, output, seconds):
    """Reports what run_module() returned."""
    lines = [line for line in output.splitlines() if line.endswith((" ... ok", " ... FAIL", " ... ERROR"))]
    failed = sum(not line.endswith(" ok") for line in lines)
    for line in lines:
        say(f"  {line}")
    result = Result(passed=len(lines) - failed, failed=max(failed, int(status != 0)))
    report(result.failed == 0, f"{name}: {result.passed} tests", seconds, output)
    report_notes(output, "note:")
    return result
