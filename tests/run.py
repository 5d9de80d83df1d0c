# SPDX-License-Identifier: Apache-2.0
"""Builds and runs the suites; `scripts/test` is its door. Every suite answers with a Result, and the sum is the last line."""

import argparse
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SUITES = ["tidy", "unit", "simulation", "fuzz", "e2e"]
ASIDE = ["packages", "kubernetes", "image"]  # only when asked for
PYTHON = "/usr/bin/python3"  # Debian's, which has python3-websockets
FUZZ_SECONDS_IN_ALL = 60
CLANG_TIDY_SECONDS_MAX = 100  # without --all: CI has a budget, and the rest is named
PROGRAM_SECONDS_MAX = 420  # of one test executable or one end-to-end class
PACKAGES_SECONDS_MAX = 3600  # two builds from nothing
API_SERVER_SECONDS_MAX = 3600  # built from nothing
KUBERNETES_SECONDS_MAX = 1800  # of one file of tests
KUBERNETES_WAITING = ["cut_watches_test", "many_objects_test", "outage_test"]  # wait for minutes, and so for each other's end
IMAGE_SECONDS_MAX = 3600  # with a build from nothing
PARALLEL = 2
running = set()  # process groups that Ctrl-C must end too


@dataclasses.dataclass
class Result:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped


def say(text):
    print(text, flush=True)


def verdict(ok, name, seconds, output=""):
    say(f"  {'ok  ' if ok else 'FAIL'}  {name}  ({seconds:.1f} s)")
    if not ok and output:
        # unittest tells its reasons last, after the programs' logs: here they come first.
        log, line, reasons = output.partition("=" * 70)
        for part in filter(None, (line + reasons, log)):
            say("\n".join("    | " + text for text in part.splitlines()[-120:]))
    return Result(passed=int(ok), failed=int(not ok))


def run(command, seconds_max=PROGRAM_SECONDS_MAX, **keywords):
    """Runs `command` in a process group of its own, which is gone afterwards. Returns (status, output); status None: it took too long."""
    with tempfile.TemporaryFile() as sink:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT, cwd=ROOT,
                                   start_new_session=True, **keywords)
        running.add(process.pid)
        try:
            status = process.wait(timeout=seconds_max)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            end_group(process.pid)
            process.wait()
            running.discard(process.pid)
        sink.seek(0)
        output = sink.read().decode(errors="replace")
    if status is None:
        output += f"\ntook more than {seconds_max} s and was ended"
    return status, output


def end_group(pid):
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def interrupted(number, _frame):
    for pid in list(running):
        end_group(pid)
    os._exit(128 + number)


def build(kind, *targets):
    started = time.monotonic()
    status, output = run(["scripts/build", kind, *targets], seconds_max=3600)
    say(f"built {kind}{': ' + ' '.join(targets) if len(targets) == 1 else ''} ({time.monotonic() - started:.0f} s)")
    if status != 0:
        say("\n".join(output.splitlines()[-80:]))
    return status == 0


def introspect(kind, what):
    status, output = run(["meson", "introspect", what, f"build/{kind}"])
    return json.loads(output) if status == 0 else []


def sanitizer_environment():
    environment = dict(os.environ)
    symbolizer = "/usr/lib/llvm-19/bin/llvm-symbolizer"
    environment.setdefault("ASAN_OPTIONS", "detect_stack_use_after_return=1:strict_string_checks=1:exitcode=99")
    environment.setdefault("UBSAN_OPTIONS", "print_stacktrace=1:exitcode=99")
    environment.setdefault("TSAN_OPTIONS", "halt_on_error=0:second_deadlock_stack=1:exitcode=99")
    for tool in ("ASAN", "UBSAN", "TSAN", "MSAN"):
        environment.setdefault(f"{tool}_SYMBOLIZER_PATH", symbolizer)
    return environment


# --- the suites -----------------------------------------------------------------------------------------------------------


