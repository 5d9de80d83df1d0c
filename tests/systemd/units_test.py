# SPDX-License-Identifier: Apache-2.0
"""The units are ones that systemd understands, and leave an attacker little. Skipped where systemd-analyze is missing."""

import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROGRAMS = ("culvert-agent", "culvert-server")
EXPOSURE_MAX = 15  # tenths; 100 is a service without any protection


def unit_text(program):
    return (ROOT / "systemd" / f"{program}.service").read_text()


def settings(program):
    return re.findall(r"(?m)^(\w+)=(.*)$", unit_text(program))


class Units(unittest.TestCase):
    def test_those_that_cannot_be_helped_by_a_restart_are_left_alone(self):
        statuses = dict(re.findall(r"(\w+) = (\d+),", (ROOT / "common/program/program.hpp").read_text()))
        for program in PROGRAMS:
            self.assertIn(("RestartPreventExitStatus", f"{statuses['usage']} {statuses['configuration']}"), settings(program))

    def test_agent_and_server_are_confined_alike(self):
        of_the_program = {"Description", "ExecStart"}
        agent, server = ([pair for pair in settings(program) if pair[0] not in of_the_program] for program in PROGRAMS)
        self.assertEqual(agent, server)

    def test_each_setting_stands_below_a_comment(self):
        for program in PROGRAMS:
            for block in unit_text(program).split("[Service]")[1].split("[Install]")[0].strip().split("\n\n"):
                self.assertTrue(block.startswith("#"), block)


@unittest.skipUnless(shutil.which("systemd-analyze"), "systemd-analyze is not installed")
class Analyzed(unittest.TestCase):
    def analyze(self, *arguments):
        """A copy of the units whose program is there, since those of the build are not installed."""
        with tempfile.TemporaryDirectory() as folder:
            units = []
            for program in PROGRAMS:
                unit = pathlib.Path(folder) / f"{program}.service"
                unit.write_text(unit_text(program).replace(f"ExecStart={program}", "ExecStart=/bin/true"))
                units.append(str(unit))
            return subprocess.run(["systemd-analyze", *arguments, *units], capture_output=True, text=True, timeout=60)

    def test_systemd_finds_no_fault(self):
        answer = self.analyze("verify", "--man=no")
        faults = [line for line in (answer.stdout + answer.stderr).splitlines() if "culvert-" in line]
        self.assertEqual(faults, [])

    def test_the_exposure_is_small(self):
        answer = self.analyze("security", "--offline=true", f"--threshold={EXPOSURE_MAX}", "--no-pager")
        self.assertEqual(answer.returncode, 0, answer.stdout + answer.stderr)


if __name__ == "__main__":
    unittest.main()
