# SPDX-License-Identifier: Apache-2.0
"""Our rules that clang-tidy cannot check. Prints `file:line: rule: what to do instead`; the exit status is 1 if it
found anything."""

import re
import subprocess
import sys

from tests.harness.environment import ROOT
from tests.tidy.source_rules import check_source
from tests.tidy.text_rules import check_text

TEXTS = ("*.cpp", "*.hpp", "*.py", "*.md", "*meson.build", "scripts/*", ".ci/run")


def tracked(*patterns):
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\n")
    return sorted({name for name in names if name and (ROOT / name).is_file()})


def check_listed(sources):
    """Sources are listed, never globbed: one that no meson.build names is dead."""
    listed = set()
    for name in tracked("*meson.build"):
        for path in re.findall(r"'([^']+\.cpp)'", (ROOT / name).read_text()):
            listed.add(((ROOT / name).parent / path).resolve())
    for name in sources:
        if ROOT / name not in listed:
            yield name, 1, "dead file: list it in the meson.build of its folder, or delete it"


def main():
    findings = list(check_listed(tracked("*.cpp")))
    for name in tracked(*TEXTS):
        lines = (ROOT / name).read_text().splitlines()
        findings += [(name, *finding) for finding in check_text(name, lines)]
        if name.endswith((".cpp", ".hpp")):
            findings += [(name, *finding) for finding in check_source(name, lines)]
    for name, number, text in findings:
        print(f"{name}:{number}: {text}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
