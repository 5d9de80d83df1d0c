# SPDX-License-Identifier: Apache-2.0
"""Programs whose wall clock is wrong (libfaketime). Their monotonic clock is right, as on a machine whose time was set
wrong."""

import contextlib
import os
import pathlib
from unittest import mock


def preloaded(**settings):
    library = next(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    return {**os.environ, "LD_PRELOAD": str(library), "NO_FAKE_STAT": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            **settings}


def clock_wrong_by(seconds):
    """The environment of a program whose wall clock is wrong by this. Times of files stay right."""
    return preloaded(FAKETIME=f"{seconds:+d}") if seconds else dict(os.environ)


def clock_in(file):
    """The same, and the file says by how much. A change takes effect within a second."""
    return preloaded(FAKETIME_TIMESTAMP_FILE=str(file), FAKETIME_CACHE_DURATION="1")


@contextlib.contextmanager
def all_clocks_wrong_by(seconds):
    """The same for all programs that are started meanwhile."""
    with mock.patch.dict(os.environ, clock_wrong_by(seconds)):
        yield
