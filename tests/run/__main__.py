# SPDX-License-Identifier: Apache-2.0
"""Builds Culvert and runs its test suites: scripts/test calls it. Each suite returns a Result; the last line is their
sum."""

import argparse
import importlib
import signal
import sys
import time

from tests.run.build import build
from tests.run.processes import end_all_and_exit
from tests.run.result import Result, say

SUITES = ["tidy", "unit", "simulation", "fuzz", "e2e"]
# Style does not depend on them, and the fuzz targets always have them.
SUITES_UNDER_SANITIZERS = ["unit", "simulation", "e2e"]
SEPARATE = ["packages", "kubernetes", "image", "compatibility"]  # only by their own option
BUILD_THEMSELVES = {"fuzz", "packages", "image", "compatibility"}
FUZZ_SECONDS = 40


def parse():
    parser = argparse.ArgumentParser(prog="scripts/test", description="Builds Culvert and runs its tests.")
    parser.add_argument("suites", nargs="*", metavar="suite", help=f"one or more of: {', '.join(SUITES)}; default: all")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--sanitize", dest="kind", action="store_const", const="asan", default="release",
                       help="under ASan and UBSan")
    kinds.add_argument("--tsan", dest="kind", action="store_const", const="tsan", help="under TSan")
    parser.add_argument("--seeds", type=int, help="of the simulation; default 2000, under a sanitizer 500")
    parser.add_argument("--fuzz-seconds", type=int, default=FUZZ_SECONDS,
                        help=f"for all fuzz targets together; default {FUZZ_SECONDS}")
    separate = parser.add_mutually_exclusive_group()
    for name, help_text in (("packages", "only the Debian packages"),
                            ("kubernetes", "only the tests with a Kubernetes API server"),
                            ("image", "only the container image"),
                            ("compatibility", "only the tests with the programs of the last release")):
        separate.add_argument(f"--{name}", dest="separate", action="store_const", const=name, help=help_text)
    parser.add_argument("--all", action="store_true", help="clang-tidy on every file")
    parser.add_argument("-k", dest="pattern",
                        help="only tests whose name contains this; not for tidy, simulation and fuzz")
    options = parser.parse_args()
    for name in options.suites:
        if name not in SUITES + SEPARATE:
            parser.error(f"no suite {name}; there are: {', '.join(SUITES)}")
    options.seeds = options.seeds or (2000 if options.kind == "release" else 500)
    if not options.suites:
        default = SUITES if options.kind == "release" else SUITES_UNDER_SANITIZERS
        options.suites = [options.separate] if options.separate else default
    return options


def run_suite(name, options):
    """(Result, its line of the summary)"""
    say(f"== {name}")
    started = time.monotonic()
    result = importlib.import_module(f"tests.run.suites.{name}").run_suite(options)
    if result == Result() and not options.pattern:
        say(f"  FAIL  {name}: there was nothing to run")
        result.failed = 1
    skipped = f", {result.skipped} skipped" if result.skipped else ""
    seconds = time.monotonic() - started
    return result, f"{name:<11} {result.passed:5} passed, {result.failed} failed{skipped}  ({seconds:.0f} s)"


def main():
    options = parse()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end_all_and_exit)
    total, lines = Result(), []
    if set(options.suites) <= BUILD_THEMSELVES or build(options.kind):
        for name in options.suites:
            result, line = run_suite(name, options)
            total.add(result)
            lines.append(line)
    else:
        total.failed += 1
        lines.append("build       failed; no suite was run")
    say("== summary")
    for line in lines:
        say(line)
    say(f"{total.passed} passed, {total.failed} failed")
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
