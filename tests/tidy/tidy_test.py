# SPDX-License-Identifier: Apache-2.0
"""The house rules that clang-tidy cannot know. Prints `file:line: rule: what to do instead`, and ends with 1 if there was any."""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LINES_MAX, TEST_LINES_MAX, COLUMNS_MAX = 600, 800, 120

# A storey may include itself and what stands below it.
MAY_INCLUDE = {
    "protocol": {"protocol"},
    "common": {"common", "protocol"},
    "server": {"server", "common", "protocol"},
    "agent": {"agent", "common", "protocol"},
    "tests": {"tests", "agent", "server", "common", "protocol"},
}
# What protocol/ stands on, beside the standard library without threads, clocks, files and sockets.
PROTOCOL_THIRD_PARTY = re.compile(r"msgpack(/.*|\.hpp)")
PROTOCOL_FORBIDDEN = {"thread", "mutex", "condition_variable", "fstream", "iostream", "filesystem", "future", "random"}

# One heavy third-party library, one file (or folder) that includes it; a name ending in "/" is a folder.
ONLY_IN = {
    r"<toml": ("common/config/",),
    r"<spdlog/": ("common/admin/",),
    r"<prometheus/": ("common/admin/",),
    r"<CLI/": ("common/program/",),
    r"<msgpack": ("protocol/",),
    r"<openssl/": ("common/tls/", "tests/"),
    r"<cjose/": ("server/key_set.cpp",),
}
# (pattern in code, where it may stand all the same, what to do instead)
BANNED = [
    (r"\bco_spawn\s*\(", ("common/net/task_group.cpp", "tests/"), "spawn: use TaskGroup::spawn, which owns, cancels and joins"),
    (r"\basio::detached\b", ("tests/",), "detached: use TaskGroup::spawn, so that errors and shutdown are seen"),
    (r"\bstd::(recursive_|shared_|timed_)?mutex\b|\bstd::lock_guard\b|\bstd::scoped_lock\b|\bstd::unique_lock\b",
     ("common/admin/", "common/base/snapshot.hpp", "tests/"), "mutex: post to the owning worker, or publish an immutable snapshot"),
    (r"\bstd::j?thread\b(?!::hardware_concurrency)", ("common/net/worker.", "common/net/offload.", "common/admin/", "tests/"),
     "thread: objects live on a Worker; blocking work goes to the offload pool"),
    (r"\b(sleep_for|sleep_until|usleep|nanosleep)\b", (), "sleep: wait for an event with a bound"),
    (r"\benable_shared_from_this\b|\bshared_from_this\b", (), "shared_from_this: one owner, a local of the coroutine that serves it"),
    (r"\busing namespace (?!std::(chrono_)?literals|std::(string|string_view|chrono)_literals)", ("tests/",), "using namespace: name what you use"),
    (r"\b(strcpy|strcat|sprintf|gets|popen)\s*\(|\bstd::system\b", ("tests/",), "libc: use std::string, fmt, or no shell at all"),
    (r"\bgetenv\s*\(", ("common/admin/service_notify.cpp", "common/net/inherited_sockets.cpp",
                       "server/kubernetes/settings_reader.cpp", "tests/"), "environment: read it from the configuration; secrets come from files"),
    (r"TODO\(now\)", (), "TODO(now): do it before the commit"),
    (r"\bFIXME\b|\bXXX\b|\bHACK\b", (), "marker: write TODO(soon|someday|perf|security): and why"),
    (r"\b(class|struct)\s+\w*(Manager|Handler|Helper|Utils?|Processor|Impl)\b(?=[^;]*$)", (), "name: say what it is; such a word has no clear job"),
]
PROTOCOL_BANNED = [
    (r"\b(steady|system|high_resolution)_clock::now\b", "clock: protocol/ is sans-IO; take the time as an argument"),
    (r"\bstd::(cout|cerr|clog)\b", "output: protocol/ has no log; answer with an event"),
]


def tracked(*patterns):
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\n")
    return sorted({name for name in names if name and (ROOT / name).is_file()})


