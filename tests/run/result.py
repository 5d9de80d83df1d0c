# SPDX-License-Identifier: Apache-2.0
"""Results of tests, and the lines that report them."""

import dataclasses

OUTPUT_LINES_MAX = 120


@dataclasses.dataclass
class Result:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped


def say(text):
    print(text, flush=True)


def report(ok, name, seconds, output=""):
    """Prints one line, and `output` after a failure. Returns the Result of one test."""
    say(f"  {'ok  ' if ok else 'FAIL'}  {name}  ({seconds:.1f} s)")
    if not ok and output:
        # unittest prints the reasons last, after the logs of the programs: here they come first.
        log, line, reasons = output.partition("=" * 70)
        for part in filter(None, (line + reasons, log)):
            say("\n".join("    | " + text for text in part.splitlines()[-OUTPUT_LINES_MAX:]))
    return Result(passed=int(ok), failed=int(not ok))


def report_notes(output, *prefixes):
    """Repeats the lines of `output` with these prefixes."""
    for line in output.splitlines():
        if line.startswith(prefixes):
            say(f"        {line}")
