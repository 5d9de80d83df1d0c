# SPDX-License-Identifier: Apache-2.0
"""Runs one end-to-end test class: python3 -m tests.run.one_class module_test.Class [--report FILE] [-k PATTERN]. With
--list it prints all classes, the long ones first, with "alone" after those that need the whole machine."""

import argparse
import importlib
import json
import pathlib
import sys
import unittest

from tests.harness.environment import ROOT

PACKAGE = "tests.e2e"


def classes():
    for path in sorted((ROOT / PACKAGE.replace(".", "/")).glob("*_test.py")):
        module = importlib.import_module(f"{PACKAGE}.{path.stem}")
        for name, value in vars(module).items():
            if isinstance(value, type) and issubclass(value, unittest.TestCase) and value.__module__ == module.__name__:
                yield f"{path.stem}.{name}", value


def print_list():
    # The long ones first, so that parallel workers end at about the same time.
    for name, value in sorted(classes(), key=lambda item: -getattr(item[1], "seconds", 10)):
        print(name, "alone" if getattr(value, "alone", False) else "")
    return 0


def run(name, pattern, report):
    loader = unittest.TestLoader()
    if pattern:
        loader.testNamePatterns = [f"*{pattern}*"]
    tests = loader.loadTestsFromName(f"{PACKAGE}.{name}")
    outcome = unittest.TextTestRunner(verbosity=2, stream=sys.stdout).run(tests)
    failed = len(outcome.failures) + len(outcome.errors) + len(outcome.unexpectedSuccesses)
    for test, reason in outcome.skipped:
        print(f"skipped: {test.id()}: {reason}")
    if report:
        counts = {"passed": outcome.testsRun - failed - len(outcome.skipped), "failed": failed,
                  "skipped": len(outcome.skipped)}
        pathlib.Path(report).write_text(json.dumps({key: max(value, 0) for key, value in counts.items()}))
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(prog="python3 -m tests.run.one_class")
    parser.add_argument("name", nargs="?")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--report")
    parser.add_argument("-k", dest="pattern")
    options = parser.parse_args()
    return print_list() if options.list else run(options.name, options.pattern, options.report)


if __name__ == "__main__":
    sys.exit(main())