def allowed(name, places):
    return any(name.startswith(place) for place in places)


def without_comment(line):
    return re.sub(r'"(\\.|[^"\\])*"', '""', line).split("//")[0]


def check_include(name, line):
    storey = name.split("/")[0]
    ours = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
    theirs = re.match(r"\s*#\s*include\s+<([^>]+)>", line)
    if ours:
        path = ours.group(1)
        if "/" not in path or path.startswith(".") or not (ROOT / path).is_file():
            yield f'include: write the path from the root, as "{storey}/…", and of a file that exists'
        elif path.split("/")[0] not in MAY_INCLUDE.get(storey, set()):
            yield f"storey: {storey}/ must not include {path}; protocol <- common <- {{server, agent}}"
    if theirs:
        header = theirs.group(1)
        if storey == "protocol" and header in PROTOCOL_FORBIDDEN:
            yield f"sans-IO: protocol/ has no <{header}>; take what it would give as an argument"
        third_party = "/" in header and not header.startswith("sys/") or header.endswith(".hpp")
        if storey == "protocol" and (third_party or header.startswith("sys/")) and not PROTOCOL_THIRD_PARTY.fullmatch(header):
            yield f"sans-IO: protocol/ stands on the standard library and msgpack, not on <{header}>"
        for pattern, places in ONLY_IN.items():
            if re.match(pattern, f"<{header}") and not allowed(name, places):
                yield f"third party: <{header}> belongs behind a small header in {', '.join(places)}"


def check_source(name, lines):
    limit = TEST_LINES_MAX if name.startswith("tests/") else LINES_MAX
    if len(lines) > limit:
        yield limit + 1, f"size: {len(lines)} lines, {limit} at most; a long file is two things"
    for number, line in enumerate(lines, 1):
        code = without_comment(line)
        for text in check_include(name, line):
            yield number, text
        for pattern, places, remedy in BANNED:
            subject = line if remedy.startswith(("TODO", "marker")) else code
            if re.search(pattern, subject) and not allowed(name, places):
                yield number, remedy
        if name.startswith("protocol/"):
            for pattern, remedy in PROTOCOL_BANNED:
                if re.search(pattern, code):
                    yield number, remedy


def check_text(name, lines):
    first = lines[:2] if lines and lines[0].startswith("#!") else lines[:1]
    if not any("SPDX-License-Identifier: Apache-2.0" in line for line in first):
        yield 1, "licence: begin with // SPDX-License-Identifier: Apache-2.0"
    laid_out_by_hand = False  # between clang-format off and on: a table
    for number, line in enumerate(lines, 1):
        laid_out_by_hand = "clang-format off" in line or laid_out_by_hand and "clang-format on" not in line
        if "\t" in line:
            yield number, "tab: indent with spaces"
        if line != line.rstrip():
            yield number, "space: nothing may trail at the end of a line"
        if len(line) > COLUMNS_MAX and name.endswith((".cpp", ".hpp")) and "http" not in line and not laid_out_by_hand:
            yield number, f"width: {len(line)} columns, {COLUMNS_MAX} at most"


def check_listed(sources):
    """Sources are listed, never globbed; one that no meson.build names is dead."""
    listed = set()
    for name in tracked("*meson.build"):
        for path in re.findall(r"'([^']+\.cpp)'", (ROOT / name).read_text()):
            listed.add(((ROOT / name).parent / path).resolve())
    for name in sources:
        if ROOT / name not in listed:
            yield name, 1, "dead file: list it in the meson.build of its folder, or delete it"


def main():
    findings = list(check_listed(tracked("*.cpp")))
    for name in tracked("*.cpp", "*.hpp", "*.py", "*meson.build", "scripts/*", ".ci/run"):
        lines = (ROOT / name).read_text().splitlines()
        findings += [(name, *finding) for finding in check_text(name, lines)]
        if name.endswith((".cpp", ".hpp")):
            findings += [(name, *finding) for finding in check_source(name, lines)]
    for name, number, text in findings:
        print(f"{name}:{number}: {text}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
