# SPDX-License-Identifier: Apache-2.0
"""Echo requests while something else goes on."""

import threading

from tests.harness.echo_client import assert_echoes
from tests.harness.waiting import wait_until


class EchoLoad:
    """Sends echo requests in a thread until the end of the `with`. `failures` lists what went wrong."""

    def __init__(self, case, port):
        self.case, self.port, self.failures, self.answered, self.over = case, port, [], 0, False
        self.thread = threading.Thread(target=self.ask, daemon=True)

    def request(self):
        assert_echoes(self.case, self.port, b"under load")

    def ask(self):
        while not self.over:
            try:
                self.request()
                self.answered += 1
            except (OSError, EOFError, AssertionError) as error:
                self.failures.append(repr(error))

    def wait_for_new_requests(self):
        """Returns once a request that began after this call has been answered."""
        wanted = self.answered + 2
        wait_until(lambda: self.answered >= wanted, 20, f"two more answers after {len(self.failures)} failures")

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over = True
        self.thread.join(30)
