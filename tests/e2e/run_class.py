# SPDX-License-Identifier: Apache-2.0
"""Runs one end-to-end test class: run_class.py module.Class [--report FILE] [-k PATTERN]; --list names all, with "alone" where it
must have the machine for itself."""

import argparse
import importlib
import json
import pathlib
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))


def classes():
    for path in sorted(HERE.glob("*_test.py")):
        module = importlib.import_module(path.stem)
        for name, value in vars(module).items():
            if isinstance(value, type) and issubclass(value, unittest.TestCase) and value.__module__ == module.__name__:
                yield f"{path.stem}.{name}", value


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("name", nargs="?")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--report")
    parser.add_argument("-k", dest="pattern")
    options = parser.parse_args()
    if options.list:
        # The long ones first, so that two workers end together.
        for name, value in sorted(classes(), key=lambda item: -getattr(item[1], "seconds", 10)):
            print(name, "alone" if getattr(value, "alone", False) else "")
        return 0
    loader = unittest.TestLoader()
    if options.pattern:
        loader.testNamePatterns = [f"*{options.pattern}*"]
    tests = loader.loadTestsFromName(options.name)
    outcome = unittest.TextTestRunner(verbosity=2, stream=sys.stdout).run(tests)
    failed = len(outcome.failures) + len(outcome.errors) + len(outcome.unexpectedSuccesses)
    for test, reason in outcome.skipped:
        print(f"skipped: {test.id()}: {reason}")
    if options.report:
        counts = {"passed": outcome.testsRun - failed - len(outcome.skipped), "failed": failed, "skipped": len(outcome.skipped)}
        pathlib.Path(options.report).write_text(json.dumps({key: max(value, 0) for key, value in counts.items()}))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
