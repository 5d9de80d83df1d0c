# SPDX-License-Identifier: Apache-2.0
"""HTTP requests through a channel while something else goes on: ten a second on a kept connection, and ten on new
ones."""

import http.client
import threading
import time

REQUEST_SECONDS_MAX = 10
EVERY = 0.1


class RequestLoad:
    """Runs within a with block, in threads of its own. At its end, no request may have failed. `expected`: the body of
    every answer."""

    def __init__(self, case, port, expected, path="/"):
        self.case, self.port, self.expected, self.path = case, port, expected.encode(), path
        self.answers, self.failures, self.over = 0, [], threading.Event()
        self.threads = [threading.Thread(target=self.ask_again_and_again, args=(keeps,), daemon=True)
                        for keeps in (True, False)]

    def __enter__(self):
        self.began = time.monotonic()
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, kind, *_):
        self.over.set()
        for thread in self.threads:
            thread.join(REQUEST_SECONDS_MAX + 5)
        if kind is None:
            self.case.assertEqual(self.failures[:5], [],
                                  f"{len(self.failures)} of {self.answers + len(self.failures)} requests failed")
            self.case.assertGreater(self.answers, 10 * (time.monotonic() - self.began), "there was hardly any load")

    def ask_again_and_again(self, keeps):
        connection, next_time = None, time.monotonic()
        while not self.over.wait(max(0, next_time - time.monotonic())):
            next_time += EVERY
            connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=REQUEST_SECONDS_MAX)
            good = self.ask(connection)
            if not (keeps and good):
                connection.close()
                connection = None
        if connection:
            connection.close()

    def ask(self, connection):
        try:
            connection.request("GET", self.path)
            answer = connection.getresponse()
            what = (answer.status, answer.read())
        except (OSError, http.client.HTTPException) as error:
            what = repr(error)
        if what == (200, self.expected):
            self.answers += 1
            return True
        self.failures.append((round(time.monotonic() - self.began, 1), what))
        return False
