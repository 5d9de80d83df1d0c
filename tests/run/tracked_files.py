# SPDX-License-Identifier: Apache-2.0
"""Files of the repository, by git."""

from tests.harness.environment import ROOT
from tests.run.processes import run


def tracked(*patterns):
    """Files that match, including those that are not committed yet."""
    status, output = run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns])
    assert status == 0, output
    return sorted({line for line in output.splitlines() if (ROOT / line).is_file()})


def changed_files():
    """Files that differ from the main line; on the main line, from the commit before."""
    head = run(["git", "rev-parse", "HEAD"])[1].strip()
    for base in ("origin/HEAD", "main", "HEAD~1"):
        status, output = run(["git", "merge-base", base, "HEAD"])
        if status == 0 and output.strip() != head:
            status, output = run(["git", "diff", "--name-only", output.strip()])
            return set(output.split()) if status == 0 else set()
    return set(run(["git", "diff", "--name-only", "HEAD"])[1].split())
