# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL."""

import os
import pathlib
import pwd
import signal

from tests.harness.commands import run
from tests.harness.environment import AS_ROOT
from tests.harness.ports import free_port
from tests.harness.program import Program
from tests.harness.waiting import wait_until


class Postgres:
    """A private PostgreSQL cluster without passwords: the test is about the tunnel."""

    def __init__(self, case):
        self.case, self.port, self.folder = case, free_port(), case.folder / "postgres"
        self.user = "postgres" if AS_ROOT else None
        self.folder.mkdir()
        if AS_ROOT:
            entry = pwd.getpwnam("postgres")
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
        binaries = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1]
        data = self.folder / "data"
        run(binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C",
            user=self.user, cwd=self.folder)
        Program(case, "postgres", [binaries / "postgres", "-D", data, "-h", "127.0.0.1", "-p", self.port, "-k",
                                   self.folder, "-F"],
                folder=self.folder, user=self.user).start().wait_for_port(self.port, 30)
        case.programs[-1].stop_signal = signal.SIGINT  # PostgreSQL's fast shutdown
        wait_until(lambda: "ready to accept" in case.programs[-1].output(), 30, "PostgreSQL to accept connections")
