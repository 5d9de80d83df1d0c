# SPDX-License-Identifier: Apache-2.0
"""What the cache keeps is whole: nobody gets what an interrupted or failed run left."""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

import cache

# Fills a folder half, says so, and waits for its end.
INTERRUPTED = """
import pathlib, sys, time
import cache
cache.CACHE = pathlib.Path(sys.argv[1])
def make(folder):
    (folder / "half").write_text("made")
    print("half", flush=True)
    time.sleep(60)
cache.kept("thing", b"recipe", make)
"""


class CacheTest(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.cache = pathlib.Path(folder.name)
        patch = mock.patch.object(cache, "CACHE", self.cache)
        patch.start()
        self.addCleanup(patch.stop)
        self.made = []

    def make(self, folder):
        self.assertEqual(list(folder.iterdir()), [])
        (folder / "program").write_text("made")
        self.made.append(folder)

    def kept(self, recipe=b"recipe"):
        folder = cache.kept("thing", recipe, self.make)
        self.assertEqual([path.name for path in folder.iterdir()], ["program"])
        return folder

    def test_a_thing_is_made_once_for_each_recipe(self):
        folder = self.kept()
        self.assertEqual(self.kept(), folder)
        self.assertEqual(len(self.made), 1)
        self.assertNotEqual(self.kept(b"another"), folder)
        self.assertEqual(len(self.made), 2)

    def test_what_failed_leaves_nothing(self):
        def fail(folder):
            (folder / "half").write_text("made")
            raise AssertionError("no network")

        with self.assertRaisesRegex(AssertionError, "no network"):
            cache.kept("thing", b"recipe", fail)
        self.assertEqual([path.name for path in self.cache.iterdir()], ["thing.lock"])
        self.kept()

    def test_what_was_killed_is_made_anew(self):
        with subprocess.Popen([sys.executable, "-B", "-c", INTERRUPTED, self.cache], cwd=cache.HERE, stdout=subprocess.PIPE, text=True,
                              env={**os.environ, "PYTHONPATH": str(cache.HERE)}) as process:
            self.assertEqual(process.stdout.readline(), "half\n")
            process.send_signal(signal.SIGKILL)
        self.assertTrue(list(self.cache.glob("thing-*/half")))
        self.kept()
        self.assertEqual(list(self.cache.glob("*.unfinished")), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
