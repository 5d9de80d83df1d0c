# SPDX-License-Identifier: Apache-2.0
"""What a process uses, as /proc reports it."""

import os
import pathlib
import re


def memory_kib(program, kind="Pss"):
    """Memory of a Program. "Pss_Anon" leaves out the pages of libraries, whose share changes as other programs start
    and exit."""
    text = pathlib.Path(f"/proc/{program.process.pid}/smaps_rollup").read_text(encoding="ascii")
    return int(re.search(rf"^{kind}:\s+(\d+)", text, re.MULTILINE)[1])


def descriptors(program):
    return len(os.listdir(f"/proc/{program.process.pid}/fd"))


def cpu_seconds(program):
    fields = pathlib.Path(f"/proc/{program.process.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


class PeakGrowth:
    """The most by which the memory of each program grew inside the `with`, in KiB."""

    def __init__(self, *programs):
        self.folders, self.before, self.kib = [pathlib.Path("/proc", str(p.process.pid)) for p in programs], [], []

    def read(self, key):
        return [int(re.search(rf"^{key}:\s+(\d+)", (folder / "status").read_text(), re.M)[1])
                for folder in self.folders]

    def __enter__(self):
        for folder in self.folders:
            (folder / "clear_refs").write_text("5")  # The kernel starts to record a new peak.
        self.before = self.read("VmRSS")
        return self

    def __exit__(self, *_):
        self.kib = [peak - before for peak, before in zip(self.read("VmHWM"), self.before)]
