# SPDX-License-Identifier: Apache-2.0
"""Where the tests find what they test, and how large their data may be."""

import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("CULVERT_BUILD", ROOT / "build/release"))
SCALE = float(os.environ.get("CULVERT_E2E_SCALE", "1"))  # of the amounts of data: sanitizer builds are slow
AS_ROOT = os.geteuid() == 0
