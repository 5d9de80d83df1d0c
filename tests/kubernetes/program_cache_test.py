# SPDX-License-Identifier: Apache-2.0
"""The cache keeps complete folders only: what an interrupted or failed run leaves is not used."""

import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

from tests.harness.environment import ROOT
from tests.harness.kubernetes import program_cache

# Fills half of a folder, prints that, and waits to be killed.
INTERRUPTED = """
import pathlib, sys, time
from tests.harness.kubernetes import program_cache
program_cache.CACHE = pathlib.Path(sys.argv[1])
def make(folder):
    (folder / "half").write_text("made")
    print("half", flush=True)
    time.sleep(60)
program_cache.kept("thing", b"recipe", make)
"""


class ProgramCacheTest(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.cache = pathlib.Path(folder.name)
        patch = mock.patch.object(program_cache, "CACHE", self.cache)
        patch.start()
        self.addCleanup(patch.stop)
        self.made = []

    def make(self, folder):
        self.assertEqual(list(folder.iterdir()), [])
        (folder / "program").write_text("made")
        self.made.append(folder)

    def kept(self, recipe=b"recipe"):
        folder = program_cache.kept("thing", recipe, self.make)
        self.assertEqual([path.name for path in folder.iterdir()], ["program"])
        return folder

    def test_a_folder_is_made_once_for_each_recipe(self):
        folder = self.kept()
        self.assertEqual(self.kept(), folder)
        self.assertEqual(len(self.made), 1)
        self.assertNotEqual(self.kept(b"another"), folder)
        self.assertEqual(len(self.made), 2)

    def test_a_failed_run_leaves_nothing(self):
        def fail(folder):
            (folder / "half").write_text("made")
            raise AssertionError("no network")

        with self.assertRaisesRegex(AssertionError, "no network"):
            program_cache.kept("thing", b"recipe", fail)
        self.assertEqual([path.name for path in self.cache.iterdir()], ["thing.lock"])
        self.kept()

    def test_a_killed_run_is_repeated(self):
        with subprocess.Popen([sys.executable, "-B", "-c", INTERRUPTED, self.cache], cwd=ROOT, stdout=subprocess.PIPE,
                              text=True) as process:
            self.assertEqual(process.stdout.readline(), "half\n")
            process.send_signal(signal.SIGKILL)
        self.assertTrue(list(self.cache.glob("thing-*/half")))
        self.kept()
        self.assertEqual(list(self.cache.glob("*.unfinished")), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
