# SPDX-License-Identifier: Apache-2.0
"""Runs programs to their end."""

import subprocess


def run(*command, seconds=120, status=0, **keywords):
    """Runs `command` and expects this exit status (None: any). Returns its output, with what it wrote to standard
    error."""
    keywords.setdefault("stdin", subprocess.DEVNULL)
    answer = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            timeout=seconds, check=False, **keywords)
    text = answer.stdout if isinstance(answer.stdout, str) else answer.stdout.decode(errors="replace")
    if status is not None and answer.returncode != status:
        raise AssertionError(
            f"{' '.join(map(str, command))}: exit status {answer.returncode}, not {status}\n{text[-8000:]}")
    return text


def output_of(*command, seconds=120):
    """Standard output alone of a command that must succeed."""
    answer = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                            timeout=seconds, check=False)
    if answer.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: exit status {answer.returncode}\n{answer.stderr[-8000:]}")
    return answer.stdout


def outcome_of(*command, seconds=20, **keywords):
    """(exit status, output with standard error)"""
    answer = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                            timeout=seconds, check=False, **keywords)
    return answer.returncode, answer.stdout + answer.stderr


def openssl(*arguments):
    """The standard output of openssl."""
    return openssl_bytes(*arguments).decode()


def openssl_bytes(*arguments, data=None):
    """The same in bytes; `data` is its standard input."""
    answer = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, input=data, timeout=60, check=False)
    if answer.returncode != 0:
        raise AssertionError(f"openssl {' '.join(map(str, arguments))}: {answer.stderr.decode(errors='replace')}")
    return answer.stdout
