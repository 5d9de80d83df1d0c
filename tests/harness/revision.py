# SPDX-License-Identifier: Apache-2.0
"""Another revision of this repository, built beside this checkout: `python3 -m tests.harness.revision REVISION`."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from tests.harness.environment import ROOT

FOLDER = ROOT / "build/against"
PROGRAMS = ["server/culvert-server", "agent/culvert-agent"]


class RevisionError(Exception):
    """The text says what to do."""


def git(*arguments):
    answer = subprocess.run(["git", *arguments], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                            check=False)
    return answer.stdout.strip() if answer.returncode == 0 else None


def commit_of(revision):
    if commit := git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"):
        return commit
    if git("rev-parse", "--is-shallow-repository") == "true":
        raise RevisionError(f"this clone is shallow and does not have {revision}; get it with: git fetch --unshallow")
    raise RevisionError(f"{revision} is not a revision of this repository; if it is published, get it with: git fetch "
                        f"origin {revision}")


def checkout_of(commit):
    """The folder that build() builds this commit in."""
    return FOLDER / commit[:12]


def extract(commit, folder):
    """Writes the commit's files into the folder, which is complete as soon as it exists."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    aside = pathlib.Path(tempfile.mkdtemp(dir=FOLDER, prefix=f"{commit[:12]}-"))
    try:
        aside.chmod(0o755)
        # An archive, since a worktree would be an entry in .git that outlives build/.
        with subprocess.Popen(["git", "archive", commit], cwd=ROOT, stdout=subprocess.PIPE) as archive:
            unpacked = subprocess.run(["tar", "--extract", f"--directory={aside}"], stdin=archive.stdout, check=False)
        if archive.returncode or unpacked.returncode:
            raise RevisionError(f"the files of {commit} could not be written; the output is above")
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def build(revision):
    """Builds the two programs of the revision as its own scripts do. Returns its folder, which is kept for the next
    call. Raises RevisionError."""
    commit = commit_of(revision)
    folder = checkout_of(commit)
    if not (folder / "scripts/build").exists():
        extract(commit, folder)
    print(f"building {commit[:12]} in {folder.relative_to(ROOT)}", file=sys.stderr, flush=True)
    # It may need a package that this checkout does not need any more.
    for command in (["scripts/setup", "--build"], ["scripts/build", "release", *PROGRAMS]):
        status = subprocess.run([folder / command[0], *command[1:]], stdin=subprocess.DEVNULL, stdout=sys.stderr,
                                env=os.environ, check=False).returncode
        if status != 0:
            raise RevisionError(f"{revision} cannot be built: {command[0]} failed; the output is above")
    return folder


def main():
    try:
        build(sys.argv[1])
    except RevisionError as error:
        print(f"revision: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
