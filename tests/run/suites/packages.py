# SPDX-License-Identifier: Apache-2.0
"""Makes the Debian packages and tests them."""

from tests.run.test_module import report_module, run_module

SECONDS_MAX = 3600  # for two complete builds


def run_suite(options):
    return report_module("packages", *run_module(options, "tests/packages/packages_test.py", SECONDS_MAX))
