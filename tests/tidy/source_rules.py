# SPDX-License-Identifier: Apache-2.0
"""What C++ sources must not contain, and how long they may be."""

import re

from tests.tidy.include_rules import check_include

LINES_MAX, TEST_LINES_MAX = 600, 800

# (pattern in code, where it is allowed, what to do instead)
BANNED = [
    (r"\bco_spawn\s*\(", ("common/net/task_group.cpp", "tests/"),
     "spawn: use TaskGroup::spawn, which owns, cancels and joins"),
    (r"\basio::detached\b", ("tests/",), "detached: use TaskGroup::spawn, so that errors and shutdown are seen"),
    (r"\bstd::(recursive_|shared_|timed_)?mutex\b|\bstd::lock_guard\b|\bstd::scoped_lock\b|\bstd::unique_lock\b",
     ("common/admin/", "common/base/guarded.hpp", "common/base/snapshot.hpp", "tests/"),
     "mutex: post to the owning worker, or publish an immutable snapshot"),
    (r"\bstd::j?thread\b(?!::hardware_concurrency)", ("common/net/worker.", "common/net/offload.", "common/admin/",
                                                      "tests/"),
     "thread: objects live on a Worker; blocking work goes to the offload pool"),
    (r"\b(sleep_for|sleep_until|usleep|nanosleep)\b", (), "sleep: wait for an event with a bound"),
    (r"\benable_shared_from_this\b|\bshared_from_this\b", (),
     "shared_from_this: one owner, a local of the coroutine that serves it"),
    (r"\busing namespace (?!std::(chrono_)?literals|std::(string|string_view|chrono)_literals)", ("tests/",),
     "using namespace: name what you use"),
    (r"\b(strcpy|strcat|sprintf|gets|popen)\s*\(|\bstd::system\b", ("tests/",),
     "libc: use std::string, fmt, or no shell at all"),
    (r"\bgetenv\s*\(", ("common/admin/service_notify.cpp", "common/ports/inherited_sockets.cpp",
                       "server/config/kubernetes_reader.cpp", "tests/"),
     "environment: read it from the configuration; secrets come from files"),
    (r"TODO\(now\)", (), "TODO(now): do it before the commit"),
    (r"\bFIXME\b|\bXXX\b|\bHACK\b", (), "marker: write TODO(soon|someday|perf|security): and why"),
    (r"\b(class|struct)\s+\w*(Manager|Handler|Helper|Utils?|Processor|Impl)\b(?=[^;]*$)", (),
     "name: say what it is; such a word has no clear job"),
]
PROTOCOL_BANNED = [
    (r"\b(steady|system|high_resolution)_clock::now\b", "clock: protocol/ is sans-IO; take the time as an argument"),
    (r"\bstd::(cout|cerr|clog)\b", "output: protocol/ has no log; answer with an event"),
]


def without_comment(line):
    return re.sub(r'"(\\.|[^"\\])*"', '""', line).split("//")[0]


def check_source(name, lines):
    """Yields (line number, what is wrong) of a C++ file."""
    limit = TEST_LINES_MAX if name.startswith("tests/") else LINES_MAX
    if len(lines) > limit:
        yield limit + 1, f"size: {len(lines)} lines, {limit} at most; split it"
    for number, line in enumerate(lines, 1):
        code = without_comment(line)
        for text in check_include(name, line):
            yield number, text
        for pattern, places, remedy in BANNED:
            subject = line if remedy.startswith(("TODO", "marker")) else code
            if re.search(pattern, subject) and not name.startswith(places):
                yield number, remedy
        if name.startswith("protocol/"):
            for pattern, remedy in PROTOCOL_BANNED:
                if re.search(pattern, code):
                    yield number, remedy
