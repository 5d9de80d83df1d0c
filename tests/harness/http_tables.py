# SPDX-License-Identifier: Apache-2.0
"""Reads the tables of tests/common/http (raw messages, paths, authorities), which unit tests read too:
tests/testing/http_table.cpp."""

import re
from typing import NamedTuple

from tests.harness.environment import ROOT

FOLDER = ROOT / "tests/common/http"
ESCAPES = {"r": b"\r", "n": b"\n", "t": b"\t", "\\": b"\\"}


class Row(NamedTuple):
    line: int
    section: str  # the title after "=="
    cells: list  # bytes


def read(name, columns):
    """All rows of a table, each of at most `columns` cells; the last cell may contain bars."""
    rows, macros, section = [], {}, ""
    for number, text in enumerate((FOLDER / name).read_text(encoding="utf-8").split("\n"), 1):
        if not text or text.startswith("#"):
            continue
        if text.startswith("== "):
            section = text[3:]
        elif text.startswith(":= "):
            macro, value = text[3:].split(" ", 1)
            macros[macro] = expanded(value, macros)
        else:
            # A bar shares the space between it and the next one.
            *cells, last = re.split(r" \|(?= )", text, maxsplit=columns - 1)
            cells = [cell.strip(" ") for cell in cells] + [last[1:] if cells else last]
            rows.append(Row(number, section, [expanded(cell, macros) for cell in cells]))
    return rows


def expanded(text, macros):
    """Expands braces first and escapes second, so that "\\x7b" is not a brace."""
    result = b""
    for plain, braces in re.findall(r"([^{]*)(?:\{([^}]*)\})?", text):
        result += unescaped(plain)
        repeated, star, count = braces.rpartition("*")
        result += unescaped(repeated) * int(count) if star else macros[braces] if braces else b""
    return result


def unescaped(text):
    parts = re.findall(r"\\x([0-9a-fA-F]{2})|\\(.)|([^\\]+)", text)
    return b"".join(bytes.fromhex(byte) if byte else ESCAPES[mark] if mark else plain.encode() for byte, mark,
                    plain in parts)
