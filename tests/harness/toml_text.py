# SPDX-License-Identifier: Apache-2.0
"""Writes configuration files."""

import json
import pathlib


def toml(tables):
    """TOML of a dict of tables; a list of dicts becomes [[…]]."""
    def value(v):
        if isinstance(v, dict):
            return "{" + ", ".join(f"{key} = {value(each)}" for key, each in v.items()) + "}"
        if isinstance(v, list):
            return "[" + ", ".join(map(value, v)) + "]"
        return json.dumps(str(v) if isinstance(v, pathlib.Path) else v)

    lines = []
    for name, content in tables.items():
        for table in content if isinstance(content, list) else [content]:
            lines.append(f"[[{name}]]" if isinstance(content, list) else f"[{name}]")
            lines += [f"{key} = {value(v)}" for key, v in table.items()] + [""]
    return "\n".join(lines)
