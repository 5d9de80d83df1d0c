# SPDX-License-Identifier: Apache-2.0
"""The machine that measures: what it is, and whether it is quiet enough for figures that are published."""

import datetime
import os
import pathlib
import platform
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LOAD_AVERAGE_LIMIT = 0.5  # over 1 minute; documents are written only from figures of a machine below it


def describe():
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return {"cpu": model[1] if model else platform.machine(), "cores": os.cpu_count(), "kernel": platform.release(),
            "load_average": os.getloadavg()[0], "date": datetime.date.today().isoformat(),
            "version": (ROOT / "VERSION").read_text().strip()}


def require_quiet(about, document):
    """Exits unless the load average in `about` is low enough to write `document`."""
    if about["load_average"] >= LOAD_AVERAGE_LIMIT:
        raise SystemExit(
            f"bench: {document} is not written: the load average over 1 minute is {about['load_average']:.2f}, and it "
            f"must be below {LOAD_AVERAGE_LIMIT}.\nWait until the machine is quiet (a build counts for some minutes), "
            "or measure without --document.")
