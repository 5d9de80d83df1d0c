# SPDX-License-Identifier: Apache-2.0
"""Builds, and lists what was built."""

import json
import time

from tests.run.processes import run
from tests.run.result import say

BUILD_SECONDS_MAX = 3600


def build(kind, *targets):
    """Whether scripts/build succeeds."""
    started = time.monotonic()
    status, output = run(["scripts/build", kind, *targets], seconds_max=BUILD_SECONDS_MAX)
    say(f"built {kind}{': ' + ' '.join(targets) if len(targets) == 1 else ''} ({time.monotonic() - started:.0f} s)")
    if status != 0:
        say("\n".join(output.splitlines()[-80:]))
    return status == 0


def introspect(kind, what):
    """A list that `meson introspect` prints, such as --tests."""
    status, output = run(["meson", "introspect", what, f"build/{kind}"])
    return json.loads(output) if status == 0 else []
