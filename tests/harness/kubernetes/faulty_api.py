# SPDX-License-Identifier: Apache-2.0
"""An HTTP proxy of the API server that answers some requests itself: with errors, with part of the truth, or too
early."""

import contextlib
import http.client
import http.server
import json
import threading
import time

from tests.harness.waiting import wait_until


def status(code, reason, **headers):
    """An answer in the form of the API server's errors."""
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "made up", "reason": reason,
            "code": code}
    return code, {"Content-Type": "application/json", **headers}, json.dumps(body).encode()


def half(answer):
    """Half of the body, with a length that says it is the whole."""
    return answer[0], answer[1], answer[2][:len(answer[2]) // 2]


def cut(answer):
    """Half of the body, with the length of the whole."""
    return answer[0], {**answer[1], "Content-Length": str(len(answer[2]))}, answer[2][:len(answer[2]) // 2]


class FaultyApi:
    """At http://127.0.0.1:`port` until close(). A fault is an answer, or a function from the true answer to another:
    (code, headers, body)."""

    def __init__(self, api):
        self.api, self.faults, self.watchers, self.lock, self.requests = api, [], [], threading.Lock(), []
        faulty = self

        class ApiRequest(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                faulty.answer(self)

            do_GET = do_POST = do_PUT = do_PATCH = answer

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass  # a broken connection

        self.server = Server(("127.0.0.1", 0), ApiRequest)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def answer_next(self, text, *faults):
        """The next requests whose method and URI ("GET /apis/…") contain `text` are answered by these faults, each
        once."""
        with self.lock:
            self.faults += [(text, each) for each in faults]

    def has_used_all(self):
        """Whether every fault has been used."""
        return not self.faults

    def end_watches(self, event=None):
        """Sends this event to the current watch, or to the next one, and ends it; None: ends it without an event."""
        wait_until(lambda: self.watchers, 10, "a watch")
        with self.lock:
            for request in self.watchers:
                with contextlib.suppress(OSError):
                    if event is not None:
                        line = (event if isinstance(event, str) else json.dumps(event)).encode() + b"\n"
                        request.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                    request.wfile.write(b"0\r\n\r\n")
                    request.connection.shutdown(2)
            self.watchers.clear()

    def answer(self, request):
        asked = f"{request.command} {request.path}"
        with self.lock:
            self.requests.append((time.monotonic(), asked))
            found = next((each for each in self.faults if each[0] in asked), None)
            if found:
                self.faults.remove(found)
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        if found and not callable(found[1]):
            return self.send(request, *found[1])
        with contextlib.closing(http.client.HTTPSConnection("127.0.0.1", self.api.port,
                                                            context=self.api.context(is_admin=False))) as upstream:
            upstream.request(request.command, request.path, body or None,
                             {name: value for name,
                              value in request.headers.items() if name in ("Authorization", "Content-Type")})
            answer = upstream.getresponse()
            if "watch=1" in asked and answer.status == 200:
                return self.relay_watch(request, answer)
            truth = answer.status, {"Content-Type": answer.headers["Content-Type"]}, answer.read()
        self.send(request, *(found[1](truth) if found else truth))

    def send(self, request, code, headers, body):
        request.send_response(code)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)
        request.close_connection = int(headers.get("Content-Length", len(body))) != len(body)

    def relay_watch(self, request, answer):
        request.send_response(200)
        request.send_header("Content-Type", "application/json")
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        request.close_connection = True
        with self.lock:
            self.watchers.append(request)
        while line := answer.readline():
            with self.lock:
                if request not in self.watchers:
                    return
                request.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        with self.lock:
            if request in self.watchers:
                self.watchers.remove(request)
                request.wfile.write(b"0\r\n\r\n")
