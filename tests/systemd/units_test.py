# SPDX-License-Identifier: Apache-2.0
"""systemd accepts the units, and they expose little to an attacker. Skipped if systemd-analyze is missing."""

import ast
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
EXPOSURE_MAX = 15  # tenths; 100 is a service without any protection
TEXT = (ROOT / "systemd/culvert.service.in").read_text()


def units():
    """Name -> text of each unit, as systemd/meson.build generates it."""
    parts = ast.literal_eval(re.search(r"(?s)units = (\{.*?\n\})", (ROOT / "systemd/meson.build").read_text())[1])
    return {unit: re.sub(r"@([A-Z]+)@", lambda found: values[found[1]], TEXT) for unit, values in parts.items()}


class Units(unittest.TestCase):
    def test_no_restart_after_an_exit_status_that_a_restart_cannot_fix(self):
        statuses = dict(re.findall(r"(\w+) = (\d+),", (ROOT / "common/program/program.hpp").read_text()))
        self.assertIn(f"\nRestartPreventExitStatus={statuses['usage']} {statuses['configuration']}\n", TEXT)

    def test_each_program_and_each_instance_has_its_file(self):
        self.assertEqual({name: re.search("(?m)^ExecStart=(.*)", text)[1] for name, text in units().items()}, {
            "culvert-agent.service": "culvert-agent --config /etc/culvert/agent.toml",
            "culvert-agent@.service": "culvert-agent --config /etc/culvert/agent-%i.toml",
            "culvert-server.service": "culvert-server --config /etc/culvert/server.toml"})

    def test_each_setting_has_a_comment_above(self):
        for block in TEXT.split("[Service]")[1].split("[Install]")[0].strip().split("\n\n"):
            self.assertTrue(block.startswith("#"), block)


@unittest.skipUnless(shutil.which("systemd-analyze"), "systemd-analyze is not installed")
class Analyzed(unittest.TestCase):
    def analyze(self, *arguments):
        """Runs systemd-analyze on copies of the units whose program exists, since the real one is not installed."""
        with tempfile.TemporaryDirectory() as folder:
            names = []
            for name, text in units().items():
                # For a template, an instance is checked.
                file = pathlib.Path(folder) / name.replace("@", "@plant")
                file.write_text(re.sub("(?m)^ExecStart=culvert-[a-z]+", "ExecStart=/bin/true", text))
                names.append(str(file))
            return subprocess.run(["systemd-analyze", *arguments, *names], capture_output=True, text=True, timeout=60)

    def test_systemd_finds_no_fault(self):
        answer = self.analyze("verify", "--man=no")
        faults = [line for line in (answer.stdout + answer.stderr).splitlines() if "culvert-" in line]
        self.assertEqual(faults, [])

    def test_the_exposure_is_small(self):
        answer = self.analyze("security", "--offline=true", f"--threshold={EXPOSURE_MAX}", "--no-pager")
        self.assertEqual(answer.returncode, 0, answer.stdout + answer.stderr)


if __name__ == "__main__":
    unittest.main()
