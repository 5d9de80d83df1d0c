# SPDX-License-Identifier: Apache-2.0
"""Style: our own rules, clang-format and clang-tidy."""

import concurrent.futures
import time

from tests.run.processes import PARALLEL, PYTHON, run
from tests.run.result import Result, report, say
from tests.run.tracked_files import changed_files, tracked

CLANG_TIDY_SECONDS_MAX = 100  # without --all: CI has a time budget
CLANG_TIDY_FOLDERS = ("protocol", "common", "server", "agent")


def run_suite(options):
    result = Result()
    for path in ("tests/tidy/tidy_test.py", *tracked("tests/tidy/*_documented_test.py", "tests/systemd/*_test.py")):
        started = time.monotonic()
        status, output = run([*PYTHON, "-m", path.removesuffix(".py").replace("/", ".")])
        result.add(report(status == 0, path, time.monotonic() - started, output))
    started = time.monotonic()
    status, output = run([*PYTHON, "tests/bench/figures_test.py"])
    result.add(report(status == 0, "tests/bench/figures_test.py", time.monotonic() - started, output))
    started = time.monotonic()
    status, output = run(["clang-format-19", "--dry-run", "-Werror", *tracked("*.cpp", "*.hpp")])
    result.add(report(status == 0, "clang-format", time.monotonic() - started,
                      output + "\nremedy: clang-format-19 -i FILE"))
    result.add(clang_tidy(options))
    return result


def clang_tidy(options):
    """One file per process, changed files first, then the protocol, until the time is used up; with --all, every
    file."""
    started = time.monotonic()
    sources = [f for f in tracked("*.cpp") if f.split("/")[0] in CLANG_TIDY_FOLDERS]
    if not options.all:
        changed = changed_files()
        sources = [f for f in sources if f in changed] + [f
                                                          for f in sources if f.startswith("protocol/")
                                                          and f not in changed]
    late = []

    def check(source):
        if not options.all and time.monotonic() - started > CLANG_TIDY_SECONDS_MAX:
            late.append(source)
            return 0, ""
        return run(["clang-tidy-19", "--quiet", "-p", f"build/{options.kind}", source])

    with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
        failed = [output for status, output in pool.map(check, sources) if status != 0]
    if late:
        say(f"  note  clang-tidy: no time for {len(late)} of {len(sources)} files; scripts/test tidy --all checks all")
    return report(not failed, f"clang-tidy, {len(sources) - len(late)} files", time.monotonic() - started,
                  "\n".join(failed))