def tidy(options):
    result = Result()
    started = time.monotonic()
    for script in ("tests/tidy/tidy_test.py", *tracked("tests/tidy/*_documented_test.py", "tests/systemd/*_test.py")):
        status, output = run([PYTHON, "-B", script])
        result.add(verdict(status == 0, script, time.monotonic() - started, output))
    sources = tracked("*.cpp", "*.hpp")
    started = time.monotonic()
    status, output = run(["clang-format-19", "--dry-run", "-Werror", *sources])
    result.add(verdict(status == 0, "clang-format", time.monotonic() - started, output + "\nremedy: clang-format-19 -i FILE"))
    result.add(clang_tidy(options))
    return result


def tracked(*patterns):
    """Files of the tree, those that are not yet committed included."""
    status, output = run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns])
    assert status == 0, output
    return sorted({line for line in output.splitlines() if (ROOT / line).is_file()})


def changed_files():
    """What differs from the main line, or, on it, from the commit before."""
    for base in ("origin/HEAD", "main", "HEAD~1"):
        status, output = run(["git", "merge-base", base, "HEAD"])
        head = run(["git", "rev-parse", "HEAD"])[1].strip()
        if status == 0 and output.strip() != head:
            status, output = run(["git", "diff", "--name-only", output.strip()])
            return set(output.split()) if status == 0 else set()
    return set(run(["git", "diff", "--name-only", "HEAD"])[1].split())


def clang_tidy(options):
    """One file per process, changed ones first, then the protocol; until the time is used up unless --all."""
    started = time.monotonic()
    sources = [f for f in tracked("*.cpp") if f.split("/")[0] in ("protocol", "common", "server", "agent")]
    changed = changed_files()
    if not options.all:
        sources = [f for f in sources if f in changed] + [f for f in sources if f.startswith("protocol/") and f not in changed]
    late = []

    def check(source):
        if not options.all and time.monotonic() - started > CLANG_TIDY_SECONDS_MAX:
            late.append(source)
            return source, 0, ""
        status, output = run(["clang-tidy-19", "--quiet", "-p", f"build/{options.kind}", source])
        return source, status, output

    failed = []
    with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
        for source, status, output in pool.map(check, sources):
            if status != 0:
                failed.append(output)
    if late:
        say(f"  note  clang-tidy: no time for {len(late)} of {len(sources)} files; scripts/test tidy --all looks at all")
    return verdict(not failed, f"clang-tidy, {len(sources) - len(late)} files", time.monotonic() - started, "\n".join(failed))


def unit(options):
    environment = sanitizer_environment()
    tests = [t for t in introspect(options.kind, "--tests") if t["protocol"] == "gtest"]
    result = Result()

    def execute(test):
        with tempfile.NamedTemporaryFile(suffix=".json") as report:
            command = [*test["cmd"], f"--gtest_output=json:{report.name}", "--gtest_brief=1"]
            if options.pattern:
                command.append(f"--gtest_filter=*{options.pattern}*")
            started = time.monotonic()
            status, output = run(command, env=environment | test["env"])
            text = pathlib.Path(report.name).read_text()
        return test["name"], status, output, text, time.monotonic() - started

    with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
        for name, status, output, text, seconds in pool.map(execute, tests):
            if text:
                report = json.loads(text)
                ran = report["tests"] - report.get("disabled", 0)
                skipped = text.count('"result": "SKIPPED"')
                failed = report["failures"] + report.get("errors", 0)
                # A sanitizer's finding at exit leaves no failed case, but it is one.
                failed = max(failed, int(status != 0))
                part = Result(max(ran - failed - skipped, 0), failed, skipped)
            else:
                part = Result(failed=1)
            verdict(part.failed == 0, f"{name}: {part.passed} cases", seconds, output)
            result.add(part)
    return result


def simulation(options):
    """All seeds are one test; the output names each that failed, and `--seed S` of the same program replays it."""
    started = time.monotonic()
    program = next((t["cmd"] for t in introspect(options.kind, "--tests") if t["name"] == "simulation"), None)
    if program is None:
        return Result()
    status, output = run([*program, "--seeds", str(options.seeds)], env=sanitizer_environment())
    return verdict(status == 0, f"simulation, {options.seeds} seeds", time.monotonic() - started, output)


