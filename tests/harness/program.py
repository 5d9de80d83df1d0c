# SPDX-License-Identifier: Apache-2.0
"""A program that a test starts, whose output goes to a log file."""

import os
import signal
import socket
import subprocess

from tests.harness.waiting import wait_until


class Program:
    """One process and its log file. It belongs to `case`, which ends it."""

    stop_signal = signal.SIGTERM

    def __init__(self, case, name, command, folder=None, user=None, environment=None):
        self.case, self.name, self.command, self.user = case, name, [str(part) for part in command], user
        self.folder = folder or case.folder
        self.log, self.process, self.environment = case.folder / f"{name}.log", None, environment
        case.programs.append(self)

    def start(self):
        assert not self.is_running(), f"{self.name} is already running"
        with open(self.log, "ab") as sink:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink,
                                            cwd=self.folder,
                                            user=self.user, env=self.environment)
        return self

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def output(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def send(self, number):
        os.kill(self.process.pid, number)

    def exit_status(self, seconds=15):
        try:
            return self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} is still running after {seconds} s") from None

    def stop(self, seconds=15):
        """Sends SIGTERM and returns the exit status."""
        if self.is_running():
            self.send(signal.SIGCONT)
            self.send(signal.SIGTERM)
        return self.exit_status(seconds)

    def kill(self):
        if self.is_running():
            self.send(signal.SIGKILL)
            self.process.wait()

    def wait_for_port(self, port, seconds=15):
        def open_port():
            assert self.is_running(), f"{self.name} exited with {self.process.returncode}:\n{self.output()}"
            socket.create_connection(("127.0.0.1", port), timeout=2).close()
            return True
        wait_until(open_port, seconds, f"{self.name} on port {port}")
        return self

    def wait_for_output(self, text, seconds=10):
        wait_until(lambda: text in self.output(), seconds, f"“{text}” in the log of {self.name}")
