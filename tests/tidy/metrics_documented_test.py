# SPDX-License-Identifier: Apache-2.0
"""The table of metrics in docs/operate.md has exactly the metrics of the sources, with type and labels."""

import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def in_sources():
    found = set()
    for folder in ("common", "server", "agent"):
        for file in (ROOT / folder).rglob("*.cpp"):
            calls = re.findall(r'\b(gauge|counter|histogram)\(\s*"(\w+)",\s*"[^"]*"\s*(?:,\s*\{\{?(?:"(\w+)")?)?',
                               file.read_text())
            found.update((name, kind, label) for kind, name, label in calls)
    # The metrics page adds this one itself.
    found.add(("culvert_metrics_overflowed", "gauge", ""))
    return found


def in_document():
    rows = re.findall(r"(?m)^\| `((?:culvert|process)_\w+)` \| (\w+) \|([^|]*)\|",
                      (ROOT / "docs/operate.md").read_text())
    return [(name, kind, "".join(re.findall(r"`(\w+)`", labels)[:1])) for name, kind, labels in rows]


class MetricsDocumented(unittest.TestCase):
    def test_the_manual_and_the_sources_agree(self):
        sources, rows = in_sources(), in_document()
        self.assertGreater(len(sources), 15, "the search in the sources finds too little: fix it")
        self.assertEqual(len(rows), len(set(rows)), "a metric has two rows")
        self.assertEqual(sorted(sources - set(rows)), [], "add them to docs/operate.md")
        self.assertEqual(sorted(set(rows) - sources), [], "no source has them: remove them from docs/operate.md")


if __name__ == "__main__":
    unittest.main()
