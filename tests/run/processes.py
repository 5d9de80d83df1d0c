# SPDX-License-Identifier: Apache-2.0
"""Processes of the runner: each runs in a process group of its own, which is ended with it."""

import os
import signal
import subprocess
import tempfile

from tests.harness.environment import ROOT

SECONDS_MAX = 420  # for one test program or one end-to-end class
PARALLEL = 2  # test programs at once
PYTHON = ["/usr/bin/python3", "-B"]  # Debian's, which has python3-websockets
groups = set()  # process groups that are running, which a signal to the runner must end too


def run(command, seconds_max=SECONDS_MAX, **keywords):
    """Runs `command` in the repository's root, so that Python finds the package `tests`. Returns (status, output);
    status None: it took too long."""
    with tempfile.TemporaryFile() as sink:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT, cwd=ROOT,
                                   start_new_session=True, **keywords)
        groups.add(process.pid)
        try:
            status = process.wait(timeout=seconds_max)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            end_group(process.pid)
            process.wait()
            groups.discard(process.pid)
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


def end_all_and_exit(number, _frame):
    """For a signal to the runner."""
    for pid in list(groups):
        end_group(pid)
    os._exit(128 + number)


def sanitizer_environment():
    environment = dict(os.environ)
    symbolizer = "/usr/lib/llvm-19/bin/llvm-symbolizer"
    environment.setdefault("ASAN_OPTIONS", "detect_stack_use_after_return=1:strict_string_checks=1:exitcode=99")
    environment.setdefault("UBSAN_OPTIONS", "print_stacktrace=1:exitcode=99")
    environment.setdefault("TSAN_OPTIONS", "halt_on_error=0:second_deadlock_stack=1:exitcode=99")
    for tool in ("ASAN", "UBSAN", "TSAN", "MSAN"):
        environment.setdefault(f"{tool}_SYMBOLIZER_PATH", symbolizer)
    return environment
