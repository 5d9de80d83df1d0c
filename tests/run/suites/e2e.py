# SPDX-License-Identifier: Apache-2.0
"""End-to-end tests: each class in a process of its own, several at once. Those that measure run alone, after the
others."""

import concurrent.futures
import json
import pathlib
import tempfile
import time

from tests.harness.environment import ROOT
from tests.run.processes import PYTHON, run, sanitizer_environment
from tests.run.result import Result, report, report_notes

PARALLEL = 3  # classes at once: on two cores, since most of them wait for something
ONE_CLASS = [*PYTHON, "-m", "tests.run.one_class"]


def run_suite(options):
    environment = sanitizer_environment()
    environment["CULVERT_BUILD"] = str(ROOT / "build" / options.kind)
    environment.setdefault("CULVERT_E2E_SCALE", "1" if options.kind == "release" else "0.0625")
    status, output = run([*ONE_CLASS, "--list"], env=environment)
    if status != 0:
        return report(False, "e2e", 0, output)
    classes = [line.split() for line in output.splitlines()]
    pattern = ["-k", options.pattern] if options.pattern else []

    def execute(name):
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            started = time.monotonic()
            status, output = run([*ONE_CLASS, name, "--report", file.name, *pattern], env=environment)
            text = pathlib.Path(file.name).read_text()
        return name, status, output, text, time.monotonic() - started

    total = Result()
    with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
        for answer in pool.map(execute, [name for name, *alone in classes if not alone]):
            total.add(report_class(*answer))
    for name in [name for name, *alone in classes if alone]:
        total.add(report_class(*execute(name)))
    return total


def report_class(name, status, output, text, seconds):
    """`text`: the counts in JSON, empty if the process did not write them."""
    if not text:
        return report(False, name, seconds, output)
    result = Result(**json.loads(text))
    result.failed = max(result.failed, int(status != 0))
    if result != Result():
        report(result.failed == 0, f"{name}: {result.passed} tests", seconds, output)
    report_notes(output, "note:", "skipped:")
    return result
