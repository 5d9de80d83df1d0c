# SPDX-License-Identifier: Apache-2.0
"""Which files may include which headers."""

import re

from tests.harness.environment import ROOT

# Room -> rooms that it may include, besides itself. A room is a folder with its subfolders, or files of one name
# (server/config). A file belongs to the longest room that fits. On the right, a folder stands for all rooms in it.
COMMON_TOOLS = ["protocol", "common/base", "common/net", "common/config", "common/tls", "common/http", "common/admin"]
MAY_INCLUDE = {
    "protocol": [],
    "common/base": ["protocol"],
    "common/net": ["protocol", "common/base"],
    "common/config": ["protocol", "common/base", "common/net"],
    "common/tls": ["protocol", "common/base", "common/net", "common/config"],
    "common/http": ["protocol", "common/base", "common/net"],
    "common/admin": ["protocol", "common/base", "common/net", "common/config"],
    "common/enrolment": ["protocol", "common/base", "common/net", "common/config", "common/tls"],
    "common/upstream": COMMON_TOOLS,
    "common/tunnel": [*COMMON_TOOLS, "common/upstream"],
    "common/ports": [*COMMON_TOOLS, "common/tunnel"],
    "common/program": ["common"],
    "agent/config": COMMON_TOOLS,
    "agent/mappings": ["protocol", "common", "agent/config"],
    "agent/links": ["protocol", "common", "agent/config", "agent/mappings"],
    "agent/identity": ["protocol", "common", "agent/config", "agent/links"],
    "agent": ["protocol", "common"],
    "server/web": COMMON_TOOLS,
    "server/targets": COMMON_TOOLS,
    "server/config": [*COMMON_TOOLS, "server/web", "server/targets"],
    "server/auth": [*COMMON_TOOLS, "server/config", "server/web"],
    "server/enrolment": ["protocol", "common", "server/config", "server/auth"],
    "server/agents": ["protocol", "common", "server/config", "server/enrolment"],
    "server/proxy": ["protocol", "common", "server/config", "server/auth"],
    "server/gateway": ["protocol", "common", "server/targets", "server/config", "server/auth", "server/web",
                       "server/proxy"],
    "server/kubernetes": [*COMMON_TOOLS, "common/enrolment", "server/targets", "server/config", "server/web",
                          "server/enrolment"],
    "server": ["protocol", "common"],
    "tests": ["server", "agent", "common", "protocol"],
}
# protocol/ uses the standard library, without threads, clocks, files and sockets, and msgpack.
PROTOCOL_THIRD_PARTY = re.compile(r"msgpack(/.*|\.hpp)")
PROTOCOL_FORBIDDEN = {"thread", "mutex", "condition_variable", "fstream", "iostream", "filesystem", "future", "random"}

# A heavy third-party library is included in one file or folder only; a name that ends in "/" is a folder.
ONLY_IN = {
    r"<toml": ("common/config/",),
    r"<spdlog/": ("common/admin/",),
    r"<prometheus/": ("common/admin/",),
    r"<CLI/": ("common/program/",),
    r"<msgpack": ("protocol/",),
    r"<openssl/": ("common/tls/", "tests/"),
    r"<cjose/": ("server/auth/key_set.cpp",),
}


def is_in(room, path):
    return path.startswith((room + "/", room + "."))


def room_of(path):
    """The room of a file, or None."""
    return max((room for room in MAY_INCLUDE if is_in(room, path)), key=len, default=None)


def may_include(room, path):
    other = room_of(path)
    return other is not None and any(other == each or other.startswith(each + "/")
                                     for each in (room, *MAY_INCLUDE[room]))


def check_include(name, line):
    """Yields what is wrong with an #include in file `name`."""
    ours = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
    theirs = re.match(r"\s*#\s*include\s+<([^>]+)>", line)
    if ours:
        yield from check_our_header(name, ours.group(1))
    if theirs:
        yield from check_their_header(name, theirs.group(1))


def check_our_header(name, path):
    room = room_of(name)
    if "/" not in path or path.startswith(".") or not (ROOT / path).is_file():
        yield f'include: write the path of an existing file from the root, as "{name.split("/")[0]}/…"'
    elif room is None:
        yield f"room: add the folder of {name} to MAY_INCLUDE in tests/tidy/include_rules.py"
    elif not may_include(room, path):
        yield f"room: {room} must not include {path}; see MAY_INCLUDE in tests/tidy/include_rules.py"


def check_their_header(name, header):
    if name.startswith("protocol/"):
        if header in PROTOCOL_FORBIDDEN:
            yield f"sans-IO: protocol/ must not include <{header}>; take what it provides as an argument"
        third_party = "/" in header and not header.startswith("sys/") or header.endswith(".hpp")
        if (third_party or header.startswith("sys/")) and not PROTOCOL_THIRD_PARTY.fullmatch(header):
            yield f"sans-IO: protocol/ uses the standard library and msgpack, not <{header}>"
    for pattern, places in ONLY_IN.items():
        if re.match(pattern, f"<{header}") and not name.startswith(places):
            yield f"third party: <{header}> belongs behind a small header in {', '.join(places)}"
