# SPDX-License-Identifier: Apache-2.0
"""The last release. Its programs and those of this checkout must work together, in either role."""

import contextlib
import os

from tests.harness import revision
from tests.harness.case import Case
from tests.harness.environment import BUILD
from tests.harness.waiting import wait_until

REVISION = "cddc476b27aeda65cb4910509e4ce2701da1c3ad"
# Builds: folders with the programs.
OLD, NEW = revision.checkout_of(REVISION) / "build/release", BUILD


class MixedCase(Case):
    """A case whose programs may be those of the last release."""

    def assert_gauges_at_zero(self, programs):
        for program in programs:
            # The last release does not have all of these gauges.
            left = lambda p=program: {name: value for name, value in p.gauges().items() if value}
            with contextlib.suppress(AssertionError):
                wait_until(lambda: not left(), 10)
            self.assertEqual(left(), {}, f"gauges of {program.name}")

    def assert_runs(self, program, build):
        """The program that runs is of this build."""
        self.assertEqual(os.readlink(f"/proc/{program.process.pid}/exe"), str(program.binary(build)))
