# SPDX-License-Identifier: Apache-2.0
"""Culvert's tests in Python. Run them from the repository's root: scripts/test, or python3 -m unittest
tests.e2e.stop_test."""
