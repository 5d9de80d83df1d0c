# SPDX-License-Identifier: Apache-2.0
"""Unit tests: every GoogleTest program."""

import concurrent.futures
import json
import pathlib
import tempfile
import time

from tests.run.build import introspect
from tests.run.processes import PARALLEL, run, sanitizer_environment
from tests.run.result import Result, report


def run_suite(options):
    environment = sanitizer_environment()

    def execute(test):
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            command = [*test["cmd"], f"--gtest_output=json:{file.name}", "--gtest_brief=1"]
            if options.pattern:
                command.append(f"--gtest_filter=*{options.pattern}*")
            started = time.monotonic()
            status, output = run(command, env=environment | test["env"])
            text = pathlib.Path(file.name).read_text()
        return test["name"], status, output, text, time.monotonic() - started

    total = Result()
    tests = [test for test in introspect(options.kind, "--tests") if test["protocol"] == "gtest"]
    with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
        for name, status, output, text, seconds in pool.map(execute, tests):
            result = result_of(status, text)
            report(result.failed == 0, f"{name}: {result.passed} cases", seconds, output)
            total.add(result)
    return total


def result_of(status, text):
    """`text`: the report in JSON, empty if the program did not write one."""
    if not text:
        return Result(failed=1)
    counts = json.loads(text)
    ran = counts["tests"] - counts.get("disabled", 0)
    skipped = text.count('"result": "SKIPPED"')
    # A sanitizer that reports at exit fails the program, but no case.
    failed = max(counts["failures"] + counts.get("errors", 0), int(status != 0))
    return Result(max(ran - failed - skipped, 0), failed, skipped)
