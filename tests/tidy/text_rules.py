# SPDX-License-Identifier: Apache-2.0
"""The form of any text file: licence, white space, width."""

import re

COLUMNS_MAX = 120


def check_text(name, lines):
    """Yields (line number, what is wrong)."""
    if not name.endswith(".md"):
        first = lines[:2] if lines and lines[0].startswith("#!") else lines[:1]
        if not any("SPDX-License-Identifier: Apache-2.0" in line for line in first):
            yield 1, "licence: begin with // SPDX-License-Identifier: Apache-2.0"
    is_narrow = name.endswith((".cpp", ".hpp", ".py", ".md")) or "python" in lines[0]
    laid_out_by_hand = False  # a table between clang-format off and on
    for number, line in enumerate(lines, 1):
        laid_out_by_hand = "clang-format off" in line or laid_out_by_hand and "clang-format on" not in line
        if "\t" in line:
            yield number, "tab: indent with spaces"
        if line != line.rstrip():
            yield number, "space: remove spaces at the end of the line"
        if len(line) > COLUMNS_MAX and is_narrow and not laid_out_by_hand and not may_be_wide(name, line):
            yield number, f"width: {len(line)} columns, {COLUMNS_MAX} at most"


def may_be_wide(name, line):
    """Lines that cannot be broken: C++ with a URL, and in Markdown rows of tables and links."""
    if name.endswith(".md"):
        return line.lstrip().startswith("|") or len(re.sub(r"\]\([^)]*\)", "]", line)) <= COLUMNS_MAX
    return name.endswith((".cpp", ".hpp")) and ("http://" in line or "https://" in line)
