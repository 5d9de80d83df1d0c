# SPDX-License-Identifier: Apache-2.0
"""The base of tests that start programs: each has a folder and ports of its own, and proves at its end that both
programs hold nothing any more and stop as they should."""

import contextlib
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import unittest

from tests.harness.commands import run
from tests.harness.culvert_program import GAUGES_BACK_TO_ZERO, CulvertProgram
from tests.harness.pair import Pair
from tests.harness.waiting import wait_until

SANITIZER_REPORT = re.compile(
    r"ERROR: (Address|Leak|Thread|Memory)Sanitizer|WARNING: ThreadSanitizer|runtime error:|check failed")


class Case(unittest.TestCase):
    """A test with a folder and programs, which are gone afterwards. The logs are printed when it fails."""

    seconds = 10  # roughly how long the class takes: long classes start first
    alone = False  # True: it measures, so nothing else may run at the same time

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="culvert-"))
        self.folder.chmod(0o755)
        self.programs = []
        self.addCleanup(self.kill_programs)

    def kill_programs(self):
        """Sends a signal first, so that squid and PostgreSQL release their shared memory and end their children. What
        remains is in the process group of this test class, which the runner ends."""
        for program in reversed(self.programs):
            if program.is_running():
                program.send(signal.SIGCONT)
                program.send(program.stop_signal)
        for program in self.programs:
            if program.process is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    program.process.wait(timeout=5)
                program.kill()

    def run(self, result=None):
        faults = lambda: len(result.failures) + len(result.errors)
        before = faults()
        super().run(result)
        if not hasattr(self, "programs"):
            return result
        if faults() > before:
            for program in self.programs:
                tail = program.output().splitlines()[-60:]
                print(f"--- {self.id()}: {program.name}", *tail, sep="\n", flush=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        return result

    def tearDown(self):
        culverts = [p for p in self.programs if isinstance(p, CulvertProgram)]
        running = [p for p in culverts if p.is_running()]
        self.assert_gauges_at_zero(running)
        # Agents first, so that none logs the loss of its server.
        for program in sorted(running, key=lambda p: p.kind):
            self.assertEqual(program.stop(), 0, f"exit status of {program.name}")
        for program in culverts:
            found = SANITIZER_REPORT.search(program.output())
            self.assertIsNone(found, f"{program.name} reports: {found and program.output()[found.start():][:4000]}")

    def assert_gauges_at_zero(self, programs):
        for program in programs:
            with contextlib.suppress(AssertionError):
                wait_until(lambda p=program: all(v == 0 for v in p.gauges().values()), 10)
            self.assertEqual(program.gauges(), dict.fromkeys(GAUGES_BACK_TO_ZERO, 0.0), f"gauges of {program.name}")

    def pair(self, **options):
        return Pair(self, **options)

    def command(self, *arguments, seconds=120, status=0, **keywords):
        """Runs a program to its end, as commands.run does."""
        return run(*arguments, seconds=seconds, status=status, **keywords)
