# SPDX-License-Identifier: Apache-2.0
"""A way to the API server, without TLS, that answers some questions by itself: with errors, with half of the truth, or too early."""

import contextlib
import http.client
import http.server
import json
import threading
import time

from api_server import wait_until


def status(code, reason, **headers):
    """An answer as the API server gives it where it refuses."""
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "a lie", "reason": reason, "code": code}
    return code, {"Content-Type": "application/json", **headers}, json.dumps(body).encode()


def half(answer):
    """Says less than it knows, and that this is all."""
    return answer[0], answer[1], answer[2][:len(answer[2]) // 2]


def cut(answer):
    """Breaks off in the middle."""
    return answer[0], {**answer[1], "Content-Length": str(len(answer[2]))}, answer[2][:len(answer[2]) // 2]


class LyingApi:
    """At http://127.0.0.1:`port` until close(). A lie is an answer, or a function from the true answer to another: (code, headers, body)."""

    def __init__(self, api):
        self.api, self.lies, self.watchers, self.lock, self.asked = api, [], [], threading.Lock(), []
        lying = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                lying.answer(self)

            do_GET = do_POST = do_PUT = do_PATCH = answer

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass  # a connection that broke

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def lie(self, text, *lies):
        """The next questions whose method and URI ("GET /apis/…") contain this text are answered so, each once."""
        with self.lock:
            self.lies += [(text, each) for each in lies]

    def is_done(self):
        """All lies were told."""
        return not self.lies

    def tell_watchers(self, event):
        """The watch that stands, or comes next, gets this event, and ends; None: ends without a word."""
        wait_until(lambda: self.watchers, 10, "a watch")
        with self.lock:
            for handler in self.watchers:
                with contextlib.suppress(OSError):
                    if event is not None:
                        line = (event if isinstance(event, str) else json.dumps(event)).encode() + b"\n"
                        handler.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                    handler.wfile.write(b"0\r\n\r\n")
                    handler.connection.shutdown(2)
            self.watchers.clear()

    def answer(self, handler):
        question = f"{handler.command} {handler.path}"
        with self.lock:
            self.asked.append((time.monotonic(), question))
            found = next((each for each in self.lies if each[0] in question), None)
            if found:
                self.lies.remove(found)
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        if found and not callable(found[1]):
            return self.tell(handler, *found[1])
        with contextlib.closing(http.client.HTTPSConnection("127.0.0.1", self.api.port, context=self.api.context(is_admin=False))) as truth:
            truth.request(handler.command, handler.path, body or None,
                          {name: value for name, value in handler.headers.items() if name in ("Authorization", "Content-Type")})
            answer = truth.getresponse()
            if "watch=1" in question and answer.status == 200:
                return self.pass_on(handler, answer)
            told = answer.status, {"Content-Type": answer.headers["Content-Type"]}, answer.read()
        self.tell(handler, *(found[1](told) if found else told))

    def tell(self, handler, code, headers, body):
        handler.send_response(code)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)
        handler.close_connection = int(headers.get("Content-Length", len(body))) != len(body)

    def pass_on(self, handler, answer):
        """A watch."""
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.close_connection = True
        with self.lock:
            self.watchers.append(handler)
        while line := answer.readline():
            with self.lock:
                if handler not in self.watchers:
                    return
                handler.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        with self.lock:
            if handler in self.watchers:
                self.watchers.remove(handler)
                handler.wfile.write(b"0\r\n\r\n")