def fuzz(options):
    """First each corpus as a regression test, then all targets for a share of the time each. Always under ASan and UBSan."""
    if not build("fuzz", "build.ninja"):
        return Result(failed=1)
    targets = [t for t in introspect("fuzz", "--targets")
               if t["type"] == "executable" and t["name"].startswith("fuzz_") and pathlib.Path(t["defined_in"]).parent == ROOT / "tests/fuzz"]
    if targets and not build("fuzz", *[str(pathlib.Path(t["filename"][0]).relative_to(ROOT / "build/fuzz")) for t in targets]):
        return Result(failed=1)
    result = Result()
    environment = sanitizer_environment()
    share = max(options.fuzz_seconds // max(len(targets), 1), 1)

    def execute(target):
        program, name = target["filename"][0], target["name"].removeprefix("fuzz_")
        corpus = ROOT / "tests/fuzz/corpus" / name
        corpus.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as scratch:
            keep = [f"-artifact_prefix={scratch}/", "-rss_limit_mb=2048", "-timeout=10", "-max_len=4096"]
            status, output = run([program, *keep, "-runs=0", str(corpus)], env=environment)
            if status == 0:
                seconds = ["-max_total_time=%d" % (share * PARALLEL), "-print_final_stats=1"]
                status, output = run([program, *keep, *seconds, scratch, str(corpus)], env=environment)
            if status != 0:
                for artifact in pathlib.Path(scratch).glob("*-*"):
                    if artifact.name.startswith(("crash", "leak", "timeout", "oom")):
                        output += f"\n{artifact.name}: {artifact.read_bytes()[:4096].hex()}"
        return name, status, output, time.monotonic() - started

    with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
        for name, status, output, seconds in pool.map(execute, targets):
            result.add(verdict(status == 0, f"fuzz {name}", seconds, output))
    return result


def e2e(options):
    """Each test class in a process of its own; two at a time, but those that measure run alone, after the others."""
    environment = sanitizer_environment()
    environment["CULVERT_BUILD"] = str(ROOT / "build" / options.kind)
    environment.setdefault("CULVERT_E2E_SCALE", "1" if options.kind == "release" else "0.0625")
    status, output = run([PYTHON, "-B", "tests/e2e/run_class.py", "--list"], env=environment)
    if status != 0:
        return verdict(False, "e2e", 0, output)
    classes = [line.split() for line in output.splitlines()]
    result = Result()

    def execute(name):
        with tempfile.NamedTemporaryFile(suffix=".json") as report:
            command = [PYTHON, "-B", "tests/e2e/run_class.py", name, "--report", report.name]
            if options.pattern:
                command += ["-k", options.pattern]
            started = time.monotonic()
            status, output = run(command, env=environment)
            text = pathlib.Path(report.name).read_text()
        return name, status, output, text, time.monotonic() - started

    def judge(name, status, output, text, seconds):
        if not text:
            return result.add(verdict(False, name, seconds, output))
        part = Result(**json.loads(text))
        part.failed = max(part.failed, int(status != 0))
        if part != Result():
            verdict(part.failed == 0, f"{name}: {part.passed} tests", seconds, output)
        for line in output.splitlines():
            if line.startswith(("note:", "skipped:")):
                say(f"        {line}")
        result.add(part)

    with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
        for answer in pool.map(execute, [name for name, *alone in classes if not alone]):
            judge(*answer)
    for name in [name for name, *alone in classes if alone]:
        judge(*execute(name))
    return result


def packages(options):
    """Makes the Debian packages and tests them."""
    return test_file(options, "packages", "tests/packages/packages_test.py", PACKAGES_SECONDS_MAX)


def kubernetes(options):
    """Against a real API server, which is built if the cache has none; one file after the other, but for those that mostly wait."""
    started = time.monotonic()
    status, output = run([PYTHON, "-B", "tests/kubernetes/cache.py"], seconds_max=API_SERVER_SECONDS_MAX)
    if status != 0:
        return verdict(False, "tests/kubernetes/cache.py", time.monotonic() - started, output)
    say(f"the API server and its tools are there ({time.monotonic() - started:.0f} s)")
    result = Result()
    paths = {pathlib.Path(path).stem: path for path in tracked("tests/kubernetes/*_test.py")}
    with concurrent.futures.ThreadPoolExecutor(len(KUBERNETES_WAITING)) as pool:
        execute = lambda name: run_file(options, paths.pop(name), KUBERNETES_SECONDS_MAX)
        for name, ran in zip(KUBERNETES_WAITING, pool.map(execute, KUBERNETES_WAITING)):
            result.add(tell_file(name, *ran))
    for name, path in paths.items():
        result.add(test_file(options, name, path, KUBERNETES_SECONDS_MAX))
    return result


def image(options):
    """Makes the container image of the server, and runs it beside an agent."""
    if not build("release", "agent/culvert-agent"):
        return Result(failed=1)
    return test_file(options, "image", "tests/container/image_test.py", IMAGE_SECONDS_MAX)


def test_file(options, name, path, seconds_max):
    """A file of unittest, each test of which prints a line of its own on standard error."""
    return tell_file(name, *run_file(options, path, seconds_max))


def run_file(options, path, seconds_max):
    started = time.monotonic()
    pattern = ["-k", options.pattern] if options.pattern else []
    return *run([PYTHON, "-B", path, *pattern], seconds_max=seconds_max), time.monotonic() - started


def tell_file(name, status, output, seconds):
    lines = [line for line in output.splitlines() if line.endswith((" ... ok", " ... FAIL", " ... ERROR"))]
    failed = sum(not line.endswith(" ok") for line in lines)
    for line in lines:
        say(f"  {line}")
    part = Result(passed=len(lines) - failed, failed=max(failed, int(status != 0)))
    verdict(part.failed == 0, f"{name}: {part.passed} tests", seconds, output)
    for line in output.splitlines():
        if line.startswith("note:"):
            say(f"        {line}")
    return part


def main():
    parser = argparse.ArgumentParser(prog="scripts/test", description="Builds Culvert and runs its tests.")
    parser.add_argument("suites", nargs="*", metavar="suite", help=f"one or more of: {', '.join(SUITES)}; default: all")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--sanitize", dest="kind", action="store_const", const="asan", default="release", help="under ASan and UBSan")
    kinds.add_argument("--tsan", dest="kind", action="store_const", const="tsan", help="under TSan")
    parser.add_argument("--seeds", type=int, default=2000, help="of the simulation; default 2000")
    parser.add_argument("--fuzz-seconds", type=int, default=FUZZ_SECONDS_IN_ALL, help="of fuzzing in all; default 60")
    aside = parser.add_mutually_exclusive_group()
    aside.add_argument("--packages", dest="aside", action="store_const", const="packages", help="the Debian packages, and nothing else")
    aside.add_argument("--kubernetes", dest="aside", action="store_const", const="kubernetes",
                       help="what stands on a Kubernetes API server, and nothing else")
    aside.add_argument("--image", dest="aside", action="store_const", const="image", help="the container image, and nothing else")
    parser.add_argument("--all", action="store_true", help="clang-tidy on every file")
    parser.add_argument("-k", dest="pattern", help="only unit and e2e tests whose name contains this")
    options = parser.parse_args()
    # Style does not depend on the sanitizer, and the fuzz targets are always built with one.
    default = SUITES if options.kind == "release" else ["unit", "simulation", "e2e"]
    chosen = options.suites or ([options.aside] if options.aside else default)
    for name in chosen:
        if name not in SUITES + ASIDE:
            parser.error(f"no suite {name}; there are: {', '.join(SUITES)}")

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupted)
    total, lines = Result(), []
    built = set(chosen) <= {"fuzz", "packages", "image"} or build(options.kind)
    if not built:
        total.failed += 1
        lines.append("build       failed; no suite was run")
        chosen = []
    suites = {"tidy": tidy, "unit": unit, "simulation": simulation, "fuzz": fuzz, "e2e": e2e, "packages": packages,
              "kubernetes": kubernetes, "image": image}
    for name in chosen:
        say(f"== {name}")
        started = time.monotonic()
        part = suites[name](options)
        if part == Result() and not options.pattern:
            say(f"  FAIL  {name}: there was nothing to run")
            part.failed = 1
        total.add(part)
        note = f", {part.skipped} skipped" if part.skipped else ""
        lines.append(f"{name:<11} {part.passed:5} passed, {part.failed} failed{note}  ({time.monotonic() - started:.0f} s)")
    say("== summary")
    for line in lines:
        say(line)
    say(f"{total.passed} passed, {total.failed} failed")
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
