# SPDX-License-Identifier: Apache-2.0
"""Echo requests while something else goes on."""

import threading

from tests.harness.echo_client import assert_echoes


class EchoLoad:
    """Sends echo requests in a thread until the end of the `with`. `failures` lists what went wrong."""

    def __init__(self, case, port):
        self.case, self.port, self.failures, self.answered, self.over = case, port, [], 0, False
        self.thread = threading.Thread(target=self.ask, daemon=True)

    def ask(self):
        while not self.over:
            try:
                assert_echoes(self.case, self.port, b"under load")
                self.answered += 1
            except (OSError, EOFError, AssertionError) as error:
                self.failures.append(repr(error))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over = True
        self.thread.join(30)
