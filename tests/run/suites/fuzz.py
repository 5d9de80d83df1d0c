# SPDX-License-Identifier: Apache-2.0
"""Fuzzing, always under ASan and UBSan: each corpus as a regression test, then each target for its share of the
time."""

import concurrent.futures
import pathlib
import tempfile
import time

from tests.harness.environment import ROOT
from tests.run.build import build, introspect
from tests.run.processes import PARALLEL, run, sanitizer_environment
from tests.run.result import Result, report

LIMITS = ["-rss_limit_mb=2048", "-timeout=10", "-max_len=4096"]


def run_suite(options):
    if not build("fuzz", "build.ninja"):
        return Result(failed=1)
    targets = [target for target in introspect("fuzz", "--targets") if is_fuzz_target(target)]
    if targets and not build("fuzz", *[str(pathlib.Path(target["filename"][0]).relative_to(ROOT / "build/fuzz"))
                                       for target in targets]):
        return Result(failed=1)
    share = max(options.fuzz_seconds // max(len(targets), 1), 1)
    total = Result()
    with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
        for name, status, output, seconds in pool.map(lambda target: fuzz(target, share * PARALLEL), targets):
            total.add(report(status == 0, f"fuzz {name}", seconds, output))
    return total


def is_fuzz_target(target):
    return (target["type"] == "executable" and target["name"].startswith("fuzz_")
            and pathlib.Path(target["defined_in"]).parent == ROOT / "tests/fuzz")


def fuzz(target, fuzz_seconds):
    """(name, status, output, seconds) of one target. The output has every input that failed, in hexadecimal."""
    program, name = target["filename"][0], target["name"].removeprefix("fuzz_")
    corpus, environment = ROOT / "tests/fuzz/corpus" / name, sanitizer_environment()
    corpus.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        command = [program, f"-artifact_prefix={scratch}/", *LIMITS]
        status, output = run([*command, "-runs=0", str(corpus)], env=environment)
        if status == 0:
            status, output = run([*command, f"-max_total_time={fuzz_seconds}", "-print_final_stats=1", scratch,
                                  str(corpus)], env=environment)
        if status != 0:
            for artifact in pathlib.Path(scratch).glob("*-*"):
                if artifact.name.startswith(("crash", "leak", "timeout", "oom")):
                    output += f"\n{artifact.name}: {artifact.read_bytes()[:4096].hex()}"
    return name, status, output, time.monotonic() - started
