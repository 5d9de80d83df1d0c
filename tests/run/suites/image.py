# SPDX-License-Identifier: Apache-2.0
"""Makes the container image of the server and runs it with an agent."""

from tests.run.build import build
from tests.run.result import Result
from tests.run.test_module import report_module, run_module

SECONDS_MAX = 3600  # with a complete build


def run_suite(options):
    if not build("release", "agent/culvert-agent"):
        return Result(failed=1)
    return report_module("image", *run_module(options, "tests/container/image_test.py", SECONDS_MAX))
