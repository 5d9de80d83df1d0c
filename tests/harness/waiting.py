# SPDX-License-Identifier: Apache-2.0
"""Waits for an event with a bound, instead of sleeping."""

import time


def wait_until(condition, seconds=10, what="the condition", every=0.02):
    """Polls until `condition` returns something true, and returns that. An OSError, such as a refused connection, means
    "not yet"."""
    deadline, last = time.monotonic() + seconds, None
    while True:
        try:
            if value := condition():
                return value
            last = None
        except OSError as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain for {what}" + (f": {last}" if last else ""))
        time.sleep(every)
