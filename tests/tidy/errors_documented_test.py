# SPDX-License-Identifier: Apache-2.0
"""docs/errors.md lists exactly the error codes, reasons and log events of the sources."""

import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LEVELS = "error|warn|info|debug"


def code_without_comments():
    for folder in ("protocol", "common", "server", "agent"):
        for file in sorted((ROOT / folder).rglob("*.[ch]pp")):
            yield re.sub(r"(?m)(^|[\s;{}])//.*$", r"\1", file.read_text())


def events(code):
    """The first argument of each call that logs; a conditional has two."""
    found = set()
    logger = rf"(?:log_?|program_log)\s*\.\s*(?:{LEVELS})\s*\("
    function = r"(?:limited|put)\s*\(\s*(?:Log::)?Level::\w+\s*,"
    for call in re.findall(rf"\b(?:{logger}|{function})([^,{{)]*)", code):
        found.update(re.findall(r'"([a-z_.]+)"', call))
    return found


def dotted_words(code):
    """All literals that look like a code, except those that are only compared with, and names of files."""
    return set(re.findall(r'(?<!== )"([a-z_]+\.(?!pem")[a-z_]+)"', code))


def reasons():
    table = re.search(r"names = std::to_array.*?\}\);", (ROOT / "protocol/reason.cpp").read_text(), re.DOTALL).group()
    return set(re.findall(r'"([a-z_]+)"', table))


def documented(title):
    """The first column of all tables below a heading of the second level."""
    text = (ROOT / "docs/errors.md").read_text()
    section = re.search(rf"(?ms)^## {title}$(.*?)(?=^## |\Z)", text).group(1)
    rows = re.findall(r"(?m)^\| `([^`]+)` \|", section)
    return rows


class ErrorsDocumented(unittest.TestCase):
    def compare(self, title, in_sources):
        rows = documented(title)
        self.assertEqual(sorted(rows), sorted(set(rows)), "a word has two rows")
        self.assertGreater(len(in_sources), 25, "the search in the sources finds too little: fix it")
        self.assertEqual(sorted(in_sources - set(rows)), [], f"add them to docs/errors.md, {title}")
        self.assertEqual(sorted(set(rows) - in_sources), [],
                         f"no source has them: remove them from docs/errors.md, {title}")

    def test_each_error_code_has_a_row(self):
        sources = list(code_without_comments())
        self.compare("Error codes", {word for code in sources for word in dotted_words(code)} -
                     {event for code in sources for event in events(code)} | self.codes_that_are_events_too(sources))

    def codes_that_are_events_too(self, sources):
        return {word for code in sources
                for word in re.findall(r'(?:fail\(\s*|Error\{\s*|return \{\s*)"([a-z_]+\.[a-z_]+)"', code)}

    def test_each_log_event_has_a_row(self):
        self.compare("Log events", {event for code in code_without_comments() for event in events(code)})

    def test_each_reason_has_a_row(self):
        self.compare("Reasons", reasons())


if __name__ == "__main__":
    unittest.main()
